//! Leases: grant, revoke, keep alive, look.
//!
//! A lease that is not there is an error to whoever revokes it, and an answer to everybody else:
//! keeping it alive says 0 seconds, looking at it says -1.

use std::pin::pin;

use drystone_etcd_api::etcdserverpb::{self as pb, lease_server};
use drystone_kv::auth::Access;
use drystone_kv::command::{Command, LeaseGrant, LeaseRevoke};
use drystone_kv::key_range::KeyRange;
use drystone_kv::types::LeaseId;
use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::BoxStream;
use crate::auth::{Asker, asker_of, caller_of};
use crate::dispatch::wants_leader;
use crate::error_text;
use crate::member::{self, Shared};
use crate::relay::relayed;

#[tonic::async_trait]
impl lease_server::Lease for Shared {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        // Short leases would die in an election.
        let ttl = request.ttl.max(self.config.lease_ttl_min());
        let id = LeaseId(if request.id == 0 { random_id() } else { request.id });
        let grant = Command::LeaseGrant(LeaseGrant { id, ttl });
        let reply = member::lease_grant_reply(self.propose(&caller, grant).await?);
        self.metrics.leases_granted.add(1);
        let ttl = u64::try_from(reply.ttl).unwrap_or(0);
        self.metrics.lease_times.observe(std::time::Duration::from_secs(ttl));
        Ok(Response::new(pb::LeaseGrantResponse {
            header: Some(self.header(reply.revision)),
            id: reply.id.0,
            ttl: reply.ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let caller = caller_of(&request);
        let id = LeaseId(request.into_inner().id);
        let revoke = Command::LeaseRevoke(LeaseRevoke { id });
        let reply = member::lease_revoke_reply(self.propose(&caller, revoke).await?);
        self.metrics.leases_revoked.add(1);
        Ok(Response::new(pb::LeaseRevokeResponse { header: Some(self.header(reply.revision)) }))
    }

    type LeaseKeepAliveStream = BoxStream<pb::LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let member = self.clone();
        let (wants_leader, asker) = (wants_leader(&request), asker_of(&request));
        let answers = request.into_inner().then(move |request| {
            let (member, asker) = (member.clone(), asker.clone());
            async move {
                let request =
                    request.map_err(|status| error_text::too_large(&status).unwrap_or(status))?;
                keep_alive(&member, &asker, request.id).await
            }
        });
        let (mut shutdown, leaderless) = (self.shutdown.clone(), self.leaderless());
        // Either the end of the stream, or why it ends.
        let end = async move {
            tokio::select! {
                () = shutdown.fired() => None,
                () = leaderless, if wants_leader => Some(Err(error_text::no_leader())),
            }
        };
        let end = stream::once(end).map(Some);
        let answers = answers.map(|answer| Some(Some(answer)));
        let all = stream::select(answers.chain(stream::once(async { Some(None) })), end);
        let all = all.scan((), |(), next| async move { next.flatten() });
        Ok(Response::new(Box::pin(all)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        let lease = relayed(pin!(self.kv.lease(LeaseId(request.id), request.keys))).await;
        let lease = lease.map_err(|error| self.failed(&error))?;
        if let Some(lease) = &lease {
            let mut keys = lease.keys.iter().cloned().map(KeyRange::single);
            self.permit(|auth| keys.try_for_each(|key| auth.permit(&caller, &key, Access::Read)))?;
        }
        let header = Some(self.header_now());
        Ok(Response::new(match lease {
            Some(lease) => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: lease.remaining,
                granted_ttl: lease.granted,
                keys: lease.keys,
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: -1,
                ..Default::default()
            },
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let caller = caller_of(&request);
        let leases = relayed(pin!(self.kv.leases())).await.map_err(|error| self.failed(&error))?;
        if self.kv.auth_epoch() != 0 {
            // Who could not see what hangs on them is not told their names.
            for lease in &leases {
                self.permit_lease(&caller, *lease, Access::Read)?;
            }
        }
        let leases = leases.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect();
        Ok(Response::new(pb::LeaseLeasesResponse { header: Some(self.header_now()), leases }))
    }
}

/// The header is taken before the renewal: what a client concludes from it was true then.
async fn keep_alive(
    member: &Shared,
    asker: &Asker,
    id: i64,
) -> Result<pb::LeaseKeepAliveResponse, Status> {
    // A stream may go on for longer than its token lives.
    let caller = member.recognise(&asker.credentials)?;
    let permitted = member.permit(|auth| auth.permit_user(&caller))?;
    member.permit_lease(&caller, LeaseId(id), Access::Write)?;
    let header = Some(member.header_now());
    let ttl = relayed(pin!(member.kv.keep_alive(LeaseId(id)))).await;
    let ttl = ttl.map_err(|error| member.failed(&error))?;
    member.still(permitted)?;
    if ttl.is_some() {
        member.metrics.leases_renewed.add(1);
    }
    Ok(pb::LeaseKeepAliveResponse { header, id, ttl: ttl.unwrap_or(0) })
}

/// A number from 1 to 2^63 - 1: clients print and parse lease ids as positive.
fn random_id() -> i64 {
    rand::random_range(1..=i64::MAX)
}
