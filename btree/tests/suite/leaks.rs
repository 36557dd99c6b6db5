//! Code that panics, drops or forgets what it holds (scenario 46).

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use drystone_btree::{Db, Error, Progress};
use drystone_vfs::SimClock;

use crate::support::{disk, fill, key, open, options, put, records, try_open};

fn update(db: &Db, rounds: u64) {
    for i in 0..rounds {
        put(db, &key(i % 7), &[i as u8; 800]);
    }
}

// Scenario 46: a panic in the middle of a transaction takes it back; the next one begins at once,
// and whoever reads sees nothing of it.
#[test]
fn a_panic_amid_a_transaction_takes_it_back() {
    let db = open(&disk());
    let tree = fill(&db, 100);
    let before = (records(&db), db.stats().pages);
    for step in 0..5 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut w = db.write().unwrap();
            w.put(tree, b"a", b"b").unwrap();
            let _savepoint = w.savepoint();
            w.delete_range::<&[u8]>(tree, ..).unwrap();
            let walk = w.range::<&[u8]>(tree, ..);
            assert!(walk.count() > 0, "panics in step {step}");
        }));
        assert!(outcome.is_err());
        assert_eq!(records(&db), before.0);
        assert!(db.try_write().unwrap().is_some(), "nobody holds the pen");
    }
    assert_eq!(db.stats().pages, before.1, "no page is lost");
    put(&db, b"goes", b"on");
    db.verify().unwrap();
}

// Scenario 46: dropped in the middle (a transaction, an iterator, a cursor, a commit that nobody
// waits for, a reader): nothing stays behind.
#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 300);
    update(&db, 50);
    db.persist().unwrap();
    let pages = db.stats().pages;
    for i in 0..200_u64 {
        let r = db.read();
        let mut range = r.iter(tree);
        range.next().unwrap().unwrap();
        range.next_back().unwrap().unwrap();
        let mut cursor = r.cursor(tree).unwrap();
        cursor.seek(&key(i)).unwrap();
        drop(range);
        let mut w = db.write().unwrap();
        w.put(tree, &key(i), &[3; 900]).unwrap();
        if i % 2 == 0 {
            drop(w);
        } else {
            drop(w.commit().unwrap());
        }
    }
    db.persist().unwrap();
    let stats = db.stats();
    assert!(stats.readers.is_empty(), "{:?}", stats.readers);
    assert!(stats.pages < pages + 100, "{} pages, {pages} before", stats.pages);
    db.close().unwrap();
    open(&disk).verify().unwrap();
}

// Scenario 46: a forgotten reader, with an iterator of its. The statistics show which state it
// holds and since when; the file grows by what it pins and not without end; nobody waits for it.
#[test]
fn a_forgotten_reader_shows_in_the_statistics_and_pins_one_state() {
    let disk = disk();
    let clock = Arc::new(SimClock::new());
    let db = try_open(&disk, options().clock(clock.clone())).unwrap();
    let tree = fill(&db, 300);
    update(&db, 30);
    let r = Box::leak(Box::new(db.read()));
    let txn = r.txn();
    mem::forget(r.iter(tree));
    mem::forget(db.read());
    clock.advance(Duration::from_secs(90));
    update(&db, 100);
    let after_some = db.stats();
    update(&db, 400);
    let stats = db.stats();
    assert_eq!(stats.readers.len(), 2);
    for reader in &stats.readers {
        assert_eq!(reader.txn, txn);
        assert!(reader.age >= Duration::from_secs(90), "{:?}", reader.age);
    }
    assert!(stats.pages_pending > 0, "it holds pages");
    assert!(
        stats.pages < after_some.pages + 20,
        "what came after it is used again: {} pages, then {}",
        after_some.pages,
        stats.pages
    );
    while db.compact(Duration::ZERO).unwrap() == Progress::More {}
    assert_eq!(r.iter(tree).count(), 300);
    db.verify().unwrap();
    db.close().unwrap();
    assert_eq!(r.iter(tree).rev().map_while(Result::ok).count(), 300);
    // The file does not know of it.
    let db = open(&disk);
    assert!(db.stats().readers.is_empty());
    assert_eq!(db.verify().unwrap().lost_pages, 0);
}

// Scenario 46: a forgotten transaction keeps other writers out, as a forgotten guard keeps a lock;
// who asks with `try_write` is told. Reading, persisting and closing wait for nobody, and what is
// opened anew knows nothing of it.
#[test]
fn a_forgotten_transaction_blocks_writers_alone() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 50);
    let mut w = db.write().unwrap();
    w.put(tree, b"never", b"seen").unwrap();
    mem::forget(w);
    assert!(db.try_write().unwrap().is_none());
    assert_eq!(db.get(tree, b"never").unwrap(), None);
    assert_eq!(records(&db).len(), 50);
    db.persist().unwrap();
    db.verify().unwrap();
    db.clone().close().unwrap();
    assert!(matches!(db.try_write(), Err(Error::Closed)));
    assert!(matches!(db.write().map(drop), Err(Error::Closed)));
    drop(db);
    let db = open(&disk);
    assert_eq!(records(&db).len(), 50);
    put(&db, b"goes", b"on");
}

// Scenario 46: one that panics while others wait for it to flush. They are told.
#[test]
fn a_commit_that_is_forgotten_is_durable_even_so() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 10);
    for i in 0..20 {
        let mut w = db.write().unwrap();
        w.put(tree, &key(100 + i), b"forgotten").unwrap();
        mem::forget(w.commit().unwrap());
    }
    let txn = db.read().txn();
    assert_eq!(db.persist().unwrap(), txn);
    assert_eq!(records(&open(&disk.crash_copy(1))).len(), 30);
    // Forgotten, and the database dropped: closing makes it durable.
    let mut w = db.write().unwrap();
    w.put(tree, b"last", b"word").unwrap();
    mem::forget(w.commit().unwrap());
    drop(db);
    assert_eq!(records(&open(&disk.crash())).len(), 31);
}
