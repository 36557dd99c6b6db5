//! What was deleted stays deleted (scenario 34).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drystone_lsm::{Batch, CompactionFilter, Db, Keyspace, Policy};
use drystone_vfs::SimVfs;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hurt::{contents, key, noise, open};
use crate::support::{keyspace, keyspace_options, options, seeds, try_open};

fn absent(db: &Db, space: &Keyspace, n: u64) -> bool {
    let found = db.get(space, &key(n)).unwrap().is_none();
    let walked = db.range(space, key(n)..=key(n)).next().is_none();
    assert_eq!(found, walked, "get and a walk do not agree");
    found
}

// Scenario 34: a delete goes down the levels above what it deletes, one step at a time. Were it let go
// of before the old version is, that would come back. Single deletes and ranges, under both policies,
// with and without a snapshot that still sees the old version.
#[test]
fn a_deleted_key_does_not_return_through_flushes_and_compactions() {
    for (policy, watched) in [
        (Policy::Leveled, false),
        (Policy::Leveled, true),
        (Policy::Tiered, false),
        (Policy::Tiered, true),
    ] {
        let disk = SimVfs::new(1);
        let db = open(&disk);
        let left = db.keyspace("left", keyspace_options().policy(policy)).unwrap();
        for round in 0..3 {
            for n in 0..60 {
                drop(db.put(&left, &key(n), &noise(n + round * 60, 200)).unwrap());
            }
            db.flush().unwrap();
        }
        db.compact(Duration::MAX).unwrap();
        let snapshot = watched.then(|| db.snapshot());
        let mut batch = Batch::new();
        batch.delete(&left, &key(3));
        batch.delete_range(&left, &key(20), &key(40));
        drop(db.write(batch).unwrap());
        let gone = |n: u64| n == 3 || (20..40).contains(&n);
        for step in 0..30 {
            let what = format!("{policy:?}, watched {watched}, step {step}");
            assert!((0..60).all(|n| absent(&db, &left, n) == gone(n)), "{what}");
            if let Some(snapshot) = &snapshot {
                assert_eq!(snapshot.iter(&left).count(), 60, "{what}: the snapshot");
            }
            for n in (0..60).filter(|n| !gone(*n) && n % 3 == step % 3) {
                drop(db.put(&left, &key(n), &noise(n + 1000 * step, 150)).unwrap());
            }
            db.flush().unwrap();
            db.compact_once().unwrap();
        }
        drop(snapshot);
        db.compact(Duration::MAX).unwrap();
        assert!((0..60).all(|n| absent(&db, &left, n) == gone(n)));
        drop(db);
        let db = open(&disk.crash());
        assert!((0..60).all(|n| absent(&db, &keyspace(&db, "left"), n) == gone(n)));
    }
}

/// Drops every value that begins with an even byte.
#[derive(Debug)]
struct Odd;

impl CompactionFilter for Odd {
    fn keep(&self, _key: &[u8], value: &[u8]) -> bool {
        value[0] % 2 == 1
    }
}

// Scenario 34: what a compaction filter drops is as if deleted; an older version must not come up in
// its place.
#[test]
fn what_a_filter_drops_uncovers_nothing() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    let put = |n: u64, byte: u8| drop(db.put(&left, &key(n), &[byte; 150]).unwrap());
    (0..60).for_each(|n| put(n, 1));
    db.flush().unwrap();
    db.compact(Duration::MAX).unwrap();
    let left = db.keyspace("left", keyspace_options().filter(Arc::new(Odd))).unwrap();
    let mut newest = BTreeMap::new();
    for round in 0..20_u64 {
        for n in (0..60).filter(|n| n % 4 == round % 4) {
            let byte = 2 + (round % 2) as u8;
            drop(db.put(&left, &key(n), &[byte; 150]).unwrap());
            newest.insert(n, byte);
        }
        db.flush().unwrap();
        db.compact_once().unwrap();
        for n in 0..60 {
            let found = db.get(&left, &key(n)).unwrap().map(|value| value[0]);
            let expected = newest.get(&n).copied().unwrap_or(1);
            let dropped = expected % 2 == 0 && found.is_none();
            assert!(found == Some(expected) || dropped, "round {round}, key {n}: {found:?}");
        }
    }
}

// Scenario 34 at random, against a map that remembers every version: few keys, mostly deletes, and
// upkeep after every few writes. A version that is back says which one it is.
#[test]
fn deletes_at_random_match_a_map() {
    for seed in seeds("deletes_at_random", 24) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = if rng.random_bool(0.5) { Policy::Leveled } else { Policy::Tiered };
        let mut disk = SimVfs::new(seed);
        let mut model = BTreeMap::new();
        let mut version = 0_u64;
        for _ in 0..4 {
            let db = try_open(&disk, options()).unwrap();
            let left = db.keyspace("left", keyspace_options().policy(policy)).unwrap();
            let mut snapshots = Vec::new();
            for _ in 0..120 {
                let n = rng.random_range(0..30);
                version += 1;
                match rng.random_range(0..12) {
                    0..4 => {
                        let mut value = version.to_be_bytes().to_vec();
                        value.resize(rng.random_range(8..400), 7);
                        drop(db.put(&left, &key(n), &value).unwrap());
                        model.insert(key(n), value);
                    }
                    4..6 => {
                        drop(db.delete(&left, &key(n)).unwrap());
                        model.remove(&key(n));
                    }
                    6..8 => {
                        let end = n + rng.random_range(1..12);
                        let mut batch = Batch::new();
                        batch.delete_range(&left, &key(n), &key(end));
                        drop(db.write(batch).unwrap());
                        model.retain(|k, _| !(key(n) <= *k && *k < key(end)));
                    }
                    8 => snapshots.push(db.snapshot()),
                    9 => db.flush().unwrap(),
                    10 => drop(db.compact_once().unwrap()),
                    _ => {
                        snapshots.clear();
                        drop(db.compact(Duration::MAX).unwrap());
                    }
                }
                let found = db.get(&left, &key(n)).unwrap().map(|value| value.to_vec());
                assert_eq!(found.as_ref(), model.get(&key(n)), "seed {seed}, version {version}");
            }
            assert!(contents(&db, "left") == model, "seed {seed}, version {version}");
            db.persist().unwrap();
            drop(snapshots);
            drop(db);
            disk = disk.crash();
        }
    }
}
