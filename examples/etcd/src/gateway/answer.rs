//! The answer of a call, on its way to become JSON.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost_reflect::MessageDescriptor;
use tonic::{Code, Status};

use super::{refusal, shared};
use crate::grpc_head::Head;

/// Room that is made for a message before any of it is there.
const CLAIM_BYTES_MAX: usize = 64 << 10;

/// The messages in the body of an answer.
pub(super) struct Messages<B> {
    /// Gone once it has ended.
    body: Option<B>,
    head: Head,
    message: BytesMut,
    /// What came with the end of the message before.
    rest: Bytes,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Messages<B> {
    /// Those of `body`.
    pub(super) fn new(body: B) -> Messages<B> {
        let (head, message) = (Head::default(), BytesMut::new());
        Messages { body: Some(body), head, message, rest: Bytes::new() }
    }

    /// The next one; `None` at the end of a call that has succeeded.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            if let Some(message) = self.take() {
                return Poll::Ready(Some(Ok(message)));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let status = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.rest = data;
                        continue;
                    }
                    Err(frame) => frame.trailers_ref().and_then(Status::from_header_map),
                },
                Some(Err(status)) => Some(status),
                None => None,
            };
            self.body = None;
            let failed = status.filter(|status| status.code() != Code::Ok);
            return Poll::Ready(failed.map(Err));
        }
    }

    /// A message that is there.
    fn take(&mut self) -> Option<Bytes> {
        if !self.head.is_whole() && !self.head.fill(&mut self.rest) {
            return None;
        }
        let length = usize::try_from(self.head.length()).expect("usize has 32 bits");
        if self.message.is_empty() && self.rest.len() >= length {
            self.head = Head::default();
            return Some(self.rest.split_to(length));
        }
        self.message.reserve(length.min(CLAIM_BYTES_MAX));
        let part = self.rest.len().min(length - self.message.len());
        self.message.extend_from_slice(&self.rest[..part]);
        self.rest.advance(part);
        (self.message.len() == length).then(|| {
            self.head = Head::default();
            self.message.split().freeze()
        })
    }
}

/// A stream as lines of JSON, one a message.
pub(super) struct Lines<B> {
    messages: Messages<B>,
    output: MessageDescriptor,
    first: Option<Bytes>,
    ended: bool,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Lines<B> {
    /// Those of `messages`, which are of the kind `output`.
    pub(super) fn new(messages: Messages<B>, output: MessageDescriptor) -> Lines<B> {
        Lines { messages, output, first: None, ended: false }
    }

    /// Waits for the first line, or for the end of a stream without any.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.first = ready!(self.poll_line(cx)).transpose()?;
        Poll::Ready(Ok(()))
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let Some(message) = ready!(self.messages.poll_next(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(message.and_then(|message| shared::line(&self.output, message))))
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Lines<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let line = match ready!(self.poll_line(cx)) {
            Some(Ok(line)) => line,
            Some(Err(status)) => {
                self.ended = true;
                // The head said that all is well; only a line can say otherwise now.
                Bytes::from(format!("{{\"error\":{}}}\n", refusal::json(&status)))
            }
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
        };
        Poll::Ready(Some(Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::HeaderMap;

    use super::*;

    /// A body in pieces.
    struct Pieces(VecDeque<Frame<Bytes>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn read(bytes: &[u8], step: usize, status: &'static str) -> (Vec<Bytes>, Option<Status>) {
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static(status));
        let mut frames: VecDeque<Frame<Bytes>> =
            bytes.chunks(step).map(|part| Frame::data(part.to_vec().into())).collect();
        frames.push_back(Frame::trailers(trailers));
        let mut messages = Messages::new(Pieces(frames));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut found = Vec::new();
        loop {
            match messages.poll_next(&mut cx) {
                Poll::Ready(Some(Ok(message))) => found.push(message),
                Poll::Ready(Some(Err(status))) => return (found, Some(status)),
                Poll::Ready(None) => return (found, None),
                Poll::Pending => panic!("all of it is there"),
            }
        }
    }

    // A message may come in many pieces, and many may come in one.
    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut bytes = Vec::new();
        for length in [0_u8, 3, 0, 200, 1] {
            bytes.extend([0, 0, 0, 0, length]);
            bytes.extend(vec![length; usize::from(length)]);
        }
        for step in 1..=bytes.len() {
            let (found, status) = read(&bytes, step, "0");
            let lengths: Vec<usize> = found.iter().map(Bytes::len).collect();
            assert_eq!(lengths, [0, 3, 0, 200, 1], "in pieces of {step}");
            assert!(status.is_none());
            assert!(found.iter().all(|one| one.iter().all(|&byte| usize::from(byte) == one.len())));
            assert_eq!(
                read(&bytes, step, "14").1.map(|status| status.code()),
                Some(Code::Unavailable)
            );
        }
    }
}
