//! What every member is asked at the end, when all is well and nobody writes any more.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{
    HashKvRequest, LeaseLeasesRequest, MemberListRequest, PutRequest, RangeRequest,
    WatchCreateRequest, WatchRequest,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::{Caller, Shared};
use crate::history::{Audit, MemberInfo, Operation, Outcome, Said, Stream};
use crate::lie::Lie;
use crate::request::{Event, Op, Range, Request, Revision, Span};
use crate::wire;

/// Leases live on for so long after the last holder has gone: the longest of them, an election
/// that gives all of them their time again, and the time a busy machine may take.
const LEASES_END: Duration = Duration::from_secs(25);
const ANSWER: Duration = Duration::from_secs(5);
/// All events of a run may take long.
const EVENTS: Duration = Duration::from_secs(120);
/// Hashes of so many revisions are compared.
const HASHES: i64 = 8;

/// Waits until leases have ended, writes once more, and says at which revision.
///
/// # Errors
/// If the cluster does not answer.
pub(crate) async fn last_revision(shared: &Shared) -> Result<Revision> {
    let client = shared.connection(0);
    let deadline = Instant::now() + LEASES_END;
    while !leases(&client).await?.is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(200)).await;
    }
    // It is a write like any other, so it is written down like any other.
    let (key, value) = ("end".to_owned(), "end".to_owned());
    let request = PutRequest {
        key: key.clone().into(),
        value: value.clone().into(),
        ..PutRequest::default()
    };
    let called = shared.recorder.now();
    let answer = timeout(ANSWER, client.kv().put(request)).await.context("no answer")??;
    let reply = wire::put_reply(answer.into_inner())?;
    let revision = reply.revision;
    shared.recorder.operation(Operation {
        client: 0,
        life: None,
        called,
        returned: shared.recorder.now(),
        request: Request::One(Op::Put { key, value, lease: 0, prev_kv: false }),
        outcome: Outcome::Done(reply),
    });
    Ok(revision)
}

/// Asks one member for everything up to a revision, as a client of this number where it asks what
/// clients do.
///
/// # Errors
/// If it does not answer, or not with what was asked for.
pub(crate) async fn audit(
    shared: &Shared,
    id: u32,
    slot: usize,
    revision: Revision,
) -> Result<Audit> {
    let client = shared.connection(slot);
    wait_for(&client, revision).await?;
    let (newest, compacted) = hash(&client, revision).await?;
    let mut hashes = Vec::new();
    for part in (2..=HASHES).rev() {
        let at = revision - (revision - compacted) * (part - 1) / HASHES;
        hashes.push((at, hash(&client, at).await?.0));
    }
    hashes.push((revision, newest));
    look_around(shared, id, slot, compacted).await;
    let mut leases = leases(&client).await?;
    let now = shared.recorder.now();
    if shared.liar.strikes(Lie::LiveForever, now) {
        leases.push(1);
    }
    if slot > 0 && shared.liar.strikes(Lie::Disagree, now) {
        hashes[0].1 ^= 1;
    }
    let keys = keys(&client, revision).await?;
    let told = timeout(EVENTS, events(shared, id, slot, revision)).await;
    let (first, events) = told.context("events are late")??;
    let members = members(&client).await?;
    Ok(Audit { slot, revision, members, compacted, hashes, keys, first, events, leases })
}

/// The hash of the store at a revision, and what is compacted; 0 if nothing is.
async fn hash(client: &Client, revision: Revision) -> Result<(u32, Revision)> {
    let request = HashKvRequest { revision };
    let answer = timeout(ANSWER * 4, client.maintenance().hash_kv(request)).await??.into_inner();
    Ok((answer.hash, answer.compact_revision.max(0)))
}

/// Reads all keys at the compacted revision and at the one before. What the answers should be is
/// known to the checkers.
async fn look_around(shared: &Shared, id: u32, slot: usize, compacted: Revision) {
    let mut caller = Caller::at(shared, id, slot);
    for revision in [compacted - 1, compacted] {
        if revision > 0 {
            let (span, limit, count_only, serializable) = (Span::all(), 0, false, true);
            let range = Range { span, revision, limit, count_only, serializable };
            caller.call(Request::One(Op::Range(range))).await;
        }
    }
}

