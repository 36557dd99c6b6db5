//! What a server answered, without what it may say as it likes.

use drystone_etcd_api::etcdserverpb::{
    CompactionResponse, DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, PutResponse, RangeResponse,
    ResponseHeader, TxnResponse, WatchResponse,
};
use drystone_etcd_api::mvccpb::Event;
use tonic::{Code, Response, Status};

/// An answer, as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    KeepAlive(LeaseKeepAliveResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    Leases(LeaseLeasesResponse),
    Watch(Watched),
    Refused(Code, String),
}

/// What a watch has told: its first answer, then events, then why it ended, if it did.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watched {
    pub(super) created: WatchResponse,
    pub(super) events: Vec<Event>,
    pub(super) canceled: Option<WatchResponse>,
}

impl Answer {
    /// The answer of a call.
    pub(super) fn of<T>(
        result: Result<Response<T>, Status>,
        of: impl FnOnce(T) -> Answer,
    ) -> Answer {
        let mut answer = match result {
            Ok(response) => of(response.into_inner()),
            Err(status) => Answer::Refused(status.code(), status.message().to_owned()),
        };
        answer.mask();
        answer
    }

    /// Whether nobody answered.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self, Answer::Refused(Code::Unavailable | Code::Unknown, _))
    }

    /// The newest revision, as far as it tells.
    pub(super) fn revision(&self) -> Option<i64> {
        let header = match self {
            Answer::Range(it) => &it.header,
            Answer::Put(it) => &it.header,
            Answer::Delete(it) => &it.header,
            Answer::Txn(it) => &it.header,
            Answer::Compact(it) => &it.header,
            Answer::Revoke(it) => &it.header,
            _ => return None,
        };
        header.as_ref().map(|header| header.revision)
    }

    /// Hides ids and terms, the order of what has none, and the time that passes.
    fn mask(&mut self) {
        match self {
            Answer::Range(it) => mask(&mut it.header),
            Answer::Put(it) => mask(&mut it.header),
            Answer::Delete(it) => mask(&mut it.header),
            Answer::Txn(it) => mask(&mut it.header),
            Answer::Compact(it) => mask(&mut it.header),
            Answer::Grant(it) => mask(&mut it.header),
            Answer::Revoke(it) => mask(&mut it.header),
            Answer::KeepAlive(it) => mask(&mut it.header),
            Answer::TimeToLive(it) => {
                mask(&mut it.header);
                it.keys.sort();
                it.ttl = it.ttl.signum();
            }
            Answer::Leases(it) => {
                mask(&mut it.header);
                it.leases.sort_by_key(|lease| lease.id);
            }
            Answer::Watch(it) => {
                mask(&mut it.created.header);
                it.canceled.iter_mut().for_each(|canceled| mask(&mut canceled.header));
            }
            Answer::Refused(..) => {}
        }
    }
}

fn mask(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
}
