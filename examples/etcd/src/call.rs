//! One gRPC call under way, and how it is counted.
//!
//! Every call that was started is counted as ended exactly once: with the code of its answer, or as
//! canceled if the client went away first. The bodies of both directions pass through here, where
//! the messages in them are counted:
//!
//! ```text
//!   request ──► CountedRequest ──► tonic, service ──► CountedBody ──► client
//!                  messages, bytes                       messages, bytes, code, time
//! ```

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::grpc_head::Head;
use crate::grpc_method::{Method, MethodId};
use crate::member::Shared;
use crate::unary;

/// A call that was started.
pub(crate) struct Call {
    member: Shared,
    method: MethodId,
    began: Instant,
    ended: bool,
}

impl Call {
    /// A call of `method` comes in.
    pub(crate) fn start(member: Shared, method: MethodId) -> Call {
        member.metrics.grpc.get(method).start();
        Call { member, method, began: Instant::now(), ended: false }
    }

    fn method(&self) -> &Method {
        self.member.metrics.grpc.get(self.method)
    }

    /// Whether one message goes each way.
    pub(crate) fn is_unary(&self) -> bool {
        self.method().is_unary()
    }

    /// Its only message has come in.
    pub(crate) fn received(&self, bytes: usize) {
        self.method().receive(1);
        self.member.metrics.client_bytes_received.add(bytes as u64);
    }

    /// Counts the call as ended; only the first time matters.
    pub(crate) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (took, method) = (self.began.elapsed(), self.method());
        method.end(code, took);
        if method.is_unary() && took > self.member.config.slow_call {
            let response_type = format!("/{}/{}", method.service_name, method.name);
            let time_spent = format!("{took:?}");
            tracing::warn!(response_type, time_spent, code = ?code, "request stats");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// Finds the messages in the bytes of a body: each is a flag, its length in four bytes, and that
/// many bytes.
#[derive(Debug, Default)]
struct Messages {
    head: Head,
    left: u64,
}

impl Messages {
    /// Takes the next bytes. How many messages end in them, and how many bytes of messages there
    /// are, heads not counted.
    fn take(&mut self, mut bytes: &[u8]) -> (u64, u64) {
        let (mut ended, mut count) = (0, 0);
        while !bytes.is_empty() {
            if !self.head.is_whole() {
                if !self.head.fill(&mut bytes) {
                    return (ended, count);
                }
                self.left = u64::from(self.head.length());
            }
            let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[part..];
            self.left -= part as u64;
            count += part as u64;
            if self.left == 0 {
                ended += 1;
                self.head = Head::default();
            }
        }
        (ended, count)
    }
}

/// The body of a request.
pub(crate) struct CountedRequest {
    body: Incoming,
    messages: Messages,
    member: Shared,
    method: MethodId,
}

impl CountedRequest {
    /// `body`, as what `call` asks.
    pub(crate) fn new(body: Incoming, call: &Call) -> CountedRequest {
        let (member, method) = (call.member.clone(), call.method);
        CountedRequest { body, messages: Messages::default(), member, method }
    }
}

impl http_body::Body for CountedRequest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let (messages, bytes) = self.messages.take(data);
            let metrics = &self.member.metrics;
            metrics.grpc.get(self.method).receive(messages);
            metrics.client_bytes_received.add(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. That of a gRPC call ends its call when it ends.
pub(crate) struct CountedBody {
    body: Sent,
    call: Option<(Call, Messages)>,
}

/// Where a body comes from.
pub(crate) enum Sent {
    Tonic(Body),
    Unary(unary::Answer),
}

impl From<unary::Answer> for Sent {
    fn from(answer: unary::Answer) -> Sent {
        Sent::Unary(answer)
    }
}

impl From<Body> for Sent {
    fn from(body: Body) -> Sent {
        Sent::Tonic(body)
    }
}

impl CountedBody {
    /// `body`, as the answer to `call`.
    pub(crate) fn new(body: impl Into<Sent>, call: Call) -> CountedBody {
        CountedBody { body: body.into(), call: Some((call, Messages::default())) }
    }

    /// What is not to be counted.
    pub(crate) fn plain(body: Body) -> CountedBody {
        CountedBody { body: Sent::Tonic(body), call: None }
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(match &mut self.body {
            Sent::Tonic(body) => Pin::new(body).poll_frame(cx),
            Sent::Unary(answer) => Pin::new(answer).poll_frame(cx),
        });
        let Some((call, messages)) = &mut self.call else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    call.end(code(trailers));
                } else if let Some(data) = frame.data_ref() {
                    let (messages, bytes) = messages.take(data);
                    call.method().send(messages);
                    call.member.metrics.client_bytes_sent.add(bytes);
                }
            }
            Some(Err(status)) => call.end(status.code()),
            None => call.end(Code::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Sent::Tonic(body) => body.is_end_stream(),
            Sent::Unary(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Sent::Tonic(body) => body.size_hint(),
            Sent::Unary(answer) => answer.size_hint(),
        }
    }
}

fn code(trailers: &HeaderMap) -> Code {
    trailers.get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The network cuts bytes wherever it likes.
    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        for length in [0_usize, 3, 0, 300, 1] {
            bytes.push(0);
            bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
            bytes.extend(vec![7; length]);
        }
        for cut in 1..=bytes.len() {
            let mut messages = Messages::default();
            let (mut ended, mut count) = (0, 0);
            for part in bytes.chunks(cut) {
                let (more, bytes) = messages.take(part);
                (ended, count) = (ended + more, count + bytes);
            }
            assert_eq!((ended, count), (5, 304), "cut every {cut} bytes");
        }
    }
}