/// Waits until a member has come to a revision.
async fn wait_for(client: &Client, revision: Revision) -> Result<()> {
    let request = RangeRequest { key: "end".into(), ..RangeRequest::default() };
    let answer = timeout(ANSWER, client.kv().range(request)).await??.into_inner();
    let now = wire::revision(answer.header.as_ref())?;
    if now < revision {
        bail!("a linearizable read shows revision {now} after {revision} was acknowledged");
    }
    Ok(())
}

async fn leases(client: &Client) -> Result<Vec<i64>> {
    let asked = client.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner();
    let mut leases: Vec<i64> = asked.leases.iter().map(|lease| lease.id).collect();
    leases.sort_unstable();
    Ok(leases)
}

async fn members(client: &Client) -> Result<Vec<MemberInfo>> {
    let request = MemberListRequest { linearizable: true };
    let list = timeout(ANSWER, client.cluster().member_list(request)).await??.into_inner();
    let mut members: Vec<MemberInfo> = list
        .members
        .into_iter()
        .map(|it| MemberInfo {
            id: it.id,
            name: it.name,
            peer_urls: it.peer_ur_ls,
            learner: it.is_learner,
        })
        .collect();
    members.sort();
    Ok(members)
}

async fn keys(client: &Client, revision: Revision) -> Result<Vec<crate::request::Kv>> {
    let (span, limit, count_only, serializable) = (Span::all(), 0, false, true);
    let request = wire::range(&Range { span, revision, limit, count_only, serializable });
    let answer = timeout(ANSWER * 4, client.kv().range(request)).await??.into_inner();
    answer.kvs.into_iter().map(wire::kv).collect()
}

/// Every event that is left up to this revision, and the first revision that is.
async fn events(
    shared: &Shared,
    id: u32,
    slot: usize,
    revision: Revision,
) -> Result<(Revision, Vec<Event>)> {
    let mut first = 1;
    loop {
        match events_from(shared, id, slot, first..=revision).await? {
            Told::All(events) => return Ok((first, events)),
            Told::Compacted(compacted) if compacted > first => first = compacted,
            // It was told so without cause, which is written down. That it tells nothing more must
            // not keep the checkers from what others tell.
            Told::Compacted(_) => return Ok((first, Vec::new())),
        }
    }
}

/// What a watch of everything came to.
enum Told {
    All(Vec<Event>),
    /// It was ended; this is the first revision that is left.
    Compacted(Revision),
}

/// Watches everything from one revision to another. A watch that is ended is written down.
async fn events_from(
    shared: &Shared,
    id: u32,
    slot: usize,
    revisions: RangeInclusive<Revision>,
) -> Result<Told> {
    let (span, start, life) = (Span::all(), *revisions.start(), shared.lives.now(slot));
    let (key, range_end) = wire::bounds(&span);
    let start_revision = start;
    let create =
        WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() };
    let (requests, receiver) = mpsc::channel(1);
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.try_send(create).expect("the channel has room");
    let (opened, mut messages) = (shared.recorder.now(), Vec::new());
    let mut calls = shared.connection(slot).watch();
    let mut answers = calls.watch(ReceiverStream::new(receiver)).await?.into_inner();
    let mut told: Vec<Event> = Vec::new();
    loop {
        let answer = answers.message().await?.context("the stream has ended")?;
        let message = wire::message(answer, shared.recorder.now())?;
        match &message.said {
            Said::Events(events) => told.extend_from_slice(events),
            Said::Canceled { reason, compacted: ..=0 } => {
                bail!("the watch of everything was canceled: {reason}");
            }
            Said::Canceled { compacted, .. } => {
                let compacted = *compacted;
                messages.push(message);
                let (client, prev_kv, chronicle, overdue) = (id, false, false, None);
                shared.recorder.stream(Stream {
                    client,
                    life: shared.lives.since(life),
                    opened,
                    span,
                    start,
                    prev_kv,
                    chronicle,
                    messages,
                    overdue,
                });
                return Ok(Told::Compacted(compacted));
            }
            Said::Created | Said::Progress => {}
        }
        messages.push(message);
        if told.last().is_some_and(|last| last.revision() >= *revisions.end()) {
            return Ok(Told::All(told));
        }
    }
}
