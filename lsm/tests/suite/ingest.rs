//! Records taken in as tables: all of them or none, in their place among the writes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use drystone_lsm::key::{InternalKey, Kind};
use drystone_lsm::table::{TableBuilder, TableOptions};
use drystone_lsm::{Compression, Db, Error, Policy, SeqNo, Snapshot};
use drystone_vfs::{Call, MemVfs, OsClock, SimClock, SimVfs, TapVfs, Vfs};
use parking_lot::Mutex;

use crate::support::{dir, keyspace, keyspace_options, options, try_open};

fn number(n: u32) -> Vec<u8> {
    format!("{n:06}").into_bytes()
}

fn records(count: u32, tag: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..count).map(move |n| (number(n), format!("{tag} {n}").into_bytes()))
}

fn value(db: &Db, name: &str, key: u32) -> Option<Vec<u8>> {
    db.get(&keyspace(db, name), &number(key)).unwrap().map(|value| value.to_vec())
}

// Scenario 35: the power fails at each call of an ingest over older values, some flushed, some in
// memory; all of it is there, or nothing of it, with and without a journal, and so it stays.
#[test]
fn a_crash_at_any_step_of_an_ingest_leaves_all_of_it_or_none() {
    for journal in [true, false] {
        let options = options().journal(journal);
        let mut cut = 0;
        let (mut with, mut without) = (0, 0);
        loop {
            let disk = SimVfs::new(cut);
            let db = try_open(&disk, options.clone()).unwrap();
            let ks = keyspace(&db, "left");
            drop(db.put(&ks, &number(3), b"flushed").unwrap());
            db.flush().unwrap();
            db.put(&ks, &number(4), b"in memory").unwrap().wait().unwrap();
            disk.power_cut_after(cut);
            let outcome = db.ingest(&ks, records(200, "new"));
            for seed in 0..3 {
                let after = disk.crash_copy(seed);
                let again = try_open(&after, options.clone()).unwrap();
                let found = again.iter(&keyspace(&again, "left")).count();
                assert!(found == 2 || found == 200, "cut {cut}: {found} records");
                assert!(outcome.is_err() || found == 200, "cut {cut}: an ingest was lost");
                let expected = if found == 2 { b"flushed".to_vec() } else { b"new 3".to_vec() };
                assert_eq!(value(&again, "left", 3), Some(expected), "cut {cut}");
                let expected = if found == 2 { b"in memory".to_vec() } else { b"new 4".to_vec() };
                assert_eq!(value(&again, "left", 4), Some(expected), "cut {cut}");
                again.verify().unwrap();
                *(if found == 2 { &mut without } else { &mut with }) += 1;
                // What is written next does not meet the numbers of what was taken in.
                let ks = keyspace(&again, "left");
                again.put(&ks, &number(3), b"later").unwrap().wait().unwrap();
                drop(again);
                let again = try_open(&after.crash_copy(9), options.clone()).unwrap();
                assert_eq!(value(&again, "left", 3).unwrap(), b"later");
            }
            if outcome.is_ok() {
                break;
            }
            cut += 1;
        }
        assert!(cut > 5 && with > 0 && without > 0, "{cut} cuts, {with} with, {without} without");
    }
}

