//! Transactions: compares, order of effects, atomicity, and what is refused before anything.

use drystone_kv::Refusal;
use drystone_kv::command::{
    Command, Compare, CompareTarget, DeleteRange, Put, RangeRequest, Relation, Txn, TxnOp,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::limits::Limits;
use drystone_kv::reply::{DeleteRangeReply, PutReply, Reply, TxnOpReply, TxnReply};
use drystone_kv::types::LeaseId;

use crate::common::{Bench, compact, dump, grant, keys, put, put_on, range, read, read_at};

fn set(key: &'static str, value: &'static str) -> TxnOp {
    TxnOp::Put(Put::new(key, value))
}

fn drop_keys(key: &'static str, end: &'static str) -> TxnOp {
    TxnOp::DeleteRange(DeleteRange { range: range(key, end), prev_kv: false })
}

fn look(request: RangeRequest) -> TxnOp {
    TxnOp::Range(request)
}

fn nest(txn: Txn) -> TxnOp {
    TxnOp::Txn(txn)
}

fn then(success: Vec<TxnOp>) -> Txn {
    Txn { success, ..Txn::default() }
}

fn compare(range: KeyRange, relation: Relation, target: CompareTarget) -> Compare {
    Compare { range, relation, target }
}

fn run(bench: &Bench, txn: Txn) -> TxnReply {
    match bench.ok(&Command::Txn(txn)) {
        Reply::Txn(reply) => reply,
        other => panic!("a transaction is answered as one: {other:?}"),
    }
}

/// Whether a compare holds on a store, asked both ways: by a command and by a read.
fn holds(bench: &Bench, compare: Compare) -> bool {
    let txn = Txn { compares: vec![compare], ..Txn::default() };
    let read = bench.store.read_txn(&txn).expect("it only compares").succeeded;
    assert_eq!(run(bench, txn).succeeded, read);
    read
}

const RELATIONS: [Relation; 4] =
    [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];

// Trap 6. "Value is not x" is how clients ask for "changed since"; of a key that is not there, etcd
// says no to every such question.
#[test]
fn a_value_compare_on_an_absent_key_never_holds() {
    let bench = Bench::new();
    bench.ok(&put("gone", "v"));
    bench.ok(&crate::common::delete("gone", ""));
    for range in [range("k", ""), range("a", "z"), range("z", "a"), range("gone", "")] {
        for relation in RELATIONS {
            for value in ["", "x"] {
                let target = CompareTarget::Value(value.into());
                assert!(!holds(&bench, compare(range.clone(), relation, target)), "{relation:?}");
            }
        }
    }
}

// Trap 7. "Version is 0" is how clients say "create, do not overwrite", of a key or a prefix.
#[test]
fn a_compare_of_nothing_compares_zeros() {
    let bench = Bench::new();
    for range in [range("k", ""), range("a", "z"), range("z", "a")] {
        for target in [
            CompareTarget::Version(0),
            CompareTarget::Create(0),
            CompareTarget::Mod(0),
            CompareTarget::Lease(LeaseId(0)),
        ] {
            assert!(holds(&bench, compare(range.clone(), Relation::Equal, target.clone())));
            assert!(!holds(&bench, compare(range.clone(), Relation::NotEqual, target.clone())));
            assert!(!holds(&bench, compare(range.clone(), Relation::Less, target)));
        }
        assert!(holds(&bench, compare(range, Relation::Greater, CompareTarget::Mod(-1))));
    }
}

// A compare of a range is a statement about every key in it.
#[test]
fn a_compare_of_a_range_holds_for_all_its_keys() {
    let bench = Bench::new();
    for key in ["a", "b", "c"] {
        bench.ok(&put(key, "v"));
    }
    let version = |n| CompareTarget::Version(n);
    assert!(holds(&bench, compare(range("a", "z"), Relation::Equal, version(1))));
    bench.ok(&put("b", "w"));
    assert!(!holds(&bench, compare(range("a", "z"), Relation::Equal, version(1))));
    assert!(holds(&bench, compare(range("a", "z"), Relation::Greater, version(0))));
    assert!(holds(&bench, compare(range("a", "b"), Relation::Equal, version(1))));
    let value = CompareTarget::Value("v".into());
    assert!(!holds(&bench, compare(range("a", "z"), Relation::NotEqual, value.clone())));
    assert!(holds(&bench, compare(range("c", "\0"), Relation::Equal, value)));
}

// Each relation of each target, against one below, the same and one above.
#[test]
fn relations_read_from_the_key_to_the_target() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    bench.ok(&put("k", "m"));
    bench.ok(&put_on("k", "m", 7));
    let targets = |off: i64| {
        let value = ["l", "m", "n"][(off + 1) as usize];
        [
            CompareTarget::Version(2 + off),
            CompareTarget::Create(2 + off),
            CompareTarget::Mod(3 + off),
            CompareTarget::Lease(LeaseId(7 + off)),
            CompareTarget::Value(value.into()),
        ]
    };
    for off in [-1, 0, 1] {
        for target in targets(off) {
            let expected = [off == 0, off != 0, off > 0, off < 0];
            for (relation, expected) in RELATIONS.into_iter().zip(expected) {
                let compare = compare(range("k", ""), relation, target.clone());
                assert_eq!(holds(&bench, compare.clone()), expected, "{compare:?}");
            }
        }
    }
}

