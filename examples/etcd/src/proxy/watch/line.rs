//! A watch at a member: requests there, messages back. It ends when this is dropped.

use drystone_etcd_api::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use pb::{WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

use super::hub::Topic;
use crate::proxy::Shared as Proxy;
use crate::proxy::asker;
use crate::proxy::upstream::AnsweredBy;

/// Both ends of a watch at a member.
pub(super) struct Line {
    /// Few are ever asked: the creation, and progress, again only when that was answered.
    requests: mpsc::UnboundedSender<WatchRequest>,
    messages: Streaming<WatchResponse>,
    /// Which member it is.
    pub(super) at: Option<AnsweredBy>,
}

impl Line {
    /// Asks a member for a watch of everything that any watcher could want, from `start` on.
    ///
    /// # Errors
    ///
    /// If none can be reached, or it does not want to.
    pub(super) async fn open(proxy: Proxy, topic: Topic, start: i64) -> Result<Line, Status> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let create = pb::WatchCreateRequest {
            key: topic.key,
            range_end: topic.end,
            start_revision: start,
            progress_notify: true,
            prev_kv: true,
            ..Default::default()
        };
        ask(&requests, RequestUnion::CreateRequest(create));
        let mut request = Request::new(UnboundedReceiverStream::new(outgoing));
        *request.metadata_mut() = MetadataMap::from_headers(asker::own(&topic.asker));
        let max = proxy.sizes.answer_max;
        let client = WatchClient::new(proxy.upstream.clone());
        let opened = client.max_decoding_message_size(max).watch(request).await?;
        let at = opened.extensions().get().cloned();
        Ok(Line { requests, messages: opened.into_inner(), at })
    }

    /// Asks how far the watch is; the answer is among the messages.
    pub(super) fn ask_progress(&self) {
        ask(&self.requests, RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// If the member has ended the watch, or is gone.
    pub(super) async fn message(&mut self) -> Result<WatchResponse, Status> {
        let message = self.messages.message().await?;
        message.ok_or_else(|| Status::unavailable("the member has ended the watch"))
    }
}

fn ask(requests: &mpsc::UnboundedSender<WatchRequest>, what: RequestUnion) {
    // When the watch has ended it says so by itself.
    let _ = requests.send(WatchRequest { request_union: Some(what) });
}
