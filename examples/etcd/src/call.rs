//! One gRPC call under way, and how it is counted.
//!
//! Every call that was started is counted as ended exactly once: with the code of its answer, or as
//! canceled if the client went away first.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::grpc_method::MethodId;
use crate::member::Shared;

/// A call that was started and has not been counted as ended.
pub(crate) struct Call {
    member: Option<Shared>,
    method: MethodId,
}

impl Call {
    /// A call of `method`.
    pub(crate) fn new(member: Shared, method: MethodId) -> Call {
        Call { member: Some(member), method }
    }

    /// Whether one message goes each way.
    pub(crate) fn is_unary(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.metrics.grpc.get(self.method).is_unary())
    }

    /// Counts the call as ended; only the first time matters.
    pub(crate) fn end(&mut self, code: Code) {
        if let Some(member) = self.member.take() {
            member.metrics.grpc.get(self.method).end(code);
        }
    }

    /// Hands the counting on.
    pub(crate) fn take(&mut self) -> Call {
        Call { member: self.member.take(), method: self.method }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// The body of a streamed answer, which ends its call when it ends.
pub(crate) struct CountedBody {
    body: Body,
    call: Call,
}

impl CountedBody {
    /// `body`, as the answer to `call`.
    pub(crate) fn new(body: Body, call: Call) -> CountedBody {
        CountedBody { body, call }
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.end(code(trailers));
                }
            }
            Some(Err(status)) => self.call.end(status.code()),
            None => self.call.end(Code::Ok),
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

fn code(trailers: &HeaderMap) -> Code {
    trailers.get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}
