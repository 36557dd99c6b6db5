//! The body of the call that a request becomes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

use super::document::Documents;

/// Messages with their heads: those that are there, then those that come.
pub(super) struct MessageBody {
    first: Option<Bytes>,
    rest: Option<Documents<Incoming>>,
}

/// A message in which nothing is set, with its head.
pub(super) fn empty() -> Bytes {
    Bytes::from_static(&[0; crate::grpc_head::Head::BYTES])
}

impl MessageBody {
    /// One message.
    pub(super) fn single(message: Bytes) -> MessageBody {
        MessageBody { first: Some(message), rest: None }
    }

    /// The one that came first, if any did, and those that come.
    pub(super) fn stream(first: Option<Bytes>, rest: Documents<Incoming>) -> MessageBody {
        MessageBody { rest: first.is_some().then_some(rest), first }
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let next = ready!(rest.poll_next(cx));
        if !matches!(next, Some(Ok(_))) {
            self.rest = None;
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
