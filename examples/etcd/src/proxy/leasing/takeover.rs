//! Lease keys of others, which stand in the way of a write.

use std::time::Duration;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::KeyValue;
use drystone_etcd_api::mvccpb::event::EventType;
use futures_util::{StreamExt as _, TryStreamExt as _};
use pb::watch_client::WatchClient;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::book::Lock;
use super::{Leasing, REVOKE, txn};
use crate::proxy::{Head, Proxy, asker};

/// How long one waits for a lease key to go before one looks whether it is there.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same if it cannot be waited for.
const RETRY: Duration = Duration::from_millis(50);
/// Lease keys of a range that are asked for at once.
const AT_ONCE: usize = 16;

impl Proxy {
    /// Has the owner of a lease key give it up, and waits until it is gone. `at` is the revision
    /// that it was found at.
    pub(super) async fn take_over(
        &self,
        leasing: &Leasing,
        head: &Head,
        lock: &Lock,
        (lease_key, at): (KeyValue, i64),
    ) -> Result<(), Status> {
        let (name, created) = (&lease_key.key, lease_key.create_revision);
        let own = leasing.book.session().map(|session| session.lease);
        if Some(lease_key.lease) == own {
            let mut key = name.clone();
            leasing.prefix.leave(&mut key);
            if !lock.held().contains(&(key, created)) {
                // Nothing is held by it, nor can be while the key is locked.
                self.txn_as(&head.headers, txn::delete_if(name, created)).await?;
            }
            return Ok(());
        }
        let mut since = at;
        if lease_key.value != REVOKE {
            let told = self.txn_as(&head.headers, txn::revoke_if(name, created)).await?;
            if !told.succeeded {
                return Ok(());
            }
            since = told.header.map_or(at, |header| header.revision);
        }
        match timeout(LOOK_AGAIN, self.gone(head, name, since + 1)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => sleep(RETRY).await,
        }
        Ok(())
    }

    /// Waits until a lease key is deleted, at `start` or later.
    async fn gone(&self, head: &Head, lease_key: &Bytes, start: i64) -> Result<(), Status> {
        let create = pb::WatchCreateRequest {
            key: self.namespace.key(lease_key),
            start_revision: start,
            filters: vec![FilterType::Noput.into()],
            ..Default::default()
        };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // A watch ends when its requests do: they are open for as long as it is followed.
        let (to, requests) = mpsc::channel(1);
        to.try_send(request).map_err(|_| Status::internal("nobody takes it"))?;
        let mut request = tonic::Request::new(ReceiverStream::new(requests));
        *request.metadata_mut() = MetadataMap::from_headers(asker::own(&head.asker));
        let mut client = WatchClient::new(self.upstream.clone());
        let mut messages = client.watch(request).await?.into_inner();
        while let Some(message) = messages.message().await? {
            if message.canceled {
                return Err(Status::unavailable(message.cancel_reason));
            }
            if message.events.iter().any(|event| event.r#type() == EventType::Delete) {
                return Ok(());
            }
        }
        Err(Status::unavailable("the member has ended the watch"))
    }

    /// Has all others give up the lease keys in a range. The revision at which none of theirs was
    /// there.
    pub(super) async fn clear(
        &self,
        leasing: &Leasing,
        head: &Head,
        lock: &Lock,
        (key, end): (&Bytes, &Bytes),
    ) -> Result<i64, Status> {
        loop {
            let range =
                pb::RangeRequest { key: key.clone(), range_end: end.clone(), ..Default::default() };
            let found = self.range_as(&head.headers, range).await?;
            let at = found.header.map_or(0, |header| header.revision);
            let own = leasing.book.session().map(|session| session.lease);
            let others: Vec<KeyValue> =
                found.kvs.into_iter().filter(|kv| Some(kv.lease) != own).collect();
            if others.is_empty() {
                return Ok(at);
            }
            futures_util::stream::iter(others)
                .map(|kv| self.take_over(leasing, head, lock, (kv, at)))
                .buffer_unordered(AT_ONCE)
                .try_for_each(|()| std::future::ready(Ok(())))
                .await?;
        }
    }
}
