//! `--namespace`: clients have a keyspace of their own inside that of the members.
//!
//! ```text
//!   client says            members hear                 namespace "app/"
//!   k                      app/k
//!   [a, c)                 [app/a, app/c)
//!   [a, \0)  all from a    [app/a, app0)                its end is the first key behind them all
//!   [\0, \0) everything    [app/\0, app0)
//! ```
//!
//! The prefix goes in front of every key of a request, and off every key of an answer. It is what
//! etcd's `clientv3/namespace` does; beyond that, names of locks and elections get it as well. What
//! concerns the cluster as a whole (compaction, snapshots, leases as such, users) knows no
//! namespace.

use bytes::{BufMut as _, Bytes, BytesMut};
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::{Event, KeyValue};
use drystone_etcd_api::v3electionpb as election;
use drystone_etcd_api::v3lockpb as lock;
use pb::request_op::Request;
use pb::response_op::Response;
use tonic::Status;

use crate::error_text::Invalid;

/// The end of a range that has none.
const OPEN: &[u8] = b"\0";

/// What stands in front of every key; nothing, if there is no namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespace(Bytes);

impl Namespace {
    /// The namespace below `prefix`.
    pub(crate) fn new(prefix: &str) -> Namespace {
        Namespace(Bytes::copy_from_slice(prefix.as_bytes()))
    }

    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// A key as members know it.
    pub(crate) fn key(&self, key: &Bytes) -> Bytes {
        if self.is_none() {
            return key.clone();
        }
        let mut whole = BytesMut::with_capacity(self.0.len() + key.len());
        whole.put_slice(&self.0);
        whole.put_slice(key);
        whole.freeze()
    }

    /// A range as members know it.
    pub(crate) fn range(&self, key: &Bytes, end: &Bytes) -> (Bytes, Bytes) {
        let outer = match &end[..] {
            _ if self.is_none() => end.clone(),
            b"" => Bytes::new(),
            OPEN => self.behind(),
            _ => self.key(end),
        };
        (self.key(key), outer)
    }

    /// The first key that is behind all those of the namespace.
    fn behind(&self) -> Bytes {
        // clientv3 leaves the zeros there that the last bytes 255 turn into, and with them one key
        // too many is inside.
        let kept = self.0.iter().rposition(|byte| *byte != u8::MAX);
        let Some(last) = kept else { return Bytes::from_static(OPEN) };
        let mut end = BytesMut::from(&self.0[..=last]);
        end[last] += 1;
        end.freeze()
    }

    fn enter(&self, key: &mut Bytes) {
        *key = self.key(key);
    }

    fn enter_range(&self, key: &mut Bytes, end: &mut Bytes) -> Result<(), Status> {
        if key.is_empty() {
            return Err(Invalid::EmptyKey.into());
        }
        (*key, *end) = self.range(key, end);
        Ok(())
    }

    /// Takes the prefix off a key from a member.
    pub(crate) fn leave(&self, key: &mut Bytes) {
        if key.starts_with(&self.0) {
            *key = key.slice(self.0.len()..);
        }
    }

    fn leave_all<'k>(&self, kvs: impl IntoIterator<Item = &'k mut KeyValue>) {
        kvs.into_iter().for_each(|kv| self.leave(&mut kv.key));
    }
}

/// A request that has keys, which a member is to hear with their prefix.
pub(crate) trait Enter {
    /// Puts the prefix in front of the keys.
    ///
    /// # Errors
    ///
    /// If there is no key where one must be.
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status>;
}

/// An answer that has keys, which the client is to see without it.
pub(crate) trait Leave {
    /// Takes the prefix off the keys.
    fn leave(&mut self, namespace: &Namespace);
}

impl Enter for pb::RangeRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter_range(&mut self.key, &mut self.range_end)
    }
}

impl Enter for pb::PutRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter_range(&mut self.key, &mut Bytes::new())
    }
}

impl Enter for pb::DeleteRangeRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter_range(&mut self.key, &mut self.range_end)
    }
}

impl Enter for pb::TxnRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        for compare in &mut self.compare {
            namespace.enter_range(&mut compare.key, &mut compare.range_end)?;
        }
        for op in self.success.iter_mut().chain(&mut self.failure) {
            match &mut op.request {
                Some(Request::RequestRange(range)) => range.enter(namespace)?,
                Some(Request::RequestPut(put)) => put.enter(namespace)?,
                Some(Request::RequestDeleteRange(delete)) => delete.enter(namespace)?,
                Some(Request::RequestTxn(txn)) => txn.enter(namespace)?,
                // The member says what is wrong with it.
                None => {}
            }
        }
        Ok(())
    }
}

impl Leave for pb::RangeResponse {
    fn leave(&mut self, namespace: &Namespace) {
        namespace.leave_all(&mut self.kvs);
    }
}

impl Leave for pb::PutResponse {
    fn leave(&mut self, namespace: &Namespace) {
        namespace.leave_all(&mut self.prev_kv);
    }
}

impl Leave for pb::DeleteRangeResponse {
    fn leave(&mut self, namespace: &Namespace) {
        namespace.leave_all(&mut self.prev_kvs);
    }
}

