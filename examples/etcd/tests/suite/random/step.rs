//! What may be asked: the steps of a case, and how they are made of random bytes.
//!
//! Zeros make the simplest step of all, so what shrinks the bytes shrinks the step.
//!
//! The world is small, so that requests meet: a dozen keys, five leases, revisions around the
//! newest. A revision is drawn relative to the newest one, for nobody knows that one before a case
//! is played.
//!
//! Not asked: a number that names no target of a sort, which ends etcd 3.4 with a panic, leases so
//! short that they could end in the middle, at a time of their own on each server, a watch from a
//! negative revision, where older etcd shows history or misses what is changed next, as it comes
//! (3.6 and ours refuse it), and what [`tame`] takes out of transactions.

use super::draw::Draw;
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, WatchCreateRequest, compare::TargetUnion, request_op::Request,
};

/// Leases that are granted; one more is only asked for.
pub(super) const LEASES: std::ops::RangeInclusive<i64> = 1..=5;
const NO_LEASE: i64 = 99;

/// In their order.
const KEYS: &[&[u8]] =
    &[b"\0", b"a", b"aa", b"ab", b"b", b"b\0", b"c", b"ca", b"d", b"e/1", b"\xff", b"\xff\xff"];
/// Up to so many keys etcd keeps the order of equals when it sorts; of more, older Go does not.
const SORTED_MAX: i64 = 6;

/// Revisions in a request are drawn around this and shifted to where the newest one is.
const NEWEST: i64 = 1 << 40;

/// One request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(i64),
    KeepAlive(i64),
    TimeToLive(i64),
    Leases,
    /// A watch from some revision on, read to the newest.
    Watch(WatchCreateRequest),
}

impl Step {
    /// The step that some bytes make.
    pub(super) fn of(bytes: &[u8]) -> Step {
        let mut draw = Draw::new(bytes);
        let draw = &mut draw;
        match draw.below(40) {
            0..10 => Step::Put(put(draw)),
            10..20 => Step::Range(range(draw)),
            20..25 => Step::Delete(delete(draw)),
            25..33 => Step::Txn(tame(txn(draw, 2))),
            33 => {
                let (revision, physical) = (revision(draw), draw.chance(30));
                Step::Compact(CompactionRequest { revision, physical })
            }
            34 | 35 => Step::Grant(LeaseGrantRequest { id: lease(draw), ttl: ttl(draw) }),
            36 => Step::Revoke(lease(draw)),
            37 => Step::KeepAlive(lease(draw)),
            38 => match draw.chance(30) {
                true => Step::Leases,
                false => Step::TimeToLive(lease(draw)),
            },
            // etcd looks for watches that read history ten times a second.
            _ if draw.chance(50) => Step::Watch(watch(draw)),
            _ => Step::Range(range(draw)),
        }
    }

    /// The same with revisions where `newest` is the newest one.
    pub(super) fn at(mut self, newest: i64) -> Step {
        match &mut self {
            Step::Range(range) => shift_range(range, newest),
            Step::Txn(txn) => shift_txn(txn, newest),
            Step::Compact(compact) => shift(&mut compact.revision, newest),
            Step::Watch(watch) => shift(&mut watch.start_revision, newest),
            _ => {}
        }
        self
    }
}

fn shift(revision: &mut i64, newest: i64) {
    if *revision > NEWEST / 2 {
        // Below the first revision there is nothing, and 0 has a meaning of its own.
        *revision = (*revision - NEWEST + newest).max(1);
    }
}

fn shift_range(range: &mut RangeRequest, newest: i64) {
    let bounds = [
        &mut range.revision,
        &mut range.min_mod_revision,
        &mut range.max_mod_revision,
        &mut range.min_create_revision,
        &mut range.max_create_revision,
    ];
    bounds.into_iter().for_each(|bound| shift(bound, newest));
}

fn shift_txn(txn: &mut TxnRequest, newest: i64) {
    for compare in &mut txn.compare {
        if let Some(TargetUnion::CreateRevision(to) | TargetUnion::ModRevision(to)) =
            &mut compare.target_union
        {
            shift(to, newest);
        }
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestRange(range)) => shift_range(range, newest),
            Some(Request::RequestTxn(nested)) => shift_txn(nested, newest),
            _ => {}
        }
    }
}

fn key(draw: &mut Draw<'_>) -> Bytes {
    match draw.chance(3) {
        true => Bytes::new(),
        false => Bytes::from_static(draw.of(KEYS)),
    }
}

/// The end of a range: mostly there is none, and some are before the start.
fn end(draw: &mut Draw<'_>) -> Bytes {
    match draw.below(12) {
        0..6 => Bytes::new(),
        6 | 7 => Bytes::from_static(b"\0"),
        _ => key(draw),
    }
}

fn value(draw: &mut Draw<'_>) -> Bytes {
    match draw.below(8) {
        0..6 => format!("v{}", draw.below(6)).into(),
        6 => Bytes::new(),
        _ => (0..draw.below(20)).map(|_| draw.byte()).collect(),
    }
}

fn lease(draw: &mut Draw<'_>) -> i64 {
    match draw.below(14) {
        0 => NO_LEASE,
        1 => -3,
        _ => LEASES.start() + draw.below(5),
    }
}

fn ttl(draw: &mut Draw<'_>) -> i64 {
    match draw.below(10) {
        8 => 9_000_000_000,
        9 => 9_000_000_001,
        more => 1_000 + more,
    }
}

/// A revision, mostly one of the last ones; none at times, and one that is not there yet.
fn revision(draw: &mut Draw<'_>) -> i64 {
    match draw.below(12) {
        0..8 => NEWEST - draw.below(60),
        8 => 0,
        9 => -1,
        10 => 1,
        _ => NEWEST + 1 + draw.below(2),
    }
}

