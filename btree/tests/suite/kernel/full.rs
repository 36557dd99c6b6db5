//! Real file systems without a byte to spare.
//!
//! A database fills its volume to the end again and again here, from different amounts of free
//! space, so that the last byte goes to a page, to zeros written ahead, to the file's own making.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drystone_btree::{Db, Error, Options, Progress, Result, Sync};
use drystone_vfs::{OpenMode, OsVfs, Vfs};

use super::volume::{Volume, on_each};
use crate::support::key;

const TMPFS_BYTES: u64 = 1 << 20;
const EXT4_BYTES: u64 = 8 << 20;

/// Amounts of space to begin with: around one page, one stretch of zeros, and between.
const SPARES: [u64; 8] = [0, 4096, 12_288, 20_000, 65_536, 69_632, 140_000, 300_000];

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn try_open(volume: &Volume, sync: Sync) -> Result<Db> {
    Db::open(Arc::new(OsVfs::new()), &volume.place("db"), Options::default().sync(sync))
}

#[track_caller]
fn assert_full<T>(result: Result<T>) {
    match result {
        Err(Error::NoSpace { .. }) => {}
        Err(error) => panic!("not told that the disk is full, but: {error}"),
        Ok(_) => panic!("the disk is full, and nobody minds"),
    }
}

fn records(db: &Db) -> Records {
    let r = db.read();
    r.tree("t").map_or_else(Records::new, |tree| {
        let items = r.iter(tree).map(|item| item.unwrap());
        items.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    })
}

/// Puts larger and larger batches, each waited for, until there is no space.
fn fill_up(db: &Db, from: u64, known: &mut Records) -> Error {
    let mut go = |i: u64| -> Result<()> {
        let tree = db.tree("t")?;
        let mut w = db.write()?;
        let mut batch = Records::new();
        for n in 0..=i % 7 {
            batch.insert(key(100 * (from + i) + n), vec![i as u8; 900]);
        }
        for (key, value) in &batch {
            w.put(tree, key, value)?;
        }
        w.commit()?.wait()?;
        known.extend(batch);
        Ok(())
    };
    (0..).find_map(|i| go(i).err()).expect("it ends at some time")
}

fn start_over(volume: &Volume) {
    volume.drain();
    if OsVfs::new().remove(&volume.place("db")).is_err() {
        println!("there was no database");
    }
}

// A caller that is not told waits for ever; one that is told "poisoned" replaces a good disk. What
// was acknowledged is read on, and found by the next opening; with space it goes on.
#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let test = "kernel::full::a_full_disk_is_told_and_loses_nothing";
    on_each(test, TMPFS_BYTES, EXT4_BYTES, |volume| {
        for spare in SPARES {
            println!("{}: {spare} bytes to begin with", volume.kind);
            let db = try_open(volume, Sync::EveryCommit).unwrap();
            volume.fill(spare);
            let mut known = Records::new();
            assert_full::<()>(Err(fill_up(&db, 1, &mut known)));
            assert_eq!(records(&db), known, "{spare}: readers are back at what is durable");
            assert_full(db.write().map(drop));
            assert_full(db.close());
            volume.fill(0);
            // Opening and reading take no space. What was refused may be whole on disk even so.
            let db = try_open(volume, Sync::EveryCommit).unwrap();
            let found = records(&db);
            assert!(known.iter().all(|(key, value)| found.get(key) == Some(value)), "{spare}");
            db.verify().unwrap();
            drop(db);
            volume.drain();
            let db = try_open(volume, Sync::EveryCommit).unwrap();
            let mut w = db.write().unwrap();
            let tree = w.create_tree("t").unwrap();
            w.put(tree, b"goes", b"on").unwrap();
            w.commit().unwrap().wait().unwrap();
            db.close().unwrap();
            assert_eq!(
                records(&try_open(volume, Sync::EveryCommit).unwrap()).len(),
                found.len() + 1
            );
            volume.fill(0);
            start_over(volume);
        }
    });
}

