//! One client: it calls a member, waits, and writes down what it is told.
//!
//! What a failed call means is decided here, once. A few codes say that the request was looked at
//! and not done. Anything else (a lost connection, a time-out, "leader changed") may have been sent
//! on before it failed, so its outcome is unknown.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_etcd_api::client::{Client, Config, connect_lazy};
use drystone_etcd_api::etcdserverpb::{
    CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};
use drystone_sim::Rng;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::history::{Operation, Outcome, Refusal};
use crate::lie::{Liar, Lie};
use crate::lives::Lives;
use crate::recorder::Recorder;
use crate::request::{Body, Op, OpReply, Reply, Request};
use crate::wire;

/// A client does not wait longer for an answer.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// A stale read must be so many revisions old, or it might pass for one that was under way.
const STALE_REVISIONS: i64 = 100;

/// What all clients of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) endpoints: Arc<Vec<String>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) lives: Arc<Lives>,
    pub(crate) liar: Arc<Liar>,
}

/// A client, and the member it is connected to.
#[derive(Debug)]
pub(crate) struct Caller {
    shared: Shared,
    id: u32,
    slot: usize,
    client: Client,
    /// An answer of long ago, for the lie about stale reads.
    old: Option<(Request, Reply)>,
    /// A read of a revision that has been compacted since, for the lie about these.
    past: Option<(Request, Reply)>,
}

impl Shared {
    /// A connection to a member, opened by the first call.
    pub(crate) fn connection(&self, slot: usize) -> Client {
        let config = Config { connect_timeout: Duration::from_secs(1), ..Config::default() };
        connect_lazy(&self.endpoints[slot], &config).expect("our endpoints are well formed")
    }
}

impl Caller {
    /// A client of this number, which also chooses its first member.
    pub(crate) fn new(shared: &Shared, id: u32) -> Caller {
        let slot = usize::try_from(id).expect("small") % shared.endpoints.len();
        Caller::at(shared, id, slot)
    }

    /// A client of this number, connected to this member.
    pub(crate) fn at(shared: &Shared, id: u32, slot: usize) -> Caller {
        let client = shared.connection(slot);
        Caller { shared: shared.clone(), id, slot, client, old: None, past: None }
    }

    /// What it shares with the others.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The connection itself, for what is not to be written down.
    pub(crate) fn raw(&self) -> &Client {
        &self.client
    }

    /// Goes to another member, or connects anew to the same one.
    pub(crate) fn wander(&mut self, rng: &mut Rng) {
        let members = u64::try_from(self.shared.endpoints.len()).expect("a handful");
        self.slot = usize::try_from(rng.below(members)).expect("a handful");
        self.client = self.shared.connection(self.slot);
    }

    /// Asks, waits, writes down, and says what came of it.
    pub(crate) async fn call(&mut self, request: Request) -> Outcome {
        let (recorder, before) = (&self.shared.recorder, self.shared.lives.now(self.slot));
        let called = recorder.now();
        let outcome = match self.lose(&request) {
            Some(lie) => lie,
            None => match timeout(PATIENCE, send(&self.client, &request)).await {
                Ok(Ok(reply)) => Outcome::Done(reply),
                Ok(Err(error)) => failure(&error),
                Err(_) => Outcome::Unknown("no answer in time".to_owned()),
            },
        };
        let returned = recorder.now();
        let life = self.shared.lives.since(before);
        let mut operation = Operation { client: self.id, life, called, returned, request, outcome };
        self.bend(&mut operation);
        let outcome = operation.outcome.clone();
        self.shared.recorder.operation(operation);
        outcome
    }

    /// The lie that a put was done which is never sent.
    fn lose(&self, request: &Request) -> Option<Outcome> {
        let Request::One(Op::Put { lease: 0, prev_kv: false, .. }) = request else { return None };
        let recorder = &self.shared.recorder;
        self.shared.liar.strikes(Lie::LoseWrite, recorder.now()).then(|| {
            let (revision, body) = (recorder.newest() + 1, Body::One(OpReply::Put { prev: None }));
            Outcome::Done(Reply { revision, body })
        })
    }

    /// The lies that change an answer.
    fn bend(&mut self, operation: &mut Operation) {
        self.bend_past(operation);
        let (liar, now) = (Arc::clone(&self.shared.liar), operation.returned);
        let Operation { request, outcome, life, .. } = operation;
        let Outcome::Done(reply) = outcome else { return };
        match (&mut *request, &mut reply.body) {
            (Request::One(Op::Put { lease: 0, .. }), _) if liar.strikes(Lie::DenyWrite, now) => {
                *outcome = Outcome::Refused("a lie".to_owned());
            }
            (_, Body::One(OpReply::Put { prev: Some(prev) }))
                if liar.strikes(Lie::WrongPrev, now) =>
            {
                prev.value.push('?');
            }
            (Request::One(Op::Range(range)), Body::One(OpReply::Range { kvs, .. }))
                if range.serializable
                    && !kvs.is_empty()
                    && liar.strikes(Lie::FalseSerializable, now) =>
            {
                kvs[0].version += 1;
            }
            (Request::One(Op::Range(range)), _)
                if range.revision == 0 && !range.serializable && liar.may(Lie::StaleRead) =>
            {
                self.stale(operation);
            }
            (Request::KeepAlive { .. }, Body::Lease { left: 1.., .. })
                if life.is_some() && liar.strikes(Lie::GoBack, now) =>
            {
                reply.revision /= 2;
            }
            (Request::KeepAlive { .. }, Body::Lease { left: left @ 1.., .. })
                if liar.strikes(Lie::WrongTtl, now) =>
            {
                *left += 1;
            }
            _ => {}
        }
    }

