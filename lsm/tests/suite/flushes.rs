//! From memtable to table, interrupted anywhere (scenario 29), and failing for ever (37).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drystone_lsm::{Db, Error, Options};
use drystone_vfs::{Call, Fault, Harm, MemVfs, Op, OpenMode, OsClock, SimVfs, TapVfs};

use crate::hurt::{End, Specimen, assert_holds, at_every_call, contents, key, noise, open, tables};
use crate::support::{dir, keyspace, options, try_open};

// Scenario 29: between the table and the manifest's word of it, between that and the cut of the
// journal: nothing acknowledged is lost, nothing is there twice.
#[test]
fn a_crash_at_any_step_of_a_flush_loses_nothing() {
    let specimen = Specimen::new(End::Killed);
    let act = |disk: &SimVfs| {
        if let Ok(db) = try_open(disk, options()) {
            drop(db.flush());
        }
    };
    let (mut orphaned, mut done) = (0, 0);
    let start = tables(&specimen.disk).len();
    let calls = at_every_call(&specimen.disk, act, |disk, what| {
        let found = tables(disk).len();
        let shadow = disk.crash_copy(5);
        assert_holds(disk, &specimen.expected, what);
        let kept = tables(&shadow).len();
        orphaned += u32::from(found > start);
        done += u32::from(kept > start);
    });
    assert!(calls > 8 && orphaned > 5 && done > 0, "{calls} calls, {orphaned} with more tables");
}

// Scenario 29: a merge operand that is both in a table and in the journal would be applied twice.
#[test]
fn a_flushed_operand_is_not_replayed_as_well() {
    let disk = SimVfs::new(3);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    for n in 0..6 {
        let mut batch = drystone_lsm::Batch::new();
        batch.merge(&left, b"sum", format!("{n}").as_bytes());
        batch.merge(&left, b"sum", b",");
        db.write(batch).unwrap().wait().unwrap();
    }
    let base = disk.crash_copy(0);
    drop(db);
    let act = |disk: &SimVfs| {
        if let Ok(db) = try_open(disk, options()) {
            drop(db.flush());
        }
    };
    at_every_call(&base, act, |disk, what| {
        let db = try_open(disk, options()).unwrap();
        let sum = db.get(&keyspace(&db, "left"), b"sum").unwrap().unwrap();
        assert_eq!(*sum, *b"0,1,2,3,4,5,", "{what}");
    });
}

// Scenario 29: any call of a flush fails, and the process lives on. What was visible stays visible,
// and the next flush makes it durable.
#[test]
fn a_flush_that_fails_may_be_tried_again() {
    let specimen = Specimen::new(End::Killed);
    let harms = [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops];
    for op in [Op::Write, Op::Sync, Op::Create, Op::SyncDir, Op::SetLen, Op::Remove] {
        for harm in harms {
            for after in 0..6 {
                let what = format!("{op:?} {harm:?} after {after}");
                // Without a journal every failure is a table's or the manifest's.
                let disk = specimen.disk.crash_copy(0);
                let db = try_open(&disk, options().journal(false)).unwrap();
                let left = keyspace(&db, "left");
                let mut expected = specimen.expected.clone();
                drop(db.put(&left, &key(51), b"in memory").unwrap());
                expected[0].insert(key(51), b"in memory".to_vec());
                disk.fail(Fault::new(op, harm).after(after));
                let outcome = db.flush();
                for (name, expected) in crate::hurt::SPACES.iter().zip(&expected) {
                    assert!(contents(&db, name) == *expected, "{what}: {outcome:?}");
                }
                let full = harm == Harm::NoSpace;
                if let Err(error) = outcome {
                    let right = matches!(error, Error::NoSpace { .. }) == full
                        || matches!(error, Error::Poisoned { .. });
                    assert!(right, "{what}: {error}");
                }
                disk.heal();
                drop(db.put(&left, &key(52), b"later").unwrap());
                expected[0].insert(key(52), b"later".to_vec());
                db.flush().unwrap_or_else(|error| panic!("{what}, healed: {error}"));
                drop(db);
                assert_holds(&disk.crash_copy(2), &expected, &what);
            }
        }
    }
}

/// A disk in memory on which tables cannot be made while `broken`, and how often that was tried.
fn without_tables() -> (TapVfs, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (broken, tries) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (seen, counted) = (Arc::clone(&broken), Arc::clone(&tries));
    let disk = TapVfs::over(MemVfs::new(), move |call: Call<'_>, go: &mut dyn FnMut() -> _| {
        let table = match call {
            Call::Open { path, mode: OpenMode::Create | OpenMode::CreateNew } => {
                path.extension().is_some_and(|kind| kind == "table")
            }
            _ => false,
        };
        if table && seen.load(Ordering::Acquire) {
            counted.fetch_add(1, Ordering::Relaxed);
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        go()
    });
    (disk, broken, tries)
}

/// Writes until a write fails.
fn write_until_it_fails(db: &Db) -> (u64, Error) {
    let left = keyspace(db, "left");
    for n in 0..100_000 {
        if let Err(error) = db.put(&left, &n.to_string().into_bytes(), &noise(n, 500)) {
            return (n, error);
        }
    }
    panic!("memory without end");
}

// Scenario 37: flushes fail and fail. Writers are told when memory is full, and do not hang; nobody
// tries without a pause; everything stays readable; and it goes on by itself once it can.
#[test]
fn writers_are_told_when_flushes_fail_for_ever() {
    for threads in [0, 1, 2] {
        for journal in [true, false] {
            let what = format!("{threads} threads, journal {journal}");
            let (disk, broken, tries) = without_tables();
            let options =
                Options::default().memory_bytes(256 << 10).threads(threads).journal(journal);
            let clock = Arc::new(OsClock::new());
            let db = Db::open(Arc::new(disk), clock, &dir(), options).unwrap();
            let start = Instant::now();
            let (written, error) = write_until_it_fails(&db);
            assert!(matches!(error, Error::NoSpace { .. }), "{what}: {error}");
            assert!(written > 50, "{what}: {written} writes fit in memory");
            assert!(matches!(db.flush(), Err(Error::NoSpace { .. })), "{what}");
            assert!(matches!(db.background_error(), Some(Error::NoSpace { .. })), "{what}");
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(20), "{what}: {waited:?}");
            let tried = tries.load(Ordering::Relaxed);
            assert!(tried < 200, "{what}: {tried} tries in {waited:?}");
            let left = keyspace(&db, "left");
            assert_eq!(db.iter(&left).count() as u64, written, "{what}");
            broken.store(false, Ordering::Release);
            let healed = Instant::now();
            while db.put(&left, b"healed", b"yes").is_err() {
                assert!(healed.elapsed() < Duration::from_secs(30), "{what}: it does not recover");
                std::thread::yield_now();
            }
            db.flush().unwrap();
            assert_eq!(db.iter(&left).count() as u64, written + 1, "{what}");
            db.close().unwrap();
        }
    }
}
