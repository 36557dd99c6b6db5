//! Syncs and writes that fail (scenarios 16 and 17): the first failure ends the log for everyone,
//! nothing is tried twice, and what reopening finds is what the disk holds.

use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, SimVfs};
use drystone_wal::{Error, Lsn, Wal, Writer};

use crate::hurt::{Hurt, Records, check_all};
use crate::spy::Spy;
use crate::support::{dir, disk, numbered, open, options, put, try_open};

const WAITERS: u8 = 16;

/// What a failed sync may do to the bytes it should have saved.
const FAILURES: [(Op, Harm); 7] = [
    (Op::Sync, Harm::Error),
    (Op::Sync, Harm::Drops),
    (Op::Sync, Harm::Forgets),
    (Op::Sync, Harm::NoSpace),
    (Op::Write, Harm::Error),
    (Op::Write, Harm::Torn),
    (Op::Write, Harm::NoSpace),
];

fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::Poisoned { .. } | Error::NoSpace { .. })
}

/// `before`, then as many of the groups as got through: all of one write, or some of its first.
fn prefixes() -> Arc<[Records]> {
    let group = |i: u8| vec![i; 50];
    let all: Vec<Vec<u8>> =
        std::iter::once(b"before".to_vec()).chain((0..WAITERS).map(group)).collect();
    let refs: Vec<&[u8]> = all.iter().map(|record| &record[..]).collect();
    (1..=all.len()).map(|count| numbered(&refs[..count])).collect()
}

// Scenario 16: sixteen wait on one sync. It fails; the kernel drops the bytes, or keeps them and
// calls them clean, and later syncs succeed. All sixteen must hear of it, leader or not, and nobody
// may be told "durable" afterwards.
#[test]
fn a_failed_sync_poisons_every_waiter_and_all_that_come_after() {
    for (op, harm) in FAILURES {
        let spy = Spy::over(SimVfs::new(1));
        let threaded = options().writer(Writer::Thread);
        let (wal, _) = Wal::open(spy.tapped.clone(), &dir(), threaded).unwrap();
        put(&wal, b"before");
        spy.disk.fail(Fault::new(op, harm));
        let start = std::sync::Barrier::new(usize::from(WAITERS));
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..WAITERS)
                .map(|i| {
                    let (wal, start) = (wal.clone(), &start);
                    scope.spawn(move || {
                        start.wait();
                        match wal.append(&[&[i; 50]]) {
                            Ok(commit) => commit.wait().unwrap_err(),
                            Err(error) => error,
                        }
                    })
                })
                .collect();
            for waiter in waiters {
                let error = waiter.join().unwrap();
                assert!(is_fatal(&error), "{op:?} {harm:?}: {error}");
            }
        });
        spy.take();
        assert!(is_fatal(&wal.append(&[b"after"]).unwrap_err()));
        assert!(is_fatal(&wal.append(&[]).unwrap_err()));
        assert!(is_fatal(&wal.wait_durable(Lsn(2)).unwrap_err()));
        assert!(is_fatal(&wal.truncate_prefix(Lsn(2)).unwrap_err()));
        assert!(is_fatal(&wal.truncate_suffix(Lsn(1)).unwrap_err()));
        assert_eq!(wal.durable(), Lsn(1));
        assert_eq!(wal.read(Lsn(1)).unwrap(), "before"[..], "still readable");
        assert!(is_fatal(&wal.close().unwrap_err()));
        let retried = spy.take();
        assert!(retried.is_empty(), "{op:?} {harm:?}: nothing is retried: {retried:?}");
    }
}

