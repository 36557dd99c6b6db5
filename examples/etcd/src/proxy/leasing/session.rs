//! The session that this proxy's lease keys hang on, and what goes on while it lasts.
//!
//! ```text
//!   grant ──► renew, every fifth of its time ──────────► not any more: the book is emptied, and a
//!        ├──► look whether nobody in particular may read               session begins anew
//!        ├──► watch the lease keys: "REVOKE" ──► given up
//!        └──► delete the lease keys of what is given up
//! ```
//!
//! **Time.** The lease ends at the members no sooner than its time after the renewal was asked for.
//! A fifth less is what is counted on here: clocks do not run quite alike, and a leader that has
//! been replaced without knowing it yet may have given the answer, for as long as an election
//! takes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::Event;
use drystone_etcd_api::mvccpb::event::EventType;
use futures_util::StreamExt as _;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::book::Session;
use super::{Leasing, REVOKE, txn};
use crate::proxy::asker::{self, Asker};
use crate::proxy::cluster::renew;
use crate::proxy::namespace::Leave as _;
use crate::proxy::order::is_refusal;
use crate::proxy::{Proxy, Shared};

/// For how long after the end of a proxy that cannot say that it ends others wait to write.
const TTL_SECONDS: i64 = 10;
/// How often it is looked whether nobody in particular may read, and how long that is believed.
const PROBES: Duration = Duration::from_secs(1);
const PROBE_GOOD: Duration = Duration::from_secs(3);
/// How long the members may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait before something is tried again.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Lease keys that are deleted at once.
const FREED_AT_ONCE: usize = 16;

/// Keeps a session, and another one when that has ended, until the proxy stops.
pub(crate) async fn keep(proxy: Shared, mut given_up: mpsc::UnboundedReceiver<Bytes>) {
    let Some(leasing) = &proxy.leasing else { return };
    let mut stop = proxy.shutdown.clone();
    // What was said last is not said again: where users are turned on it may never change.
    let mut said = String::new();
    loop {
        let is_over = tokio::select! {
            ended = hold(&proxy, leasing, &mut given_up) => {
                let why = ended.err().map_or(String::new(), |error| format!("{error:#}"));
                if why != said {
                    tracing::warn!(error = why, "no keys are leased");
                    said = why;
                }
                false
            }
            () = stop.fired() => true,
        };
        let session = leasing.book.session();
        // From here on nothing is answered from the book, and others may write.
        leasing.book.end();
        while given_up.try_recv().is_ok() {}
        if let Some(Session { lease: id, .. }) = session {
            let mut leases = LeaseClient::new(proxy.upstream.clone());
            let revoke = leases.lease_revoke(pb::LeaseRevokeRequest { id });
            // If it cannot be said, the lease ends by itself.
            let _ = timeout(PATIENCE, revoke).await;
        }
        if is_over {
            return;
        }
        tokio::select! {
            () = sleep(RETRY_MAX) => {}
            () = stop.fired() => return,
        }
    }
}

/// Holds one session for as long as it lasts.
async fn hold(
    proxy: &Proxy,
    leasing: &Leasing,
    given_up: &mut mpsc::UnboundedReceiver<Bytes>,
) -> Result<()> {
    let asked = Instant::now();
    let mut leases = LeaseClient::new(proxy.upstream.clone());
    let grant = leases.lease_grant(pb::LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 });
    let granted = timeout(PATIENCE, grant).await.context("no lease in time")?;
    let granted = granted.context("no lease")?.into_inner();
    let revision = granted.header.map_or(0, |header| header.revision);
    let session = leasing.book.begin(granted.id, alive_until(asked, granted.ttl));
    tracing::info!(lease = granted.id, ttl = granted.ttl, "keys may be leased");
    let freed = futures_util::stream::poll_fn(|cx| given_up.poll_recv(cx))
        .for_each_concurrent(FREED_AT_ONCE, |key| free(proxy, leasing, session, key));
    tokio::select! {
        ended = renewed(proxy, leasing, session) => ended,
        ended = watched(proxy, leasing, session, revision + 1) => ended,
        () = probed(proxy, leasing) => Ok(()),
        () = freed => Ok(()),
    }
}

fn alive_until(asked: Instant, ttl_seconds: i64) -> Instant {
    let seconds = u64::try_from(ttl_seconds).unwrap_or(0);
    asked + Duration::from_secs(seconds) * 4 / 5
}

/// Renews the lease until that is not possible any more. While members do not answer, it may live
/// all the same: what is held just is not counted on.
async fn renewed(proxy: &Proxy, leasing: &Leasing, session: Session) -> Result<()> {
    let step = Duration::from_secs(TTL_SECONDS.unsigned_abs()) / 5;
    loop {
        sleep(step).await;
        let asked = Instant::now();
        match timeout(step, renew(proxy, session.lease)).await {
            Ok(Ok(ttl)) if ttl <= 0 => bail!("the lease has expired"),
            Ok(Ok(ttl)) => leasing.book.extend(alive_until(asked, ttl)),
            Ok(Err(error)) => tracing::debug!(error = format!("{error:#}"), "not renewed"),
            Err(_) => tracing::debug!("not renewed in time"),
        }
    }
}

