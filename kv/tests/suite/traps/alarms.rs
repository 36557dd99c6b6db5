//! Alarms: what a store that is full, or known to be wrong, still does.

use drystone_kv::command::{AlarmChange, AlarmKind, Command, DeleteRange, Put, Txn, TxnOp};
use drystone_kv::reply::{Alarm, AlarmReply, Reply};
use drystone_kv::{Member, Outcome, Refusal};

use crate::common::{Bench, compact, delete, grant, put, range, read, refusal, revoke};

fn change(raise: bool, member: u64, kind: AlarmKind) -> Command {
    Command::Alarm(AlarmChange { raise, member, kind })
}

fn alarms(bench: &Bench, change: &Command) -> Vec<Alarm> {
    match bench.ok(change) {
        Reply::Alarm(AlarmReply { alarms, .. }) => alarms,
        other => panic!("{other:?}"),
    }
}

/// A store with some keys and a lease, over which an alarm stands.
fn under(kind: AlarmKind) -> Bench {
    let bench = Bench::new();
    for command in [grant(7), put("a", ""), put("b", ""), put("c", ""), change(true, 1, kind)] {
        bench.ok(&command);
    }
    bench
}

fn txn(ops: Vec<TxnOp>) -> Command {
    Command::Txn(Txn { success: ops, ..Txn::default() })
}

fn voter(id: u64) -> Member {
    Member { id, peer_urls: vec![format!("http://{id}:1")], ..Member::default() }
}

fn is_full(outcome: &Outcome) -> bool {
    *outcome == Err(Refusal::NoSpace)
}

// Trap 26. What makes a full store fuller is refused, wherever in a transaction it stands, and on
// the branch that would not run too.
#[test]
fn a_full_store_refuses_puts_and_grants() {
    let bench = under(AlarmKind::NoSpace);
    let set = || TxnOp::Put(Put::new("x", ""));
    assert!(is_full(&bench.apply(&put("x", ""))));
    assert!(is_full(&bench.apply(&grant(8))));
    assert!(is_full(&bench.apply(&txn(vec![set()]))));
    let nested = TxnOp::Txn(Txn { failure: vec![set()], ..Txn::default() });
    assert!(is_full(&bench.apply(&txn(vec![nested]))));
    let other_branch = Txn { failure: vec![set()], ..Txn::default() };
    assert!(is_full(&bench.apply(&Command::Txn(other_branch))));
    assert_eq!(bench.store.refuses(true), Some(Refusal::NoSpace));
    assert_eq!(bench.store.refuses(false), None);
    assert_eq!(bench.store.revision(), 4);
}

// Trap 26. What makes room must go on working, or there is no way out.
#[test]
fn a_full_store_still_deletes_compacts_reads_and_revokes() {
    let bench = under(AlarmKind::NoSpace);
    bench.ok(&delete("a", ""));
    let ops = vec![
        TxnOp::DeleteRange(DeleteRange { range: range("b", ""), prev_kv: false }),
        TxnOp::Range(read("\0", "\0")),
    ];
    bench.ok(&txn(ops));
    bench.ok(&compact(6));
    bench.ok(&revoke(7));
    bench.sweep();
    assert_eq!(bench.range(&read("\0", "\0")).unwrap().count, 1);
}

// Trap 26. The alarm stays until an operator clears it, for each member on its own, and then all is
// as before.
#[test]
fn an_alarm_is_sticky_and_cleared_by_name() {
    let bench = under(AlarmKind::NoSpace);
    let alarm = |member| Alarm { member, kind: AlarmKind::NoSpace };
    bench.ok(&delete("\0", "\0"));
    assert!(is_full(&bench.apply(&put("x", ""))), "room alone does not clear it");
    assert_eq!(alarms(&bench, &change(true, 2, AlarmKind::NoSpace)), [alarm(2)]);
    assert_eq!(alarms(&bench, &change(true, 2, AlarmKind::NoSpace)), [alarm(2)], "raised again");
    assert_eq!(bench.store.status().alarms, [alarm(1), alarm(2)]);
    assert_eq!(alarms(&bench, &change(false, 1, AlarmKind::NoSpace)), [alarm(1)]);
    assert!(is_full(&bench.apply(&put("x", ""))), "the other member's stands");
    assert_eq!(alarms(&bench, &change(false, 2, AlarmKind::Corrupt)), [], "never raised");
    assert_eq!(alarms(&bench, &change(false, 2, AlarmKind::NoSpace)), [alarm(2)]);
    bench.ok(&put("x", ""));
    assert_eq!(bench.store.status().alarms, []);
}