// An ingest is a write among writes: it hides what came before, in tables and in memory, is hidden
// by what comes after, and a snapshot from before does not see it.
#[test]
fn an_ingest_is_newer_than_what_came_before_and_older_than_what_comes_after() {
    for policy in [Policy::Leveled, Policy::Tiered] {
        let disk = SimVfs::new(1);
        let db = try_open(&disk, options()).unwrap();
        let ks = db.keyspace("left", keyspace_options().policy(policy)).unwrap();
        for round in 0..20_u32 {
            let tag = format!("round {round}");
            drop(db.put(&ks, &number(1), b"older").unwrap());
            drop(db.put(&ks, b"zz", b"beside").unwrap());
            let before = db.snapshot();
            let expected = before.get(&ks, &number(1)).unwrap().unwrap().to_vec();
            db.ingest(&ks, records(100 + round, &tag)).unwrap();
            assert_eq!(db.get(&ks, &number(1)).unwrap().unwrap(), format!("{tag} 1").as_bytes());
            assert_eq!(before.get(&ks, &number(1)).unwrap().unwrap(), &expected[..]);
            drop(db.put(&ks, &number(2), b"newer").unwrap());
            assert_eq!(db.get(&ks, &number(2)).unwrap().unwrap(), b"newer");
            db.compact_once().unwrap();
            assert_eq!(before.get(&ks, &number(1)).unwrap().unwrap(), &expected[..]);
            assert_eq!(db.get(&ks, &number(2)).unwrap().unwrap(), b"newer");
            assert_eq!(db.iter(&ks).count() as u32, 101 + round);
            drop(db.delete(&ks, &number(2)).unwrap());
        }
        db.verify().unwrap();
    }
}

// Sorted records that meet nothing go to the bottom at once: no compaction has to carry them there.
#[test]
fn an_ingest_into_nothing_goes_to_the_lowest_level() {
    let db = try_open(&SimVfs::new(1), options()).unwrap();
    let ks = keyspace(&db, "left");
    db.ingest(&ks, records(2000, "new")).unwrap();
    let stats = db.stats();
    let left = stats.keyspaces.iter().find(|ks| ks.name == "left").unwrap();
    assert!(left.sublevels.is_empty() && left.levels.last().unwrap().entries == 2000);
    assert!(stats.ingested_bytes == stats.table_bytes && stats.compactions == 0);
    // Above it there is room again only where keys do not meet.
    db.ingest(&ks, records(10, "newer")).unwrap();
    assert_eq!(value(&db, "left", 9).unwrap(), b"newer 9");
    assert_eq!(value(&db, "left", 10).unwrap(), b"new 10");
}

// A table from elsewhere is read and never changed; one that is damaged or does not fit is refused,
// and nothing of what came before it in the same ingest remains.
#[test]
fn tables_from_elsewhere_are_copied_and_left_alone() {
    let disk = SimVfs::new(1);
    let build = |name: &str, from: u32, seq: u64| {
        let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
        let mut builder = TableBuilder::new(&disk, Path::new(name), options).unwrap();
        for n in from..from + 50 {
            let kind = if n % 10 == 0 { Kind::Delete } else { Kind::Put };
            let value: &[u8] = if kind == Kind::Put { b"outside" } else { b"" };
            builder.add(InternalKey::new(&number(n), SeqNo(seq), kind), value).unwrap();
        }
        builder.finish().unwrap();
    };
    build("a", 0, 0);
    build("b", 50, 0);
    build("numbered", 100, 5);
    let db = try_open(&disk, options()).unwrap();
    let ks = keyspace(&db, "left");
    drop(db.put(&ks, &number(10), b"deleted by the table").unwrap());
    let outside = disk.read_all("a");
    let mut writer = db.ingest_writer(&ks).unwrap();
    writer.add_table(Path::new("a")).unwrap();
    writer.add_table(Path::new("b")).unwrap();
    assert_eq!(value(&db, "left", 1), None);
    writer.finish().unwrap();
    assert_eq!(value(&db, "left", 1).unwrap(), b"outside");
    assert_eq!(value(&db, "left", 10), None);
    assert_eq!(db.iter(&ks).count(), 90);
    assert!(disk.read_all("a") == outside, "the source is as it was");
    let tables = db.stats().tables;
    for (tables, rule) in [(["b", "a"], "ascending"), (["b", "numbered"], "write 0")] {
        let mut writer = db.ingest_writer(&ks).unwrap();
        writer.add_table(Path::new(tables[0])).unwrap();
        let error = writer.add_table(Path::new(tables[1])).unwrap_err();
        assert!(matches!(error, Error::Options { option: "ingest", .. }), "{error}");
        assert!(error.to_string().contains(rule), "{error}");
        assert!(writer.finish().is_err(), "an ingest that failed does not come to an end");
    }
    assert_eq!(db.stats().tables, tables);
    let names = disk.list(&dir()).unwrap();
    let files = names.iter().filter(|name| name.to_string_lossy().ends_with(".table")).count();
    assert_eq!(files as u64, tables, "an ingest that failed leaves no file");
}

