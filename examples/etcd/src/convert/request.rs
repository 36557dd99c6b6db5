//! etcd's requests, made into the store's.

use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::command::{
    Compact, Compare, CompareTarget, DeleteRange, Put, RangeRequest, Relation, RevisionBounds,
    Sort, SortBy, SortOrder, Txn, TxnOp,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::types::LeaseId;

use crate::error_text::Invalid;

/// A read.
pub(crate) fn range(request: pb::RangeRequest) -> Result<RangeRequest, Invalid> {
    if request.key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    let sort = sort(request.sort_order, request.sort_target)?;
    let bounds = RevisionBounds {
        mod_min: bound(request.min_mod_revision),
        mod_max: bound(request.max_mod_revision),
        create_min: bound(request.min_create_revision),
        create_max: bound(request.max_create_revision),
    };
    Ok(RangeRequest {
        range: KeyRange::from_etcd(request.key, request.range_end),
        revision: u64::try_from(request.revision).ok().filter(|&revision| revision > 0),
        limit: usize::try_from(request.limit).unwrap_or(0),
        sort,
        keys_only: request.keys_only,
        count_only: request.count_only,
        bounds,
    })
}

/// A put.
pub(crate) fn put(request: pb::PutRequest) -> Result<Put, Invalid> {
    if request.key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Invalid::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Invalid::LeaseProvided);
    }
    Ok(Put {
        key: request.key,
        value: (!request.ignore_value).then_some(request.value),
        lease: (!request.ignore_lease).then_some(LeaseId(request.lease)),
        prev_kv: request.prev_kv,
    })
}

/// A delete.
pub(crate) fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteRange, Invalid> {
    if request.key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    let range = KeyRange::from_etcd(request.key, request.range_end);
    Ok(DeleteRange { range, prev_kv: request.prev_kv })
}

/// A transaction of at most `ops_max` operations, nested ones counted as etcd counts them: the
/// longest of the three lists, and what is nested must fit in what is left.
pub(crate) fn txn(request: pb::TxnRequest, ops_max: usize) -> Result<Txn, Invalid> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(ops_left) = ops_max.checked_sub(ops) else { return Err(Invalid::TooManyOps) };
    let compares: Result<_, _> = request.compare.into_iter().map(compare).collect();
    let branch = |ops: Vec<pb::RequestOp>| -> Result<Vec<TxnOp>, Invalid> {
        ops.into_iter().map(|op| txn_op(op, ops_left)).collect()
    };
    Ok(Txn {
        compares: compares?,
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

/// A compaction; `None` asks for a negative revision, which is below any that was ever compacted.
pub(crate) fn compact(request: pb::CompactionRequest) -> Option<Compact> {
    u64::try_from(request.revision).ok().map(|revision| Compact { revision })
}

fn txn_op(op: pb::RequestOp, ops_left: usize) -> Result<TxnOp, Invalid> {
    use pb::request_op::Request;
    match op.request {
        Some(Request::RequestRange(request)) => range(request).map(TxnOp::Range),
        Some(Request::RequestPut(request)) => put(request).map(TxnOp::Put),
        Some(Request::RequestDeleteRange(request)) => delete_range(request).map(TxnOp::DeleteRange),
        Some(Request::RequestTxn(request)) => txn(request, ops_left).map(TxnOp::Txn),
        None => Err(Invalid::EmptyOp),
    }
}

/// The target decides what is compared, not the union's arm: where the two disagree, etcd compares
/// with zero or the empty value.
fn compare(compare: pb::Compare) -> Result<Compare, Invalid> {
    use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion as Arm};
    if compare.key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    let relation = match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => Relation::Equal,
        Ok(CompareResult::Greater) => Relation::Greater,
        Ok(CompareResult::Less) => Relation::Less,
        Ok(CompareResult::NotEqual) => Relation::NotEqual,
        Err(_) => Relation::Any,
    };
    let target = match (Target::try_from(compare.target), compare.target_union) {
        (Ok(Target::Version), Some(Arm::Version(version))) => CompareTarget::Version(version),
        (Ok(Target::Version), _) => CompareTarget::Version(0),
        (Ok(Target::Create), Some(Arm::CreateRevision(at))) => CompareTarget::Create(at),
        (Ok(Target::Create), _) => CompareTarget::Create(0),
        (Ok(Target::Mod), Some(Arm::ModRevision(at))) => CompareTarget::Mod(at),
        (Ok(Target::Mod), _) => CompareTarget::Mod(0),
        (Ok(Target::Value), Some(Arm::Value(value))) => CompareTarget::Value(value),
        (Ok(Target::Value), _) => CompareTarget::Value(bytes::Bytes::new()),
        (Ok(Target::Lease), Some(Arm::Lease(id))) => CompareTarget::Lease(LeaseId(id)),
        (Ok(Target::Lease), _) => CompareTarget::Lease(LeaseId::NONE),
        (Err(_), _) => CompareTarget::Unknown,
    };
    Ok(Compare { range: KeyRange::from_etcd(compare.key, compare.range_end), relation, target })
}

