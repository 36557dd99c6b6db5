//! Space that is given back where there is none: in pieces.

use drystone_lsm::{Db, Error, Progress};
use drystone_vfs::SimVfs;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::hurt::{key, noise};
use crate::support::{keyspace, options, seeds, try_open};

/// 600 KB of what cannot be packed, in tables of 4 KiB.
const KEYS: u64 = 3000;
const VALUE_BYTES: usize = 200;
/// Room beside that, enough for some tables.
const SPARE_BYTES: u64 = 60 << 10;
/// One and a half times what the engine may have in memory; and a new manifest.
const CROWDED_SPARE_BYTES: u64 = (96 + 64) << 10;

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

/// Puts keys in any order, with flushes and compactions in between, and takes the room; then
/// deletes most of them, while compactions try to go on. What is left of them, bytes.
fn crowded(seed: u64) -> (SimVfs, Db, u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let disk = SimVfs::new(seed);
    let db = try_open(&disk, options().journal(false)).unwrap();
    let left = keyspace(&db, "left");
    let value_bytes = [200, 500, 1000][rng.random_range(0..3)];
    let mut keys: Vec<u64> = (0..rng.random_range(200_000..600_000) / value_bytes).collect();
    if rng.random() {
        keys.shuffle(&mut rng);
    }
    let (flush, compact) = (rng.random_range(0.0..0.02), rng.random_range(0.0..0.05));
    for n in &keys {
        drop(db.put(&left, &key(*n), &noise(*n, value_bytes as usize)).unwrap());
        if rng.random_bool(flush) {
            db.flush().unwrap();
        }
        // As threads do it, who may lag behind.
        while rng.random_bool(0.8) && db.compact_once().unwrap() {}
    }
    db.flush().unwrap();
    while db.compact_once().unwrap() {}
    let taken: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    disk.set_capacity_bytes(Some(taken + CROWDED_SPARE_BYTES));
    if rng.random() {
        keys.shuffle(&mut rng);
    }
    for (at, n) in keys.iter().filter(|n| !n.is_multiple_of(8)).enumerate() {
        drop(db.delete(&left, &key(*n)).unwrap());
        // As whoever deletes that much has to.
        if at % 500 == 499 {
            let made = db.compact_deletes(std::time::Duration::MAX);
            assert!(made.is_ok(), "seed {seed}, delete {at}: {made:?}");
        }
        if rng.random_bool(compact) {
            let due = db.compact_once();
            assert!(matches!(due, Ok(_) | Err(Error::NoSpace { .. })), "seed {seed}: {due:?}");
        }
    }
    db.flush().unwrap();
    let stays = keys.iter().filter(|n| n.is_multiple_of(8)).count() as u64;
    (disk, db, stays * (value_bytes + 20))
}

// Whatever else is due may not fit: what makes room must not stand in line behind it.
#[test]
fn deletes_make_room_whatever_else_is_due() {
    for seed in seeds("deletes_make_room_whatever_else_is_due", 100) {
        let (_disk, db, stays) = crowded(seed);
        let before = db.bytes();
        let done = db.compact_deletes(std::time::Duration::MAX);
        let after = db.bytes();
        let what = format!("seed {seed}: {before} bytes became {after}, {stays} stay");
        assert!(matches!(done, Ok(Progress::Done)), "{what}: {done:?}");
        assert!(after < 2 * stays + CROWDED_SPARE_BYTES, "{what}");
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
