//! Space that is given back where there is none: in pieces.

use drystone_lsm::{Db, Error, Progress};
use drystone_vfs::SimVfs;

use crate::hurt::{key, noise};
use crate::support::{keyspace, options, try_open};

/// 600 KB of what cannot be packed, in tables of 4 KiB.
const KEYS: u64 = 3000;
const VALUE_BYTES: usize = 200;
/// Room beside that, enough for some tables.
const SPARE_BYTES: u64 = 60 << 10;

fn is_gone(number: u64) -> bool {
    !number.is_multiple_of(3)
}

/// All in the lowest level, and above it deletes of most; they all fit into one table.
fn full() -> (SimVfs, Db) {
    let disk = SimVfs::new(1);
    let db = try_open(&disk, options().journal(false)).unwrap();
    let left = keyspace(&db, "left");
    (0..KEYS).for_each(|n| drop(db.put(&left, &key(n), &noise(n, VALUE_BYTES)).unwrap()));
    db.flush().unwrap();
    db.compact(std::time::Duration::MAX).unwrap();
    // Spread over all there is, many times.
    for start in 0..7 {
        let gone = (start..KEYS).step_by(7).filter(|n| is_gone(*n));
        gone.for_each(|n| drop(db.delete(&left, &key(n)).unwrap()));
        db.flush().unwrap();
    }
    let taken: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    disk.set_capacity_bytes(Some(taken + SPARE_BYTES));
    (disk, db)
}

// To merge all there is takes room for what stays of it, which a full disk does not have; piece by
// piece it does, and what is deleted is gone all the same.
#[test]
fn deletes_make_room_on_a_disk_that_has_none() {
    let (_, db) = full();
    let whole = db.compact(std::time::Duration::MAX);
    assert!(matches!(whole, Err(Error::NoSpace { .. })), "{whole:?}: there is room after all");
    drop(db);

    let (disk, db) = full();
    let before = db.bytes();
    assert_eq!(db.compact_deletes(std::time::Duration::MAX).unwrap(), Progress::Done);
    let after = db.bytes();
    assert!(after < before / 2, "a third stays: {before} bytes became {after}");
    assert_eq!(db.compact_deletes(std::time::Duration::MAX).unwrap(), Progress::Done);
    assert_eq!(db.bytes(), after, "it comes to an end");
    drop(db);
    let db = try_open(&disk.crash(), options().journal(false)).unwrap();
    let left = keyspace(&db, "left");
    for n in 0..KEYS {
        let found = db.get(&left, &key(n)).unwrap().map(|value| value.to_vec());
        assert_eq!(found, (!is_gone(n)).then(|| noise(n, VALUE_BYTES)), "key {n}");
    }
}

// A snapshot sees what was deleted after it: nothing of that may go, and pieces come to an end.
#[test]
fn a_snapshot_keeps_what_it_sees() {
    let disk = SimVfs::new(1);
    let db = try_open(&disk, options().journal(false)).unwrap();
    let left = keyspace(&db, "left");
    (0..KEYS).for_each(|n| drop(db.put(&left, &key(n), &noise(n, VALUE_BYTES)).unwrap()));
    db.flush().unwrap();
    let snapshot = db.snapshot();
    (0..KEYS).filter(|n| is_gone(*n)).for_each(|n| drop(db.delete(&left, &key(n)).unwrap()));
    db.flush().unwrap();
    assert_eq!(db.compact_deletes(std::time::Duration::MAX).unwrap(), Progress::Done);
    assert_eq!(snapshot.iter(&left).count() as u64, KEYS);
    assert_eq!(db.iter(&left).count() as u64, KEYS.div_ceil(3));
}
