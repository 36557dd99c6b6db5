//! Being opened (scenarios 24, 25, 27 and 28): the first time, by an older program, among
//! strangers, on a medium that cannot be written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_btree::{Db, Error, Options, Sync};
use drystone_vfs::{Call, Fault, Harm, Op, OpenMode, SimVfs, TapVfs, Vfs};

use crate::forge::{put_u32, seal_record};
use crate::support::{
    RECORD, SLOT, disk, fill, hurt, key, open, options, path, put, records, store, try_open,
};

// Scenario 24: the power fails at every call of making a database, and in every way; then again at
// every call of the next attempt. There is an empty database, or none, and one can be made.
#[test]
fn a_crash_while_a_database_is_first_made_leaves_none_or_an_empty_one() {
    let (mut none, mut empty) = (0, 0);
    for page_bytes in [4096, 16384] {
        let options = || options().page_bytes(page_bytes);
        for cut in 0..9 {
            for seed in 0..6 {
                let disk = SimVfs::new(seed);
                disk.power_cut_after(cut);
                let first = try_open(&disk, options()).is_ok();
                let after = disk.crash();
                let exists = after.open(&path(), OpenMode::Read).is_ok();
                assert!(exists || !first, "it was open, and is gone");
                (none, empty) = (none + u32::from(!exists), empty + u32::from(exists));
                for second in 0..9 {
                    let again = after.crash_copy(seed);
                    again.power_cut_after(second);
                    drop(try_open(&again, options()));
                    for copy in [again.kill_copy(), again.crash_copy(seed + 1)] {
                        let db = try_open(&copy, options()).unwrap();
                        assert_eq!(db.read().txn().0, 0, "cut {cut}, seed {seed}, {second}");
                        put(&db, b"first", b"of all");
                        let after = copy.crash_copy(seed);
                        assert_eq!(records(&open(&after)).len(), 1, "cut {cut}, seed {seed}");
                    }
                }
            }
        }
    }
    assert!(none > 20 && empty > 20, "{none} without, {empty} with a database");
}

// Scenario 24: not crashes but errors, at every call. Nothing is in the way afterwards.
#[test]
fn a_failed_first_opening_is_no_obstacle_to_the_second() {
    for op in [Op::Create, Op::Write, Op::SetLen, Op::Sync, Op::Rename, Op::SyncDir] {
        for harm in [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops] {
            for skip in 0..3 {
                let disk = disk();
                disk.fail(Fault::new(op, harm).after(skip));
                let outcome = try_open(&disk, options());
                if let Err(error) = &outcome {
                    assert!(matches!(error, Error::Io { .. } | Error::NoSpace { .. }), "{error}");
                }
                drop(outcome);
                disk.heal();
                put(&open(&disk), b"a", b"b");
                assert_eq!(records(&open(&disk.crash())).len(), 1, "{op:?} {harm:?} {skip}");
            }
        }
    }
}

