//! What a user does on a good day.

use std::sync::Arc;

use drystone_btree::{Db, Error, Options, Sync, TxnId};
use drystone_vfs::MemVfs;

use crate::support::{disk, fill, key, open, options, path, put, records, try_open};

// The least one expects.
#[test]
fn what_was_put_is_found_now_and_after_reopening() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 500);
    assert_eq!(db.get(tree, &key(77)).unwrap().unwrap(), [77; 100][..]);
    assert_eq!(db.get(tree, b"none").unwrap(), None);
    let before = records(&db);
    assert_eq!(before.len(), 500);
    db.close().unwrap();
    assert!(records(&open(&disk)) == before);
}

// A snapshot is one moment, whatever is written meanwhile, and it outlives every handle.
#[test]
fn a_reader_sees_one_state_and_outlives_the_database() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 300);
    let r = db.read();
    let mut w = db.write().unwrap();
    assert_eq!(w.delete_range::<&[u8]>(tree, ..).unwrap(), 300);
    assert_eq!(w.len(tree).unwrap(), 0);
    w.commit().unwrap().wait().unwrap();
    for i in 0..300 {
        put(&db, &key(i), b"later");
    }
    drop(db);
    assert_eq!(r.len(tree).unwrap(), 300);
    assert!(r.iter(tree).all(|item| item.unwrap().1.len() == 100));
    assert_eq!(r.iter(tree).rev().count(), 300);
}

// Who drops a transaction takes it back, and lets the next one in.
#[test]
fn a_dropped_transaction_leaves_no_trace() {
    let db = open(&disk());
    let tree = fill(&db, 10);
    let before = db.stats();
    let mut w = db.write().unwrap();
    w.put(tree, b"a", b"b").unwrap();
    assert!(db.try_write().unwrap().is_none());
    drop(w);
    assert_eq!(db.get(tree, b"a").unwrap(), None);
    let after = db.stats();
    assert_eq!(before.newest, after.newest);
    assert_eq!(before.pages, after.pages);
    assert!(db.try_write().unwrap().is_some());
}

// An empty transaction is none: no number, no write.
#[test]
fn a_transaction_without_changes_writes_nothing() {
    let disk = disk();
    let db = open(&disk);
    let tree = fill(&db, 10);
    let before = disk.counts();
    let mut w = db.write().unwrap();
    w.delete(tree, b"none").unwrap();
    let txn = w.commit().unwrap().wait().unwrap();
    assert_eq!(txn, db.durable());
    assert_eq!(disk.counts().changes(), before.changes());
}

// Someone who journals above pays for no sync until it asks.
#[test]
fn on_request_nothing_is_written_before_it_is_asked_for() {
    let disk = disk();
    drop(open(&disk));
    let before = disk.files();
    let counts = disk.counts();
    let options = options().sync(Sync::OnRequest);
    let db = try_open(&disk, options.clone()).unwrap();
    let tree = db.tree("t").unwrap();
    let mut w = db.write().unwrap();
    w.put(tree, b"a", b"b").unwrap();
    drop(w.commit().unwrap());
    drop(db);
    assert!(disk.files() == before, "a database that was not persisted is as it was");
    assert_eq!(disk.counts().writes, counts.writes);
    let db = try_open(&disk, options.clone()).unwrap();
    let tree = db.tree("t").unwrap();
    let mut w = db.write().unwrap();
    w.put(tree, b"a", b"b").unwrap();
    drop(w.commit().unwrap());
    assert_eq!(db.durable(), TxnId(0));
    assert_eq!(db.persist().unwrap(), TxnId(2));
    let counts = disk.counts();
    db.persist().unwrap();
    assert_eq!(disk.counts(), counts, "there is nothing new");
    drop(db);
    let db = try_open(&disk, options).unwrap();
    assert_eq!(db.get(tree, b"a").unwrap().unwrap(), "b");
}

// The threaded default, on an obedient disk, with futures left to the scribe.
#[test]
fn a_commit_that_nobody_waits_for_becomes_durable() {
    let db = Db::open(Arc::new(MemVfs::new()), &path(), Options::default()).unwrap();
    let tree = db.tree("t").unwrap();
    let mut w = db.write().unwrap();
    w.put(tree, b"a", b"b").unwrap();
    let commit = w.commit().unwrap();
    let txn = commit.txn();
    drop(commit);
    while db.durable() < txn {
        std::thread::yield_now();
    }
    db.clone().close().unwrap();
    assert!(matches!(db.write().map(drop), Err(Error::Closed)));
    assert_eq!(db.get(tree, b"a").unwrap().unwrap(), "b", "readers go on");
}
