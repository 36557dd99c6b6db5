//! Flushes that fail after others have built on them (scenario 44), and what a process that was
//! killed leaves to the next one.

use std::sync::atomic::{AtomicU64, Ordering};

use drystone_btree::{Commit, Db, Error, Sync, Writer};
use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::support::{disk, fill, key, open, options, put, records, try_open};
use crate::tear::change;
use crate::witness::Witness;

const HARMS: [(Op, Harm); 8] = [
    (Op::Sync, Harm::Error),
    (Op::Sync, Harm::Drops),
    (Op::Sync, Harm::Forgets),
    (Op::Sync, Harm::NoSpace),
    (Op::Write, Harm::Error),
    (Op::Write, Harm::Torn),
    (Op::Write, Harm::NoSpace),
    (Op::SetLen, Harm::Error),
];

#[track_caller]
fn assert_failed<T>(outcome: Result<T, Error>) {
    match outcome {
        Err(Error::Poisoned { .. } | Error::NoSpace { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("nobody was told that the flush failed"),
    }
}

/// Puts one record without waiting.
fn send(db: &Db, key: &[u8], value: &[u8]) -> Result<Commit, Error> {
    let mut w = db.write()?;
    let tree = w.create_tree("t")?;
    w.put(tree, key, value)?;
    w.commit()
}

// Scenario 44: five commits, each built on the one before, none of them durable when the flush
// fails. All fail with it; readers are back at the last durable state, those who were reading the
// lost ones still read them; nothing more is written. What a new opener finds is one of the states
// and stays, though the power fails.
#[test]
fn a_failed_flush_takes_all_that_was_built_on_it() {
    for (op, harm) in HARMS {
        for skip in 0..4 {
            let disk = disk();
            let db = open(&disk);
            let mut witness = Witness::default();
            fill(&db, 300);
            let durable = witness.note(&db);
            let what = format!("{op:?} {harm:?} after {skip}");
            disk.fail(Fault::new(op, harm).after(skip));
            let commits: Vec<_> = (0..5)
                .map(|i| {
                    let commit = send(&db, &key(i), &vec![i as u8; 30_000]).unwrap();
                    witness.note(&db);
                    (commit, db.read())
                })
                .collect();
            let newest = commits.last().unwrap().1.txn().0;
            if commits[0].0.wait().is_ok() {
                continue;
            }
            for (commit, r) in &commits {
                assert_failed(commit.wait());
                assert_failed(commit.try_wait().expect("it is settled"));
                let tree = r.tree("t").unwrap();
                assert_eq!(r.iter(tree).map_while(Result::ok).count(), 300, "{what}");
            }
            assert_eq!(db.read().txn().0, durable, "{what}: readers go back");
            assert_eq!(db.read_durable().txn().0, durable, "{what}");
            assert_eq!(witness.examine(&db, &what).refused, 0);
            disk.heal();
            let before = disk.counts().changes();
            assert_failed(db.write().map(drop));
            assert_failed(db.persist());
            assert_failed(db.try_write().map(drop));
            assert_failed(db.close());
            assert_eq!(disk.counts().changes(), before, "{what}: nothing more is written");
            for after in [disk.kill_copy(), disk.crash_copy(skip)] {
                let db = open(&after);
                let found = witness.examine(&db, &what);
                assert!(durable <= found.txn && found.txn <= newest && found.refused == 0);
                send(&db, b"afterwards", b"goes on").unwrap().wait().unwrap();
                let then = witness.note(&db);
                for seed in 0..3 {
                    let again = open(&after.crash_copy(seed));
                    let found = witness.examine(&again, &what);
                    assert_eq!((found.txn, found.refused), (then, 0), "{what}");
                }
            }
        }
    }
}

// Scenario 44: the same with threads that commit and wait as they like. Everyone is told, nobody
// hangs, and whoever was told "durable" finds it.
#[test]
fn everyone_who_commits_is_told_of_a_failed_flush() {
    for writer in [Writer::Thread, Writer::Caller] {
        // Here the file grows by being written.
        let harms = HARMS.into_iter().filter(|(op, _)| *op != Op::SetLen);
        for (round, (op, harm)) in harms.enumerate() {
            let disk = SimVfs::new(round as u64);
            let db = try_open(&disk, options().writer(writer)).unwrap();
            let tree = fill(&db, 50);
            disk.fail(Fault::new(op, harm).after(20 + 7 * round as u64).forever());
            let told = AtomicU64::new(0);
            std::thread::scope(|scope| {
                for thread in 0..6_u64 {
                    let (db, told) = (&db, &told);
                    scope.spawn(move || {
                        for i in 0.. {
                            let value = vec![thread as u8; 9000];
                            match send(db, &key(1000 * thread + i), &value).and_then(|c| c.wait()) {
                                Ok(txn) => drop(told.fetch_max(txn.0, Ordering::Relaxed)),
                                Err(Error::Poisoned { .. } | Error::NoSpace { .. }) => return,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    });
                }
            });
            let (told, durable) = (told.into_inner(), db.read_durable());
            assert_eq!(durable.txn(), db.read().txn());
            assert!(durable.txn().0 >= told);
            assert_failed(db.write().map(drop));
            let seen = durable.iter(tree).map_while(Result::ok).count();
            drop(db);
            let again = open(&disk.crash_copy(1));
            assert!(again.read().txn().0 >= told, "{writer:?} {op:?} {harm:?}");
            assert!(records(&again).len() >= seen);
        }
    }
}

// On request, a failed flush takes nothing from memory, and the next attempt believes nothing of
// what it wrote: the kernel may have dropped it, or show it for ever and never save it.
#[test]
fn a_flush_that_is_tried_again_trusts_nothing_of_the_first_attempt() {
    for (op, harm) in HARMS {
        for skip in 0..4 {
            let disk = disk();
            let mut witness = Witness::default();
            let db = try_open(&disk, options().sync(Sync::OnRequest)).unwrap();
            change(&db, 0, 300, 1);
            db.persist().unwrap();
            for round in 0..3_u8 {
                let what = format!("{op:?} {harm:?} after {skip}, round {round}");
                disk.fail(Fault::new(op, harm).after(skip));
                change(&db, 50 * u64::from(round), 100, 10 + round);
                let outcome = db.persist();
                disk.heal();
                if outcome.is_err() {
                    assert_failed(outcome);
                    assert!(db.durable() < db.read().txn());
                    change(&db, 200, 50, 20 + round);
                    db.persist().unwrap();
                }
                let txn = witness.note(&db);
                assert_eq!(db.durable().0, txn);
                for seed in 0..3 {
                    let found = witness.examine(&open(&disk.crash_copy(seed)), &what);
                    assert_eq!((found.txn, found.refused), (txn, 0), "{what}");
                }
            }
        }
    }
}

// A process was killed between the write and the sync. What the next one reads is in the page
// cache alone; before it says that it is durable it has to be, however much or little it writes.
#[test]
fn what_a_killed_process_left_is_synced_before_it_is_called_durable() {
    for sync in [Sync::EveryCommit, Sync::OnRequest] {
        for cut in 0..8 {
            let disk = disk();
            let db = try_open(&disk, options().sync(sync)).unwrap();
            fill(&db, 60);
            db.persist().unwrap();
            let mut witness = Witness::default();
            witness.note(&db);
            disk.power_cut_after(cut);
            drop(send(&db, &key(3), &[7; 5000]).map(|commit| commit.wait()));
            // Seen by whoever comes next, or not.
            let killed = disk.kill_copy();
            drop(db);
            let db = try_open(&killed, options().sync(sync)).unwrap();
            let txn = witness.note(&db);
            assert_eq!(db.persist().unwrap().0, txn);
            for seed in 0..4 {
                let again = open(&killed.crash_copy(seed));
                let what = format!("{sync:?}, cut {cut}, seed {seed}");
                assert_eq!(witness.examine(&again, &what).txn, txn, "{what}: persisted");
            }
            // An empty commit promises what was there before.
            let txn = db.write().unwrap().commit().unwrap().wait().unwrap();
            assert_eq!(txn, db.read_durable().txn());
        }
    }
}

// A sync failed, and the kernel calls the pages clean: they can be read for ever and will never be
// saved. The process is killed; the next one reads them, and builds on them. It has to write them
// itself.
#[test]
fn pages_that_the_kernel_forgot_to_save_are_written_again() {
    let mut built_on = 0;
    for rounds in 1..4_u8 {
        let disk = disk();
        let db = open(&disk);
        fill(&db, 200);
        let mut witness = Witness::default();
        let durable = witness.note(&db);
        disk.fail(Fault::new(Op::Sync, Harm::Forgets));
        for i in 0..rounds {
            drop(send(&db, &key(u64::from(i)), &[i; 900]).unwrap());
            witness.note(&db);
        }
        assert_failed(db.persist());
        let killed = disk.kill_copy();
        let db = open(&killed);
        let found = witness.examine(&db, "killed");
        built_on += u32::from(found.txn > durable);
        put(&db, b"on top", b"of it");
        let txn = witness.note(&db);
        for seed in 0..5 {
            let again = open(&killed.crash_copy(seed));
            let found = witness.examine(&again, &format!("rounds {rounds}, seed {seed}"));
            assert_eq!((found.txn, found.refused), (txn, 0));
        }
    }
    assert!(built_on > 0, "what was not saved could be seen");
}

// Nothing is acknowledged whose sync has not come back.
#[test]
fn no_commit_is_acknowledged_before_its_sync() {
    let disk = disk();
    let db = open(&disk);
    fill(&db, 20);
    let commit = send(&db, b"a", b"b").unwrap();
    assert!(commit.try_wait().is_none());
    let syncs = disk.counts().syncs;
    commit.wait().unwrap();
    assert!(disk.counts().syncs > syncs);
    assert_eq!(records(&open(&disk.crash_copy(0))), records(&db));
}
