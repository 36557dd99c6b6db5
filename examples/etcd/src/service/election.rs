//! Elections among clients, kept by the server.
//!
//! Who leads is whose key is the oldest in a line ([`super::contest`]); what it says of itself is
//! the key's value. A leader proves who it is with its key and the revision that made it.

use std::collections::VecDeque;
use std::pin::Pin;

use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb;
use drystone_etcd_api::v3electionpb::{self as electionpb, election_server};
use drystone_kv::key_range::KeyRange;
use futures_util::stream;
use pb::range_request::SortOrder;
use tonic::{Request, Response, Status};

use super::BoxStream;
use super::contest::{self, Changes, Desk, Place, found, get, made_at, put};
use crate::convert;
use crate::dispatch::wants_leader;
use crate::error_text;
use crate::member::Shared;
use crate::store::EventKind;

#[tonic::async_trait]
impl election_server::Election for Shared {
    async fn campaign(
        &self,
        request: Request<electionpb::CampaignRequest>,
    ) -> Result<Response<electionpb::CampaignResponse>, Status> {
        let desk = Desk::new(self, &request);
        let electionpb::CampaignRequest { name, lease, value } = request.into_inner();
        let lease = desk.session(lease).await?;
        let prefix = contest::prefix(&name);
        let key = contest::key(&prefix, lease);
        let entered = desk.txn(pb::TxnRequest {
            compare: vec![made_at(key.clone(), 0)],
            success: vec![put(key.clone(), value.clone(), lease)],
            failure: vec![get(key.clone())],
        });
        let entered = entered.await?;
        let there = if entered.succeeded { None } else { found(&entered, 0) };
        let revision = there.map_or(contest::revision(&entered), |kv| kv.create_revision);
        let place = Place::new(&desk, prefix, key.clone(), revision);
        let leader = electionpb::LeaderKey { name, key, rev: revision, lease };
        if there.is_some_and(|kv| kv.value != value) {
            proclaim(&desk, &leader, lease, value).await?;
        }
        let reached = place.reach_front().await?;
        place.stay();
        reached.ok_or_else(error_text::election_not_leader)?;
        let (header, leader) = (entered.header, Some(leader));
        Ok(Response::new(electionpb::CampaignResponse { header, leader }))
    }

