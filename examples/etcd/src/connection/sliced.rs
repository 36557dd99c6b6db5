//! Answers in slices, so that small ones come through beside large ones.
//!
//! **The problem.** All calls of a connection share its window: what the peer lets us send ahead.
//! The HTTP/2 library gives each opening of it to who has waited longest, as much as he has handed
//! it. Beside ten reads of four megabytes, an event for a watcher on the same connection waits
//! until each of the ten has had an opening for himself: of a Go client, megabytes each.
//!
//! **The idea.** A body hands over [`SLICE_BYTES`] at a time, and the next slice when that is sent.
//! Then everybody who waits for the window asks for a little, and gets it in turn:
//!
//! ```text
//!   read  ████████████…  ─►  ██   ██   ██  ┐
//!   read  ████████████…  ─►  ██   ██   ██  ├─►  window
//!   event █              ─►  █             ┘
//! ```
//!
//! Slices share the bytes that they were cut from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Map;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;

/// What a body hands over at a time: two frames of the size that all peers take.
pub(super) const SLICE_BYTES: usize = 32 << 10;

/// A body that hands over what it has in slices.
pub(super) struct Sliced<B> {
    body: B,
    /// Of what the body gave last.
    rest: Bytes,
}

impl<B> Sliced<B> {
    fn new(body: B) -> Sliced<B> {
        Sliced { body, rest: Bytes::new() }
    }

    fn slice(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(SLICE_BYTES)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sliced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.slice())));
        }
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(next.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.slice()
                }
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// A service whose answers are sliced.
pub(super) struct Slicing<S>(pub(super) S);

type Answered<B, E> = Result<Response<B>, E>;

impl<R, B, S: Service<R, Response = Response<B>>> Service<R> for Slicing<S> {
    type Response = Response<Sliced<B>>;
    type Error = S::Error;
    type Future = Map<S::Future, fn(Answered<B, S::Error>) -> Answered<Sliced<B>, S::Error>>;

    fn call(&self, request: R) -> Self::Future {
        self.0.call(request).map(|answer| answer.map(|response| response.map(Sliced::new)))
    }
}

#[cfg(test)]
mod tests;
