//! Members: listed, added, promoted, moved, removed.
//!
//! A change of members is a command like any other, and its outcome is the same everywhere.
//! Whether it is wise is for the leader to say, who knows who is in touch: with strict checks, a
//! change that could cost the quorum is refused.

use std::pin::pin;
use std::time::{SystemTime, UNIX_EPOCH};

use drystone_etcd_api::etcdserverpb::{self as pb, cluster_server};
use drystone_kv::Caller;
use drystone_kv::command::Command;
use drystone_kv::members::{Cluster, Member};
use drystone_kv::runtime::GroupProgress;
use tonic::{Request, Response, Status};

use crate::auth::caller_of;
use crate::error_text;
use crate::identity::MemberId;
use crate::member::{self, Shared};
use crate::relay::relayed;

#[tonic::async_trait]
impl cluster_server::Cluster for Shared {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.linearize().await?;
        }
        let (header, members) = (self.member_header(), listed(&self.kv.cluster()));
        Ok(Response::new(pb::MemberListResponse { header, members }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        check_peer_urls(&request.peer_ur_ls)?;
        if self.config.strict_reconfig {
            self.check_may_add(request.is_learner).await?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let added = Member {
            id: MemberId::of_newcomer(&request.peer_ur_ls, now).0,
            name: String::new(),
            peer_urls: request.peer_ur_ls,
            client_urls: Vec::new(),
            is_learner: request.is_learner,
        };
        let learners_max = self.config.learners_max;
        let command = Command::MemberAdd { member: added.clone(), learners_max };
        let members = self.change_members(&caller, command).await?;
        tracing::info!(member_id = %MemberId(added.id), peer_urls = added.peer_urls.join(","),
            is_learner = added.is_learner, "added a member");
        let (header, member) = (self.member_header(), Some(message(&added)));
        Ok(Response::new(pb::MemberAddResponse { header, member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let caller = caller_of(&request);
        let id = request.into_inner().id;
        if self.config.strict_reconfig {
            self.check_may_remove(id).await?;
        }
        let members = self.change_members(&caller, Command::MemberRemove { id }).await?;
        tracing::info!(member_id = %MemberId(id), "removed a member");
        Ok(Response::new(pb::MemberRemoveResponse { header: self.member_header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let caller = caller_of(&request);
        let pb::MemberUpdateRequest { id, peer_ur_ls: peer_urls } = request.into_inner();
        check_peer_urls(&peer_urls)?;
        let update = Command::MemberUpdate { id, peer_urls };
        let members = self.change_members(&caller, update).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header: self.member_header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let caller = caller_of(&request);
        let id = request.into_inner().id;
        // What the table says is wrong with it is said first.
        let table = self.kv.cluster();
        if table.member(id).is_some_and(|member| member.is_learner)
            && !self.progress().await?.is_in_sync(id)
        {
            return Err(Status::failed_precondition(error_text::LEARNER_NOT_READY));
        }
        let members = self.change_members(&caller, Command::MemberPromote { id }).await?;
        self.metrics.promotions.add(1);
        tracing::info!(member_id = %MemberId(id), "promoted a member");
        Ok(Response::new(pb::MemberPromoteResponse { header: self.member_header(), members }))
    }
}

impl Shared {
    /// Membership has no place in the history of keys: etcd leaves the revision out.
    fn member_header(&self) -> Option<pb::ResponseHeader> {
        Some(self.header(0))
    }

    async fn change_members(
        &self,
        caller: &Caller,
        command: Command,
    ) -> Result<Vec<pb::Member>, Status> {
        let changed = relayed(pin!(self.kv.change_members_as(caller, command))).await;
        let reply = changed.map_err(|error| self.failed(&error))?;
        Ok(listed(&member::cluster_reply(reply).cluster))
    }

    async fn progress(&self) -> Result<GroupProgress, Status> {
        relayed(pin!(self.kv.progress())).await.map_err(|error| self.failed(&error))
    }

    /// Whether those who are there are a quorum beside one more voter, which may never come. A
    /// learner is looked at as what it is to become.
    async fn check_may_add(&self, is_learner: bool) -> Result<(), Status> {
        let (table, progress) = (self.kv.cluster(), self.progress().await?);
        let voters: Vec<&Member> = table.voters().collect();
        let quorum_after = voters.len().div_ceil(2) + 1;
        // A cluster of one whose member has started is always let grow.
        let is_alone = voters.len() == 1;
        let started = voters.iter().filter(|voter| !voter.name.is_empty()).count();
        if !is_learner && started < quorum_after && !(is_alone && started == 1) {
            return Err(Status::unknown(error_text::NOT_ENOUGH_STARTED));
        }
        let in_touch = voters.iter().filter(|voter| progress.is_in_touch(voter.id)).count();
        if is_alone || in_touch >= quorum_after { Ok(()) } else { Err(error_text::unhealthy()) }
    }

    /// Whether those who are left are a quorum, and in touch.
    async fn check_may_remove(&self, id: u64) -> Result<(), Status> {
        let table = self.kv.cluster();
        let Some(gone) = table.member(id) else { return Ok(()) };
        if gone.is_learner {
            return Ok(());
        }
        let progress = self.progress().await?;
        let left: Vec<&Member> = table.voters().filter(|voter| voter.id != id).collect();
        let quorum = left.len() / 2 + 1;
        let started = left.iter().filter(|voter| !voter.name.is_empty()).count();
        // One that never started may always go.
        if gone.name.is_empty() {
            return Ok(());
        }
        if started < quorum {
            return Err(Status::unknown(error_text::NOT_ENOUGH_STARTED));
        }
        let in_touch = left.iter().filter(|voter| progress.is_in_touch(voter.id)).count();
        let goes_silent = !progress.is_in_touch(id);
        if in_touch >= quorum || goes_silent { Ok(()) } else { Err(error_text::unhealthy()) }
    }
}

fn listed(cluster: &Cluster) -> Vec<pb::Member> {
    cluster.members.iter().map(message).collect()
}

fn message(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

fn check_peer_urls(urls: &[String]) -> Result<(), Status> {
    match !urls.is_empty() && urls.iter().all(|url| is_peer_url(url)) {
        true => Ok(()),
        false => Err(Status::invalid_argument(error_text::BAD_MEMBER_URLS)),
    }
}

/// Whether others could connect there: a scheme that etcd knows, a host, a port, and no path.
fn is_peer_url(url: &str) -> bool {
    match url.trim().split_once("://") {
        Some(("http" | "https", address)) => {
            let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            matches!(port, Some(Ok(_))) && !address.contains('/')
        }
        Some(("unix" | "unixs", path)) => !path.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A member with an address that nobody can reach would cost the cluster its majority.
    #[test]
    fn peer_urls_have_a_scheme_a_port_and_no_path() {
        let good = ["http://127.0.0.1:2380", "https://etcd-1:2380", "http://[::1]:1", "unix://a"];
        assert!(good.iter().all(|url| is_peer_url(url)));
        let bad = ["", "not a url", "ftp://127.0.0.1:1", "http://127.0.0.1", "http://1.2.3.4:1/p"];
        assert!(!bad.iter().any(|url| is_peer_url(url)));
        assert!(check_peer_urls(&[]).is_err());
    }
}
