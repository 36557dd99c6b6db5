//! Opening what a crash, another version, another database, or another program has left in the
//! folder (scenarios 24 to 28).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_lsm::{Db, Error, Options};
use drystone_vfs::{Call, OpenMode, SimClock, SimVfs, TapVfs};

use crate::hurt::{
    End, Records, SPACES, Specimen, assert_holds, at_every_call, contents, journal_files, key,
    load, manifest_files, noise, open, remove, rewrite, settle, store, tables,
};
use crate::support::{dir, keyspace, options, try_open};

// Scenario 24: half a database is none, or an empty one; the next opening goes on from there.
#[test]
fn a_crash_while_a_database_is_first_made_leaves_none_or_an_empty_one() {
    for journal in [true, false] {
        let options = options().journal(journal);
        let act = |disk: &SimVfs| {
            let Ok(db) = try_open(disk, options.clone()) else { return };
            for name in SPACES {
                if db.keyspace(name, crate::support::keyspace_options()).is_err() {
                    return;
                }
            }
        };
        let calls = at_every_call(&SimVfs::new(7), act, |disk, what| {
            let view = Db::open_read_only(
                Arc::new(disk.crash_copy(9)),
                Arc::new(SimClock::new()),
                &dir(),
                options.clone(),
            );
            assert!(
                matches!(view, Ok(_) | Err(Error::NoDatabase { .. })),
                "{what}, read-only: {view:?}"
            );
            let db = try_open(disk, options.clone());
            let db = db.unwrap_or_else(|error| panic!("{what}, journal {journal}: {error}"));
            assert!(SPACES.iter().all(|name| contents(&db, name).is_empty()), "{what}");
            drop(db);
            if journal {
                assert_holds(disk, &[Records::new(), Records::new()], what);
            }
        });
        assert!(calls > 10, "{calls} calls");
    }
}

// Scenario 25: what a newer version wrote is not damage, and must not be touched. Every format has
// its number: the manifest, a table, the logs beneath.
#[test]
fn a_future_version_is_unsupported_and_untouched() {
    let specimen = Specimen::new(End::Closed);
    let unsupported = |disk: &SimVfs, what: &str| {
        let error = specimen.judge(disk, what).refusal();
        assert!(matches!(error, Error::Unsupported { .. }), "{what}: {error}");
    };
    let disk = specimen.disk.crash_copy(0);
    rewrite(&disk, "manifest.a", |_, record| {
        if record[0] == 1 {
            record[1..5].copy_from_slice(&2_u32.to_le_bytes());
        }
    });
    unsupported(&disk, "manifest");
    // A table: the version stands 16 bytes before its end, and is looked at before the checksum,
    // whose rule may be another one in that version.
    for path in tables(&specimen.disk) {
        let disk = specimen.hurt(&path, |bytes| {
            let at = bytes.len() - 16;
            bytes[at..at + 4].copy_from_slice(&2_u32.to_le_bytes());
        });
        unsupported(&disk, "table");
    }
    // A log: its version is in the segment's header.
    for path in [journal_files(&specimen.disk), manifest_files(&specimen.disk)].concat() {
        let disk = specimen.hurt(&path, |bytes| bytes[8] = 99);
        let refused = specimen.judge(&disk, "log").refusal();
        let told = matches!(refused, Error::Unsupported { .. } | Error::Corrupt { .. });
        assert!(told, "{refused}");
    }
}

/// A database like the specimen in shape, with other contents and another identity.
fn stranger() -> Specimen {
    let disk = SimVfs::new(2);
    let options = Options::default().memory_bytes(64 << 10).threads(0).seed(77);
    let db = try_open(&disk, options).unwrap();
    for (i, name) in SPACES.iter().enumerate() {
        let space = keyspace(&db, name);
        for n in 0..45 {
            drop(db.put(&space, &key(n), &noise(n + 9000 * (i as u64 + 1), 110)).unwrap());
        }
    }
    settle(&db);
    for n in 0..40 {
        drop(db.put(&keyspace(&db, "left"), &key(n), &noise(n + 70_000, 40)).unwrap());
    }
    db.close().unwrap();
    Specimen { disk, expected: [Records::new(), Records::new()] }
}

// Scenario 26: a table of another database under the right name, and two tables that have changed
// places: all their checksums are right.
#[test]
fn a_sound_table_in_the_wrong_place_is_corruption() {
    let (specimen, stranger) = (Specimen::of_tables(), stranger());
    for path in tables(&specimen.disk) {
        for other in tables(&stranger.disk) {
            let bytes = load(&stranger.disk, &other);
            let disk = specimen.hurt(&path, |mine| *mine = bytes);
            specimen.judge(&disk, "a stranger's table").refusal();
        }
        for other in tables(&specimen.disk).into_iter().filter(|other| *other != path) {
            let bytes = load(&specimen.disk, &other);
            let disk = specimen.hurt(&path, |mine| *mine = bytes);
            specimen.judge(&disk, "a table twice").refusal();
        }
    }
}

// Scenario 26: a block that the disk wrote where another belongs, within one table and from
// another.
#[test]
fn a_sound_block_in_the_wrong_place_is_corruption() {
    let specimen = Specimen::of_tables();
    let files: Vec<_> =
        tables(&specimen.disk).into_iter().map(|p| (load(&specimen.disk, &p), p)).collect();
    let mut moved = 0;
    for (bytes, path) in &files {
        for (from, _) in &files {
            for (source, target) in [(0, 512), (512, 0), (1024, 512), (0, 0), (512, 512)] {
                let Some(piece) = from.get(source..source + 512) else { continue };
                if bytes.get(target..target + 512).is_none_or(|mine| mine == piece) {
                    continue;
                }
                let disk = specimen.hurt(path, |mine| {
                    mine[target..target + 512].copy_from_slice(piece);
                });
                assert!(specimen.judge(&disk, "a block moved").is_noticed());
                moved += 1;
            }
        }
    }
    assert!(moved > 5);
}