// Trap 8. Every compare of the whole tree sees the state before the first write, or the branch that
// runs would depend on where in the request it was written down.
#[test]
fn nested_compares_see_the_state_before_any_write() {
    let bench = Bench::new();
    bench.ok(&put("k", "old"));
    let is_new = compare(range("k", ""), Relation::Equal, CompareTarget::Value("new".into()));
    let inner = Txn {
        compares: vec![is_new],
        success: vec![set("saw", "new")],
        failure: vec![set("saw", "old")],
    };
    let reply = run(&bench, then(vec![set("k", "new"), nest(inner)]));
    assert!(reply.succeeded);
    let TxnOpReply::Txn(inner) = &reply.replies[1] else { unreachable!() };
    assert!(!inner.succeeded, "the inner compare saw the put before it");
    assert_eq!(bench.range(&read("saw", "")).unwrap().kvs[0].value, "old");
}

// Trap 9. A key is set once in a revision; the check comes before any compare, in both branches.
#[test]
fn a_key_set_twice_is_refused_before_compares_are_looked_at() {
    let check = |success, failure| {
        let never = compare(range("k", ""), Relation::Less, CompareTarget::Version(0));
        let compares = vec![never];
        Limits::default().check(&Command::Txn(Txn { compares, success, failure }))
    };
    let duplicate = Err(Refusal::DuplicateKey);
    let inner = |success, failure| nest(Txn { compares: Vec::new(), success, failure });
    assert_eq!(check(vec![set("a", "1"), set("a", "2")], vec![]), duplicate);
    assert_eq!(check(vec![], vec![set("a", "1"), set("a", "2")]), duplicate);
    assert_eq!(check(vec![set("b", ""), drop_keys("a", "c")], vec![]), duplicate);
    assert_eq!(check(vec![drop_keys("a", "c"), set("b", "")], vec![]), duplicate);
    assert_eq!(check(vec![set("c", ""), drop_keys("a", "c")], vec![]), Ok(()));
    assert_eq!(check(vec![drop_keys("a", "c"), drop_keys("a", "c")], vec![]), Ok(()));
    assert_eq!(check(vec![set("a", "")], vec![set("a", "")]), Ok(()));
    assert_eq!(check(vec![inner(vec![set("a", "")], vec![set("a", "")])], vec![]), Ok(()));
    assert_eq!(check(vec![inner(vec![], vec![set("a", "")]), set("a", "")], vec![]), duplicate);
    let deep = inner(vec![inner(vec![drop_keys("a", "c")], vec![])], vec![]);
    assert_eq!(check(vec![deep, set("b", "")], vec![]), duplicate);
}

// Trap 9. etcd builds its interval of a delete "from here on" the wrong way round, so that it meets
// nothing, and clients that clear all before they write have come to rely on it (etcd 3.5.1 answers
// as is asserted here). The delete and the put then happen in the order in which they stand.
#[test]
fn a_delete_without_an_end_clashes_with_no_put() {
    let bench = Bench::new();
    bench.ok(&put("a", "old"));
    bench.ok(&put("b", "old"));
    for all in ["\0", "a"] {
        let txn = then(vec![drop_keys(all, "\0"), set("b", "new")]);
        assert_eq!(Limits::default().check_txn(&txn), Ok(()));
        run(&bench, txn);
        let left = bench.range(&read("\0", "\0")).unwrap();
        assert_eq!((keys(&left), left.kvs[0].version), (vec!["b"], 1), "a new generation");
    }
    let txn = then(vec![set("c", "new"), nest(then(vec![drop_keys("a", "\0")]))]);
    assert_eq!(Limits::default().check_txn(&txn), Ok(()));
    let TxnOpReply::Txn(nested) = &run(&bench, txn).replies[1] else { unreachable!() };
    let TxnOpReply::DeleteRange(gone) = &nested.replies[0] else { unreachable!() };
    assert_eq!(gone.deleted, 2);
    assert_eq!(bench.range(&read("\0", "\0")).unwrap().count, 0);
}

