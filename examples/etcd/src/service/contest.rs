//! What locks and elections have in common: keys that stand in line.
//!
//! Whoever wants the lock `l` puts a key `l/…` that is bound to a lease, named after the lease's
//! number. The oldest of these keys, by the revision that made it, is the owner's. The others wait
//! for the one just ahead of them to go, by whatever way a key goes: deleted, or its lease ended.
//!
//! ```text
//!   l/694d…01   made at 17   owns the lock
//!   l/694d…0a   made at 19   watches …01
//!   l/694d…05   made at 23   watches …0a     one key goes, one client wakes
//! ```
//!
//! Clients do the same with etcd's libraries (`etcdctl lock`, `etcdctl elect`), with the same keys;
//! they and the callers of these services stand in one line.
//!
//! This is a client of the services next to it: a [`Desk`] makes the calls of one caller. etcd's is
//! a client too, and its errors lose their codes on the way: all of them leave as `Unknown`.

use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::etcdserverpb::lease_server::Lease as _;
use drystone_etcd_api::mvccpb;
use drystone_kv::Caller;
use drystone_kv::key_range::KeyRange;
use futures_util::future::poll_fn;
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request as Op;
use prost::Message;
use tonic::{Extensions, Request, Status, metadata::MetadataMap};

use crate::auth::{Asker, Standing};
use crate::convert::signed;
use crate::error_text;
use crate::grpc_head::Head;
use crate::member::Shared;
use crate::shutdown::Fired;
use crate::store::{Event, EventKind, StreamOptions, WatchMessage, WatchRequest, WatchStream};
use crate::unary::Reply;

/// How long the lease is that is made for whoever brings none.
const SESSION_TTL_SECONDS: i64 = 60;

/// Makes the calls of one caller, with the rights that it has.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) member: Shared,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Desk {
    /// For whoever sent `request`.
    pub(super) fn new<T>(member: &Shared, request: &Request<T>) -> Desk {
        Desk {
            member: member.clone(),
            metadata: request.metadata().clone(),
            extensions: request.extensions().clone(),
        }
    }

    /// A lease: the one that was brought, or a new one, which nobody renews.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let grant = pb::LeaseGrantRequest { id: 0, ttl: SESSION_TTL_SECONDS };
        let (metadata, extensions) = (self.metadata.clone(), self.extensions.clone());
        let request = Request::from_parts(metadata, extensions, grant);
        let granted = self.member.lease_grant(request).await.map_err(|status| uncoded(&status))?;
        Ok(granted.into_inner().id)
    }

    /// Who asks, by what is known of users now: a wait may be long.
    async fn caller(&self) -> Result<Caller, Status> {
        match self.extensions.get::<Asker>() {
            Some(asker) => self.member.who_asks(&asker.credentials).await,
            None => Ok(Caller::Nobody),
        }
    }

    /// A transaction.
    pub(super) async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let done = async { self.member.txn(&self.caller().await?, request).await };
        done.await.and_then(message).map_err(|status| uncoded(&status))
    }

    /// A read.
    pub(super) async fn range(
        &self,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let done = async { self.member.range(&self.caller().await?, request).await };
        done.await.and_then(message).map_err(|status| uncoded(&status))
    }

    /// Deletes a key.
    pub(super) async fn delete(&self, key: Bytes) -> Result<pb::DeleteRangeResponse, Status> {
        let request = pb::DeleteRangeRequest { key, ..Default::default() };
        let done = async { self.member.delete_range(&self.caller().await?, request).await };
        done.await.and_then(message).map_err(|status| uncoded(&status))
    }

    /// Deletes a key, if it is the one that was made at `revision`.
    pub(super) async fn withdraw(
        &self,
        key: Bytes,
        revision: i64,
    ) -> Result<pb::TxnResponse, Status> {
        let delete = pb::DeleteRangeRequest { key: key.clone(), ..Default::default() };
        let success = vec![op(Op::RequestDeleteRange(delete))];
        let compare = vec![made_at(key, revision)];
        self.txn(pb::TxnRequest { compare, success, failure: Vec::new() }).await
    }

    /// What happens to `range` from `revision` on, for whoever may read it, and as long as he may.
    pub(super) async fn changes(&self, range: KeyRange, revision: i64) -> Result<Changes, Status> {
        // By what is known of users now: a wait may be long.
        self.caller().await.map_err(|status| uncoded(&status))?;
        let asker = self.extensions.get::<Asker>().cloned().unwrap_or_default();
        let mut standing = Standing::new(asker.credentials);
        standing.begin(&self.member, &range).map_err(|status| uncoded(&status))?;
        let stream = self.member.kv.watch(StreamOptions::default());
        let start = Some(u64::try_from(revision).unwrap_or(0).max(1));
        let request = WatchRequest { start, ..WatchRequest::new(range.clone()) };
        // A range that cannot be watched is empty, and nothing happens in it.
        let watched = stream.control().create(request).is_ok();
        let (member, shutdown) = (self.member.clone(), self.member.shutdown.pollable());
        member.metrics.watch_streams.fetch_add(1, Relaxed);
        member.metrics.watchers.fetch_add(1, Relaxed);
        Ok(Changes { member, stream, shutdown, watched, standing, range })
    }
}

