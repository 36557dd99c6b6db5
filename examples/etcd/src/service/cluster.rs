//! Members: there is one, and it can be listed.
//!
//! Calls that would change that are checked as etcd checks them, since "no such member" is a true
//! answer; a call that passes the checks is not there yet.

use drystone_etcd_api::etcdserverpb::{self as pb, cluster_server};
use tonic::{Request, Response, Status};

use crate::error_text::{self, unimplemented};
use crate::member::Shared;

#[tonic::async_trait]
impl cluster_server::Cluster for Shared {
    async fn member_list(
        &self,
        _: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let member = pb::Member {
            id: self.identity.member.0,
            name: self.config.name.clone(),
            peer_ur_ls: self.config.peer_urls.clone(),
            client_ur_ls: self.config.client_urls.clone(),
            is_learner: false,
        };
        // Membership has no place in the history of keys: etcd leaves the revision out.
        let header = Some(self.header(0));
        Ok(Response::new(pb::MemberListResponse { header, members: vec![member] }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        check_peer_urls(&request.into_inner().peer_ur_ls)?;
        Err(unimplemented("MemberAdd"))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.check_is_member(request.into_inner().id)?;
        Err(unimplemented("MemberRemove"))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let request = request.into_inner();
        check_peer_urls(&request.peer_ur_ls)?;
        self.check_is_member(request.id)?;
        Err(unimplemented("MemberUpdate"))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.check_is_member(request.into_inner().id)?;
        Err(Status::failed_precondition(error_text::NOT_A_LEARNER))
    }
}

impl Shared {
    /// Whether `id` is the one member that there is.
    fn check_is_member(&self, id: u64) -> Result<(), Status> {
        match id == self.identity.member.0 {
            true => Ok(()),
            false => Err(Status::not_found(error_text::NO_SUCH_MEMBER)),
        }
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
