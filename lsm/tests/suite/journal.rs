//! Where the journal ends and the tables begin; and what there is when there is no journal.

use drystone_lsm::{Batch, Options};
use drystone_vfs::{OpenMode, SimVfs, Vfs};

use crate::hurt::{hurt, journal_files, load, manifest_files, noise, used};
use crate::support::{keyspace, options, try_open};

const BATCHES: u64 = 200;

fn number(n: u64) -> Vec<u8> {
    format!("{n:06}").into_bytes()
}

/// One memtable takes more than the journal's first files do.
fn roomy() -> Options {
    options().memory_bytes(2 << 20)
}

// The journal lets go of files when what is in them is in tables, durably, and not before: the
// power fails at each call of such a flush.
#[test]
fn the_journal_keeps_what_is_not_in_tables() {
    let mut cut = 0;
    loop {
        let disk = SimVfs::new(cut);
        let db = try_open(&disk, roomy()).unwrap();
        let ks = keyspace(&db, "left");
        for n in 0..BATCHES {
            // One write of all of them would not fit into the first file, and leave it empty.
            db.put(&ks, &number(n), &noise(n, 1000)).unwrap().wait().unwrap();
        }
        let before = journal_files(&disk);
        disk.power_cut_after(cut);
        let outcome = db.flush();
        for seed in 0..4 {
            let again = try_open(&disk.crash_copy(seed), roomy()).unwrap();
            let ks = keyspace(&again, "left");
            for n in 0..BATCHES {
                let found = again.get(&ks, &number(n)).unwrap();
                assert!(found.is_some_and(|value| *value == noise(n, 1000)), "cut {cut}: {n}");
            }
        }
        if outcome.is_ok() {
            let after = journal_files(&disk);
            let gone = before.iter().filter(|path| !after.contains(path)).count();
            assert!(gone > 0, "the journal has let go of nothing: {before:?}, {after:?}");
            break;
        }
        cut += 1;
    }
    assert!(cut > 6, "{cut} cuts");
}

// Scenario 22 where nothing else tells: without a journal the last flush is in the manifest alone.
// Its edit flipped is not a write that the power cut short.
#[test]
fn a_flipped_byte_of_the_last_edit_is_no_torn_tail() {
    let options = || options().journal(false);
    let disk = SimVfs::new(1);
    let db = try_open(&disk, options()).unwrap();
    let ks = keyspace(&db, "left");
    for n in 0..3 {
        drop(db.put(&ks, &number(n), b"flushed").unwrap());
        db.persist().unwrap();
    }
    let disk = disk.crash_copy(0);
    drop(db);
    let (mut refused, mut harmless) = (0, 0);
    for path in manifest_files(&disk) {
        for at in 0..used(&load(&disk, &path)) {
            let hurt = hurt(&disk, &path, |bytes| bytes[at] ^= 1 << (at % 8));
            let Ok(db) = try_open(&hurt, options()) else {
                refused += 1;
                continue;
            };
            assert_eq!(db.iter(&keyspace(&db, "left")).count(), 3, "{} {at}", path.display());
            harmless += 1;
        }
    }
    assert!(refused > 300 && harmless > 0, "{refused} refused, {harmless} harmless");
}

// A database at rest is its tables: what the journal took for a load is given back when all of it
// has been flushed, but for a small file, and the next write goes on from there.
#[test]
fn a_flushed_database_keeps_hardly_any_journal() {
    let disk = SimVfs::new(1);
    let taken = || -> u64 {
        let of = |path: std::path::PathBuf| disk.open(&path, OpenMode::Read).unwrap().allocated();
        journal_files(&disk).into_iter().map(|path| of(path).unwrap()).sum()
    };
    let db = try_open(&disk, roomy()).unwrap();
    let ks = keyspace(&db, "left");
    for round in 0..10 {
        let mut batch = Batch::new();
        (0..100).for_each(|n| batch.put(&ks, &number(round * 100 + n), &noise(n, 1000)));
        drop(db.write(batch).unwrap());
    }
    db.persist().unwrap();
    assert!(taken() > 500 << 10, "{} bytes of a load", taken());
    db.flush().unwrap();
    assert!(taken() < 16 << 10, "{} bytes of nothing", taken());
    db.put(&ks, b"next", b"value").unwrap().wait().unwrap();
    let db = try_open(&disk.crash_copy(5), roomy()).unwrap();
    assert_eq!(db.iter(&keyspace(&db, "left")).count(), 1001);
}

// What a killed process left may be in the page cache alone. Whoever opens it without a journal
// makes tables of it, and tells the manifest how far the journal reached: it must reach as far
// after a power cut, or whoever opens it with a journal again is refused.
#[test]
fn a_journal_that_is_read_for_the_last_time_is_durable_first() {
    let mut found = 0;
    for cut in 0..12 {
        let disk = SimVfs::new(cut);
        let db = try_open(&disk, options()).unwrap();
        let ks = keyspace(&db, "left");
        db.put(&ks, b"first", b"1").unwrap().wait().unwrap();
        disk.power_cut_after(cut);
        drop(db.put(&ks, b"second", b"2").map(|commit| commit.wait()));
        let killed = disk.kill_copy();
        drop((ks, db));
        let db = try_open(&killed, options().journal(false)).unwrap();
        let ks = keyspace(&db, "left");
        let second = db.get(&ks, b"second").unwrap().is_some();
        found += u64::from(second);
        db.put(&ks, b"third", b"3").map(drop).unwrap();
        db.flush().unwrap();
        for seed in 0..8 {
            let crashed = killed.crash_copy(seed);
            let db = try_open(&crashed, options()).unwrap();
            let ks = keyspace(&db, "left");
            assert_eq!(db.get(&ks, b"second").unwrap().is_some(), second, "cut {cut}");
            db.put(&ks, b"fourth", b"4").unwrap().wait().unwrap();
            let db = try_open(&crashed.crash_copy(seed), options()).unwrap();
            let count = db.iter(&keyspace(&db, "left")).count();
            assert_eq!(count, 3 + usize::from(second), "cut {cut}, seed {seed}");
        }
    }
    assert!(found > 0, "the second was never there");
}
