//! Checkpoints taken while others write, and while the power fails (scenario 36).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use drystone_lsm::{Batch, Db, Error};
use drystone_vfs::{MemVfs, SimClock, SimVfs, Vfs};

use crate::hurt::{End, SPACES, Specimen, assert_holds, at_every_call, contents, key, noise};
use crate::support::{dir, keyspace, options, try_open};

fn view(disk: Arc<dyn Vfs>, dir: &Path) -> Result<Db, Error> {
    Db::open_read_only(disk, Arc::new(SimClock::new()), dir, options())
}

// Scenario 36: writers go on while a copy is made. Each batch writes its number into two keyspaces;
// the copy has, in both, the numbers up to one moment, at or after the call and before its return.
#[test]
fn a_copy_taken_while_others_write_is_one_moment() {
    let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let options = options().memory_bytes(256 << 10).threads(2);
    let db = Db::open(Arc::clone(&disk), Arc::new(SimClock::new()), &dir(), options).unwrap();
    let (left, right) = (keyspace(&db, "left"), keyspace(&db, "right"));
    let (begun, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                begun.store(n + 1, Ordering::Release);
                let mut batch = Batch::new();
                batch.put(&left, &key(n), &noise(n, 100));
                batch.put(&right, &key(n), b"1");
                drop(db.write(batch).unwrap());
                done.store(n + 1, Ordering::Release);
            }
        });
        for copy in 0..12 {
            let to = PathBuf::from(format!("copy {copy}"));
            while done.load(Ordering::Acquire) < copy * 50 && !writer.is_finished() {
                std::thread::yield_now();
            }
            let least = done.load(Ordering::Acquire);
            db.checkpoint(&to).unwrap();
            let most = begun.load(Ordering::Acquire);
            let copied = view(Arc::clone(&disk), &to).unwrap();
            let (l, r) = (contents(&copied, "left"), contents(&copied, "right"));
            assert!(l.keys().eq(r.keys()), "copy {copy}: {} and {}", l.len(), r.len());
            let count = l.len() as u64;
            let prefix = l.keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert!((0..count).all(|n| prefix.contains(&key(n))), "copy {copy}: no prefix");
            assert!(least <= count && count <= most, "copy {copy}: {least} {count} {most}");
            copied.verify().unwrap();
        }
        stop.store(true, Ordering::Release);
    });
}

// Scenario 36: a copy has no tail that is not synced: the power fails right after the return, or at
// any call before it. Then there is a whole copy, or none; and the original is as it was.
#[test]
fn a_crash_while_a_copy_is_made_leaves_a_whole_one_or_none() {
    let specimen = Specimen::new(End::Killed);
    let to = Path::new("copies/one");
    let act = |disk: &SimVfs| {
        if let Ok(db) = try_open(disk, options()) {
            drop(db.checkpoint(to));
        }
    };
    let (mut whole, mut none) = (0, 0);
    at_every_call(&specimen.disk, act, |disk, what| {
        match view(Arc::new(disk.clone()), to) {
            Ok(db) => {
                for (name, expected) in SPACES.iter().zip(&specimen.expected) {
                    assert!(contents(&db, name) == *expected, "{what}: half a copy opens");
                }
                db.verify().unwrap();
                whole += 1;
            }
            Err(Error::NoDatabase { .. } | Error::Corrupt { .. }) => none += 1,
            Err(error) => panic!("{what}: {error}"),
        }
        assert_holds(disk, &specimen.expected, what);
    });
    assert!(whole >= 3 && none >= 3, "{whole} whole, {none} none");
    // The last cut was behind the last call.
    let disk = specimen.disk.crash_copy(0);
    act(&disk);
    let copy = view(Arc::new(disk.crash()), to).unwrap();
    assert!(contents(&copy, "left") == specimen.expected[0], "durable on return");
}

// Scenario 36: copying into a database, or into the database itself, would mix two; and what was
// copied lives on its own.
#[test]
fn a_copy_is_a_database_of_its_own() {
    let specimen = Specimen::new(End::Closed);
    let disk = specimen.disk.crash_copy(0);
    let db = try_open(&disk, options()).unwrap();
    let to = Path::new("copies/one");
    db.checkpoint(to).unwrap();
    for full in [to, &dir()] {
        let before = disk.files();
        assert!(matches!(db.checkpoint(full), Err(Error::NotEmpty { .. })));
        assert!(disk.files() == before, "a refused copy has written");
    }
    let left = keyspace(&db, "left");
    db.put(&left, &key(1), b"only here").unwrap().wait().unwrap();
    let clock = Arc::new(SimClock::new());
    let copy = Db::open(Arc::new(disk.clone()), clock, to, options()).unwrap();
    assert!(contents(&copy, "left") == specimen.expected[0]);
    let there = keyspace(&copy, "left");
    copy.put(&there, &key(2), b"only there").unwrap().wait().unwrap();
    copy.flush().unwrap();
    copy.compact(std::time::Duration::MAX).unwrap();
    assert!(*db.get(&left, &key(1)).unwrap().unwrap() == *b"only here");
    assert!(db.get(&left, &key(2)).unwrap().is_none_or(|value| *value != *b"only there"));
    drop((db, copy));
    let after = disk.crash();
    assert!(*contents(&view(Arc::new(after), to).unwrap(), "left")[&key(2)] == *b"only there");
}
