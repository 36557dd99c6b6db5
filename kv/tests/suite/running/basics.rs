//! Proposing and being answered.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use drystone_kv::command::{Put, Txn, TxnOp};
use drystone_kv::limits::Limits;
use drystone_kv::reply::{PutReply, Reply};
use drystone_kv::{Command, Error, Kv, Options, Proposal, Refusal};
use drystone_vfs::{MemVfs, SimClock};

use crate::common::{compact, delete, put, read as request};
use crate::running::gated::{self, Gate};
use crate::running::{Machine, apply, ok, open, options, read, sweep};

/// A store on a disk that can be stopped.
fn gated(options: Options) -> (Kv, Arc<Gate>) {
    let (disk, gate) = gated::gated(Arc::new(MemVfs::new()), "journal");
    let kv = open(Arc::new(disk), Arc::new(SimClock::new()), options).expect("a fresh folder");
    (kv, gate)
}

fn is_answered(proposal: &mut Proposal) -> bool {
    pin!(proposal).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

// The plainest round: asked, answered, visible, and refused with an answer too.
#[test]
fn a_command_is_answered_and_visible() {
    let kv = Machine::new(1).open();
    assert_eq!(ok(&kv, put("k", "v")), Reply::Put(PutReply { revision: 2, prev: None }));
    assert_eq!(read(&kv, &request("k", "")).unwrap().kvs[0].value, "v");
    assert_eq!(apply(&kv, compact(9)), Err(Refusal::FutureRevision { newest: 2 }));
    assert_eq!(
        (kv.revision(), kv.status().applied),
        (2, 2),
        "a refusal has its place in the journal"
    );
    let txn = Txn { success: vec![TxnOp::Range(request("k", ""))], ..Txn::default() };
    assert!(kv.read_txn(&txn).unwrap().succeeded);
    assert_eq!(kv.status().applied, 2, "a read has not");
}

// A client that waited for its answer must find its write, however many write and read at once.
#[test]
fn what_was_answered_is_seen_by_every_read_that_starts_after() {
    let kv = Machine::new(2).open();
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let kv = &kv;
            scope.spawn(move || {
                for n in 0..100 {
                    let value = format!("{n}");
                    for key in [name, "shared"] {
                        let Reply::Put(reply) = ok(kv, Command::Put(Put::new(key, value.clone())))
                        else {
                            unreachable!()
                        };
                        let seen = read(kv, &request(key, "")).unwrap();
                        assert!(reply.revision <= seen.revision);
                        assert!(reply.revision <= seen.kvs[0].mod_revision);
                        assert!(key == "shared" || seen.kvs[0].value == value);
                    }
                }
            });
        }
    });
    assert_eq!(kv.revision(), 1 + 4 * 200);
    assert_eq!(read(&kv, &request("shared", "")).unwrap().kvs[0].version, 400);
}

// A reader who acted on a write that a power cut then took back would act on a lie.
#[test]
fn nothing_is_answered_or_visible_before_it_is_durable() {
    let (kv, gate) = gated(options());
    ok(&kv, put("k", "old"));
    gate.set(true);
    let mut first = kv.propose(put("k", "new"));
    let mut second = kv.propose(delete("k", ""));
    for _ in 0..50 {
        thread::yield_now();
        assert!(!is_answered(&mut first) && !is_answered(&mut second));
        let seen = read(&kv, &request("k", "")).unwrap();
        assert_eq!((seen.revision, &seen.kvs[0].value[..]), (2, &b"old"[..]));
    }
    assert_eq!(kv.proposals_pending(), 2);
    gate.set(false);
    assert_eq!(first.wait().unwrap(), Reply::Put(PutReply { revision: 3, prev: None }));
    second.wait().unwrap();
    assert_eq!(read(&kv, &request("k", "")).unwrap().count, 0);
    assert_eq!(kv.proposals_pending(), 0);
}

// Answers come in the order of the proposals, one revision after the other.
#[test]
fn commands_take_effect_in_the_order_of_proposing() {
    let kv = Machine::new(3).open();
    let proposals: Vec<_> = (0..1000).map(|_| kv.propose(put("k", "v"))).collect();
    for (n, proposal) in proposals.into_iter().enumerate() {
        let reply = PutReply { revision: n as u64 + 2, prev: None };
        assert_eq!(proposal.wait().unwrap(), Reply::Put(reply));
    }
}

// Overload has to push back on clients, not fill the memory; and it has to end.
#[test]
fn a_full_queue_is_busy_until_it_drains() {
    let (kv, gate) = gated(Options { proposals_max: 3, ..options() });
    gate.set(true);
    let waiting: Vec<_> = (0..3).map(|_| kv.propose(put("k", "v"))).collect();
    assert!(matches!(kv.propose(put("k", "v")).wait(), Err(Error::Busy)));
    assert!(matches!(kv.propose(put("k", "v")).wait(), Err(Error::Busy)));
    gate.set(false);
    assert!(waiting.into_iter().all(|proposal| proposal.wait().is_ok()));
    ok(&kv, put("k", "v"));
    assert_eq!(kv.revision(), 5, "what was refused as busy has not happened");
}