// The number of an ingest is not seen before its tables are: a snapshot taken while the manifest is
// being written stands before the ingest, or it would see nothing of it and all that follows.
#[test]
fn an_ingest_is_not_seen_before_the_manifest_knows_it() {
    for journal in [true, false] {
        type Watch = Option<(Db, Vec<Snapshot>)>;
        let slot: Arc<Mutex<Watch>> = Arc::default();
        let seen = Arc::clone(&slot);
        let tap = move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
            if let Call::Write { path, .. } | Call::SyncDir { dir: path } = call
                && (path.starts_with(dir().join("manifest.a")) || *path == dir())
                && let Some((db, snapshots)) = &mut *seen.lock()
            {
                snapshots.push(db.snapshot());
            }
            go()
        };
        let disk = Arc::new(TapVfs::over(SimVfs::new(1), tap));
        let clock = Arc::new(SimClock::new());
        let db = Db::open(disk, clock, &dir(), options().journal(journal)).unwrap();
        let ks = keyspace(&db, "left");
        drop(db.put(&ks, &number(1), b"older").unwrap());
        *slot.lock() = Some((db.clone(), Vec::new()));
        db.ingest(&ks, records(50, "new")).unwrap();
        let (_, snapshots) = slot.lock().take().unwrap();
        let after = db.snapshot();
        assert!(snapshots.len() >= 2, "{} snapshots", snapshots.len());
        for snapshot in &snapshots {
            assert!(snapshot.seq() < after.seq(), "the number was seen before the tables");
            assert_eq!(snapshot.get(&ks, &number(1)).unwrap().unwrap(), b"older");
            assert_eq!(snapshot.iter(&ks).count(), 1);
        }
        assert_eq!(after.iter(&ks).count(), 50);
    }
}

// Whoever sees a later write sees the ingest before it, with readers, writers and flushes at once.
#[test]
fn readers_see_an_ingest_before_what_follows_it() {
    let options = drystone_lsm::Options::default().memory_bytes(256 << 10).threads(2);
    let disk = Arc::new(MemVfs::new());
    let db = Db::open(disk, Arc::new(OsClock::new()), &dir(), options).unwrap();
    let (ks, marks) = (keyspace(&db, "left"), keyspace(&db, "marks"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=40_u32 {
                let tag = round.to_string();
                db.ingest(&ks, (0..50).map(|n| (number(n), tag.clone()))).unwrap();
                drop(db.put(&ks, b"round", tag.as_bytes()).unwrap());
            }
            done.store(true, Relaxed);
        });
        scope.spawn(|| {
            let mut n = 0_u32;
            while !done.load(Relaxed) {
                drop(db.put(&marks, &number(n % 5000), &[7; 300]).unwrap());
                n += 1;
            }
        });
        while !done.load(Relaxed) {
            let found: Vec<_> = db.iter(&ks).map(|record| record.unwrap().1.to_vec()).collect();
            let numbers: Vec<u32> = found
                .iter()
                .map(|value| std::str::from_utf8(value).unwrap().parse().unwrap())
                .collect();
            let Some((mark, taken)) = numbers.split_last().filter(|_| numbers.len() == 51) else {
                continue;
            };
            assert!(taken.iter().all(|n| *n == taken[0]), "an ingest was seen in part");
            assert!(taken[0] == *mark || taken[0] == mark + 1, "{} and then {mark}", taken[0]);
        }
    });
}

trait ReadAll {
    fn read_all(&self, name: &str) -> Vec<u8>;
}

impl ReadAll for SimVfs {
    fn read_all(&self, name: &str) -> Vec<u8> {
        let files = self.files();
        files.into_iter().find(|(path, _)| path == Path::new(name)).unwrap().1
    }
}
