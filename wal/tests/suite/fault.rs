//! Calls that fail: the first failure ends the log for everyone, and loses nothing that was
//! promised.

use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, SimVfs};
use drystone_wal::{Error, Lsn, Options, Wal, Writer};

use crate::support::{assert_recovers, dir, disk, numbered, open, options, put, try_open};

// Scenario 16: sixteen wait on one sync. It fails; the kernel drops the bytes and calls later syncs
// a success. All sixteen must hear of it, and nobody may be told "durable" afterwards.
#[test]
fn a_failed_sync_poisons_every_waiter_and_all_that_come_after() {
    let disk = SimVfs::new(1);
    let threaded = Options::default().log_id(42).writer(Writer::Thread);
    let (wal, _) = Wal::open(Arc::new(disk.clone()), &dir(), threaded).unwrap();
    put(&wal, b"before");
    disk.fail(Fault::new(Op::Sync, Harm::Drops));
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..16)
            .map(|i| {
                let wal = wal.clone();
                scope.spawn(move || match wal.append(&[&[i; 50]]) {
                    Ok(commit) => commit.wait().unwrap_err(),
                    Err(error) => error,
                })
            })
            .collect();
        for waiter in waiters {
            let error = waiter.join().unwrap();
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        }
    });
    let writes = disk.counts().writes;
    assert!(matches!(wal.append(&[b"after"]), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.wait_durable(Lsn(2)), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.truncate_prefix(Lsn(2)), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.truncate_suffix(Lsn(1)), Err(Error::Poisoned { .. })));
    assert_eq!(wal.durable(), Lsn(1));
    assert!(wal.close().is_err());
    assert_eq!(disk.counts().writes, writes, "nothing is retried");
    assert_recovers(&disk, &numbered(&[b"before"]));
}

// The same, with all sixteen in one write for certain.
#[test]
fn all_commits_of_one_failed_write_fail() {
    for (op, harm) in [(Op::Sync, Harm::Drops), (Op::Sync, Harm::Error), (Op::Write, Harm::Error)] {
        let disk = disk();
        let (wal, _) = open(&disk);
        put(&wal, b"before");
        let commits: Vec<_> = (0..16_u8).map(|i| wal.append(&[&[i]]).unwrap()).collect();
        disk.fail(Fault::new(op, harm));
        for commit in &commits {
            assert!(matches!(commit.wait(), Err(Error::Poisoned { .. })));
        }
        let disk = disk.crash();
        let (_wal, found) = open(&disk);
        assert_eq!(found[0], (1, b"before".to_vec()));
    }
}

// Scenario 17: a write that lands in part is a torn tail, whatever part it was.
#[test]
fn a_write_that_lands_in_part_is_cut_on_reopening() {
    for seed in 0..60 {
        let disk = SimVfs::new(seed);
        let (wal, _) = try_open(&disk, options()).unwrap();
        put(&wal, b"before");
        disk.fail(Fault::new(Op::Write, Harm::Torn));
        let torn = wal.append(&[&[9; 2000], &[8; 2000]]).unwrap();
        assert!(matches!(torn.wait(), Err(Error::Poisoned { .. })));
        drop(wal);
        // Reopened by a process on the same machine, then after a power cut: the group is whole or
        // gone, and stays what it was.
        let (wal, found) = open(&disk);
        assert!([1, 3].contains(&found.len()), "seed {seed}: {} records", found.len());
        drop(wal);
        assert_eq!(open(&disk.crash()).1, found, "seed {seed}");
    }
}

// Scenario 18: a full disk is an error to the caller, not the end of the data.
#[test]
fn a_full_disk_is_reported_and_survived() {
    let disk = disk();
    let (wal, _) = open(&disk);
    disk.set_capacity_bytes(Some(40 << 10));
    let mut stored = 0_u64;
    let error = loop {
        match wal.append(&[&[stored as u8; 1000]]).and_then(|commit| commit.wait()) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(stored > 20, "two segments fit");
    assert!(matches!(wal.append(&[b"x"]), Err(Error::NoSpace { .. })));
    assert_eq!(wal.iter(Lsn(1)).filter(Result::is_ok).count() as u64, stored, "still readable");
    drop(wal);

    // Still full: it opens, and letting go of the prefix needs no space.
    let (wal, found) = open(&disk);
    assert_eq!(found.len() as u64, stored);
    wal.truncate_prefix(Lsn(stored)).unwrap();
    assert_eq!(put(&wal, &[1; 1000]), Lsn(stored + 1));
    drop(wal);

    disk.set_capacity_bytes(None);
    let (wal, found) = open(&disk);
    assert_eq!(found.last().unwrap().0, stored + 1);
    put(&wal, &[2; 9000]);
}

// Scenario 18 at the very first step.
#[test]
fn a_log_cannot_be_made_on_a_full_disk_but_later() {
    let disk = disk();
    disk.set_capacity_bytes(Some(100));
    assert!(matches!(try_open(&disk, options()), Err(Error::NoSpace { .. })));
    disk.set_capacity_bytes(None);
    let (wal, found) = open(&disk);
    assert!(found.is_empty());
    put(&wal, b"one");
}

// Whatever single call fails, at whatever point: an error, and nothing acknowledged is lost.
#[test]
fn any_single_failing_call_loses_nothing() {
    let ops = [Op::Write, Op::Sync, Op::Create, Op::Rename, Op::Remove, Op::SyncDir];
    for op in ops {
        for harm in [Harm::Error, Harm::NoSpace, Harm::Drops, Harm::Torn] {
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