impl Leave for pb::TxnResponse {
    fn leave(&mut self, namespace: &Namespace) {
        for op in &mut self.responses {
            match &mut op.response {
                Some(Response::ResponseRange(range)) => range.leave(namespace),
                Some(Response::ResponsePut(put)) => put.leave(namespace),
                Some(Response::ResponseDeleteRange(delete)) => delete.leave(namespace),
                Some(Response::ResponseTxn(txn)) => txn.leave(namespace),
                None => {}
            }
        }
    }
}

impl Leave for Event {
    fn leave(&mut self, namespace: &Namespace) {
        namespace.leave_all(self.kv.iter_mut().chain(&mut self.prev_kv));
    }
}

impl Enter for pb::LeaseTimeToLiveRequest {
    fn enter(&mut self, _: &Namespace) -> Result<(), Status> {
        Ok(())
    }
}

/// A lease may have keys of others as well: those are nobody's business here.
impl Leave for pb::LeaseTimeToLiveResponse {
    fn leave(&mut self, namespace: &Namespace) {
        self.keys.retain(|key| key.starts_with(&namespace.0));
        self.keys.iter_mut().for_each(|key| namespace.leave(key));
    }
}

impl Enter for lock::LockRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter(&mut self.name);
        Ok(())
    }
}

impl Leave for lock::LockResponse {
    fn leave(&mut self, namespace: &Namespace) {
        namespace.leave(&mut self.key);
    }
}

impl Enter for lock::UnlockRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter(&mut self.key);
        Ok(())
    }
}

impl Leave for lock::UnlockResponse {
    fn leave(&mut self, _: &Namespace) {}
}

impl Enter for election::CampaignRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter(&mut self.name);
        Ok(())
    }
}

impl Leave for election::CampaignResponse {
    fn leave(&mut self, namespace: &Namespace) {
        if let Some(leader) = &mut self.leader {
            namespace.leave(&mut leader.name);
            namespace.leave(&mut leader.key);
        }
    }
}

impl Namespace {
    fn enter_leader(&self, leader: &mut Option<election::LeaderKey>) {
        if let Some(leader) = leader {
            self.enter(&mut leader.name);
            self.enter(&mut leader.key);
        }
    }
}

impl Enter for election::ProclaimRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter_leader(&mut self.leader);
        Ok(())
    }
}

impl Leave for election::ProclaimResponse {
    fn leave(&mut self, _: &Namespace) {}
}

impl Enter for election::LeaderRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter(&mut self.name);
        Ok(())
    }
}

impl Leave for election::LeaderResponse {
    fn leave(&mut self, namespace: &Namespace) {
        namespace.leave_all(&mut self.kv);
    }
}

impl Enter for election::ResignRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        namespace.enter_leader(&mut self.leader);
        Ok(())
    }
}

impl Leave for election::ResignResponse {
    fn leave(&mut self, _: &Namespace) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &[u8], key: &[u8], end: &[u8], expected: (&[u8], &[u8])) {
        let namespace = Namespace(Bytes::copy_from_slice(prefix));
        let (key, end) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(end));
        let (outer, outer_end) = namespace.range(&key, &end);
        assert_eq!((&outer[..], &outer_end[..]), expected);
        let mut back = outer;
        namespace.leave(&mut back);
        assert_eq!(back, key, "what went in comes out");
    }

    // A range without an end must not reach the neighbours of the namespace.
    #[test]
    fn ranges_stay_inside() {
        check(b"app/", b"k", b"", (b"app/k", b""));
        check(b"app/", b"a", b"c", (b"app/a", b"app/c"));
        check(b"app/", b"\0", b"\0", (b"app/\0", b"app0"));
        check(b"a\xff", b"k", b"\0", (b"a\xffk", b"b"));
        check(b"\xff\xff", b"k", b"\0", (b"\xff\xffk", b"\0"));
        check(b"", b"k", b"\0", (b"k", b"\0"));
    }

    // The prefix alone is no key: a put of none would otherwise make one that nobody can name.
    #[test]
    fn no_key_is_refused_wherever_it_stands() {
        let namespace = Namespace::new("app/");
        let put = pb::PutRequest::default();
        let op = |request| pb::RequestOp { request: Some(request) };
        let inner = pb::TxnRequest {
            failure: vec![op(Request::RequestPut(put))],
            ..pb::TxnRequest::default()
        };
        let mut outer = pb::TxnRequest {
            success: vec![op(Request::RequestTxn(inner))],
            ..pb::TxnRequest::default()
        };
        let refused = outer.enter(&namespace).unwrap_err();
        assert_eq!(refused.message(), "etcdserver: key is not provided");
    }

    // A lease may hold keys of several namespaces.
    #[test]
    fn keys_of_others_are_not_told() {
        let keys = ["app/a", "other", "ap", "app/b"]
            .map(|key| Bytes::from_static(key.as_bytes()))
            .to_vec();
        let mut answer = pb::LeaseTimeToLiveResponse { keys, ..Default::default() };
        answer.leave(&Namespace::new("app/"));
        assert_eq!(answer.keys, ["a", "b"]);
    }
}