/// Looks again and again whether whoever shows no token may read everything: not where users are
/// turned on, and then nothing is told from here.
async fn probed(proxy: &Proxy, leasing: &Leasing) {
    let headers = asker::own(&Asker::default());
    loop {
        let range = pb::RangeRequest {
            key: leasing.prefix.key(&Bytes::new()),
            count_only: true,
            ..Default::default()
        };
        let asked = Instant::now();
        match timeout(PATIENCE, proxy.range_as(&headers, range)).await {
            Ok(Ok(_)) => leasing.book.open(asked, asked + PROBE_GOOD),
            Ok(Err(status)) if is_refusal(&status) => leasing.book.close(Instant::now()),
            Ok(Err(_)) | Err(_) => {}
        }
        leasing.book.sweep(Instant::now());
        sleep(PROBES).await;
    }
}

/// Follows the lease keys of all proxies, from the revision `next` on.
async fn watched(proxy: &Proxy, leasing: &Leasing, session: Session, mut next: i64) -> Result<()> {
    let mut rest = RETRY_MIN;
    loop {
        let before = next;
        let ended = follow(proxy, leasing, session, &mut next).await;
        let status = ended.err().unwrap_or_else(|| Status::unavailable("the watch has ended"));
        if status.code() == tonic::Code::OutOfRange {
            bail!("what became of the leases is compacted");
        }
        tracing::debug!(error = status.message(), "the lease keys are not watched");
        rest = if before == next { (rest * 2).min(RETRY_MAX) } else { RETRY_MIN };
        sleep(rest).await;
    }
}

async fn follow(
    proxy: &Proxy,
    leasing: &Leasing,
    session: Session,
    next: &mut i64,
) -> Result<(), Status> {
    let (key, range_end) = leasing.space();
    let (key, range_end) = proxy.namespace.range(&key, &range_end);
    let create = pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: *next,
        progress_notify: true,
        ..Default::default()
    };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // A watch ends when its requests do: they are open for as long as it is followed.
    let (to, requests) = mpsc::channel(1);
    to.try_send(request).map_err(|_| Status::internal("nobody takes it"))?;
    let mut client =
        WatchClient::new(proxy.upstream.clone()).max_decoding_message_size(proxy.sizes.answer_max);
    let opened = client.watch(ReceiverStream::new(requests)).await?;
    let by = opened.extensions().get().cloned();
    let mut messages = opened.into_inner();
    let heed = |status: &Status| proxy.upstream.heed(by.clone(), status);
    while let Some(message) = messages.message().await.inspect_err(heed)? {
        if message.canceled {
            return Err(match message.compact_revision {
                0 => Status::unavailable(message.cancel_reason),
                _ => Status::out_of_range(message.cancel_reason),
            });
        }
        let is_progress = message.events.is_empty() && !message.created;
        for mut event in message.events {
            event.leave(&proxy.namespace);
            if let Some(kv) = &event.kv {
                *next = (*next).max(kv.mod_revision + 1);
            }
            hear(leasing, session, event);
        }
        if let Some(header) = message.header.filter(|_| is_progress) {
            *next = (*next).max(header.revision + 1);
        }
    }
    Ok(())
}

/// Something has become of a lease key.
fn hear(leasing: &Leasing, session: Session, event: Event) {
    let is_put = event.r#type() == EventType::Put;
    let Some(kv) = event.kv else { return };
    let mut key = kv.key;
    leasing.prefix.leave(&mut key);
    let is_own = is_put && kv.lease == session.lease;
    if is_own && kv.value == REVOKE {
        leasing.book.give_up(&key, Some(kv.create_revision), kv.mod_revision);
    } else if !is_own {
        leasing.book.give_up(&key, None, kv.mod_revision);
    }
}

/// Deletes the lease key of one that was given up.
async fn free(proxy: &Proxy, leasing: &Leasing, session: Session, key: Bytes) {
    let mut rest = RETRY_MIN;
    while leasing.book.is_leaving(&key) {
        match timeout(PATIENCE, delete(proxy, leasing, session, &key)).await {
            Ok(Ok(())) => return leasing.book.is_free(&key, Instant::now()),
            Ok(Err(status)) => tracing::debug!(error = status.message(), "not given up yet"),
            Err(_) => tracing::debug!("not given up in time"),
        }
        sleep(rest).await;
        rest = (rest * 2).min(RETRY_MAX);
    }
}

/// It is deleted as it was found: a later one of the same name is another matter.
async fn delete(
    proxy: &Proxy,
    leasing: &Leasing,
    session: Session,
    key: &Bytes,
) -> Result<(), Status> {
    let headers = asker::own(&Asker::default());
    let lease_key = leasing.prefix.key(key);
    let range = pb::RangeRequest { key: lease_key.clone(), ..Default::default() };
    let found = proxy.range_as(&headers, range).await?;
    let own = found.kvs.iter().find(|kv| kv.lease == session.lease);
    if let Some(kv) = own {
        let delete = txn::delete_if(&lease_key, kv.create_revision);
        proxy.txn_as(&headers, delete).await?;
    }
    Ok(())
}
