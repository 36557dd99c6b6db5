//! Space: the file does not grow for ever, and shrinks when asked.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use drystone_btree::{Db, Options, Progress, Sync, WriteTxn, Writer};
use drystone_vfs::{Call, Clock as _, OsClock, SimVfs, TapVfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{self, disk, fill, key, open, options, records, try_open};

/// Every page has one use, and none is lost.
#[track_caller]
fn verified(db: &Db) {
    let report = db.verify().unwrap();
    assert_eq!(report.lost_pages, 0, "{report:?}");
    assert_eq!(report.record_copies, 2);
}

// Hundreds of commits go into one flush; what came and went between them is not written, and the
// map of free pages is right all the same.
#[test]
fn many_commits_in_one_flush_leave_a_sound_map() {
    for (seed, sync) in [(1, Sync::OnRequest), (2, Sync::OnRequest), (3, Sync::EveryCommit)] {
        let disk = disk();
        let db = try_open(&disk, options().sync(sync).memory_bytes(64 << 20)).unwrap();
        let tree = fill(&db, 20_000);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..12_u8 {
            for _ in 0..40 {
                let mut w = db.write().unwrap();
                for _ in 0..rng.random_range(1..30) {
                    let key = key(rng.random_range(0..20_000));
                    w.put(tree, &key, &[round; 90]).unwrap();
                }
                drop(w.commit().unwrap());
            }
            db.persist().unwrap();
            verified(&db);
        }
        let before = records(&db);
        drop(db);
        let db = open(&disk.crash());
        verified(&db);
        assert!(records(&db) == before);
    }
}

// Updates alone must not make a file longer for ever, though each of them writes new pages.
#[test]
fn a_file_that_is_only_updated_stops_growing() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 2000);
    let mut sizes = Vec::new();
    for round in 0..2000_u32 {
        let mut w = db.write().unwrap();
        w.put(tree, &key(u64::from(round * 7919 % 2000)), &round.to_le_bytes()).unwrap();
        w.commit().unwrap().wait().unwrap();
        if round % 1000 == 999 {
            sizes.push(db.sizes().file_bytes);
        }
    }
    assert_eq!(sizes[0], sizes[1]);
    verified(&db);
}

// "Shrink after deleting half, online": the goal is 1.2 times what is used.
#[test]
fn a_database_that_lost_half_of_its_records_gives_the_space_back() {
    let disk = disk();
    for sync in [Sync::EveryCommit, Sync::OnRequest] {
        let options = options().sync(sync).memory_bytes(64 << 20);
        let db = try_open(&disk, options).unwrap();
        let tree = fill(&db, 20_000);
        let mut w = db.write().unwrap();
        w.put(tree, b"large", &[7; 300_000]).unwrap();
        for i in (0..20_000).filter(|i| i % 4 < 2 || *i > 15_000) {
            w.delete(tree, &key(i)).unwrap();
        }
        w.commit().unwrap().wait().unwrap();
        let (before, expected) = (db.sizes(), records(&db));
        while db.compact(Duration::from_millis(1)).unwrap() == Progress::More {}
        let after = db.sizes();
        let limit = after.used_bytes * 6 / 5 + (40 << 12);
        assert!(after.file_bytes <= limit, "{before:?} {after:?}");
        assert!(after.file_bytes < before.file_bytes);
        verified(&db);
        assert!(records(&db) == expected);
        drop(db);
        let db = open(&disk);
        assert!(records(&db) == expected);
        verified(&db);
        let tree = db.tree("t").unwrap();
        let mut w = db.write().unwrap();
        w.delete_range::<&[u8]>(tree, ..).unwrap();
        w.commit().unwrap().wait().unwrap();
    }
}

// Half of the records are gone from every leaf, so that all pages are in use: they are packed, and
// once they are, a compaction has nothing to do.
#[test]
fn sparse_leaves_are_packed() {
    let disk = disk();
    for sync in [Sync::EveryCommit, Sync::OnRequest, Sync::Journal] {
        let db = try_open(&disk, options().sync(sync)).unwrap();
        let tree = fill(&db, 10_000);
        for half in 0..2 {
            let mut w = db.write().unwrap();
            for i in (half * 5000..half * 5000 + 5000).filter(|i| i % 5 < 3) {
                w.delete(tree, &key(i)).unwrap();
            }
            w.commit().unwrap().wait().unwrap();
        }
        let (before, expected) = (db.sizes(), records(&db));
        while db.compact(Duration::from_millis(1)).unwrap() == Progress::More {}
        let after = db.sizes();
        assert!(after.used_bytes * 3 < before.used_bytes * 2, "{before:?} {after:?}");
        let limit = after.used_bytes * 6 / 5 + (40 << 12);
        assert!(after.file_bytes <= limit, "{before:?} {after:?}");
        verified(&db);
        assert!(records(&db) == expected);
        let pages = db.stats().pages_written;
        assert_eq!(db.compact(Duration::from_secs(1)).unwrap(), Progress::Done);
        assert_eq!(db.stats().pages_written, pages);
        let mut w = db.write().unwrap();
        w.delete_range::<&[u8]>(tree, ..).unwrap();
        w.commit().unwrap().wait().unwrap();
        db.close().unwrap();
    }
}

