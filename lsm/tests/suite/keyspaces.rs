//! Several keyspaces, one order of commits (scenario 33).

use drystone_lsm::{Batch, Error};
use drystone_vfs::SimVfs;

use crate::hurt::{at_every_call, contents, key, noise, open};
use crate::support::{keyspace, options, try_open};

// Scenario 33: one batch over two keyspaces, of which one fills memtables and the other hardly any.
// Wherever the power fails, both have the batch or neither.
#[test]
fn a_batch_over_two_keyspaces_is_there_in_both_or_in_neither() {
    let base = SimVfs::new(1);
    let db = open(&base);
    drop((keyspace(&db, "big"), keyspace(&db, "small")));
    drop(db);
    let act = |disk: &SimVfs| {
        let Ok(db) = try_open(disk, options()) else { return };
        let (big, small) = (keyspace(&db, "big"), keyspace(&db, "small"));
        for n in 0..40_u64 {
            let mut batch = Batch::new();
            batch.put(&big, &key(n), &noise(n, 700));
            batch.put(&small, &key(n), b"1");
            let Ok(commit) = db.write(batch) else { return };
            if n % 8 == 0 && commit.wait().is_err() {
                return;
            }
            if n % 13 == 0 && db.compact_once().is_err() {
                return;
            }
        }
    };
    let mut counts = std::collections::BTreeSet::new();
    let calls = at_every_call(&base.crash(), act, |disk, what| {
        let db = try_open(disk, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (big, small) = (contents(&db, "big"), contents(&db, "small"));
        assert!(big.keys().eq(small.keys()), "{what}: {} and {}", big.len(), small.len());
        assert!(big.keys().cloned().eq((0..big.len() as u64).map(key)), "{what}: no prefix");
        counts.insert(big.len());
    });
    assert!(calls > 20 && counts.len() > 4, "{calls} calls, {counts:?}");
}

// Scenario 33: dropped and made again under its old name, with records of the old one still in the
// journal and in tables. The old records never return, wherever the power fails.
#[test]
fn a_dropped_keyspace_never_comes_back() {
    for flushed in [false, true] {
        let base = SimVfs::new(1);
        let db = open(&base);
        let (left, right) = (keyspace(&db, "left"), keyspace(&db, "right"));
        for n in 0..20 {
            let mut batch = Batch::new();
            batch.put(&left, &key(n), b"old");
            batch.put(&right, &key(n), b"stays");
            db.write(batch).unwrap().wait().unwrap();
        }
        if flushed {
            db.flush().unwrap();
        }
        drop(db);
        let act = |disk: &SimVfs| {
            let Ok(db) = try_open(disk, options()) else { return };
            let Ok(left) = db.keyspace("left", crate::support::keyspace_options()) else { return };
            if db.drop_keyspace(&left).is_err() {
                return;
            }
            assert!(matches!(db.put(&left, b"k", b"v"), Err(Error::NoKeyspace { .. })));
            assert_eq!(db.iter(&left).count(), 0, "a dropped keyspace is empty");
            let Ok(left) = db.keyspace("left", crate::support::keyspace_options()) else { return };
            assert_eq!(db.iter(&left).count(), 0, "the new one is another");
            let put = db.put(&left, &key(100), b"new").and_then(|commit| commit.wait());
            if put.is_ok() {
                drop(db.flush());
            }
        };
        let (mut old, mut new) = (0, 0);
        at_every_call(&base.crash(), act, |disk, what| {
            for _ in 0..2 {
                let db =
                    try_open(disk, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
                let left = contents(&db, "left");
                let is_old = left.len() == 20 && left.values().all(|value| value == b"old");
                let is_new = left.is_empty() || left.keys().eq([&key(100)]);
                assert!(is_old || is_new, "{what}, flushed {flushed}: {left:?}");
                old += u32::from(is_old);
                new += u32::from(!left.is_empty() && is_new);
                assert_eq!(contents(&db, "right").len(), 20, "{what}");
                db.flush().unwrap();
                db.compact(std::time::Duration::MAX).unwrap();
                db.verify().unwrap();
            }
        });
        assert!(old > 0 && new > 0, "{old} times the old one, {new} times the new one");
    }
}

// Scenario 33: one record in a keyspace that nobody writes to any more must not keep the journal
// from being let go of: it would grow until the disk is full.
#[test]
fn an_idle_keyspace_does_not_hold_the_journal() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let (idle, busy) = (keyspace(&db, "idle"), keyspace(&db, "busy"));
    db.put(&idle, b"once", b"written").unwrap().wait().unwrap();
    let mut most = 0;
    for n in 0..3000 {
        drop(db.put(&busy, &key(n % 50), &noise(n, 200)).unwrap());
        if n % 100 == 0 {
            db.persist().unwrap();
            while db.compact_once().unwrap() {}
            most = most.max(db.stats().journal_bytes);
        }
    }
    // 600 kB were written; memtables hold 32.
    assert!(most < 200 << 10, "the journal has grown to {most} bytes");
    let db = open(&disk.crash());
    assert_eq!(contents(&db, "idle").len(), 1);
    assert_eq!(contents(&db, "busy").len(), 50);
}

// Scenario 33: the batch for which the memtable has no room left. It goes into the next one as a
// whole: the first one is flushed, and the power fails before the second.
#[test]
fn a_batch_is_never_divided_between_two_memtables() {
    let options = || options().journal(false);
    let mut divides = 0;
    for small in 1..60_usize {
        let disk = SimVfs::new(1);
        let db = try_open(&disk, options()).unwrap();
        let (left, right) = (keyspace(&db, "left"), keyspace(&db, "right"));
        // So many batches of a small and a large change that some memtable is full in one of them.
        let mut sealed = 0;
        for n in 0..8 {
            let mut batch = Batch::new();
            batch.put(&left, &key(n), &noise(n, small));
            // A memtable takes what comes until it is full, and then up to as much again.
            let large = if n % 2 == 0 { 3000 } else { 9000 + 100 * small };
            batch.put(&right, &key(n), &noise(n, large));
            drop(db.write(batch).unwrap());
            sealed = sealed.max(db.stats().sealed);
        }
        divides += u32::from(sealed > 0);
        db.flush_once().unwrap();
        let disk = disk.crash_copy(small as u64);
        let db = try_open(&disk, options()).unwrap();
        // What has a number that is not given out yet shows when it is.
        let idle = keyspace(&db, "idle");
        (0..4).for_each(|n| drop(db.put(&idle, &key(n), b"later").unwrap()));
        let keys = |name| contents(&db, name).into_keys().collect::<Vec<_>>();
        assert_eq!(keys("left"), keys("right"), "{small} bytes: half of a batch");
    }
    assert!(divides > 50, "{divides}");
}