// The same in bytes: few large commands are as much as many small ones.
#[test]
fn a_queue_is_full_by_bytes_too() {
    let limits = Limits { command_bytes_max: 1000, ..Limits::default() };
    let (kv, gate) = gated(Options { limits, proposals_bytes_max: 1500, ..options() });
    let large = || Command::Put(Put::new("k", vec![7; 900]));
    gate.set(true);
    let first = kv.propose(large());
    assert!(matches!(kv.propose(large()).wait(), Err(Error::Busy)));
    let small = kv.propose(put("k", "v"));
    gate.set(false);
    assert!(first.wait().is_ok() && small.wait().is_ok());
    ok(&kv, large());
}

// What can never succeed must cost no sync and no place in the journal.
#[test]
fn what_the_limits_refuse_is_not_journaled() {
    let limits = Limits { txn_ops_max: 1, command_bytes_max: 100 };
    let machine = Machine::new(4);
    let kv = machine.try_open(Options { limits, ..options() }).unwrap();
    ok(&kv, put("k", "v"));
    let before = machine.disk.counts();
    let op = || TxnOp::Put(Put::new("k", "v"));
    let txn = |success| Command::Txn(Txn { success, ..Txn::default() });
    assert_eq!(apply(&kv, put("", "v")), Err(Refusal::EmptyKey));
    assert_eq!(apply(&kv, txn(vec![op(), op()])), Err(Refusal::TooManyOps));
    assert_eq!(apply(&kv, Command::Put(Put::new("k", vec![7; 100]))), Err(Refusal::TooLarge));
    assert_eq!(read(&kv, &request("", "z")), Err(Refusal::EmptyKey));
    let two = Txn { success: vec![TxnOp::Range(request("k", "")); 2], ..Txn::default() };
    assert!(matches!(kv.read_txn(&two), Err(Error::Refused(Refusal::TooManyOps))));
    assert_eq!(machine.disk.counts(), before);
    assert_eq!(kv.status().applied, 1);
}

// A client that hangs up has not taken anything back.
#[test]
fn a_dropped_proposal_happens_all_the_same() {
    let kv = Machine::new(5).open();
    drop(kv.propose(put("k", "v")));
    ok(&kv, put("l", "v"));
    assert_eq!(read(&kv, &request("k", "")).unwrap().kvs[0].mod_revision, 2);
}

// Whoever was accepted is answered; whoever comes later is told, by every handle.
#[test]
fn a_shutdown_answers_what_is_under_way_and_refuses_the_rest() {
    let machine = Machine::new(6);
    let kv = machine.open();
    let under_way: Vec<_> = (0..100).map(|_| kv.propose(put("k", "v"))).collect();
    let other = kv.clone();
    kv.shutdown();
    assert!(under_way.into_iter().all(|proposal| proposal.wait().is_ok()));
    for kv in [&kv, &other] {
        assert!(matches!(kv.propose(put("k", "v")).wait(), Err(Error::Stopped)));
    }
    kv.shutdown();
    drop((kv, other));
    assert_eq!(machine.open().revision(), 101);
}

// An operator who compacts to make room waits until the room is there.
#[test]
fn the_end_of_a_sweep_can_be_waited_for() {
    let kv = Machine::new(8).open();
    ok(&kv, put("k", "1"));
    ok(&kv, put("k", "2"));
    ok(&kv, compact(3));
    let mut context = Context::from_waker(Waker::noop());
    let mut swept = pin!(kv.swept(3));
    let mut later = pin!(kv.swept(4));
    assert!(swept.as_mut().poll(&mut context).is_pending());
    sweep(&kv);
    assert!(swept.as_mut().poll(&mut context).is_ready());
    assert!(later.as_mut().poll(&mut context).is_pending());
    kv.shutdown();
    assert!(
        later.as_mut().poll(&mut context).is_ready(),
        "nobody waits on a store that is no more"
    );
}

// A store that cannot work is refused before a folder is made for it.
#[test]
fn impossible_options_are_refused() {
    let machine = Machine::new(7);
    for bad in [
        Options { proposals_max: 0, ..options() },
        Options { proposals_bytes_max: 10, ..options() },
        Options { persist_fraction: 0, ..options() },
        Options { segment_bytes: 1000, ..options() },
        Options { segment_bytes: 2 << 30, ..options() },
        with_commands_of(513 << 20),
    ] {
        assert!(matches!(machine.try_open(bad), Err(Error::Options(_))));
    }
    assert!(machine.disk.files().is_empty());
}

fn with_commands_of(command_bytes_max: usize) -> Options {
    let limits = Limits { command_bytes_max, ..Limits::default() };
    Options { limits, proposals_bytes_max: 1 << 30, quota_bytes: None, ..options() }
}

// What the limits accept, the journal takes: a client must not read "journal failed" of a store
// that is in order.
#[test]
fn the_journal_takes_the_largest_command() {
    let machine = Machine::new(9);
    let kv = machine.try_open(with_commands_of(70 << 20)).unwrap();
    ok(&kv, Command::Put(Put::new("k", vec![7; 66 << 20])));
    drop(kv);
    assert_eq!(machine.open().revision(), 2);
}
