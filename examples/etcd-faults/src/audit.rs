//! What every member is asked at the end, when all is well and nobody writes any more.

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

use crate::caller::Shared;
use crate::history::{Audit, MemberInfo, Operation, Outcome};
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

/// Asks one member for everything up to a revision.
///
/// # Errors
/// If it does not answer, or not with what was asked for.
pub(crate) async fn audit(shared: &Shared, slot: usize, revision: Revision) -> Result<Audit> {
    let client = shared.connection(slot);
    wait_for(&client, revision).await?;
    let mut hashes = Vec::new();
    for part in (1..=HASHES).rev() {
        let at = revision - revision * (part - 1) / HASHES;
        let request = HashKvRequest { revision: at };
        let answer = timeout(ANSWER * 4, client.maintenance().hash_kv(request)).await??;
        hashes.push((at, answer.into_inner().hash));
    }
    let mut leases = leases(&client).await?;
    let now = shared.recorder.now();
    if shared.liar.strikes(Lie::LiveForever, now) {
        leases.push(1);
    }
    if slot > 0 && shared.liar.strikes(Lie::Disagree, now) {
        hashes[0].1 ^= 1;
    }
    let keys = keys(&client, revision).await?;
    let events = timeout(EVENTS, events(&client, revision)).await.context("events are late")??;
    Ok(Audit { slot, revision, members: members(&client).await?, hashes, keys, events, leases })
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

/// Every event from the first one to this revision.
async fn events(client: &Client, revision: Revision) -> Result<Vec<Event>> {
    let (key, range_end) = wire::bounds(&Span::all());
    let create =
        WatchCreateRequest { key, range_end, start_revision: 1, ..WatchCreateRequest::default() };
    let (requests, receiver) = mpsc::channel(1);
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.try_send(create).expect("the channel has room");
    let mut answers = client.watch().watch(ReceiverStream::new(receiver)).await?.into_inner();
    let mut events: Vec<Event> = Vec::new();
    loop {
        let answer = answers.message().await?.context("the stream has ended")?;
        if answer.canceled {
            bail!("the watch of everything was canceled: {}", answer.cancel_reason);
        }
        for event in answer.events {
            events.push(wire::event(event)?);
        }
        if events.last().is_some_and(|last| last.revision() >= revision) {
            return Ok(events);
        }
    }
}
