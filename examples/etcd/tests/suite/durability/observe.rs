//! Asking a server, after a crash, for everything it knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    LeaseLeasesRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RangeResponse,
};
use drystone_etcd_api::mvccpb::Event;
use tonic::{Code, Status};

use super::chronicle::{Chronicle, LeaseSeen, Observed};
use super::op::{Note, Op, Outcome};
use super::workload::everything_from;
use crate::support::watch::Watch;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for the history since revision `known`, for what stands, and for the leases.
///
/// First it writes: a store that has come back must take writes, and a watch that tells of this one
/// has told everything before.
pub(super) async fn observe(client: &Client, known: i64, mark: &str, started: Instant) -> Observed {
    let revision_first = revision(&everything(client, 0).await.expect("a range is answered"));
    let (key, value) = (Bytes::from("mark"), Bytes::from(mark.to_owned()));
    let put = PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() };
    let put = client.kv().put(put).await.expect("a put is answered").into_inner();
    let marked = put.header.expect("an answer has a header").revision;
    let op = Op::Put { key, value, lease: 0 };
    let mark = Some(Note { op, sent_after: revision_first, outcome: Outcome::Made(marked) });
    let content = everything(client, 0).await.expect("a range is answered").kvs;
    let events = if marked > known { history(client, known + 1, marked).await } else { Vec::new() };
    let leases = leases(client).await;
    let uptime_max = i64::try_from(started.elapsed().as_secs()).expect("a short while") + 1;
    Observed { revision_first, mark, events, content, leases, uptime_max }
}

/// What a watch from `start` tells, up to revision `end` or until it falls silent.
pub(super) async fn history(client: &Client, start: i64, end: i64) -> Vec<Event> {
    let watch = Watch::open(client, everything_from(start)).await;
    let (mut watch, _) = watch.expect("the history can be watched");
    let mut events: Vec<Event> = Vec::new();
    let last = |events: &[Event]| events.last()?.kv.as_ref().map(|kv| kv.mod_revision);
    while last(&events).unwrap_or(0) < end {
        match tokio::time::timeout(PATIENCE, watch.message()).await {
            Ok(Ok(message)) if !message.canceled => events.extend(message.events),
            _ => break,
        }
    }
    events
}

/// The revision below which the history is gone, or 0.
pub(super) async fn compacted(client: &Client) -> i64 {
    let (mut watch, _) =
        Watch::open(client, everything_from(1)).await.expect("the history can be watched");
    // The store has seen writes, so there is an answer either way.
    let message = tokio::time::timeout(PATIENCE, watch.message()).await;
    let message = message.expect("the watch tells something").expect("the watch is answered");
    message.compact_revision
}

/// Whether the past is what it was at `revision`, or gone if it lies below `compacted`.
pub(super) async fn check_past(
    client: &Client,
    chronicle: &Chronicle,
    revision: i64,
    compacted: i64,
) -> Result<(), String> {
    let found = everything(client, revision).await;
    match found {
        Ok(found) if revision >= compacted => {
            let stood = chronicle.at(revision);
            let same = stood == found.kvs;
            same.then_some(()).ok_or_else(|| format!("revision {revision} is not what it was"))
        }
        Err(status) if revision < compacted && status.code() == Code::OutOfRange => Ok(()),
        other => Err(format!("revision {revision}, compacted up to {compacted}: {other:.300?}")),
    }
}

async fn everything(client: &Client, revision: i64) -> Result<RangeResponse, Status> {
    let (key, range_end) = ("\0".into(), "\0".into());
    let request = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
    client.kv().range(request).await.map(tonic::Response::into_inner)
}

fn revision(response: &RangeResponse) -> i64 {
    response.header.as_ref().expect("an answer has a header").revision
}

async fn leases(client: &Client) -> BTreeMap<i64, LeaseSeen> {
    let listed = client.lease().lease_leases(LeaseLeasesRequest {}).await;
    let listed = listed.expect("leases are listed").into_inner().leases;
    let mut leases = BTreeMap::new();
    for lease in listed {
        let request = LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let told = client.lease().lease_time_to_live(request).await;
        let told = told.expect("a lease is described").into_inner();
        let mut keys = told.keys;
        // etcd lists them in random order.
        keys.sort();
        let seen = LeaseSeen { granted: told.granted_ttl, remaining: told.ttl, keys };
        leases.insert(lease.id, seen);
    }
    leases
}
