//! Transactions: compares, nesting, budgets, and refusals that leave no trace.

use drystone_etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use drystone_etcd_api::etcdserverpb::request_op::Request;
use drystone_etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use super::{Wire, del, get, put, span};

const RESULTS: [CompareResult; 4] =
    [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn write(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

fn read(key: &str) -> RequestOp {
    op(Request::RequestRange(get(key)))
}

fn erase(key: &str) -> RequestOp {
    op(Request::RequestDeleteRange(del(key)))
}

fn nested(txn: TxnRequest) -> RequestOp {
    op(Request::RequestTxn(txn))
}

fn then(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..TxnRequest::default() }
}

/// A compare whose target follows from what it is compared with.
fn compare(key: &str, result: CompareResult, with: TargetUnion) -> Compare {
    let target = match &with {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: key.to_owned().into(),
        target_union: Some(with),
        ..Compare::default()
    }
}

fn value(value: &str) -> TargetUnion {
    TargetUnion::Value(value.to_owned().into())
}

/// A compare alone: only whether it held is of interest.
fn only(compare: Compare) -> TxnRequest {
    TxnRequest { compare: vec![compare], ..TxnRequest::default() }
}

/// Every target with every result, on a key that is there and on one that is not.
pub(super) async fn compares(w: &mut Wire) {
    let grant = LeaseGrantRequest { ttl: 1000, id: 77 };
    let granted = w.client.lease().lease_grant(grant).await;
    w.note("grant", granted);
    w.put("write", put("a", "m")).await;
    w.put("write again, leased", PutRequest { lease: 77, ..put("a", "m") }).await;
    let targets = [
        TargetUnion::Version(2),
        TargetUnion::CreateRevision(2),
        TargetUnion::ModRevision(3),
        TargetUnion::Lease(77),
        value("m"),
        value("a"),
        value("z"),
        value(""),
        TargetUnion::Version(0),
        TargetUnion::Version(-1),
        TargetUnion::Lease(0),
    ];
    for target in targets {
        for result in RESULTS {
            for key in ["a", "missing"] {
                let step = format!("{key}: {result:?} {target:?}");
                w.txn(&step, only(compare(key, result, target.clone()))).await;
            }
        }
    }
    let bare =
        Compare { key: "a".into(), target: CompareTarget::Value.into(), ..Compare::default() };
    w.txn("compare with nothing given, value", only(bare.clone())).await;
    let version = Compare { target: CompareTarget::Version.into(), ..bare.clone() };
    w.txn("compare with nothing given, version", only(version)).await;
    w.txn("compare without a key", only(Compare { key: "".into(), ..bare })).await;
}

/// A compare over a range holds if it holds for every key; over no key it looks at zeros.
pub(super) async fn ranges_compared(w: &mut Wire) {
    for (key, value) in [("r/1", "b"), ("r/2", "c"), ("r/3", "d"), ("r/3", "e"), ("s", "x")] {
        w.put(&format!("write {key}"), put(key, value)).await;
    }
    let over = |key: &str, end: &str, result, with| {
        only(Compare { range_end: end.to_owned().into(), ..compare(key, result, with) })
    };
    let less = CompareResult::Less;
    let equal = CompareResult::Equal;
    let greater = CompareResult::Greater;
    w.txn("all values above a", over("r/", "r0", greater, value("a"))).await;
    w.txn("all values above b", over("r/", "r0", greater, value("b"))).await;
    w.txn("all at version 1", over("r/", "r0", equal, TargetUnion::Version(1))).await;
    w.txn("all below version 3", over("r/", "r0", less, TargetUnion::Version(3))).await;
    w.txn("from a key on", over("r/3", "\0", greater, TargetUnion::ModRevision(4))).await;
    w.txn("everything", over("\0", "\0", greater, TargetUnion::CreateRevision(1))).await;
    w.txn("none there, version 0", over("n/", "n0", equal, TargetUnion::Version(0))).await;
    w.txn("none there, version 1", over("n/", "n0", equal, TargetUnion::Version(1))).await;
    w.txn("none there, value", over("n/", "n0", equal, value(""))).await;
    w.txn("reversed bounds", over("r0", "r/", equal, TargetUnion::Version(0))).await;
    let many = TxnRequest {
        compare: vec![
            compare("r/1", equal, value("b")),
            compare("r/2", equal, value("c")),
            compare("r/3", equal, value("d")),
        ],
        success: vec![read("r/1")],
        failure: vec![read("r/3")],
    };
    w.txn("the last of three fails", many).await;
}

/// Transactions in transactions: one revision, and every compare sees the state before all.
pub(super) async fn nesting(w: &mut Wire) {
    w.put("write", put("a", "old")).await;
    let inner = TxnRequest {
        compare: vec![compare("a", CompareResult::Equal, value("old"))],
        success: vec![write("in", "saw the old"), read("a")],
        failure: vec![write("in", "saw the new"), read("a")],
    };
    w.txn("inner compare, outer write", then(vec![write("a", "new"), nested(inner)])).await;
    w.range("what was written", span("\0", "\0")).await;
    let deep = then(vec![nested(then(vec![nested(then(vec![write("deep", "1"), read("deep")]))]))]);
    w.txn("three deep", deep).await;
    let reads = then(vec![nested(then(vec![read("a")])), read("deep")]);
    w.txn("nested reads", reads).await;
    w.txn("nested and empty", then(vec![nested(TxnRequest::default())])).await;
    let failing = TxnRequest {
        compare: vec![compare("a", CompareResult::Equal, value("no such"))],
        success: vec![write("never", "1")],
        failure: vec![nested(then(vec![erase("deep"), read("deep")]))],
    };
    w.txn("nested in the failure branch", failing).await;
    let siblings = then(vec![
        nested(then(vec![write("s1", "1")])),
        nested(then(vec![write("s2", "2"), erase("s1")])),
        read("s1"),
    ]);
    w.txn("siblings overlap", siblings).await;
    let siblings =
        then(vec![nested(then(vec![write("s1", "1")])), nested(then(vec![write("s2", "2")]))]);
    w.txn("siblings apart", siblings).await;
    let kept = PutRequest { prev_kv: true, ..put("s1", "3") };
    let gone = DeleteRangeRequest { prev_kv: true, ..del("s2") };
    let with_previous =
        then(vec![op(Request::RequestPut(kept)), op(Request::RequestDeleteRange(gone))]);
    w.txn("previous values", with_previous).await;
    w.range("in the end", span("\0", "\0")).await;
}

/// 128 operations a list, and what a parent used is gone for its children.
pub(super) async fn budgets(w: &mut Wire) {
    let writes = |count: usize| -> Vec<RequestOp> {
        (0..count).map(|i| write(&format!("k{i:03}"), "v")).collect()
    };
    let compares = |count: usize| -> Vec<Compare> {
        let one = compare("x", CompareResult::Equal, TargetUnion::Version(0));
        std::iter::repeat_n(one, count).collect()
    };
    w.txn("128 writes", then(writes(128))).await;
    w.txn("129 writes", then(writes(129))).await;
    let failure = TxnRequest { failure: writes(129), ..TxnRequest::default() };
    w.txn("129 in the failure branch", failure).await;
    let compared = |count| TxnRequest { compare: compares(count), ..TxnRequest::default() };
    w.txn("128 compares", compared(128)).await;
    w.txn("129 compares", compared(129)).await;
    let mut list = writes(100);
    list.push(nested(then((0..27).map(|i| write(&format!("n{i}"), "v")).collect())));
    w.txn("101 outside, 27 inside", then(list.clone())).await;
    *list.last_mut().expect("one was pushed") =
        nested(then((0..28).map(|i| write(&format!("n{i}"), "v")).collect()));
    w.txn("101 outside, 28 inside", then(list)).await;
    let mut list = writes(127);
    list.push(nested(then(vec![read("x")])));
    w.txn("128 outside, 1 inside", then(list)).await;
    w.range("how many were written", RangeRequest { count_only: true, ..span("\0", "\0") }).await;
}

/// Whatever is wrong, anywhere, refuses the whole before anything is written.
pub(super) async fn refusals(w: &mut Wire) {
    w.put("write", put("a", "1")).await;
    let within = |request: Request| then(vec![write("trace", "1"), op(request)]);
    w.txn("an empty operation", then(vec![write("trace", "1"), RequestOp { request: None }])).await;
    w.txn("a read without a key", within(Request::RequestRange(get("")))).await;
    w.txn("a write without a key", within(Request::RequestPut(put("", "v")))).await;
    w.txn("a deletion without a key", within(Request::RequestDeleteRange(del("")))).await;
    let keep = PutRequest { ignore_value: true, ..put("none", "") };
    w.txn("keep the value of no key", within(Request::RequestPut(keep))).await;
    let keep = PutRequest { ignore_lease: true, ..put("none", "v") };
    w.txn("keep the lease of no key", within(Request::RequestPut(keep))).await;
    let keep = PutRequest { ignore_value: true, ..put("a", "v") };
    w.txn("keep the value, and give one", within(Request::RequestPut(keep))).await;
    let keep = PutRequest { ignore_lease: true, lease: 5, ..put("a", "v") };
    w.txn("keep the lease, and give one", within(Request::RequestPut(keep))).await;
    let leased = PutRequest { lease: 5, ..put("b", "v") };
    w.txn("a lease that is not there", within(Request::RequestPut(leased))).await;
    let future = RangeRequest { revision: 99, ..get("a") };
    w.txn("a read of the future", within(Request::RequestRange(future))).await;
    w.txn("two writes of a key", then(vec![write("b", "1"), write("b", "2")])).await;
    w.txn("a write and its deletion", then(vec![write("b", "1"), erase("b")])).await;
    w.txn("a deletion, then a write", then(vec![erase("b"), write("b", "1")])).await;
    let wide =
        Request::RequestDeleteRange(DeleteRangeRequest { range_end: "c".into(), ..del("a") });
    w.txn("a write in a deleted range", then(vec![write("b", "1"), op(wide.clone())])).await;
    w.txn("a write at its end", then(vec![write("c", "1"), op(wide.clone())])).await;
    w.txn("two deletions overlap", then(vec![erase("b"), op(wide)])).await;
    let inner = nested(then(vec![write("b", "2")]));
    w.txn("two writes, one nested", then(vec![write("b", "1"), inner.clone()])).await;
    let either =
        TxnRequest { success: vec![inner.clone()], failure: vec![write("b", "3")], ..then(vec![]) };
    w.txn("one in each branch", either).await;
    let both = TxnRequest { failure: vec![write("b", "3")], ..then(vec![write("b", "4")]) };
    w.txn("a write, and either of two nested", then(vec![write("b", "1"), nested(both)])).await;
    let bad = nested(then(vec![op(Request::RequestRange(get("")))]));
    w.txn("something wrong inside", then(vec![write("trace", "1"), bad])).await;
    let unused = TxnRequest { failure: vec![write("", "1")], ..then(vec![write("trace", "2")]) };
    w.txn("something wrong in the other branch", unused).await;
    w.range("no trace but the last good one", span("\0", "\0")).await;
}