// The disk's alarm is another one, so that it can go by itself and leave an operator's alone; who
// clears what he is shown as one clears both.
#[test]
fn a_full_disk_is_an_alarm_of_its_own() {
    let bench = under(AlarmKind::DiskFull);
    let alarm = |kind| Alarm { member: 1, kind };
    assert!(is_full(&bench.apply(&put("x", ""))));
    assert!(is_full(&bench.apply(&grant(8))));
    assert_eq!(bench.store.refuses(true), Some(Refusal::NoSpace));
    bench.ok(&change(true, 1, AlarmKind::NoSpace));
    let cleared = alarms(&bench, &change(false, 1, AlarmKind::DiskFull));
    assert_eq!(cleared, [alarm(AlarmKind::DiskFull)]);
    assert!(is_full(&bench.apply(&put("x", ""))), "the operator's stands");
    bench.ok(&change(true, 1, AlarmKind::DiskFull));
    let cleared = alarms(&bench, &change(false, 1, AlarmKind::NoSpace));
    assert_eq!(cleared, [alarm(AlarmKind::NoSpace), alarm(AlarmKind::DiskFull)]);
    bench.ok(&put("x", ""));
}

// Nobody would clear it: a member that was removed says nothing any more, but what it said last may
// come after that.
#[test]
fn a_full_disk_goes_with_its_member() {
    let bench = Bench::new();
    bench.ok(&Command::ClusterInit { cluster: 9, members: [1, 2].map(voter).to_vec() });
    bench.ok(&change(true, 2, AlarmKind::DiskFull));
    bench.ok(&Command::MemberRemove { id: 2 });
    assert_eq!(bench.store.status().alarms, []);
    assert_eq!(alarms(&bench, &change(true, 2, AlarmKind::DiskFull)), [], "it comes late");
    bench.ok(&put("x", ""));
}

// A store known to be wrong answers nothing that anyone could act on, until it is set right.
#[test]
fn a_corrupt_store_refuses_everything_but_alarms() {
    let bench = under(AlarmKind::Corrupt);
    let empty = Command::Txn(Txn::default());
    for command in [put("x", ""), delete("a", ""), empty, compact(2), grant(8), revoke(7)] {
        assert_eq!(bench.apply(&command), Err(Refusal::Corrupt), "{command:?}");
    }
    assert_eq!(bench.range(&read("a", "")), Err(Refusal::Corrupt));
    let read_txn = Txn { success: vec![TxnOp::Range(read("a", ""))], ..Txn::default() };
    assert_eq!(refusal(bench.store.read_txn(&read_txn)), Err(Refusal::Corrupt));
    assert_eq!(bench.store.refuses(false), Some(Refusal::Corrupt));
    bench.ok(&change(true, 3, AlarmKind::NoSpace));
    bench.ok(&change(false, 3, AlarmKind::NoSpace));
    bench.ok(&change(false, 1, AlarmKind::Corrupt));
    assert_eq!(bench.range(&read("\0", "\0")).unwrap().count, 3, "nothing was done meanwhile");
    bench.ok(&put("x", ""));
}

// One member that is wrong must not stop those who are right: they are a quorum, and each member
// can tell from what is replicated.
#[test]
fn a_quorum_goes_on_without_a_member_that_is_corrupt() {
    let bench = Bench::new();
    bench.ok(&Command::ClusterInit { cluster: 9, members: [1, 2, 3].map(voter).to_vec() });
    bench.ok(&change(true, 2, AlarmKind::Corrupt));
    bench.ok(&put("x", ""));
    assert_eq!(bench.store.refuses(false), None);
    assert!(bench.range(&read("x", "")).is_ok());
    // Two of three, or nobody knows who.
    for member in [3, 0, 77] {
        bench.ok(&change(true, member, AlarmKind::Corrupt));
        assert_eq!(bench.apply(&put("x", "")), Err(Refusal::Corrupt), "{member}");
        assert_eq!(bench.store.refuses(false), Some(Refusal::Corrupt));
        bench.ok(&change(false, member, AlarmKind::Corrupt));
        bench.ok(&put("x", ""));
    }
    // It is gone: what it had does not matter any more, but two are left, and one is no quorum.
    bench.ok(&Command::MemberRemove { id: 2 });
    bench.ok(&put("x", ""));
    bench.ok(&change(true, 3, AlarmKind::Corrupt));
    assert_eq!(bench.apply(&put("x", "")), Err(Refusal::Corrupt));
}

// A restart is no way around an alarm.
#[test]
fn alarms_survive_a_restart() {
    use drystone_kv::mem::Mem;
    use drystone_vfs::{MemVfs, Vfs};
    let vfs: std::sync::Arc<dyn Vfs> = std::sync::Arc::new(MemVfs::new());
    let open = || Bench::over(Mem::open(vfs.clone(), "data".as_ref()).unwrap());
    let bench = open();
    bench.ok(&change(true, u64::MAX, AlarmKind::NoSpace));
    bench.store.persist().unwrap();
    drop(bench);
    let bench = open();
    assert!(is_full(&bench.apply(&put("x", ""))));
    bench.ok(&change(false, u64::MAX, AlarmKind::NoSpace));
    bench.store.persist().unwrap();
    drop(bench);
    open().ok(&put("x", ""));
}