// Somebody commits whenever the disk is being synced, so that there is always something to flush:
// that must not keep a compaction, and all who wait for the flusher, for ever.
#[test]
fn a_compaction_comes_to_an_end_beside_one_who_always_writes() {
    const SYNCS_MAX: u32 = 1000;
    let db: Arc<OnceLock<Db>> = Arc::default();
    let (writer, syncs) = (Arc::clone(&db), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&syncs);
    let disk =
        TapVfs::over(disk(), move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
            if let (Call::SyncData { .. }, Some(db)) = (call, writer.get())
                && count.fetch_add(1, Ordering::Relaxed) < SYNCS_MAX
            {
                let mut w = db.write().unwrap();
                let tree = w.tree("t").unwrap();
                w.put(tree, b"again and again", b"value").unwrap();
                drop(w.commit().unwrap());
            }
            go()
        });
    let options = options().sync(Sync::OnRequest).memory_bytes(64 << 20);
    let opened = Db::open(Arc::new(disk), Path::new("dir/db"), options).unwrap();
    let tree = fill(&opened, 5000);
    let mut w = opened.write().unwrap();
    for i in 0..4000 {
        w.delete(tree, &key(i)).unwrap();
    }
    drop(w.commit().unwrap());
    opened.persist().unwrap();
    db.set(opened.clone()).unwrap();
    while opened.compact(Duration::from_millis(1)).unwrap() == Progress::More {}
    let syncs = syncs.load(Ordering::Relaxed);
    assert!(syncs < 100, "{syncs} syncs");
}

// Pages that a fast writer leaves behind wait for the disk, and what it writes meanwhile needs
// room: without a bound, all of the tree a second time. The writer is as fast as it can be for a
// while in each sync.
#[test]
fn a_file_gets_short_beside_a_fast_writer() {
    const KEPT: u64 = 30_000;
    let db: Arc<OnceLock<Db>> = Arc::default();
    let (writer, clock) = (Arc::clone(&db), OsClock::new());
    let rng = Mutex::new(ChaCha8Rng::seed_from_u64(5));
    let disk =
        TapVfs::over(disk(), move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
            if let (Call::SyncData { .. }, Some(db)) = (call, writer.get()) {
                let until = clock.monotonic() + Duration::from_millis(10);
                while clock.monotonic() < until {
                    let mut w = db.write().unwrap();
                    let tree = w.tree("t").unwrap();
                    let i = rng.lock().unwrap().random_range(0..KEPT);
                    w.put(tree, &key(2 * i), &[9; 100]).unwrap();
                    drop(w.commit().unwrap());
                }
            }
            go()
        });
    let options = options().sync(Sync::OnRequest).writer(Writer::Thread).memory_bytes(64 << 20);
    let opened = Db::open(Arc::new(disk), Path::new("dir/db"), options).unwrap();
    let tree = fill(&opened, 2 * KEPT);
    let mut w = opened.write().unwrap();
    for i in 0..KEPT {
        w.delete(tree, &key(2 * i + 1)).unwrap();
    }
    drop(w.commit().unwrap());
    opened.persist().unwrap();
    db.set(opened.clone()).unwrap();
    while opened.compact(Duration::from_millis(5)).unwrap() == Progress::More {}
    let sizes = opened.sizes();
    let ratio = sizes.file_bytes as f64 / sizes.used_bytes as f64;
    assert!(ratio < 1.3, "{ratio}: {sizes:?}");
}

/// A file of which three quarters are free, everything durable.
fn hollow(disk: &SimVfs, options: Options) {
    let db = try_open(disk, options).unwrap();
    let tree = fill(&db, 3000);
    let mut w = db.write().unwrap();
    for i in (0..3000).filter(|i| i % 50 > 12) {
        w.delete(tree, &key(i)).unwrap();
    }
    w.put(tree, b"large", &[7; 30_000]).unwrap();
    w.commit().unwrap().wait().unwrap();
    db.close().unwrap();
}