// Scenario 24: what is empty or short because its making was interrupted by another program's
// means (a copy, `touch`) is not taken for a database, and not overwritten.
#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    for bytes in [&b""[..], b"x", &[0; 8192], &[0; 5000], &[0xff; 20_000], &b"drybtree".repeat(999)]
    {
        let disk = disk();
        disk.create_dir_all(Path::new("dir")).unwrap();
        store(&disk, &path(), bytes);
        crate::support::assert_corrupt(&disk, options());
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let error = Db::open_read_only(vfs, &path(), options()).map(drop).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

// Scenario 25: a later version of the format, in either slot or in both: not touched, not read.
#[test]
fn a_future_version_is_unsupported_and_untouched() {
    let disk = disk();
    let db = open(&disk);
    fill(&db, 200);
    db.close().unwrap();
    for slots in [&[0][..], &[1], &[0, 1]] {
        for version in [0, 2, 7, u32::MAX] {
            let copy = hurt(&disk, |bytes| {
                for slot in slots {
                    for copy in 0..2 {
                        let record = &mut bytes[slot * SLOT + copy * RECORD..][..RECORD];
                        put_u32(record, 16, version);
                        seal_record(record);
                    }
                }
            });
            let before = (copy.files(), copy.counts().changes());
            for read_only in [false, true] {
                let vfs: Arc<dyn Vfs> = Arc::new(copy.clone());
                let opened = if read_only { Db::open_read_only } else { Db::open };
                match opened(vfs, &path(), options()).map(drop) {
                    Err(Error::Unsupported { version: named, .. }) => assert_eq!(named, version),
                    other => panic!("version {version}: {other:?}"),
                }
            }
            assert!((copy.files(), copy.counts().changes()) == before);
        }
    }
}

// Scenario 27: whatever else lies beside the database, under whatever name, stays: among it another
// database that is called as ours would be while it is being made.
#[test]
fn foreign_files_are_left_alone() {
    let disk = disk();
    disk.create_dir_all(Path::new("dir")).unwrap();
    let names = [
        "db.new",
        "db.tmp",
        "db.half",
        "db-journal",
        "db.lock",
        "LOCK",
        "db2",
        "0000000001.wal",
        "d",
    ];
    let strangers: Vec<PathBuf> = names.iter().map(|name| Path::new("dir").join(name)).collect();
    for (i, stranger) in strangers.iter().enumerate() {
        if i % 2 == 0 {
            let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
            let db = Db::open(vfs, stranger, options()).unwrap();
            put(&db, b"somebody", b"else's");
            db.close().unwrap();
        } else {
            store(&disk, stranger, b"not a database");
        }
    }
    let before = disk.files();
    for _ in 0..3 {
        let db = open(&disk);
        fill(&db, 300);
        drop(db);
        let mut after = disk.files();
        after.retain(|(file, _)| *file != path());
        assert!(after == before);
    }
}

// Scenario 27: what an interrupted making of the same database left is not in the way, and gone.
#[test]
fn a_half_made_database_is_cleared_away() {
    let mut leftovers = 0;
    for cut in 1..10 {
        let disk = disk();
        disk.power_cut_after(cut);
        drop(try_open(&disk, options()));
        let disk = disk.crash();
        leftovers += disk.list(Path::new("dir")).map_or(0, |names| names.len());
        put(&open(&disk), b"a", b"b");
        assert_eq!(disk.list(Path::new("dir")).unwrap(), ["db"], "cut {cut}");
    }
    assert!(leftovers > 2, "there was something to clear away");
}

/// A disk on which nothing can be changed, as a read-only mount answers.
fn read_only(disk: &SimVfs) -> Arc<dyn Vfs> {
    let tap = |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| match call {
        Call::Open { mode: OpenMode::Read, .. }
        | Call::Read { .. }
        | Call::Len { .. }
        | Call::List { .. }
        | Call::Lock { shared: true, .. } => go(),
        _ => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
    };
    Arc::new(TapVfs::over(disk.clone(), tap))
}

// Scenario 28: killed at any moment, a database is read from a medium that cannot be written, and
// holds what an ordinary opening finds. Writing is refused.
#[test]
fn an_unclean_database_on_a_read_only_medium_is_read() {
    for cut in 0..40 {
        let disk = disk();
        let db = open(&disk);
        fill(&db, 100);
        disk.power_cut_after(cut);
        let tree = db.read().tree("t").unwrap();
        for i in 0..10 {
            let Ok(mut w) = db.write() else { break };
            w.put(tree, &key(i), &[9; 700]).unwrap();
            if let Ok(commit) = w.commit() {
                drop(commit.wait());
            }
        }
        for copy in [disk.kill_copy(), disk.crash_copy(cut)] {
            let before = (copy.files(), copy.counts().changes());
            let view = Db::open_read_only(read_only(&copy), &path(), options()).unwrap();
            let seen = (view.read().txn(), records(&view));
            assert!(matches!(view.write().map(drop), Err(Error::ReadOnly)));
            assert!(matches!(view.try_write().map(drop), Err(Error::ReadOnly)));
            assert!(view.tree("new").is_err());
            view.persist().unwrap();
            view.close().unwrap();
            assert!((copy.files(), copy.counts().changes()) == before);
            let db = open(&copy);
            assert!((db.read().txn(), records(&db)) == seen, "cut {cut}");
        }
    }
}

// Scenario 28: where there is nothing, reading makes nothing; and an ordinary opening says that the
// medium refuses.
#[test]
fn nothing_is_made_by_looking() {
    let disk = disk();
    disk.create_dir_all(Path::new("dir")).unwrap();
    let error = Db::open_read_only(read_only(&disk), &path(), options()).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
    assert!(disk.files().is_empty());
    put(&open(&disk), b"a", b"b");
    let error = Db::open(read_only(&disk), &path(), options()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

// Opening a sound database, whatever state it was left in, changes no byte, and nor does closing
// it. What a killed process left may be written as it is, to be saved; nothing else is written.
#[test]
fn opening_and_closing_change_nothing() {
    for sync in [Sync::EveryCommit, Sync::OnRequest] {
        for closed in [true, false] {
            let disk = disk();
            let options = || options().sync(sync);
            let db = try_open(&disk, options()).unwrap();
            fill(&db, 100);
            let disk = if closed {
                db.close().unwrap();
                disk
            } else {
                disk.kill_copy()
            };
            let (before, written) = (disk.files(), disk.counts().bytes_written);
            for _ in 0..3 {
                drop(try_open(&disk, options()).unwrap());
                try_open(&disk, options()).unwrap().close().unwrap();
            }
            assert!(disk.files() == before, "{sync:?} {closed}");
            let killed = sync == Sync::EveryCommit && !closed;
            assert_eq!(disk.counts().bytes_written > written, killed, "{sync:?} {closed}");
        }
    }
}

// Options that cannot be are refused before anything is made.
#[test]
fn impossible_options_make_nothing() {
    for options in [
        Options::default().page_bytes(0),
        Options::default().page_bytes(4095),
        Options::default().page_bytes(65536),
        Options::default().memory_bytes(0),
        Options::default().memory_bytes((1 << 20) - 1),
    ] {
        let disk = disk();
        assert!(matches!(try_open(&disk, options), Err(Error::Options { .. })));
        assert!(disk.files().is_empty());
    }
}
