//! Plays steps on both servers at once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    DeleteRangeRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, WatchCreateRequest,
};
use tokio_stream::StreamExt as _;
use tonic::Status;

use super::answer::{Answer, Watched};
use super::exceptions;
use super::step::{LEASES, Step};
use crate::session::diff;
use crate::support::calls::{client_of, compact, put, revision};
use crate::support::server::Server;
use crate::support::watch::Watch;

/// How long an answer may take. Generous: machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Real etcd and ours, which have heard the same requests.
pub(super) struct Pair {
    theirs: Client,
    ours: Client,
    newest: i64,
    played: usize,
    excused: BTreeMap<&'static str, usize>,
    /// One of the two is gone: what it was asked last.
    gone: Option<String>,
}

impl Pair {
    pub(super) async fn new(theirs: &Server, ours: &Server) -> Pair {
        let (theirs, ours) = (client_of(theirs).await, client_of(ours).await);
        Pair { theirs, ours, newest: 1, played: 0, excused: BTreeMap::new(), gone: None }
    }

    /// How many requests were compared.
    pub(super) fn played(&self) -> usize {
        self.played
    }

    /// How often answers differed, by the reason why they may.
    pub(super) fn excused(&self) -> &BTreeMap<&'static str, usize> {
        &self.excused
    }

    /// Plays a case from empty stores; the error is the first difference.
    pub(super) async fn play(&mut self, steps: &[Step]) -> Result<(), String> {
        if let Some(gone) = &self.gone {
            // Nothing can be tried again.
            return Err(gone.clone());
        }
        self.make_even().await;
        let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        let everything = DeleteRangeRequest { key, range_end, prev_kv: false };
        self.step(Step::Delete(everything)).await?;
        for lease in LEASES {
            self.step(Step::Revoke(lease)).await?;
        }
        for step in steps {
            self.step(step.clone()).await?;
        }
        Ok(())
    }

    /// Brings both to one revision, and forgets what they had before: a case that failed may have
    /// changed one of them alone.
    async fn make_even(&self) {
        let (theirs, ours) = (revision(&self.theirs).await, revision(&self.ours).await);
        let newest = theirs.max(ours);
        for (client, own) in [(&self.theirs, theirs), (&self.ours, ours)] {
            for _ in own..newest {
                put(client, "even", "", 0).await;
            }
            if theirs != ours {
                compact(client, newest).await;
            }
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        let step = step.at(self.newest);
        let asked = async { tokio::join!(ask(&self.theirs, &step), ask(&self.ours, &step)) };
        let answers = tokio::time::timeout(PATIENCE, asked).await;
        let (theirs, ours) = answers.map_err(|_| format!("no answer to {step:#?}"))?;
        self.played += 1;
        let revisions = theirs.revision().max(ours.revision());
        self.newest = self.newest.max(revisions.unwrap_or(0));
        if theirs == ours {
            return Ok(());
        }
        if let Some(reason) = exceptions::reason(&step, &theirs, &ours) {
            *self.excused.entry(reason).or_default() += 1;
            return Ok(());
        }
        let lines = |answer: &Answer| -> Vec<String> {
            format!("{answer:#?}").lines().map(str::to_owned).collect()
        };
        let shown = diff(&lines(&theirs), &lines(&ours));
        let error = format!("(- etcd, + ours) to {step:#?}\n{shown}");
        if [&theirs, &ours].map(Answer::is_unavailable).contains(&true) {
            self.gone = Some(error.clone());
        }
        Err(error)
    }
}

async fn ask(client: &Client, step: &Step) -> Answer {
    let (mut kv, mut lease) = (client.kv(), client.lease());
    match step.clone() {
        Step::Range(request) => Answer::of(kv.range(request).await, Answer::Range),
        Step::Put(request) => Answer::of(kv.put(request).await, Answer::Put),
        Step::Delete(request) => Answer::of(kv.delete_range(request).await, Answer::Delete),
        Step::Txn(request) => Answer::of(kv.txn(request).await, Answer::Txn),
        Step::Compact(request) => Answer::of(kv.compact(request).await, Answer::Compact),
        Step::Grant(request) => Answer::of(lease.lease_grant(request).await, Answer::Grant),
        Step::Revoke(id) => {
            let request = LeaseRevokeRequest { id };
            Answer::of(lease.lease_revoke(request).await, Answer::Revoke)
        }
        Step::KeepAlive(id) => {
            let once = tokio_stream::once(LeaseKeepAliveRequest { id });
            let answer = async {
                let mut answers = lease.lease_keep_alive(once).await?.into_inner();
                let first = answers.next().await;
                first.unwrap_or_else(|| Err(ended())).map(tonic::Response::new)
            };
            Answer::of(answer.await, Answer::KeepAlive)
        }
        Step::TimeToLive(id) => {
            let request = LeaseTimeToLiveRequest { id, keys: true };
            Answer::of(lease.lease_time_to_live(request).await, Answer::TimeToLive)
        }
        Step::Leases => Answer::of(lease.lease_leases(LeaseLeasesRequest {}).await, Answer::Leases),
        Step::Watch(request) => {
            Answer::of(watch(client, request).await.map(tonic::Response::new), Answer::Watch)
        }
    }
}

/// Watches, and reads all that is there: up to a change that is made for the purpose. Both servers
/// are made the same changes.
async fn watch(client: &Client, request: WatchCreateRequest) -> Result<Watched, Status> {
    let last = if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key.clone() };
    let is_empty = !matches!(&request.range_end[..], b"" | b"\0") && request.range_end <= last;
    let (mut watch, created) = Watch::open(client, request.clone()).await?;
    // It begins later than anything that is done here.
    let is_ahead = created.header.as_ref().is_some_and(|it| request.start_revision > it.revision);
    let mut watched = Watched { canceled: None, events: Vec::new(), created };
    let put = PutRequest { key: last.clone(), value: "the last".into(), ..PutRequest::default() };
    client.kv().put(put).await?;
    let delete = DeleteRangeRequest { key: last.clone(), ..DeleteRangeRequest::default() };
    let deleted = client.kv().delete_range(delete).await?.into_inner();
    let end =
        deleted.header.map_or(0, |header| header.revision) - i64::from(request.filters == [1]);
    if watched.created.canceled || is_empty || is_ahead {
        return Ok(watched);
    }
    loop {
        let message = watch.message().await?;
        watched.events.extend(message.events.iter().cloned());
        let last = message.events.last().and_then(|event| event.kv.as_ref());
        if last.is_some_and(|kv| kv.mod_revision >= end) {
            return Ok(watched);
        }
        if message.canceled {
            watched.canceled = Some(message);
            return Ok(watched);
        }
    }
}

fn ended() -> Status {
    Status::unavailable("the stream has ended")
}
