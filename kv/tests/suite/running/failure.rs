//! Disks that fail while the store runs: nothing more is acknowledged, everyone is told, and what
//! was acknowledged is there for whoever opens the folder next.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use drystone_kv::command::Put;
use drystone_kv::{Command, EngineKind, Error, Kv};
use drystone_vfs::{Fault, Harm, Op};

use crate::common::{delete, is_slow, put, read as request};
use crate::running::{Machine, ok, on_every_engine, read};

on_every_engine! {
    a_failed_persist_is_tried_again_and_loses_nothing
    a_full_disk_ends_the_store_and_a_restart_with_room_recovers_it
}

/// Why the store has ended by itself, if it has.
fn failure(kv: &Kv) -> Option<Error> {
    match pin!(kv.failed()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => Some(error),
        Poll::Pending => None,
    }
}

fn is_journal(error: &Error) -> bool {
    matches!(error, Error::Journal(_))
}

// After a failed sync nobody knows what is on the disk: the store says so once, and is silent
// after.
#[test]
fn a_failed_sync_ends_the_store_for_everyone() {
    for harm in [Harm::Error, Harm::NoSpace, Harm::Drops] {
        let machine = Machine::new(1);
        let kv = machine.open();
        ok(&kv, put("k", "kept"));
        assert!(failure(&kv).is_none());
        machine.disk.fail(Fault::new(Op::Sync, harm));
        let doomed: Vec<_> = (0..5).map(|_| kv.propose(put("k", "lost"))).collect();
        for proposal in doomed {
            let error = proposal.wait().expect_err("nothing is acknowledged after the failure");
            assert!(is_journal(&error) || matches!(error, Error::Stopped), "{harm:?}: {error:?}");
        }
        assert!(failure(&kv).as_ref().is_some_and(is_journal), "{harm:?}");
        let later = kv.propose(put("k", "later")).wait();
        assert!(matches!(later, Err(Error::Stopped | Error::Journal(_))), "{harm:?}: {later:?}");
        let seen = read(&kv, &request("k", "")).expect("reads go on");
        assert_eq!((seen.revision, &seen.kvs[0].value[..]), (2, &b"kept"[..]));
        drop(kv);
        let kv = machine.open();
        let seen = read(&kv, &request("k", "")).expect("readable").kvs.remove(0);
        assert!(["kept", "lost"].iter().any(|value| seen.value == *value), "{harm:?}: {seen:?}");
        ok(&kv, put("k", "new life"));
    }
}

// A write that fails or is torn is no better than a sync that fails.
#[test]
fn a_failed_write_ends_the_store_and_costs_nothing_acknowledged() {
    for (op, harm) in [
        (Op::Write, Harm::Error),
        (Op::Write, Harm::Torn),
        (Op::Write, Harm::NoSpace),
        (Op::Create, Harm::Error),
        (Op::Create, Harm::NoSpace),
        (Op::SetLen, Harm::Error),
    ] {
        for after in (0..60).step_by(if is_slow() { 1 } else { 7 }) {
            let machine = Machine::new(after);
            let kv = machine.open();
            machine.disk.fail(Fault::new(op, harm).after(after));
            let mut acknowledged = 0;
            for n in 1..=200 {
                let put = Command::Put(Put::new("k", vec![n; 400]));
                if kv.propose(put).wait().is_err() {
                    break;
                }
                acknowledged = n;
            }
            drop(kv);
            machine.disk.heal();
            let kv = machine.open();
            let revision = kv.revision();
            assert!(revision > u64::from(acknowledged), "{op:?} {harm:?} after {after}");
            if acknowledged > 0 {
                let seen = read(&kv, &request("k", "")).expect("readable").kvs.remove(0);
                assert_eq!(u64::from(seen.value[0]) + 1, revision);
            }
        }
    }
}

// Persisting is upkeep. When it fails, the journal still has everything, and clients see nothing.
fn a_failed_persist_is_tried_again_and_loses_nothing(kind: EngineKind) {
    // What each engine asks of the disk when it is persisted.
    let failures: &[_] = match kind {
        EngineKind::Memory => &[
            (Op::Create, Harm::NoSpace),
            (Op::Write, Harm::Torn),
            (Op::Sync, Harm::Drops),
            (Op::Rename, Harm::Error),
            (Op::SyncDir, Harm::Error),
        ],
        EngineKind::Btree => &[(Op::Write, Harm::Torn), (Op::Sync, Harm::Drops)],
        EngineKind::Lsm => &[
            (Op::Create, Harm::NoSpace),
            (Op::Write, Harm::Torn),
            (Op::Sync, Harm::Drops),
            (Op::SyncDir, Harm::Error),
        ],
    };
    for &(op, harm) in failures {
        let machine = Machine::of(kind, 2);
        let kv = machine.open();
        for n in 0..50 {
            ok(&kv, Command::Put(Put::new(format!("k{n}"), vec![n; 100])));
        }
        // The journal is idle: the next call of this kind is the engine's.
        machine.disk.fail(Fault::new(op, harm));
        let failed = kv.persist();
        assert!(matches!(failed, Err(Error::Engine(_))), "{op:?} {harm:?}: {failed:?}");
        assert!(failure(&kv).is_none(), "the store goes on");
        ok(&kv, put("after", "v"));
        let copy = machine.with(machine.disk.crash_copy(3)).open();
        assert_eq!(copy.revision(), 52, "{op:?} {harm:?}");
        kv.persist().expect("the disk is well again");
        let copy = machine.with(machine.disk.crash_copy(4)).open();
        assert_eq!(copy.revision(), 52, "{op:?} {harm:?}");
    }
}

// A disk that is full ends the store, as any failed write does; with room again, all is there and
// can be made smaller.
fn a_full_disk_ends_the_store_and_a_restart_with_room_recovers_it(kind: EngineKind) {
    let machine = Machine::of(kind, 5);
    let kv = machine.open();
    let used: usize = machine.disk.files().iter().map(|file| file.1.len()).sum();
    machine.disk.set_capacity_bytes(Some(used as u64 + 60_000));
    let mut acknowledged = 0;
    let error = loop {
        match kv.propose(Command::Put(Put::new("k", vec![7; 1000]))).wait() {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1000, "the disk gets full");
    };
    assert!(is_journal(&error), "{error:?}");
    assert!(acknowledged > 10);
    drop(kv);
    machine.disk.set_capacity_bytes(None);
    let kv = machine.open();
    assert!(kv.revision() > acknowledged);
    ok(&kv, delete("k", ""));
    kv.persist().expect("there is room");
}