    async fn proclaim(
        &self,
        request: Request<electionpb::ProclaimRequest>,
    ) -> Result<Response<electionpb::ProclaimResponse>, Status> {
        let desk = Desk::new(self, &request);
        let request = request.into_inner();
        let leader = request.leader.ok_or_else(error_text::election_no_leader_field)?;
        let lease = desk.session(leader.lease).await?;
        let header = proclaim(&desk, &leader, lease, request.value).await?;
        Ok(Response::new(electionpb::ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<electionpb::LeaderRequest>,
    ) -> Result<Response<electionpb::LeaderResponse>, Status> {
        let desk = Desk::new(self, &request);
        let prefix = contest::prefix(&request.into_inner().name);
        let read = desk.range(contest::by_age(prefix, SortOrder::Ascend)).await?;
        let kv = read.kvs.into_iter().next().ok_or_else(error_text::election_no_leader)?;
        Ok(Response::new(electionpb::LeaderResponse { header: read.header, kv: Some(kv) }))
    }

    type ObserveStream = BoxStream<electionpb::LeaderResponse>;

    async fn observe(
        &self,
        request: Request<electionpb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let leaderless: Pin<Box<dyn Future<Output = ()> + Send>> = match wants_leader(&request) {
            true => Box::pin(self.leaderless()),
            false => Box::pin(std::future::pending()),
        };
        let desk = Desk::new(self, &request);
        let prefix = contest::prefix(&request.into_inner().name);
        let observer = Observer { desk, prefix, leaderless, view: View::Look };
        let seen = stream::unfold(Some(observer), |observer| async {
            let mut observer = observer?;
            let next = observer.next().await;
            // An error is the last that is said.
            let rest = next.is_ok().then_some(observer);
            Some((next, rest))
        });
        Ok(Response::new(Box::pin(seen)))
    }

    async fn resign(
        &self,
        request: Request<electionpb::ResignRequest>,
    ) -> Result<Response<electionpb::ResignResponse>, Status> {
        let desk = Desk::new(self, &request);
        let leader = request.into_inner().leader;
        let leader = leader.ok_or_else(error_text::election_no_leader_field)?;
        desk.session(leader.lease).await?;
        let header = desk.withdraw(leader.key, leader.rev).await?.header;
        Ok(Response::new(electionpb::ResignResponse { header }))
    }
}

/// Sets what the leader says of itself, if it leads.
async fn proclaim(
    desk: &Desk,
    leader: &electionpb::LeaderKey,
    lease: i64,
    value: bytes::Bytes,
) -> Result<Option<pb::ResponseHeader>, Status> {
    let answer = desk.txn(pb::TxnRequest {
        compare: vec![made_at(leader.key.clone(), leader.rev)],
        success: vec![put(leader.key.clone(), value, lease)],
        failure: Vec::new(),
    });
    let answer = answer.await?;
    match answer.succeeded {
        true => Ok(answer.header),
        false => Err(error_text::election_not_leader()),
    }
}

/// Tells who leads, and again with every change.
struct Observer {
    desk: Desk,
    prefix: bytes::Bytes,
    /// Resolves when nobody has led the cluster for too long, if the caller wants to know.
    leaderless: Pin<Box<dyn Future<Output = ()> + Send>>,
    view: View,
}

/// What an observer knows.
enum View {
    /// Nothing: it must look who is the oldest in line.
    Look,
    /// That nobody stands in line.
    Nobody(Changes),
    /// Who leads, until that key is gone; and what it has said that is still to be told.
    Leader(Option<Changes>, VecDeque<electionpb::LeaderResponse>),
}

impl Observer {
    async fn next(&mut self) -> Result<electionpb::LeaderResponse, Status> {
        let Observer { desk, prefix, leaderless, view } = self;
        loop {
            let step = tokio::select! {
                step = view.step(desk, prefix) => step,
                () = leaderless.as_mut() => Err(error_text::no_leader()),
            };
            if let Some(seen) = step? {
                return Ok(seen);
            }
        }
    }
}

impl View {
    /// Looks once, or waits for one change; what is to be told of it.
    async fn step(
        &mut self,
        desk: &Desk,
        prefix: &bytes::Bytes,
    ) -> Result<Option<electionpb::LeaderResponse>, Status> {
        match self {
            View::Look => {
                let request = contest::by_age(prefix.clone(), SortOrder::Ascend);
                let read = desk.range(request).await?;
                let revision = read.header.as_ref().map_or(0, |header| header.revision);
                let Some(kv) = read.kvs.into_iter().next() else {
                    let all = KeyRange::prefix(prefix.clone());
                    *self = View::Nobody(desk.changes(all, revision + 1).await?);
                    return Ok(None);
                };
                *self = View::follow(desk, &kv, revision + 1).await?;
                Ok(Some(electionpb::LeaderResponse { header: read.header, kv: Some(kv) }))
            }
            View::Nobody(changes) => {
                let (_, events) = changes.next().await?;
                let mut puts = events.into_iter().filter(|event| event.kind == EventKind::Put);
                // The first who comes leads.
                let Some(first) = puts.next() else { return Ok(None) };
                let (kv, at) = (convert::key_value(first.kv.clone()), first.kv.mod_revision);
                *self = View::follow(desk, &kv, convert::signed(at) + 1).await?;
                let header = Some(desk.member.header(at));
                Ok(Some(electionpb::LeaderResponse { header, kv: Some(kv) }))
            }
            View::Leader(changes, said) => {
                if let Some(seen) = said.pop_front() {
                    return Ok(Some(seen));
                }
                let Some(open) = changes else {
                    *self = View::Look;
                    return Ok(None);
                };
                let (revision, events) = open.next().await?;
                let header = desk.member.header(u64::try_from(revision).unwrap_or(0));
                // None: what came between was compacted away.
                let ends =
                    events.is_empty() || events.iter().any(|event| event.kind == EventKind::Delete);
                let puts = events.into_iter().take_while(|event| event.kind == EventKind::Put);
                said.extend(puts.map(|event| {
                    let kv = Some(convert::key_value(event.kv));
                    electionpb::LeaderResponse { header: Some(header), kv }
                }));
                if ends {
                    *changes = None;
                }
                Ok(None)
            }
        }
    }

    async fn follow(desk: &Desk, kv: &mvccpb::KeyValue, revision: i64) -> Result<View, Status> {
        let changes = desk.changes(KeyRange::single(kv.key.clone()), revision).await?;
        Ok(View::Leader(Some(changes), VecDeque::new()))
    }
}