/// Scenarios 16 and 17: the disk after the failure, before and after the power fails as well. One
/// write carried all sixteen groups.
pub(crate) fn after_failures() -> Vec<Hurt> {
    let any = prefixes();
    let mut disks = Vec::new();
    for (op, harm) in FAILURES {
        for seed in 0..12 {
            let disk = SimVfs::new(seed);
            let (wal, _) = try_open(&disk, options()).unwrap();
            put(&wal, b"before");
            let commits: Vec<_> = (0..WAITERS).map(|i| wal.append(&[&[i; 50]]).unwrap()).collect();
            disk.fail(Fault::new(op, harm));
            for commit in commits {
                assert!(is_fatal(&commit.wait().unwrap_err()));
            }
            drop(wal);
            disk.heal();
            let what = format!("{op:?} {harm:?}, seed {seed}");
            let power = Hurt::one_of(format!("{what}, power cut"), disk.crash_copy(seed), &any);
            disks.extend([Hurt::one_of(what, disk, &any), power]);
        }
    }
    disks
}

// Scenario 16: nothing that was acknowledged is lost, and whatever reopening reports stays, even
// where the page cache showed what the disk never got.
#[test]
fn what_reopening_reports_after_a_failed_sync_is_durable() {
    check_all(after_failures());
}

// Scenario 16: reopening reads the disk and not the memory of the process that failed.
#[test]
fn reopening_after_a_failed_sync_reads_the_disk() {
    for (harm, expected) in [(Harm::Drops, 1), (Harm::Forgets, 2), (Harm::Error, 2)] {
        let disk = disk();
        let (wal, _) = open(&disk);
        put(&wal, b"before");
        disk.fail(Fault::new(Op::Sync, harm));
        wal.append(&[b"after"]).unwrap().wait().unwrap_err();
        drop(wal);
        let reads = disk.counts().reads;
        let (wal, found) = open(&disk);
        assert!(disk.counts().reads > reads);
        assert_eq!(found.len(), expected, "{harm:?}: what a read of the file shows now");
        assert_eq!(wal.durable(), Lsn(expected as u64));
        for seed in 0..20 {
            assert_eq!(open(&disk.crash_copy(seed)).1, found, "{harm:?}: and it is on the disk");
        }
    }
}

/// Scenario 17: a write that lands in part, at every length the disk likes.
pub(crate) fn short_writes() -> Vec<Hurt> {
    let two: [&[u8]; 3] = [b"before", &[9; 2000], &[8; 2000]];
    let any: Arc<[Records]> = Arc::from([numbered(&two[..1]), numbered(&two)]);
    let short = |seed: u64| {
        let disk = SimVfs::new(seed);
        let (wal, _) = try_open(&disk, options()).unwrap();
        put(&wal, b"before");
        disk.fail(Fault::new(Op::Write, Harm::Torn));
        let error = wal.append(&two[1..]).unwrap().wait().unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        drop(wal);
        Hurt::one_of(format!("seed {seed}"), disk, &any)
    };
    (0..60).map(short).collect()
}

// Scenario 17: whatever part of a write landed before it failed, the group is whole or gone, and
// stays what it was. (Interrupted calls and short counts never reach the log: see `vfs`.)
#[test]
fn a_write_that_lands_in_part_is_cut_on_reopening() {
    check_all(short_writes());
}

// Whatever single call fails, at whatever point: an error, and nothing acknowledged is lost.
#[test]
fn any_single_failing_call_loses_nothing() {
    let ops = [Op::Write, Op::Sync, Op::Create, Op::Rename, Op::Remove, Op::SyncDir];
    for op in ops {
        for harm in [Harm::Error, Harm::NoSpace, Harm::Drops, Harm::Forgets, Harm::Torn] {
            for nth in 0..200 {
                let disk = SimVfs::new(nth);
                disk.fail(Fault::new(op, harm).after(nth));
                let (acked, failed) = crate::enumerate::workload(&disk);
                disk.heal();
                let what = format!("{op:?} {harm:?} after {nth}");
                crate::enumerate::check(&disk.crash_copy(nth), &acked, &what);
                crate::enumerate::check(&disk, &acked, &what);
                if !failed {
                    break;
                }
                assert!(nth < 199, "the workload ends");
            }
        }
    }
}
