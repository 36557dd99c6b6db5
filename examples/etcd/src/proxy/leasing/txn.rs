//! The transactions of the protocol, in the words of clients: without the namespace.

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

use super::REVOKE;

/// As part of a transaction.
pub(super) fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// A range of one key, as part of a transaction.
pub(super) fn get(key: &Bytes) -> pb::RequestOp {
    op(Request::RequestRange(pb::RangeRequest { key: key.clone(), ..Default::default() }))
}

/// All keys there were created at `revision` at the latest; so were keys that are not there.
pub(super) fn created_by(key: Bytes, range_end: Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        key,
        range_end,
        result: CompareResult::Less.into(),
        target: CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(revision.saturating_add(1))),
    }
}

fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        key: key.clone(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

/// Creates a lease key if there is none, and `key` is there and will not go by itself. Either way
/// it tells how `key` stands, and in the latter whose the lease key is.
pub(super) fn claim(key: &Bytes, lease_key: &Bytes, lease: i64) -> pb::TxnRequest {
    let is_there = pb::Compare {
        key: key.clone(),
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Default::default()
    };
    let hangs_on_nothing = pb::Compare {
        key: key.clone(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Lease.into(),
        target_union: Some(TargetUnion::Lease(0)),
        ..Default::default()
    };
    let put = pb::PutRequest { key: lease_key.clone(), lease, ..Default::default() };
    pb::TxnRequest {
        compare: vec![created_at(lease_key, 0), is_there, hangs_on_nothing],
        success: vec![get(key), op(Request::RequestPut(put))],
        failure: vec![get(key), get(lease_key)],
    }
}

/// Deletes a key if it is still the one that was created at `created`.
pub(super) fn delete_if(key: &Bytes, created: i64) -> pb::TxnRequest {
    let delete = pb::DeleteRangeRequest { key: key.clone(), ..Default::default() };
    pb::TxnRequest {
        compare: vec![created_at(key, created)],
        success: vec![op(Request::RequestDeleteRange(delete))],
        ..Default::default()
    }
}

/// Asks the owner of a lease key, the one that was created at `created`, to give it up.
pub(super) fn revoke_if(key: &Bytes, created: i64) -> pb::TxnRequest {
    let put = pb::PutRequest {
        key: key.clone(),
        value: Bytes::from_static(REVOKE),
        // The owner knows by the lease that it is his.
        ignore_lease: true,
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![created_at(key, created)],
        success: vec![op(Request::RequestPut(put))],
        ..Default::default()
    }
}