/// The events of a range.
pub(super) struct Changes {
    member: Shared,
    stream: WatchStream,
    shutdown: Fired,
    watched: bool,
    /// Who reads them, and of what.
    standing: Standing,
    range: KeyRange,
}

impl Changes {
    /// The next events, with the revision that they show. None are the sign to read again: what
    /// came between was compacted away.
    pub(super) async fn next(&mut self) -> Result<(i64, Vec<Event>), Status> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(i64, Vec<Event>), Status>> {
        loop {
            if self.shutdown.poll(cx).is_ready() {
                return Poll::Ready(Err(error_text::stopped()));
            }
            if !self.watched {
                return Poll::Pending;
            }
            match ready!(self.stream.poll_next(cx)) {
                Some(Ok(WatchMessage::Events { revision, events, .. })) => {
                    if let Some(judge) = self.standing.review(&self.member)
                        && let Err(status) = judge.permits(&self.range)
                    {
                        return Poll::Ready(Err(uncoded(&status)));
                    }
                    return Poll::Ready(Ok((signed(revision), events)));
                }
                Some(Ok(WatchMessage::Canceled { revision, .. })) => {
                    return Poll::Ready(Ok((signed(revision), Vec::new())));
                }
                Some(Ok(WatchMessage::Created { .. } | WatchMessage::Progress { .. })) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(error_text::stopped())),
            }
        }
    }
}

/// Who waits is a watcher as any other, to the metrics too.
impl Drop for Changes {
    fn drop(&mut self) {
        self.member.metrics.watch_streams.fetch_sub(1, Relaxed);
        self.member.metrics.watchers.fetch_sub(1, Relaxed);
    }
}

/// A key in line. Leaves the line when dropped, unless told to stay: a caller who goes away must
/// not keep the others waiting. (One that goes before it knows its place leaves a key that only its
/// lease takes away, as with etcd: it may come back for it under the same lease, and must not then
/// be told that it has what is just being given up.)
pub(super) struct Place {
    desk: Desk,
    prefix: Bytes,
    pub(super) key: Bytes,
    pub(super) revision: i64,
    stays: bool,
}

impl Place {
    /// The place of the key that was made at `revision`.
    pub(super) fn new(desk: &Desk, prefix: Bytes, key: Bytes, revision: i64) -> Place {
        Place { desk: desk.clone(), prefix, key, revision, stays: false }
    }