/// A target other than the key sorts even where no order is given; by key, ascending is native.
fn sort(order: i32, target: i32) -> Result<Option<Sort>, Invalid> {
    use pb::range_request::{SortOrder as Order, SortTarget as Target};
    let order = Order::try_from(order).map_err(|_| Invalid::SortOption)?;
    let by = match Target::try_from(target).map_err(|_| Invalid::SortOption)? {
        Target::Key => SortBy::Key,
        Target::Version => SortBy::Version,
        Target::Create => SortBy::Create,
        Target::Mod => SortBy::Mod,
        Target::Value => SortBy::Value,
    };
    Ok(match (order, by) {
        (Order::None | Order::Ascend, SortBy::Key) => None,
        (Order::None, _) => Some(Sort { by, order: SortOrder::AscendAfterLimit }),
        (Order::Ascend, _) => Some(Sort { by, order: SortOrder::Ascend }),
        (Order::Descend, _) => Some(Sort { by, order: SortOrder::Descend }),
    })
}

/// Zero is no bound. A negative one is one: as a minimum it keeps everything, as a maximum nothing,
/// and a limit counts what it has kept, not what was there before.
fn bound(revision: i64) -> Option<u64> {
    (revision != 0).then(|| u64::try_from(revision).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn range_of(key: &'static str) -> pb::RangeRequest {
        pb::RangeRequest { key: Bytes::from_static(key.as_bytes()), ..Default::default() }
    }

    fn op(request: pb::request_op::Request) -> pb::RequestOp {
        pb::RequestOp { request: Some(request) }
    }

    // Zero and below mean "newest" and "no limit"; clients send -1 for both.
    #[test]
    fn sentinels_become_none() {
        for number in [0, -1, i64::MIN] {
            let request =
                range(pb::RangeRequest { revision: number, limit: number, ..range_of("k") })
                    .unwrap();
            assert_eq!((request.revision, request.limit), (None, 0));
        }
        let request = range(pb::RangeRequest { revision: 7, limit: 9, ..range_of("k") }).unwrap();
        assert_eq!((request.revision, request.limit), (Some(7), 9));
    }

    // A negative maximum keeps nothing, a negative minimum everything; but it is one, and of a
    // range with bounds a limit cuts what was sorted, not what is to be.
    #[test]
    fn negative_revision_bounds_keep_their_meaning() {
        let request =
            pb::RangeRequest { min_mod_revision: -5, max_create_revision: -5, ..range_of("k") };
        let bounds = range(request).unwrap().bounds;
        assert_eq!(bounds.mod_min, Some(0));
        assert!(!bounds.keep(2, 2));
        let request = pb::RangeRequest { min_create_revision: -1, ..range_of("k") };
        let bounds = range(request).unwrap().bounds;
        assert!(bounds.keep(2, 2) && !bounds.is_open());
        assert!(range(range_of("k")).unwrap().bounds.is_open());
    }

    // etcd's trap 3: a target without an order sorts ascending, and what a limit cut first; key
    // order needs no sort at all.
    #[test]
    fn sort_defaults_are_etcds() {
        let by_mod = |order| Some(Sort { by: SortBy::Mod, order });
        assert_eq!(sort(0, 0), Ok(None));
        assert_eq!(sort(1, 0), Ok(None));
        assert_eq!(sort(2, 0), Ok(Some(Sort { by: SortBy::Key, order: SortOrder::Descend })));
        assert_eq!(sort(0, 3), Ok(by_mod(SortOrder::AscendAfterLimit)));
        assert_eq!(sort(1, 3), Ok(by_mod(SortOrder::Ascend)));
        assert_eq!(sort(2, 3), Ok(by_mod(SortOrder::Descend)));
        for (order, target) in [(3, 0), (0, 5), (-1, 0), (0, -1)] {
            assert_eq!(sort(order, target), Err(Invalid::SortOption));
        }
    }

    // The key is asked for before anything else; a client fixes one thing at a time.
    #[test]
    fn checks_come_in_etcds_order() {
        let bad = pb::RangeRequest { sort_order: 9, ..Default::default() };
        assert_eq!(range(bad), Err(Invalid::EmptyKey));
        let mut request = pb::PutRequest {
            value: "v".into(),
            ignore_value: true,
            lease: 1,
            ignore_lease: true,
            ..Default::default()
        };
        assert_eq!(put(request.clone()), Err(Invalid::EmptyKey));
        request.key = "k".into();
        assert_eq!(put(request.clone()), Err(Invalid::ValueProvided));
        request.value = Bytes::new();
        assert_eq!(put(request.clone()), Err(Invalid::LeaseProvided));
        request.lease = 0;
        let put = put(request).unwrap();
        assert_eq!((put.value, put.lease), (None, None));
    }

    // etcd counts operations before it looks at any of them.
    #[test]
    fn operations_are_counted_first_and_nested_ones_have_the_rest() {
        use pb::request_op::Request;
        let reads = |count: usize| vec![op(Request::RequestRange(range_of("k"))); count];
        let list = |success| pb::TxnRequest { success, ..Default::default() };
        assert!(txn(list(reads(128)), 128).is_ok());
        let bad = vec![pb::RequestOp { request: None }; 129];
        assert_eq!(txn(list(bad), 128), Err(Invalid::TooManyOps));
        let nest = |outer: usize, inner: usize| {
            let mut ops = reads(outer - 1);
            ops.push(op(Request::RequestTxn(list(reads(inner)))));
            txn(list(ops), 128)
        };
        assert!(nest(100, 28).is_ok());
        assert_eq!(nest(100, 29), Err(Invalid::TooManyOps));
        let empty = vec![pb::RequestOp { request: None }];
        assert_eq!(txn(list(empty), 128), Err(Invalid::EmptyOp));
    }

    // A client that names a target and fills another arm compares with zero, not with its number.
    #[test]
    fn target_rules_over_the_union() {
        use pb::compare::TargetUnion;
        let of = |result, target, target_union| {
            compare(pb::Compare {
                result,
                target,
                key: "k".into(),
                target_union: Some(target_union),
                ..Default::default()
            })
            .unwrap()
        };
        let version = of(0, 0, TargetUnion::Version(4));
        assert_eq!(
            (version.relation, version.target),
            (Relation::Equal, CompareTarget::Version(4))
        );
        assert_eq!(of(0, 2, TargetUnion::Version(4)).target, CompareTarget::Mod(0));
        let unknown = of(9, 9, TargetUnion::Version(4));
        assert_eq!((unknown.relation, unknown.target), (Relation::Any, CompareTarget::Unknown));
    }
}
