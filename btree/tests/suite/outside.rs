//! A file that other processes cut, overwrite or replace while it is open (scenario 42), on the
//! real file system. What is read was there or is an error; a signal would end the test itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use drystone_btree::{Db, Error, Options, Writer};
use drystone_vfs::{OpenMode, OsVfs, Vfs};

use crate::support::key;
use crate::witness::{Witness, is_damage};

/// What another process does to the file; `$F` is its name, `$O` that of another database.
const DEEDS: [(&str, &str); 12] = [
    ("cut to nothing", "truncate -s 0 $F"),
    ("cut to a byte", "truncate -s 1 $F"),
    ("cut to the records", "truncate -s 8192 $F"),
    ("cut within a page", "truncate -s 100000 $F"),
    ("cut and grown again", "truncate -s 8192 $F; truncate -s 4000000 $F"),
    ("zeroed", "dd if=/dev/zero of=$F bs=4096 count=900 conv=notrunc"),
    ("zeroed behind the records", "dd if=/dev/zero of=$F bs=4096 seek=2 count=900 conv=notrunc"),
    ("overwritten with noise", "dd if=/dev/urandom of=$F bs=4096 seek=2 count=900 conv=notrunc"),
    ("overwritten by another database", "cat $O > $F"),
    ("overwritten from within", "dd if=$F of=$F bs=4096 skip=9 seek=5 count=40 conv=notrunc"),
    ("removed", "rm $F"),
    ("replaced", "cp $O $F.copy; mv $F.copy $F"),
];

/// How much of the database was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warmth {
    /// Nothing.
    Cold,
    /// All of it, and there is room for it.
    Warm,
    /// All of it, and there is not.
    Tight,
}

fn vfs() -> Arc<dyn Vfs> {
    Arc::new(OsVfs::new())
}

fn options(warmth: Warmth) -> Options {
    let bytes = if warmth == Warmth::Tight { 1 << 20 } else { 16 << 20 };
    Options::default().writer(Writer::Caller).memory_bytes(bytes)
}

/// A closed database of a few hundred pages at `path`.
fn make(path: &Path, fill: u8) -> Witness {
    let db = Db::open(vfs(), path, options(Warmth::Warm)).unwrap();
    let mut w = db.write().unwrap();
    for name in ["a", "b"] {
        let tree = w.create_tree(name).unwrap();
        for i in 0..500 {
            w.put(tree, &key(i), &[fill.wrapping_add(i as u8); 700]).unwrap();
        }
        w.put(tree, b"long", &vec![fill; 60_000]).unwrap();
    }
    w.commit().unwrap().wait().unwrap();
    let mut witness = Witness::default();
    witness.note(&db);
    db.close().unwrap();
    witness
}

fn perform(deed: &str, file: &Path, other: &Path) {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>/dev/null; {deed}")]);
    let status = shell.env("F", file).env("O", other).status().unwrap();
    assert!(status.success(), "{deed}");
}

fn copy(from: &Path, to: &Path) {
    perform("cp $F $O", from, to);
}

// Scenario 42: the deed is done between opening and reading, or after everything was read; then
// everything is asked, written to, asked again, and the file is opened anew.
#[test]
fn a_file_cut_or_replaced_by_another_process_gives_errors_and_no_signal() {
    let temp = tempfile::tempdir().unwrap();
    let (sound, other) = (temp.path().join("sound"), temp.path().join("other"));
    let (witness, _) = (make(&sound, 1), make(&other, 100));
    let mut refusals = 0;
    for (name, deed) in DEEDS {
        for warmth in [Warmth::Cold, Warmth::Warm, Warmth::Tight] {
            let what = format!("{name}, {warmth:?}");
            let file = temp.path().join("db");
            copy(&sound, &file);
            let db = Db::open(vfs(), &file, options(warmth)).unwrap();
            let held = db.read();
            if warmth != Warmth::Cold {
                assert_eq!(witness.examine(&db, &what).refused, 0);
            }
            perform(deed, &file, &other);
            let found = witness.examine(&db, &what);
            refusals += usize::from(found.refused > 0);
            if warmth == Warmth::Warm {
                assert_eq!(found.refused, 0, "{what}: what is in memory stays");
            }
            if let Err(error) = db.verify() {
                assert!(is_damage(&error), "{what}: {error}");
            }
            write(&db, &what);
            for name in ["a", "b"] {
                let tree = held.tree(name).unwrap();
                for item in held.iter(tree).map_while(Result::ok) {
                    assert!(*item.0 == *b"long" || item.1.len() == 700, "{what}");
                }
            }
            drop((held, db));
            reopen(&file, &witness, &what);
            perform("rm -f $F", &file, &other);
        }
    }
    assert!(refusals >= 10, "{refusals} deeds were noticed by reading");
}

/// Writes all over the database; it works, or says what is wrong.
fn write(db: &Db, what: &str) {
    let outcome = (|| {
        let mut w = db.write()?;
        for name in ["a", "b"] {
            let tree = w.create_tree(name)?;
            for i in (0..500).step_by(50) {
                w.put(tree, &key(i), b"changed")?;
            }
        }
        w.commit()?.wait()
    })();
    if let Err(error) = outcome {
        assert!(is_damage(&error) || matches!(error, Error::Poisoned { .. }), "{what}: {error}");
    }
}

/// Whatever opens has no record that nobody put there.
fn reopen(file: &Path, witness: &Witness, what: &str) {
    let exists = vfs().open(file, OpenMode::Read).is_ok();
    if !exists || what.starts_with("replaced") || what.starts_with("overwritten by another") {
        return;
    }
    let db = match Db::open(vfs(), file, options(Warmth::Cold)) {
        Ok(db) => db,
        Err(error) => return assert!(is_damage(&error), "{what}: {error}"),
    };
    let (r, state) = (db.read(), witness.at(1).unwrap());
    for (name, records) in state {
        let tree = r.tree(name).unwrap();
        for (key, value) in records {
            match r.get(tree, key) {
                Ok(Some(got)) => assert!(got == *value || got == *b"changed", "{what}: {key:?}"),
                Ok(None) => panic!("{what}: {key:?} is gone"),
                Err(error) => assert!(is_damage(&error), "{what}: {error}"),
            }
        }
    }
}

// Scenario 42: cut while several threads are in the middle of reading it, again and again.
#[test]
fn a_file_cut_under_busy_readers_harms_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let (sound, file) = (temp.path().join("sound"), temp.path().join("db"));
    let witness = make(&sound, 9);
    for round in 0..4_u64 {
        copy(&sound, &file);
        let db = Db::open(vfs(), &file, options(Warmth::Tight)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..3 {
                        witness.examine(&db, "cut under readers");
                    }
                });
            }
            let len = 10_000 + 300_000 * round;
            perform(&format!("truncate -s {len} $F"), &file, Path::new("/nowhere"));
        });
        drop(db);
        perform("rm $F", &file, Path::new("/nowhere"));
    }
}

// A path that is no file, or leads through one.
#[test]
fn a_path_that_cannot_be_a_database_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let file: PathBuf = temp.path().join("db");
    make(&file, 3);
    for path in [temp.path().to_path_buf(), file.join("db"), PathBuf::from("/dev/null/db")] {
        let outcome = Db::open(vfs(), &path, Options::default()).map(drop);
        assert!(matches!(&outcome, Err(Error::Io { .. })), "{}: {outcome:?}", path.display());
    }
    let outcome = Db::open(vfs(), Path::new("/dev/null"), Options::default()).map(drop);
    assert!(outcome.is_err());
}