    /// Waits until nobody is ahead. The header of the read that saw the key at the front; `None` if
    /// the key is gone, so that the place is lost.
    pub(super) async fn reach_front(&self) -> Result<Option<pb::ResponseHeader>, Status> {
        loop {
            let ahead = self.ahead().await?;
            let Some(next) = ahead.kvs.into_iter().next() else { return self.check().await };
            let revision = ahead.header.map_or(0, |header| header.revision);
            tokio::select! {
                gone = self.gone(next.key, revision + 1) => gone?,
                // Its lease may end while it waits.
                gone = self.gone(self.key.clone(), revision + 1) => {
                    gone?;
                    if self.check().await?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The youngest of the older keys.
    async fn ahead(&self) -> Result<pb::RangeResponse, Status> {
        let request = pb::RangeRequest {
            max_create_revision: self.revision - 1,
            keys_only: true,
            ..by_age(self.prefix.clone(), SortOrder::Descend)
        };
        self.desk.range(request).await
    }

    async fn gone(&self, key: Bytes, revision: i64) -> Result<(), Status> {
        let mut changes = self.desk.changes(KeyRange::single(key), revision).await?;
        loop {
            let (_, events) = changes.next().await?;
            let deleted = |event: &Event| event.kind == EventKind::Delete;
            if events.is_empty() || events.iter().any(deleted) {
                return Ok(());
            }
        }
    }

    async fn check(&self) -> Result<Option<pb::ResponseHeader>, Status> {
        let request = pb::RangeRequest { key: self.key.clone(), ..Default::default() };
        let read = self.desk.range(request).await?;
        let stands = read.kvs.first().is_some_and(|kv| kv.create_revision == self.revision);
        Ok(if stands { read.header } else { None })
    }

    /// The key is to stay when this is gone.
    pub(super) fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // While the server stops nothing can be written; the client comes back to another member
        // and finds its place, or its lease ends.
        if self.stays || self.desk.member.shutdown.has_fired() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (desk, key, revision) = (self.desk.clone(), self.key.clone(), self.revision);
        runtime.spawn(async move {
            if let Err(status) = desk.withdraw(key, revision).await {
                let error = status.message();
                tracing::warn!(error, "cannot withdraw a key from its line; its lease will");
            }
        });
    }
}

/// What all keys of a line begin with.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The key of a lease in a line: its number in hexadecimal, as Go prints it.
pub(super) fn key(prefix: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let number = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, number.as_bytes()].concat().into()
}

/// The key at one end of a line: the oldest, or the youngest.
pub(super) fn by_age(prefix: Bytes, order: SortOrder) -> pb::RangeRequest {
    pb::RangeRequest {
        range_end: end_of(&prefix),
        key: prefix,
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        ..Default::default()
    }
}

/// Where the keys end that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &[u8]) -> Bytes {
    let (last, rest) = prefix.split_last().expect("it ends with a slash");
    [rest, &[last + 1]].concat().into()
}

/// The condition that a key was made at `revision`; 0: that it is not there.
pub(super) fn made_at(key: Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Create.into(),
        key,
        target_union: Some(pb::compare::TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

pub(super) fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// A put of a key in line.
pub(super) fn put(key: Bytes, value: Bytes, lease: i64) -> pb::RequestOp {
    op(Op::RequestPut(pb::PutRequest { key, value, lease, ..Default::default() }))
}

/// A read of one key.
pub(super) fn get(key: Bytes) -> pb::RequestOp {
    op(Op::RequestRange(pb::RangeRequest { key, ..Default::default() }))
}

/// The first key-value that the read at `place` among a transaction's answers found.
pub(super) fn found(answer: &pb::TxnResponse, place: usize) -> Option<&mvccpb::KeyValue> {
    match answer.responses.get(place)?.response.as_ref()? {
        pb::response_op::Response::ResponseRange(read) => read.kvs.first(),
        _ => None,
    }
}

/// The revision of an answer.
pub(super) fn revision(answer: &pb::TxnResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}

/// An answer that was made to be sent.
fn message<M: Message + Default>(reply: Reply) -> Result<M, Status> {
    let Reply::Whole(framed) = reply else {
        return Err(Status::internal("drystone-etcd: one key is a large answer"));
    };
    let message = M::decode(framed.slice(Head::BYTES..));
    message.map_err(|error| Status::internal(error.to_string()))
}

/// etcd's own slip, see above.
fn uncoded(status: &Status) -> Status {
    Status::unknown(status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Clients that use the library stand in the same line only if they have the same keys.
    #[test]
    fn keys_are_named_as_go_names_them() {
        assert_eq!(key(&prefix(b"l"), 0x694d_0000_0000_0001), "l/694d000000000001");
        assert_eq!(key(&prefix(b""), 10), "/a");
        assert_eq!(key(&prefix(b"l"), -1), "l/-1");
        assert_eq!(key(&prefix(b"l"), i64::MIN), "l/-8000000000000000");
    }

    // A line must not swallow the keys of another whose name begins like its own.
    #[test]
    fn lines_hold_their_own_keys_only() {
        let request = by_age(prefix(b"l"), SortOrder::Ascend);
        let range = KeyRange::from_etcd(request.key, request.range_end);
        assert!(range.contains(b"l/1") && range.contains(b"l/\xff"));
        assert!(!range.contains(b"l0") && !range.contains(b"l") && !range.contains(b"ll/1"));
    }
}