/// A revision where there is mostly none.
fn seldom_revision(draw: &mut Draw<'_>, percent: u8) -> i64 {
    if draw.chance(percent) { revision(draw) } else { 0 }
}

/// A range of few keys.
fn few_keys(draw: &mut Draw<'_>) -> (Bytes, Bytes) {
    let start = draw.below(i64::try_from(KEYS.len()).expect("a dozen"));
    let end = start + 1 + draw.below(SORTED_MAX);
    let at = |place: i64| KEYS.get(usize::try_from(place).expect("from 0")).copied();
    let key = at(start).expect("it is below their number");
    (Bytes::from_static(key), Bytes::from_static(at(end).unwrap_or(b"\0")))
}

fn range(draw: &mut Draw<'_>) -> RangeRequest {
    let is_sorted = draw.chance(30);
    let below = |draw: &mut Draw<'_>, max| if is_sorted { draw.number(max) } else { 0 };
    let (sort_order, sort_target) = (below(draw, 3), below(draw, 5));
    let by_key = sort_target == 0;
    let (key, range_end) = if by_key { (key(draw), end(draw)) } else { few_keys(draw) };
    RangeRequest {
        key,
        range_end,
        revision: seldom_revision(draw, 35),
        limit: draw.of(&[0, 0, 1, 2, 3, 4, -1]),
        sort_order,
        sort_target,
        serializable: draw.chance(30),
        keys_only: draw.chance(30),
        count_only: draw.chance(15),
        min_mod_revision: seldom_revision(draw, 15),
        max_mod_revision: seldom_revision(draw, 15),
        min_create_revision: seldom_revision(draw, 15),
        max_create_revision: seldom_revision(draw, 15),
    }
}

fn put(draw: &mut Draw<'_>) -> PutRequest {
    let (ignore_value, ignore_lease) = (draw.chance(8), draw.chance(8));
    // Half of those that keep what is there name none, as they should.
    let is_right = draw.chance(50);
    PutRequest {
        key: key(draw),
        value: if ignore_value && is_right { Bytes::new() } else { value(draw) },
        lease: if draw.chance(60) || ignore_lease && is_right { 0 } else { lease(draw) },
        prev_kv: draw.chance(30),
        ignore_value,
        ignore_lease,
    }
}

fn delete(draw: &mut Draw<'_>) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key(draw), range_end: end(draw), prev_kv: draw.chance(30) }
}

/// A condition whose target belongs to its operand, but seldom any other.
fn compare(draw: &mut Draw<'_>) -> Compare {
    let (target, target_union) = match draw.below(15) {
        0..4 => (0, Some(TargetUnion::Version(draw.below(4)))),
        4 | 5 => (1, Some(TargetUnion::CreateRevision(revision(draw)))),
        6 | 7 => (2, Some(TargetUnion::ModRevision(revision(draw)))),
        8..12 => (3, Some(TargetUnion::Value(value(draw)))),
        12 | 13 => (4, Some(TargetUnion::Lease(lease(draw)))),
        _ => (draw.number(5), None),
    };
    let target = if draw.chance(10) { draw.number(5) } else { target };
    let result = draw.number(4);
    Compare { result, target, key: key(draw), target_union, range_end: end(draw) }
}

/// A transaction, with others inside it so many levels deep.
fn txn(draw: &mut Draw<'_>, depth: u32) -> TxnRequest {
    let compare = (0..draw.below(3)).map(|_| compare(draw)).collect();
    let mut ops = || (0..draw.below(4)).map(|_| op(draw, depth)).collect();
    TxnRequest { compare, success: ops(), failure: ops() }
}

/// The same without what ends etcd with a panic, and without what is answered otherwise.
fn tame(mut txn: TxnRequest) -> TxnRequest {
    let mut has_endless = false;
    each_op(&mut txn, &mut |op| {
        has_endless |= matches!(op, Request::RequestDeleteRange(it) if it.range_end[..] == *b"\0");
    });
    each_op(&mut txn, &mut |op| match op {
        // A put that keeps what a delete before it took away: etcd looks for such pairs, but not
        // where the range has no end.
        Request::RequestPut(put) if has_endless => {
            (put.ignore_value, put.ignore_lease) = (false, false);
        }
        // Inside a transaction etcd takes a negative revision for a compacted one once there is
        // any; here it is the newest, as outside of one.
        Request::RequestRange(range) => range.revision = range.revision.max(0),
        _ => {}
    });
    txn
}

/// Calls `see` with each operation that is not a transaction.
fn each_op(txn: &mut TxnRequest, see: &mut impl FnMut(&mut Request)) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestTxn(nested)) => each_op(nested, see),
            Some(request) => see(request),
            None => {}
        }
    }
}

fn op(draw: &mut Draw<'_>, depth: u32) -> RequestOp {
    let request = match draw.below(13) {
        0..5 => Request::RequestPut(put(draw)),
        5..9 => Request::RequestRange(range(draw)),
        12 if depth > 0 => Request::RequestTxn(txn(draw, depth - 1)),
        _ => Request::RequestDeleteRange(delete(draw)),
    };
    RequestOp { request: Some(request) }
}

fn watch(draw: &mut Draw<'_>) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key(draw),
        range_end: end(draw),
        start_revision: revision(draw).max(0),
        filters: draw.of::<&[i32]>(&[&[], &[], &[0], &[1]]).to_vec(),
        prev_kv: draw.chance(30),
        fragment: draw.chance(30),
        ..WatchCreateRequest::default()
    }
}