// Any write, sync or cut of a compaction may fail, once: whatever it had come to, no state that the
// disk knows loses a page, and where a failed flush is not the end the next call finishes the work.
#[test]
fn a_compaction_that_fails_anywhere_loses_nothing() {
    for sync in [Sync::OnRequest, Sync::EveryCommit, Sync::Journal] {
        let options = || options().sync(sync);
        let mut refused = 0;
        let whole = disk();
        hollow(&whole, options());
        for nth in 0.. {
            let disk = whole.crash_copy(0);
            let calls = Arc::new(AtomicU32::new(0));
            let (count, is_armed) = (Arc::clone(&calls), Arc::new(AtomicBool::new(false)));
            let armed = Arc::clone(&is_armed);
            let tap = move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| match call {
                Call::Write { .. } | Call::SyncData { .. } | Call::SetLen { .. }
                    if armed.load(Ordering::Relaxed)
                        && count.fetch_add(1, Ordering::Relaxed) == nth =>
                {
                    Err(io::Error::other("refused"))
                }
                _ => go(),
            };
            let tapped = Arc::new(TapVfs::over(disk.clone(), tap));
            let db = Db::open(tapped, &support::path(), options()).unwrap();
            let (expected, before) = (records(&db), db.sizes().file_bytes);
            is_armed.store(true, Ordering::Relaxed);
            let mut failures = 0;
            loop {
                // What is there already, so that each step has something to flush.
                let again = |mut w: WriteTxn| {
                    let tree = w.tree("t").unwrap();
                    w.put(tree, &key(0), &[0; 100])?;
                    w.commit()
                };
                let committed = db.write().and_then(again).map(drop);
                let progress = committed.and_then(|()| db.compact(Duration::ZERO));
                // Before that it was as it was in the round before.
                if calls.load(Ordering::Relaxed) > nth {
                    let crashed = disk.crash_copy(u64::from(nth));
                    let crashed = try_open(&crashed, options()).unwrap();
                    assert!(records(&crashed) == expected, "{sync:?}, call {nth}");
                    verified(&crashed);
                }
                match progress {
                    Ok(Progress::Done) => break,
                    Ok(Progress::More) => {}
                    Err(_) if failures == 0 => failures += 1,
                    Err(_) => break,
                }
            }
            refused += failures;
            if sync == Sync::OnRequest {
                let (sizes, now) = (db.sizes(), db.sizes().file_bytes);
                assert!(now < before / 3 * 2, "call {nth}: {before}, then {sizes:?}");
                verified(&db);
            }
            if calls.load(Ordering::Relaxed) <= nth {
                assert!(refused >= nth.min(10), "{sync:?}: {refused} of {nth} were heard of");
                break;
            }
        }
    }
}

// A reader of an old state keeps its pages through a compaction.
#[test]
fn a_reader_is_not_disturbed_by_a_compaction() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 3000);
    let before = records(&db);
    let r = db.read();
    let mut w = db.write().unwrap();
    w.delete_range(tree, key(10)..key(2990)).unwrap();
    w.commit().unwrap().wait().unwrap();
    while db.compact(Duration::from_secs(1)).unwrap() == Progress::More {}
    let seen = r.iter(tree).map(|item| item.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec()));
    assert!(seen.eq(before));
    let long = db.sizes().file_bytes;
    drop(r);
    while db.compact(Duration::from_secs(1)).unwrap() == Progress::More {}
    assert!(db.sizes().file_bytes < long, "what the reader held is given back");
    verified(&db);
}

// Snapshots hold every place that is left, and the clock stands still: compaction must see that it
// gets nowhere, and end.
#[test]
fn a_compaction_that_gets_nowhere_ends() {
    let disk = disk();
    for sync in [Sync::EveryCommit, Sync::OnRequest] {
        let clock = Arc::new(drystone_vfs::SimClock::default());
        let db = try_open(&disk, options().sync(sync).clock(clock)).unwrap();
        let tree = fill(&db, 3000);
        let mut held = Vec::new();
        for round in 0..30 {
            held.push(db.read());
            let mut w = db.write().unwrap();
            w.delete_range(tree, key(round * 100)..key(round * 100 + 90)).unwrap();
            w.put(tree, format!("large {round}").as_bytes(), &vec![1; 40_000]).unwrap();
            drop(w.commit().unwrap());
            let calls = (0..20)
                .take_while(|_| db.compact(Duration::from_secs(1)).unwrap() == Progress::More);
            assert!(calls.count() < 20, "round {round}");
            if round % 5 == 4 {
                held.remove(0);
            }
        }
        verified(&db);
    }
}

// Scenario 36: a copy made while others write is one state, and whole.
#[test]
fn a_checkpoint_is_one_state_and_opens_alone() {
    let disk = disk();
    let db = try_open(&disk, options().sync(Sync::OnRequest)).unwrap();
    let tree = fill(&db, 2000);
    let mut w = db.write().unwrap();
    w.put(tree, b"large", &[9; 50_000]).unwrap();
    w.delete_range(tree, key(100)..key(900)).unwrap();
    drop(w.commit().unwrap());
    let expected = records(&db);
    let target = Path::new("copies/one/db");
    let txn = db.checkpoint(target).unwrap();
    assert!(db.checkpoint(target).is_err(), "a database is not overwritten");
    assert_eq!(txn, db.read().txn());
    let copy =
        Db::open(Arc::new(disk.crash_copy(5)), target, Options::default().writer(Writer::Caller));
    let copy = copy.unwrap();
    assert_eq!(copy.durable(), txn);
    assert!(records(&copy) == expected);
    verified(&copy);
    support::put(&copy, b"and", b"on");
    verified(&copy);
}
