//! The store's answers, made into etcd's.
//!
//! Only the outermost answer has a full header. Inside a transaction, the answer to a read, a put
//! or a delete has a header with the revision alone, and a nested transaction has an empty one.

use drystone_etcd_api::{etcdserverpb as pb, mvccpb};
use drystone_kv::reply::{DeleteRangeReply, PutReply, RangeReply, TxnOpReply, TxnReply};
use drystone_kv::types::KeyValue;

use crate::store::{Event, EventKind};

/// A revision or a count as etcd writes it. Neither can reach the top bit: a store that makes a
/// million revisions a second would need 290 000 years.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One key.
pub(crate) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: signed(kv.create_revision),
        mod_revision: signed(kv.mod_revision),
        version: signed(kv.version),
        value: kv.value,
        lease: kv.lease.0,
    }
}

/// The answer to a read.
pub(crate) fn range_response(header: pb::ResponseHeader, reply: RangeReply) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: reply.kvs.into_iter().map(key_value).collect(),
        more: reply.more,
        count: signed(reply.count),
    }
}

/// The answer to a put.
pub(crate) fn put_response(header: pb::ResponseHeader, reply: PutReply) -> pb::PutResponse {
    pb::PutResponse { header: Some(header), prev_kv: reply.prev.map(key_value) }
}

/// The answer to a delete.
pub(crate) fn delete_response(
    header: pb::ResponseHeader,
    reply: DeleteRangeReply,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: Some(header),
        deleted: signed(reply.deleted),
        prev_kvs: reply.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// The answer to a transaction.
pub(crate) fn txn_response(header: pb::ResponseHeader, reply: TxnReply) -> pb::TxnResponse {
    pb::TxnResponse {
        header: Some(header),
        succeeded: reply.succeeded,
        responses: reply.replies.into_iter().map(op_response).collect(),
    }
}

fn op_response(reply: TxnOpReply) -> pb::ResponseOp {
    use pb::response_op::Response;
    let at = |revision| pb::ResponseHeader { revision: signed(revision), ..Default::default() };
    let response = match reply {
        TxnOpReply::Range(reply) => {
            Response::ResponseRange(range_response(at(reply.revision), reply))
        }
        TxnOpReply::Put(reply) => Response::ResponsePut(put_response(at(reply.revision), reply)),
        TxnOpReply::DeleteRange(reply) => {
            Response::ResponseDeleteRange(delete_response(at(reply.revision), reply))
        }
        TxnOpReply::Txn(reply) => Response::ResponseTxn(txn_response(at(0), reply)),
    };
    pb::ResponseOp { response: Some(response) }
}

/// One change, as a watcher sees it. Of a deleted key there is the key and the revision, no more.
pub(crate) fn event(event: Event) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.kv)),
        prev_kv: event.prev.map(key_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Clients read the revision of each step from these headers, and nothing else from them.
    #[test]
    fn headers_inside_a_transaction_hold_the_revision_alone() {
        use pb::response_op::Response;
        let put = || TxnOpReply::Put(PutReply { revision: 7, prev: None });
        let nested = TxnReply { revision: 7, succeeded: true, replies: vec![put()] };
        let reply = TxnReply {
            revision: 7,
            succeeded: true,
            replies: vec![put(), TxnOpReply::Txn(nested)],
        };
        let full = pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 7, raft_term: 3 };
        let response = txn_response(full, reply);
        assert_eq!(response.header, Some(full));
        let only = |revision| Some(pb::ResponseHeader { revision, ..Default::default() });
        let [put, txn] = &response.responses[..] else { panic!("two answers") };
        let Some(Response::ResponsePut(put)) = &put.response else { panic!("a put") };
        assert_eq!(put.header, only(7));
        let Some(Response::ResponseTxn(txn)) = &txn.response else { panic!("a transaction") };
        assert_eq!(txn.header, only(0));
        assert!(matches!(
            &txn.responses[0].response,
            Some(Response::ResponsePut(put)) if put.header == only(7)
        ));
    }
}