// Scenario 26: a whole journal of another database: its records would be taken for ours.
#[test]
fn a_journal_of_another_database_is_corruption() {
    let (specimen, stranger) = (Specimen::new(End::Closed), stranger());
    let disk = specimen.disk.crash_copy(0);
    journal_files(&disk).iter().for_each(|path| remove(&disk, path));
    for path in journal_files(&stranger.disk) {
        store(&disk, &path, &load(&stranger.disk, &path));
    }
    let error = specimen.judge(&disk, "a stranger's journal").refusal();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

// Scenarios 11 and 26: the journal is gone as a whole, with all that was acknowledged. An empty one
// in its place would be the end of it, without a word; also when nothing had been flushed yet.
#[test]
fn a_journal_that_is_gone_is_missed() {
    for flushed in [false, true] {
        let disk = SimVfs::new(1);
        let db = open(&disk);
        let left = keyspace(&db, "left");
        db.put(&left, &key(1), b"acknowledged").unwrap().wait().unwrap();
        if flushed {
            db.flush().unwrap();
            db.put(&left, &key(2), b"acknowledged").unwrap().wait().unwrap();
        }
        db.close().unwrap();
        let disk = disk.crash();
        journal_files(&disk).iter().for_each(|path| remove(&disk, path));
        let before = disk.files();
        let error = try_open(&disk, options()).expect_err("what was acknowledged is gone");
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(disk.files() == before, "a refused database was changed");
    }
}

// Scenario 27: files that are not ours, and half of ours. Ours are cleared away, but not before the
// database is known to be sound; others never.
#[test]
fn leftovers_are_removed_and_foreign_files_are_not() {
    let specimen = Specimen::new(End::Killed);
    let disk = specimen.disk.crash_copy(0);
    let orphans = ["00000000000000f1.table", "00000000000000f2.table"].map(|name| dir().join(name));
    let some = load(&disk, &tables(&disk)[0]);
    store(&disk, &orphans[0], &some);
    store(&disk, &orphans[1], &some[..100]);
    let foreign = [
        "README",
        "f1.table",
        "00000000000000f3.table.bak",
        "00000000000000F3.table",
        "+0000000000000f3.table",
        "old/00000000000000f4.table",
        "manifest.c/notes",
        "journal/notes.txt",
    ]
    .map(|name| dir().join(name));
    for path in &foreign {
        store(&disk, path, b"not ours");
    }
    let sick = crate::hurt::hurt(&disk, &tables(&specimen.disk)[0], |bytes| {
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
    });
    specimen.judge(&sick, "damaged").refusal();
    assert!(orphans.iter().all(|path| tables(&sick).contains(path)), "removed from a refused one");
    assert_holds(&disk.crash_copy(0), &specimen.expected, "with leftovers");
    let db = open(&disk);
    assert!(!orphans.iter().any(|path| tables(&disk).contains(path)), "orphans stay");
    // A number that was seen is not used again, or a removal that the disk forgets would come back.
    drop(db.put(&keyspace(&db, "left"), b"new", b"table").unwrap());
    db.flush().unwrap();
    let made: Vec<_> = tables(&disk).into_iter().filter(|path| !foreign.contains(path)).collect();
    assert!(made.iter().any(|path| *path > orphans[1]), "{made:?}");
    for path in &foreign {
        assert_eq!(load(&disk, path), b"not ours", "{}", path.display());
    }
}

// Scenario 28: the medium cannot be written, and the last owner was killed. All that was durable is
// read, and not one changing call is made.
#[test]
fn an_unclean_database_on_a_read_only_medium_is_read() {
    for end in [End::Killed, End::Closed] {
        let specimen = Specimen::new(end);
        store(&specimen.disk, &dir().join("00000000000000f1.table"), b"an orphan");
        let changes = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&changes);
        let tapped = TapVfs::over(
            specimen.disk.clone(),
            move |call: Call<'_>, go: &mut dyn FnMut() -> _| match call {
                Call::Open { mode: OpenMode::Read, .. }
                | Call::List { .. }
                | Call::Read { .. }
                | Call::Len { .. }
                | Call::Lock { shared: true, .. } => go(),
                _ => {
                    seen.fetch_add(1, Ordering::Relaxed);
                    Err(std::io::ErrorKind::ReadOnlyFilesystem.into())
                }
            },
        );
        let before = specimen.disk.files();
        let clock = Arc::new(SimClock::new());
        let db = Db::open_read_only(Arc::new(tapped), clock, &dir(), options()).unwrap();
        for (name, expected) in SPACES.iter().zip(&specimen.expected) {
            assert!(contents(&db, name) == *expected, "{end:?}: {name}");
        }
        db.verify().unwrap();
        let left = keyspace(&db, "left");
        assert!(matches!(db.put(&left, b"k", b"v"), Err(Error::ReadOnly)));
        assert!(matches!(db.flush(), Err(Error::ReadOnly)));
        assert!(matches!(db.persist(), Err(Error::ReadOnly)));
        assert!(matches!(db.compact_once(), Err(Error::ReadOnly)));
        assert!(db.checkpoint(Path::new("copy")).is_err());
        assert!(matches!(db.drop_keyspace(&left), Err(Error::ReadOnly)));
        drop(db);
        assert_eq!(changes.load(Ordering::Relaxed), 0, "{end:?}: it tried to write");
        assert!(specimen.disk.files() == before);
        assert_holds(&specimen.disk, &specimen.expected, "then opened for writing");
    }
}
