//! Calls whose messages come and go as they like, by way of tonic.

use std::future::{Ready, ready};

use futures_util::Stream;
use http::Request;
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService};
use tonic::{Response, Status, Streaming};
use tonic_prost::ProstCodec;

struct Once<F>(Option<F>);

impl<I, O, S, F> StreamingService<I> for Once<F>
where
    F: FnOnce(tonic::Request<Streaming<I>>) -> Response<S>,
    S: Stream<Item = Result<O, Status>>,
{
    type Response = O;
    type ResponseStream = S;
    type Future = Ready<Result<Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<I>>) -> Self::Future {
        let begin = self.0.take();
        ready(begin.map(|begin| begin(request)).ok_or_else(|| Status::internal("called twice")))
    }
}

/// Serves a call: `begin` takes the messages that come and gives those that go. None of those that
/// come may be larger than `max` bytes.
pub(crate) async fn serve<I, O, S>(
    request: Request<Incoming>,
    max: usize,
    begin: impl FnOnce(tonic::Request<Streaming<I>>) -> Response<S> + Send + Sync,
) -> http::Response<Body>
where
    I: Message + Default + Send + 'static,
    O: Message + Send + 'static,
    S: Stream<Item = Result<O, Status>> + Send + 'static,
{
    let mut grpc = Grpc::new(ProstCodec::<O, I>::default());
    grpc = grpc.apply_max_message_size_config(Some(max), None);
    grpc.streaming(Once(Some(begin)), request).await
}