// Trap 10. The budget of operations is shared with what is nested.
#[test]
fn nested_operations_come_out_of_their_parents_budget() {
    let limits = Limits { txn_ops_max: 4, ..Limits::default() };
    let looks = |count| vec![look(read("k", "")); count];
    let check = |txn| limits.check(&Command::Txn(txn));
    assert_eq!(check(then(looks(4))), Ok(()));
    assert_eq!(check(then(looks(5))), Err(Refusal::TooManyOps));
    let with = |outer, inner| {
        let mut ops = looks(outer);
        ops.push(nest(then(looks(inner))));
        then(ops)
    };
    assert_eq!(check(with(1, 2)), Ok(()));
    assert_eq!(check(with(1, 3)), Err(Refusal::TooManyOps));
    let compares = vec![compare(range("k", ""), Relation::Equal, CompareTarget::Version(0)); 3];
    let txn = Txn { compares, ..with(0, 2) };
    assert_eq!(check(txn), Err(Refusal::TooManyOps), "the longest of the three lists is the cost");
}

// Trap 11. A transaction that cannot be done whole is not done at all: what would have been refused
// at its end must not have been written at its beginning.
#[test]
fn a_refused_transaction_leaves_no_trace() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    bench.ok(&put_on("k", "v", 7));
    bench.ok(&put("k2", "v"));
    bench.ok(&compact(3));
    let before = (dump(&*bench.store.engine()), bench.store.status());
    let keep = |key| TxnOp::Put(Put { value: None, ..Put::new(key, "") });
    let on = |lease| TxnOp::Put(Put { lease: Some(LeaseId(lease)), ..Put::new("x", "") });
    for (last, refusal) in [
        (keep("absent"), Refusal::KeyNotFound),
        (on(8), Refusal::LeaseNotFound),
        (look(read_at("k", "", 2)), Refusal::Compacted { compacted: 3 }),
        (look(read_at("k", "", 4)), Refusal::FutureRevision { newest: 3 }),
    ] {
        for last in [last.clone(), nest(then(vec![nest(then(vec![last]))]))] {
            let txn = then(vec![set("a", "1"), drop_keys("k", ""), last]);
            assert_eq!(bench.apply(&Command::Txn(txn)), Err(refusal));
        }
    }
    let mut after = (dump(&*bench.store.engine()), bench.store.status());
    // Only the position in the journal has moved.
    assert_eq!(after.1.applied, before.1.applied + 8);
    let applied = |entry: &(_, Vec<u8>, _)| entry.1 == b"applied";
    let old = before.0.iter().find(|entry| applied(entry)).expect("it is stored").clone();
    *after.0.iter_mut().find(|entry| applied(entry)).expect("it is stored") = old;
    after.1.applied = before.1.applied;
    assert_eq!(after, before);
    assert_eq!(bench.store.lease(LeaseId(7)).unwrap().keys.len(), 1);
}

// What is refused on one branch does not matter while the other runs.
#[test]
fn only_the_branch_that_runs_is_checked() {
    let bench = Bench::new();
    let failure =
        vec![look(read_at("k", "", 99)), TxnOp::Put(Put { value: None, ..Put::new("x", "") })];
    let reply = run(&bench, Txn { failure, ..then(vec![set("a", "1")]) });
    assert!(reply.succeeded);
}

// Which of two refusals a client gets must be the same on every member: that of the operation which
// stands first, as in etcd since 3.6. (3.5 looks at the puts first.)
#[test]
fn operations_are_checked_in_their_order() {
    let bench = Bench::new();
    let future = || look(read_at("k", "", 99));
    let keep = || TxnOp::Put(Put { value: None, ..Put::new("absent", "") });
    let apply = |ops| bench.apply(&Command::Txn(then(ops)));
    let refused = Err(Refusal::FutureRevision { newest: 1 });
    assert_eq!(apply(vec![future(), keep()]), refused);
    assert_eq!(apply(vec![nest(then(vec![future()])), keep()]), refused);
    assert_eq!(apply(vec![keep(), future()]), Err(Refusal::KeyNotFound));
    // Of one put, the key comes before the lease, though a put that stands alone has it reversed.
    let put = Put { value: None, lease: Some(LeaseId(9)), ..Put::new("absent", "") };
    assert_eq!(apply(vec![TxnOp::Put(put.clone())]), Err(Refusal::KeyNotFound));
    assert_eq!(bench.apply(&Command::Put(put)), Err(Refusal::LeaseNotFound));
}

