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

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::admission::{Class, Held, Reason};
use crate::deadline;
use crate::grpc_head::Head;
use crate::grpc_method::{Method, MethodId};
use crate::member::Shared;
use crate::unary;
use crate::user_limits::Visit;

/// A call that was started.
pub(crate) struct Call {
    member: Shared,
    method: MethodId,
    began: Instant,
    /// Until when the client waits, if it has said so.
    deadline: Option<Instant>,
    /// What bounds its user, if anything does.
    visit: Option<Visit>,
    ended: bool,
}

impl Call {
    /// A call of `method` comes in, from a client that waits until `deadline`.
    pub(crate) fn start(member: Shared, method: MethodId, deadline: Option<Instant>) -> Call {
        member.metrics.grpc.get(method).start();
        Call { member, method, began: Instant::now(), deadline, visit: None, ended: false }
    }

    /// It is of a user who is bounded.
    pub(crate) fn charge(&mut self, visit: Option<Visit>) {
        self.visit = visit;
    }

    /// Makes room for its request, of so many bytes.
    pub(crate) fn hold_request(&self, bytes: usize) -> Result<Held, Status> {
        let is_command = matches!(self.name(), "Put" | "Txn" | "DeleteRange");
        self.member.admission.hold_request(is_command, bytes)
    }

    /// Makes room for its answer, which may lie here until the client takes it.
    pub(crate) fn hold_answer(&self, bytes: usize) -> Result<Held, Status> {
        let admission = &self.member.admission;
        let held = admission.answers.take(bytes);
        held.ok_or_else(|| admission.refuse(Class::Large, Reason::Memory))
    }

    fn method(&self) -> &Method {
        self.member.metrics.grpc.get(self.method)
    }

    /// The method's name.
    pub(crate) fn name(&self) -> &'static str {
        self.method().name
    }

    /// Whether one message goes each way.
    pub(crate) fn is_unary(&self) -> bool {
        self.method().is_unary()
    }

    /// Its only message has come in.
    pub(crate) fn received(&self, bytes: usize) {
        self.method().receive(1);
        self.member.metrics.client_bytes_received.add(bytes as u64);
        if let Some(visit) = &self.visit {
            visit.pay(bytes as u64);
        }
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
        let is_late = || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let code = if !self.ended && is_late() { Code::DeadlineExceeded } else { Code::Cancelled };
        self.end(code);
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

/// What a call's messages come in: a client's body, or one that the gateway makes.
pub(crate) trait RequestBody:
    HttpBody<Data = Bytes, Error: fmt::Display + Into<BoxError> + Send> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: fmt::Display + Into<BoxError> + Send,
{
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(crate) struct CountedRequest<B> {
    body: B,
    messages: Messages,
    member: Shared,
    method: MethodId,
}

impl<B> CountedRequest<B> {
    /// `body`, as what `call` asks.
    pub(crate) fn new(body: B, call: &Call) -> CountedRequest<B> {
        let (member, method) = (call.member.clone(), call.method);
        CountedRequest { body, messages: Messages::default(), member, method }
    }
}

impl<B: RequestBody> HttpBody for CountedRequest<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
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
    /// When it ends whatever is left of it.
    until: Option<Pin<Box<Sleep>>>,
}

/// Where a body comes from.
pub(crate) enum Sent {
    Tonic(Body),
    Unary(unary::Answer),
    /// Its time has passed.
    Late,
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
        CountedBody { body: body.into(), call: Some((call, Messages::default())), until: None }
    }

    /// The same, for no longer than the client waits.
    pub(crate) fn until(mut self, deadline: Pin<Box<Sleep>>) -> CountedBody {
        self.until = Some(deadline);
        self
    }

    /// Whether it sends more than it has already.
    pub(crate) fn goes_on(&self) -> bool {
        match &self.body {
            Sent::Tonic(body) => !body.is_end_stream() && self.call.is_some(),
            Sent::Unary(unary::Answer::Large(_) | unary::Answer::Parts(_)) => true,
            Sent::Unary(_) | Sent::Late => false,
        }
    }

    /// What is not to be counted.
    pub(crate) fn plain(body: Body) -> CountedBody {
        CountedBody { body: Sent::Tonic(body), call: None, until: None }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            return self.break_off();
        }
        let frame = ready!(match &mut self.body {
            Sent::Tonic(body) => Pin::new(body).poll_frame(cx),
            Sent::Unary(answer) => Pin::new(answer).poll_frame(cx),
            Sent::Late => Poll::Ready(None),
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
                    if let Some(visit) = &call.visit {
                        visit.pay(bytes);
                    }
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
            Sent::Late => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Sent::Tonic(body) => body.size_hint(),
            Sent::Unary(answer) => answer.size_hint(),
            Sent::Late => SizeHint::with_exact(0),
        }
    }
}

impl CountedBody {
    /// Tells the client, which waits no longer, and lets go of what it would have had.
    fn break_off(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        (self.body, self.until) = (Sent::Late, None);
        if let Some((call, _)) = &mut self.call {
            call.end(Code::DeadlineExceeded);
        }
        let (status, mut trailers) = (deadline::exceeded(), HeaderMap::new());
        Poll::Ready(Some(match status.add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(_) => Err(status),
        }))
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
