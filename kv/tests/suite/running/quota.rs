//! The quota: a store that outgrows it says so until an operator has made room.

use drystone_kv::command::{AlarmChange, AlarmKind, Put, Txn, TxnOp};
use drystone_kv::reply::Alarm;
use drystone_kv::{Command, EngineKind, Kv, Options, Refusal};

use crate::common::{compact, delete, grant, put, read as request};
use crate::running::{Machine, apply, ok, on_every_engine, options, read, sweep};

on_every_engine! {
    outgrowing_the_quota_raises_an_alarm_in_the_members_name
    a_full_store_can_be_emptied_and_used_again
    a_transaction_is_weighed_by_its_heavier_branch
    no_quota_is_no_bound
}

/// Large beside a page of any engine.
const QUOTA: u64 = 400_000;
/// More than half of it.
const HALF: usize = 240_000;
const MEMBER: u64 = 42;

fn small(machine: &Machine) -> Kv {
    let quota_bytes = Some(QUOTA);
    machine
        .try_open(Options { quota_bytes, member: MEMBER, ..options() })
        .expect("the folder is in order")
}

fn large() -> Command {
    Command::Put(Put::new("k", vec![7; 1000]))
}

/// Puts until the store is full; returns how many fitted.
fn fill(kv: &Kv) -> u64 {
    let mut puts = 0;
    loop {
        match apply(kv, large()) {
            Ok(_) => puts += 1,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::NoSpace);
                return puts;
            }
        }
    }
}

fn clear() -> Command {
    let kind = AlarmKind::NoSpace;
    Command::Alarm(AlarmChange { raise: false, member: MEMBER, kind })
}

// Trap 26. The put that would not fit is refused, and from then on every put, though it would.
fn outgrowing_the_quota_raises_an_alarm_in_the_members_name(kind: EngineKind) {
    let machine = Machine::of(kind, 1);
    let kv = small(&machine);
    let puts = fill(&kv);
    // An engine of pages has room between its records.
    assert!((230..400).contains(&puts), "{puts} puts of about a kilobyte in {QUOTA} bytes");
    // The alarm was journaled before this command, so it stands when this one is answered.
    ok(&kv, delete("x", ""));
    let alarm = Alarm { member: MEMBER, kind: AlarmKind::NoSpace };
    assert_eq!(kv.status().alarms, [alarm]);
    assert_eq!(apply(&kv, put("tiny", "")), Err(Refusal::NoSpace));
    assert_eq!(apply(&kv, grant(7)), Err(Refusal::NoSpace));
    assert_eq!(kv.revision(), puts + 1);
    // The alarm is written as well, and pages are taken whole.
    assert!(kv.status().engine.bytes_in_use <= QUOTA + QUOTA / 20);
    // It is the store's, not the process's: it stands after a restart.
    drop(kv);
    let kv = small(&machine);
    assert_eq!(kv.status().alarms, [alarm]);
    assert_eq!(apply(&kv, put("tiny", "")), Err(Refusal::NoSpace));
}

// Trap 26. The way out: compact, sweep, clear the alarm.
fn a_full_store_can_be_emptied_and_used_again(kind: EngineKind) {
    let machine = Machine::of(kind, 2);
    let kv = small(&machine);
    fill(&kv);
    ok(&kv, delete("x", ""));
    ok(&kv, clear());
    assert_eq!(apply(&kv, large()), Err(Refusal::NoSpace), "cleared too early: raised again");
    ok(&kv, compact(kv.revision()));
    ok(&kv, delete("k", ""));
    assert_eq!(kv.status().alarms.len(), 1);
    sweep(&kv);
    assert!(kv.status().engine.bytes_in_use < QUOTA / 10);
    assert_eq!(apply(&kv, put("tiny", "")), Err(Refusal::NoSpace), "sticky");
    ok(&kv, clear());
    assert!(fill(&kv) > 230);
    assert_eq!(read(&kv, &request("k", "")).expect("the disk is in order").count, 1);
}

// A transaction weighs what its heavier branch would put, nested ones counted.
fn a_transaction_is_weighed_by_its_heavier_branch(kind: EngineKind) {
    let machine = Machine::of(kind, 3);
    let kv = small(&machine);
    let half = || TxnOp::Put(Put::new("h", vec![7; HALF]));
    let nested = |ops| TxnOp::Txn(Txn { success: ops, ..Txn::default() });
    let both = Txn { success: vec![half()], failure: vec![half()], ..Txn::default() };
    ok(&kv, Command::Txn(both));
    ok(&kv, delete("h", ""));
    ok(&kv, compact(kv.revision()));
    sweep(&kv);
    let deep = Txn {
        failure: vec![nested(vec![half()]), nested(vec![TxnOp::Put(Put::new("i", vec![7; HALF]))])],
        ..Txn::default()
    };
    assert_eq!(apply(&kv, Command::Txn(deep)), Err(Refusal::NoSpace));
}

// Without a quota there is no bound.
fn no_quota_is_no_bound(kind: EngineKind) {
    let machine = Machine::of(kind, 4);
    let kv =
        machine.try_open(Options { quota_bytes: None, ..options() }).expect("the disk is in order");
    for _ in 0..800 {
        ok(&kv, large());
    }
    assert!(kv.status().engine.bytes_in_use > 2 * QUOTA);
}
