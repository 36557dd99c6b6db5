//! Databases larger than the memory they may take.

use std::collections::BTreeMap;
use std::sync::Arc;

use drystone_btree::{Db, Options, Sync, Writer};
use drystone_vfs::MemVfs;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{disk, fill, key, options, path, records, try_open};

// Pages beyond the mirror that were committed lie in the cache alone until they are flushed. A
// flush of older commits must not let go of them, whatever number they took.
#[test]
fn commits_beyond_the_mirror_outlive_flushes_of_older_ones() {
    for seed in 0..3 {
        let options = Options::default()
            .sync(if seed == 1 { Sync::EveryCommit } else { Sync::OnRequest })
            .memory_bytes(1 << 20)
            .unflushed_bytes(1 << 20)
            .writer(Writer::Thread);
        let vfs = Arc::new(MemVfs::new());
        let db = Db::open(vfs.clone(), &path(), options.clone()).unwrap();
        let tree = db.tree("t").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut expected = BTreeMap::new();
        for round in 0..60_u8 {
            let mut w = db.write().unwrap();
            for _ in 0..500 {
                let key = key(rng.random_range(0..8000));
                let large = rng.random_range(0..100) == 0;
                let value = vec![round; if large { 9000 } else { 150 }];
                w.put(tree, &key, &value).unwrap();
                expected.insert(key, value);
            }
            drop(w.commit().unwrap());
        }
        assert!(records(&db) == expected, "seed {seed}");
        db.persist().unwrap();
        assert_eq!(db.verify().unwrap().lost_pages, 0);
        db.close().unwrap();
        let db = Db::open(vfs, &path(), options).unwrap();
        assert!(records(&db) == expected, "seed {seed}: reopened");
        assert!(db.stats().cache_bytes <= 1 << 18, "the cache keeps to its share");
    }
}

// A state that no flush will ever write can be read all the same, for as long as somebody does.
#[test]
fn a_reader_of_a_state_that_never_reaches_the_disk_is_served_from_memory() {
    let disk = disk();
    let options = options().sync(Sync::OnRequest).memory_bytes(1 << 20);
    let db = try_open(&disk, options).unwrap();
    let tree = fill(&db, 10_000);
    let mut w = db.write().unwrap();
    for i in 0..10_000 {
        w.put(tree, &key(i), &[1; 100]).unwrap();
    }
    drop(w.commit().unwrap());
    let r = db.read();
    for round in 2..5 {
        let mut w = db.write().unwrap();
        for i in 0..10_000 {
            w.put(tree, &key(i), &[round; 100]).unwrap();
        }
        drop(w.commit().unwrap());
        db.persist().unwrap();
        assert!(r.iter(tree).all(|item| item.unwrap().1 == [1; 100]));
    }
    drop(r);
    assert!(records(&db).values().all(|value| value[0] == 4));
}

// A load that is faster than the disk must not fill the memory with what waits to be written.
#[test]
fn a_writer_that_nobody_waits_for_is_held_up_before_memory_is_full() {
    const MEMORY: usize = 2 << 20;
    for sync in [Sync::OnRequest, Sync::EveryCommit] {
        let options = Options::default().sync(sync).memory_bytes(MEMORY).writer(Writer::Thread);
        let db = Db::open(Arc::new(MemVfs::new()), &path(), options).unwrap();
        let tree = db.tree("t").unwrap();
        let mut held_most = 0;
        for round in 0..200 {
            let mut w = db.write().unwrap();
            for i in 0..100 {
                w.put(tree, &key(round * 100 + i), &[1; 1000]).unwrap();
            }
            drop(w.commit().unwrap());
            held_most = held_most.max(db.stats().held_bytes);
        }
        assert!(db.sizes().used_bytes > 8 * MEMORY as u64, "far larger than memory");
        // Half as much again, and the commit that went beyond it.
        assert!(held_most <= MEMORY / 2 + (200 << 10), "{sync:?}: {held_most}");
        let stats = db.stats();
        assert!(stats.map_bytes < MEMORY / 20, "{stats:?}");
    }
}

// What is removed beyond the mirror is free afterwards, as it is within.
#[test]
fn pages_beyond_the_mirror_become_free() {
    let options = options().sync(Sync::OnRequest).memory_bytes(1 << 20).writer(Writer::Thread);
    let db = Db::open(Arc::new(MemVfs::new()), &path(), options).unwrap();
    let tree = db.tree("t").unwrap();
    for round in 0..20 {
        let mut w = db.write().unwrap();
        for i in 0..1000 {
            w.put(tree, &key(round * 1000 + i), &[1; 1000]).unwrap();
        }
        drop(w.commit().unwrap());
    }
    db.persist().unwrap();
    let before = db.sizes().used_bytes;
    for round in 0..20 {
        let mut w = db.write().unwrap();
        for i in (0..1000).filter(|i| i / 4 % 2 == 0) {
            assert!(w.delete(tree, &key(round * 1000 + i)).unwrap());
        }
        drop(w.commit().unwrap());
    }
    db.persist().unwrap();
    let after = db.sizes().used_bytes;
    assert!(after < before * 3 / 4, "{before} {after} {:?}", db.verify());
    assert_eq!(db.verify().unwrap().lost_pages, 0);
}
