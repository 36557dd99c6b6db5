//! A stream with one watch on it, over a raw connection.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

/// A watch; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Watch {
    /// Opens a stream and asks for a watch; also returns what was answered to that.
    ///
    /// A server may send the head of its answer with the first message only, so the request is
    /// there before the call is made.
    pub(crate) async fn open(
        client: &Client,
        request: WatchCreateRequest,
    ) -> Result<(Watch, WatchResponse), Status> {
        Watch::open_by(client, Request::new(()), request).await
    }

    /// The same with the metadata of `marks`.
    pub(crate) async fn open_by(
        client: &Client,
        marks: Request<()>,
        request: WatchCreateRequest,
    ) -> Result<(Watch, WatchResponse), Status> {
        let (requests, receiver) = mpsc::channel(16);
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) };
        requests.try_send(create).expect("the channel has room");
        let call = marks.map(|()| ReceiverStream::new(receiver));
        let answers = client.watch().watch(call).await?.into_inner();
        let mut watch = Watch { requests, answers };
        let created = watch.message().await?;
        assert!(created.created, "the first answer says that the watch is there: {created:?}");
        Ok((watch, created))
    }

    /// Asks for something more on the same stream.
    pub(crate) async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.expect("the stream is open");
    }

    /// The next message; the end of the stream is an error.
    pub(crate) async fn message(&mut self) -> Result<WatchResponse, Status> {
        let message = self.answers.message().await?;
        message.ok_or_else(|| Status::unavailable("the stream has ended"))
    }
}