// One revision for all, and each part of the answer tells the revision as it stood at that point.
#[test]
fn reads_see_the_writes_before_them_and_headers_say_so() {
    let bench = Bench::new();
    bench.ok(&put("a", "old"));
    let reply = run(
        &bench,
        then(vec![
            look(read("a", "z")),
            set("b", "new"),
            look(read("a", "z")),
            look(read_at("a", "z", 2)),
            drop_keys("a", ""),
            nest(then(vec![look(read("a", "z")), drop_keys("x", "")])),
        ]),
    );
    assert_eq!((reply.revision, reply.succeeded), (3, true));
    let range_of = |position: usize| match &reply.replies[position] {
        TxnOpReply::Range(reply) => reply.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((range_of(0).revision, keys(&range_of(0))), (2, vec!["a"]));
    assert_eq!(reply.replies[1], TxnOpReply::Put(PutReply { revision: 3, prev: None }));
    assert_eq!((range_of(2).revision, keys(&range_of(2))), (3, vec!["a", "b"]));
    assert_eq!((range_of(3).revision, keys(&range_of(3))), (3, vec!["a"]), "the past as it was");
    let deleted = DeleteRangeReply { revision: 3, deleted: 1, prev_kvs: Vec::new() };
    assert_eq!(reply.replies[4], TxnOpReply::DeleteRange(deleted));
    let TxnOpReply::Txn(nested) = &reply.replies[5] else { unreachable!() };
    assert_eq!((nested.revision, nested.succeeded), (3, true));
    let TxnOpReply::Range(inner) = &nested.replies[0] else { unreachable!() };
    assert_eq!((inner.revision, keys(inner)), (3, vec!["b"]));
}

// The present revision is no past of the transaction's own: it may be read, the next may not.
#[test]
fn a_transaction_cannot_name_its_own_revision() {
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    let txn = then(vec![set("k", "w"), look(read_at("k", "", 3))]);
    let refused = Err(Refusal::FutureRevision { newest: 2 });
    assert_eq!(bench.apply(&Command::Txn(txn)), refused);
    let reply = run(&bench, then(vec![set("k", "w"), look(read_at("k", "", 2))]));
    let TxnOpReply::Range(past) = &reply.replies[1] else { unreachable!() };
    assert_eq!(past.kvs[0].value, "v");
}

// Clients send an empty transaction to learn the revision.
#[test]
fn an_empty_transaction_succeeds_and_changes_nothing() {
    let bench = Bench::new();
    let expected = TxnReply { revision: 1, succeeded: true, replies: Vec::new() };
    assert_eq!(run(&bench, Txn::default()), expected);
    assert_eq!(bench.store.read_txn(&Txn::default()).unwrap(), expected);
}

// A read that could write has to take the journal's way; etcd counts every nested one as a write.
#[test]
fn only_reads_at_the_outermost_level_make_a_transaction_read_only() {
    let looks = || vec![look(read("k", ""))];
    assert!(Txn { failure: looks(), ..then(looks()) }.is_read_only());
    assert!(!Txn { failure: vec![set("k", "v")], ..then(looks()) }.is_read_only());
    assert!(!then(vec![nest(then(looks()))]).is_read_only());
    assert!(!then(vec![drop_keys("k", "")]).is_read_only());
}

// A key may be set and deleted again within one revision, by way of nested transactions. It then is
// gone, and was never there for anyone who reads at a revision.
#[test]
fn a_key_set_and_deleted_in_one_revision_is_gone() {
    let bench = Bench::new();
    bench.ok(&put("k", "old"));
    let ops = vec![nest(then(vec![set("k", "new")])), nest(then(vec![drop_keys("k", "")]))];
    let txn = then(ops);
    assert_eq!(Limits::default().check_txn(&txn), Ok(()));
    assert_eq!(run(&bench, txn).revision, 3);
    assert_eq!(bench.range(&read("k", "")).unwrap().count, 0);
    assert_eq!(bench.range(&read_at("k", "", 2)).unwrap().kvs[0].value, "old");
    bench.ok(&compact(3));
    bench.sweep();
    assert_eq!(bench.range(&read_at("k", "", 3)).unwrap().count, 0);
    bench.ok(&put("k", "next"));
    let kv = bench.range(&read("k", "")).unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.version), (4, 1));
}
