//! Deletes: what counts as a change, and what comes back.

use drystone_kv::command::{Command, DeleteRange, Txn, TxnOp};
use drystone_kv::reply::{DeleteRangeReply, Reply, TxnOpReply, TxnReply};

use crate::common::{Bench, delete, put, range, read, text};

fn nothing(revision: u64) -> DeleteRangeReply {
    DeleteRangeReply { revision, deleted: 0, prev_kvs: Vec::new() }
}

// Trap 12. A janitor that deletes nothing every second must not move the clock that watchers and
// compactions run by, alone or in a transaction.
#[test]
fn a_delete_of_nothing_makes_no_revision() {
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    assert_eq!(bench.ok(&delete("x", "")), Reply::DeleteRange(nothing(2)));
    assert_eq!(bench.ok(&delete("z", "a")), Reply::DeleteRange(nothing(2)), "a reversed range");
    let op = TxnOp::DeleteRange(DeleteRange { range: range("x", ""), prev_kv: true });
    let txn = Command::Txn(Txn { success: vec![op], ..Txn::default() });
    let replies = vec![TxnOpReply::DeleteRange(nothing(2))];
    assert_eq!(bench.ok(&txn), Reply::Txn(TxnReply { revision: 2, succeeded: true, replies }));
    assert_eq!(bench.store.revision(), 2);
    bench.ok(&delete("k", ""));
    assert_eq!(bench.ok(&delete("k", "")), Reply::DeleteRange(nothing(3)), "gone already");
}

// Whoever cleans up a prefix wants to know what was there, in order.
#[test]
fn a_delete_returns_what_went_in_key_order() {
    let bench = Bench::new();
    for (key, value) in [("b", "2"), ("a", "1"), ("c", "3")] {
        bench.ok(&put(key, value));
    }
    let Reply::DeleteRange(reply) = bench.ok(&delete("a", "c")) else { unreachable!() };
    assert_eq!((reply.revision, reply.deleted), (5, 2));
    let gone: Vec<_> = reply.prev_kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect();
    assert_eq!(gone, [("a", "1"), ("b", "2")]);
    let quiet = DeleteRange { range: range("c", ""), prev_kv: false };
    let Reply::DeleteRange(reply) = bench.ok(&Command::DeleteRange(quiet)) else { unreachable!() };
    assert_eq!((reply.deleted, reply.prev_kvs.len()), (1, 0));
    assert_eq!(bench.range(&read("\0", "\0")).unwrap().count, 0);
}