// On request, a flush that found no space has taken nothing from memory. When somebody makes space,
// the same flush works, or another one, without what has been deleted meanwhile.
#[test]
fn a_flush_without_space_works_when_there_is_some() {
    let test = "kernel::full::a_flush_without_space_works_when_there_is_some";
    on_each(test, TMPFS_BYTES, EXT4_BYTES, |volume| {
        for spare in SPARES {
            println!("{}: {spare} bytes to begin with", volume.kind);
            let db = try_open(volume, Sync::OnRequest).unwrap();
            volume.fill(spare);
            let tree = db.tree("t").unwrap();
            let put = |i: u64, bytes: usize| {
                let mut w = db.write().unwrap();
                w.put(tree, &key(i), &vec![i as u8; bytes]).unwrap();
                drop(w.commit().unwrap());
            };
            put(1, 100);
            put(2, 600_000);
            for _ in 0..3 {
                assert_full(db.persist());
                assert_eq!(records(&db).len(), 2);
            }
            if spare >= 65_536 {
                // What a failed flush has written is not of the file: there is as much room as
                // before, and this needs little of it.
                let mut w = db.write().unwrap();
                w.delete(tree, &key(2)).unwrap();
                drop(w.commit().unwrap());
                drop(db.persist());
            }
            volume.drain();
            put(3, 200);
            let expected = records(&db);
            // The system may have tried to save a page of its own accord when there was no room
            // yet, and says so to the next who syncs.
            db.persist().or_else(|_| db.persist()).unwrap();
            drop(db);
            let db = try_open(volume, Sync::OnRequest).unwrap();
            assert_eq!(records(&db), expected, "{spare}");
            db.verify().unwrap();
            drop(db);
            volume.fill(0);
            start_over(volume);
        }
    });
}

// Whoever finds the disk full deletes. The flush of what came before the deletes fails; the next
// one must find the room that it has given back, and know of every page that was freed since the
// last that worked: else the file stays as long as it is, however little is in it.
#[test]
fn deleted_space_comes_back_after_a_flush_that_found_none() {
    let test = "kernel::full::deleted_space_comes_back_after_a_flush_that_found_none";
    on_each(test, TMPFS_BYTES, EXT4_BYTES, |volume| {
        // ext4 counts as free what it keeps for itself: a fiftieth, for what it has yet to decide.
        let kept = if volume.kind == "ext4" { 256 << 10 } else { 0 };
        for spare in SPARES.into_iter().filter(|spare| *spare >= 65_536) {
            let spare = spare + kept;
            println!("{}: {spare} bytes to begin with", volume.kind);
            let db = try_open(volume, Sync::OnRequest).unwrap();
            let tree = db.tree("t").unwrap();
            let mut w = db.write().unwrap();
            for i in 0..100 {
                w.put(tree, &key(i), &[i as u8; 4000]).unwrap();
            }
            drop(w.commit().unwrap());
            db.persist().unwrap();
            let before = taken(volume);
            volume.fill(spare);
            let mut w = db.write().unwrap();
            for i in 1..100 {
                w.delete(tree, &key(i)).unwrap();
            }
            // The places of those above cannot be used before they are free for good.
            w.put(tree, b"too large", &vec![7; 700_000]).unwrap();
            drop(w.commit().unwrap());
            assert_full(db.persist());
            let mut w = db.write().unwrap();
            w.delete(tree, b"too large").unwrap();
            drop(w.commit().unwrap());
            db.persist().unwrap();
            while db.compact(Duration::ZERO).unwrap() == Progress::More {}
            let after = taken(volume);
            assert!(after < before / 4, "{spare}: {before} bytes became {after}");
            let expected = records(&db);
            assert_eq!(expected.len(), 1, "{spare}");
            drop(db);
            let db = try_open(volume, Sync::OnRequest).unwrap();
            assert_eq!(records(&db), expected, "{spare}");
            db.verify().unwrap();
            drop(db);
            start_over(volume);
        }
    });
}

/// What the database takes of its disk.
fn taken(volume: &Volume) -> u64 {
    let file = OsVfs::new().open(&volume.place("db"), OpenMode::Read).unwrap();
    file.allocated().unwrap()
}

// The first start on a full disk: an error that says so, and no ruins that stop the second start.
#[test]
fn a_fresh_database_without_space_is_refused_and_can_be_made_later() {
    let test = "kernel::full::a_fresh_database_without_space_is_refused_and_can_be_made_later";
    on_each(test, TMPFS_BYTES, EXT4_BYTES, |volume| {
        volume.fill(0);
        for _ in 0..2 {
            assert_full(try_open(volume, Sync::EveryCommit));
        }
        volume.drain();
        let db = try_open(volume, Sync::EveryCommit).unwrap();
        assert!(records(&db).is_empty());
        db.tree("t").unwrap();
        db.persist().unwrap();
        db.close().unwrap();
    });
}