    /// The lies about reads of the past: one that can be read is refused, one that is compacted is
    /// answered, with what was right as long as it could be read.
    fn bend_past(&mut self, operation: &mut Operation) {
        let Request::One(Op::Range(range)) = &operation.request else { return };
        let (liar, now, revision) = (&self.shared.liar, operation.returned, range.revision);
        if revision == 0 {
            return;
        }
        match (&operation.outcome, &self.past) {
            (Outcome::Done(reply), None) if !range.serializable => {
                self.past = Some((operation.request.clone(), reply.clone()));
            }
            (Outcome::Done(_), _)
                if revision >= self.shared.recorder.compacted()
                    && liar.strikes(Lie::DenyPast, now) =>
            {
                operation.outcome = Outcome::Refused(Refusal::COMPACTED.to_owned());
            }
            (Outcome::Refused(why), Some((past, reply)))
                if Refusal::of(why) == Some(Refusal::Compacted)
                    && past.read_at().is_some_and(|past| past <= revision)
                    && liar.strikes(Lie::TellCompacted, now) =>
            {
                let revision = self.shared.recorder.newest();
                operation.request = past.clone();
                operation.outcome = Outcome::Done(Reply { revision, ..reply.clone() });
            }
            _ => {}
        }
    }

    /// Keeps an answer, and gives it once more when it is old enough.
    fn stale(&mut self, operation: &mut Operation) {
        let Some(reply) = operation.reply() else { return };
        let old = self.old.get_or_insert_with(|| (operation.request.clone(), reply.clone()));
        let age = reply.revision - old.1.revision;
        let liar = &self.shared.liar;
        if age >= STALE_REVISIONS && liar.strikes(Lie::StaleRead, operation.returned) {
            operation.request = old.0.clone();
            operation.outcome = Outcome::Done(old.1.clone());
        }
    }
}

async fn send(client: &Client, request: &Request) -> Result<Reply> {
    match request {
        Request::One(Op::Put { key, value, lease, prev_kv }) => {
            let request = wire::put(key, value, *lease, *prev_kv);
            wire::put_reply(client.kv().put(request).await?.into_inner())
        }
        Request::One(Op::Delete { span, prev_kv }) => {
            let request = wire::delete(span, *prev_kv);
            wire::delete_reply(client.kv().delete_range(request).await?.into_inner())
        }
        Request::One(Op::Range(range)) => {
            wire::range_reply(client.kv().range(wire::range(range)).await?.into_inner())
        }
        Request::Txn(txn) => wire::txn_reply(client.kv().txn(wire::txn(txn)).await?.into_inner()),
        Request::Compact { revision, physical } => {
            let request = CompactionRequest { revision: *revision, physical: *physical };
            let answer = client.kv().compact(request).await?.into_inner();
            let revision = wire::revision(answer.header.as_ref())?;
            Ok(Reply { revision, body: Body::Compacted })
        }
        Request::Grant { .. }
        | Request::Revoke { .. }
        | Request::KeepAlive { .. }
        | Request::TimeToLive { .. } => send_about_lease(client, request).await,
    }
}

async fn send_about_lease(client: &Client, request: &Request) -> Result<Reply> {
    let mut calls = client.lease();
    let (header, granted, left) = match *request {
        Request::Grant { lease: id, ttl } => {
            let answer = calls.lease_grant(LeaseGrantRequest { id, ttl }).await?.into_inner();
            (answer.header, answer.ttl, answer.ttl)
        }
        Request::Revoke { lease: id } => {
            let answer = calls.lease_revoke(LeaseRevokeRequest { id }).await?.into_inner();
            (answer.header, 0, 0)
        }
        Request::KeepAlive { lease: id } => {
            let once = tokio_stream::once(LeaseKeepAliveRequest { id });
            let mut answers = calls.lease_keep_alive(once).await?.into_inner();
            let answer = answers.message().await?.context("the stream has ended")?;
            (answer.header, 0, answer.ttl)
        }
        Request::TimeToLive { lease: id } => {
            let request = LeaseTimeToLiveRequest { id, keys: false };
            let answer = calls.lease_time_to_live(request).await?.into_inner();
            (answer.header, answer.granted_ttl, answer.ttl)
        }
        Request::One(_) | Request::Txn(_) | Request::Compact { .. } => {
            unreachable!("these are about keys")
        }
    };
    let revision = wire::revision(header.as_ref())?;
    Ok(Reply { revision, body: Body::Lease { granted, left } })
}

fn failure(error: &anyhow::Error) -> Outcome {
    let text = format!("{error:#}");
    let code = error.downcast_ref::<Status>().map(Status::code);
    let judged = matches!(
        code,
        Some(
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::ResourceExhausted
                | Code::Unimplemented
        )
    );
    if judged { Outcome::Refused(text) } else { Outcome::Unknown(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To take a lost answer for a failure would forbid what may have happened.
    #[test]
    fn only_a_judged_request_is_refused() {
        let outcome = |status: Status| failure(&anyhow::Error::from(status));
        let refused = outcome(Status::not_found("etcdserver: requested lease not found"));
        assert!(matches!(refused, Outcome::Refused(_)));
        for status in [Status::unavailable("etcdserver: leader changed"), Status::unknown("?")] {
            assert!(matches!(outcome(status), Outcome::Unknown(_)));
        }
        let timed_out = failure(&anyhow::anyhow!("no status at all"));
        assert!(matches!(timed_out, Outcome::Unknown(_)));
    }
}
