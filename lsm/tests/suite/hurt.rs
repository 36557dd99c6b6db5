//! A database with something in every kind of file, copies of it to hurt, and the judge of what
//! becomes of them.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_lsm::{Db, Error, Keyspace, Snapshot};
use drystone_vfs::{OpenMode, SimClock, SimVfs, Vfs};
use drystone_wal::{Options as WalOptions, Wal, Writer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{dir, keyspace, options, try_open};

pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) const SPACES: [&str; 2] = ["left", "right"];

/// A value that no packer makes smaller.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut value);
    value
}

pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("key {number:04}").into_bytes()
}

/// A database that nobody has open, and what is in it.
pub(crate) struct Specimen {
    pub(crate) disk: SimVfs,
    pub(crate) expected: [Records; 2],
}

/// How a specimen's last owner ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Killed,
    Closed,
}

impl Specimen {
    /// Tables on several levels, with old versions, deletes and a range delete in them; and a few
    /// records that are in the journal alone.
    pub(crate) fn new(end: End) -> Specimen {
        Specimen::made(end, true)
    }

    /// The same without records in the journal.
    pub(crate) fn of_tables() -> Specimen {
        Specimen::made(End::Closed, false)
    }

    fn made(end: End, journal: bool) -> Specimen {
        let disk = SimVfs::new(1);
        let db = open(&disk);
        let mut expected = [Records::new(), Records::new()];
        let spaces = SPACES.map(|name| keyspace(&db, name));
        let put = |expected: &mut [Records; 2], side: usize, n: u64, seed: u64, len| {
            let value = noise(seed, len);
            drop(db.put(&spaces[side], &key(n), &value).unwrap());
            expected[side].insert(key(n), value);
        };
        for n in 0..45 {
            put(&mut expected, 0, n, n, 110);
            put(&mut expected, 1, n, n + 1000, 30);
        }
        settle(&db);
        for n in (0..45).step_by(6) {
            put(&mut expected, 0, n, n + 500, 60);
        }
        drop(db.delete(&spaces[0], &key(7)).unwrap());
        expected[0].remove(&key(7));
        let mut batch = drystone_lsm::Batch::new();
        batch.delete_range(&spaces[1], &key(10), &key(20));
        drop(db.write(batch).unwrap());
        expected[1].retain(|k, _| !(key(10) <= *k && *k < key(20)));
        db.flush().unwrap();
        if journal {
            for n in 30..50 {
                put(&mut expected, 0, n, n + 700, 40);
                put(&mut expected, 1, n, n + 800, 40);
            }
        }
        db.persist().unwrap();
        let disk = if end == End::Closed {
            db.close().unwrap();
            disk
        } else {
            disk.crash()
        };
        Specimen { disk, expected }
    }

    /// A copy with one file changed.
    pub(crate) fn hurt(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> SimVfs {
        hurt(&self.disk, path, edit)
    }

    pub(crate) fn judge(&self, disk: &SimVfs, what: &str) -> Verdict {
        judge(disk, &self.expected, what)
    }
}

/// A copy of a disk with one file changed.
pub(crate) fn hurt(disk: &SimVfs, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> SimVfs {
    let copy = disk.crash_copy(0);
    let mut bytes = load(&copy, path);
    edit(&mut bytes);
    store(&copy, path, &bytes);
    copy
}

pub(crate) fn open(disk: &SimVfs) -> Db {
    try_open(disk, options()).unwrap()
}

/// Flushes, and compacts as long as anything is due.
pub(crate) fn settle(db: &Db) {
    db.flush().unwrap();
    while db.compact_once().unwrap() {}
}

/// All files but locks, which an opening makes before it looks.
fn files(disk: &SimVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = disk.files();
    files.retain(|(path, _)| !path.ends_with("LOCK"));
    files
}

/// A file's bytes.
pub(crate) fn load(disk: &SimVfs, path: &Path) -> Vec<u8> {
    let files = disk.files();
    files.into_iter().find(|(name, _)| name == path).map(|(_, bytes)| bytes).unwrap()
}

/// Replaces a file's bytes, durably, or makes it.
pub(crate) fn store(disk: &SimVfs, path: &Path, bytes: &[u8]) {
    let parent = path.parent().unwrap();
    disk.create_dir_all(parent).unwrap();
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(parent).unwrap();
}

pub(crate) fn remove(disk: &SimVfs, path: &Path) {
    disk.remove(path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

fn files_in(disk: &SimVfs, folder: &Path, ending: &str) -> Vec<PathBuf> {
    let paths = disk.files().into_iter().map(|(path, _)| path);
    paths
        .filter(|path| path.parent() == Some(folder) && path.to_string_lossy().ends_with(ending))
        .collect()
}

pub(crate) fn tables(disk: &SimVfs) -> Vec<PathBuf> {
    files_in(disk, &dir(), ".table")
}

pub(crate) fn journal_files(disk: &SimVfs) -> Vec<PathBuf> {
    files_in(disk, &dir().join("journal"), ".wal")
}

pub(crate) fn manifest_files(disk: &SimVfs) -> Vec<PathBuf> {
    let mut files = files_in(disk, &dir().join("manifest.a"), ".wal");
    files.extend(files_in(disk, &dir().join("manifest.b"), ".wal"));
    files
}

/// Writes a log anew with its records changed by `edit`; every checksum is right.
pub(crate) fn rewrite(disk: &SimVfs, folder: &str, mut edit: impl FnMut(usize, &mut Vec<u8>)) {
    let path = dir().join(folder);
    let options = || WalOptions::default().record_bytes_max(2 << 20);
    let view = Wal::open_read_only(Arc::new(disk.clone()), &path, &options()).unwrap();
    let first = view.first_lsn();
    let records: Vec<Vec<u8>> = view.records().map(|r| r.unwrap().1.to_vec()).collect();
    drop(view);
    let files = disk.files().into_iter().map(|(file, _)| file);
    files.filter(|file| file.starts_with(&path)).for_each(|file| remove(disk, &file));
    let options =
        options().segment_bytes(64 << 10).writer(Writer::Caller).log_id(42).first_lsn(first);
    let (wal, _) = Wal::open(Arc::new(disk.clone()), &path, options).unwrap();
    for (i, mut record) in records.into_iter().enumerate() {
        edit(i, &mut record);
        wal.append(&[&record]).unwrap().wait().unwrap();
    }
    wal.close().unwrap();
}

/// Where the bytes of a log's file end: behind it are zeros.
pub(crate) fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

/// What became of a hurt database.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It does not open, and nothing was changed.
    Refused(Error),
    /// It opens. So many reads of single keys were errors; the others were right.
    Opened { errors: usize, verified: bool },
}

impl Verdict {
    /// Whether somebody was told of the damage.
    pub(crate) fn is_noticed(&self) -> bool {
        matches!(self, Verdict::Refused(_) | Verdict::Opened { verified: false, .. })
    }

    #[track_caller]
    pub(crate) fn refusal(self) -> Error {
        match self {
            Verdict::Refused(error) => error,
            opened @ Verdict::Opened { .. } => panic!("not refused: {opened:?}"),
        }
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Io { .. } | Error::Unsupported { .. })
}

/// Opens a hurt database: it is refused as it was found, or every read is right or an error.
#[track_caller]
pub(crate) fn judge(disk: &SimVfs, expected: &[Records; 2], what: &str) -> Verdict {
    let before = files(disk);
    let db = match try_open(disk, options()) {
        Ok(db) => db,
        Err(error) => {
            assert!(is_damage(&error), "{what}: {error}");
            assert!(files(disk) == before, "{what}: a refused database was changed");
            if let Error::Corrupt { file, .. } = &error {
                let there = before.iter().any(|(path, _)| path.starts_with(file));
                let gone = file.extension().is_some_and(|kind| kind == "wal" || kind == "table");
                assert!(there || gone, "{what}: {error} names what is no file");
            }
            return Verdict::Refused(error);
        }
    };
    assert!(db.keyspaces() == SPACES, "{what}: keyspaces {:?}", db.keyspaces());
    let mut errors = 0;
    let snapshot = db.snapshot();
    for (space, expected) in SPACES.map(|name| keyspace(&db, name)).iter().zip(expected) {
        errors += read_each(&db, space, expected, what);
        let walked = walk(&snapshot, space, expected, what);
        let backwards = walk_back(&snapshot, space, expected, what);
        assert!(walked == backwards, "{what}: one direction saw damage that the other did not");
    }
    let verified = match db.verify() {
        Ok(()) => true,
        Err(error) => {
            assert!(is_damage(&error), "{what}: {error}");
            false
        }
    };
    assert!(errors == 0 || !verified, "{what}: reads fail that verify knows nothing of");
    Verdict::Opened { errors, verified }
}

/// Reads every key there is, and some that there are not. Returns how many reads were errors.
#[track_caller]
pub(crate) fn read_each(db: &Db, space: &Keyspace, expected: &Records, what: &str) -> usize {
    let mut errors = 0;
    for n in 0..60 {
        match db.get(space, &key(n)) {
            Ok(found) => {
                let found = found.map(|value| value.to_vec());
                assert!(found.as_ref() == expected.get(&key(n)), "{what}: key {n} is {found:?}");
            }
            Err(error) => {
                assert!(is_damage(&error), "{what}: key {n}: {error}");
                errors += 1;
            }
        }
    }
    errors
}

/// Whether a walk over everything came to its end. What came before an error is right, and the
/// error is for ever.
#[track_caller]
fn walk(snapshot: &Snapshot, space: &Keyspace, expected: &Records, what: &str) -> bool {
    let mut range = snapshot.iter(space);
    let mut expected = expected.iter();
    while let Some(record) = range.next() {
        let Ok((key, value)) = record else {
            assert!((0..3).all(|_| range.next().is_some_and(|next| next.is_err())), "{what}");
            assert!(range.next_back().is_some_and(|next| next.is_err()), "{what}");
            return false;
        };
        let right = expected.next().is_some_and(|(k, v)| **k == *key && **v == *value);
        assert!(right, "{what}: walked to {:?}", key.escape_ascii().to_string());
    }
    assert!(expected.next().is_none(), "{what}: a walk ends early");
    true
}

#[track_caller]
fn walk_back(snapshot: &Snapshot, space: &Keyspace, expected: &Records, what: &str) -> bool {
    let mut range = snapshot.iter(space);
    let mut expected = expected.iter().rev();
    while let Some(record) = range.next_back() {
        let Ok((key, value)) = record else {
            assert!((0..3).all(|_| range.next_back().is_some_and(|next| next.is_err())), "{what}");
            assert!(range.next().is_some_and(|next| next.is_err()), "{what}");
            return false;
        };
        let right = expected.next().is_some_and(|(k, v)| **k == *key && **v == *value);
        assert!(right, "{what}: walked back to {:?}", key.escape_ascii().to_string());
    }
    assert!(expected.next().is_none(), "{what}: a walk back ends early");
    true
}

/// The database opens with exactly this, also for reading alone; takes a write; and has it after
/// another crash.
#[track_caller]
pub(crate) fn assert_holds(disk: &SimVfs, expected: &[Records; 2], what: &str) {
    let view = disk.crash_copy(3);
    let clock = Arc::new(SimClock::new());
    let viewed = Db::open_read_only(Arc::new(view), clock, &dir(), options());
    let viewed = viewed.unwrap_or_else(|error| panic!("{what}: read-only: {error}"));
    let db = try_open(disk, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (name, expected) in SPACES.iter().zip(expected) {
        for db in [&viewed, &db] {
            let found = contents(db, name);
            assert!(found == *expected, "{what}: {name} {:?}", difference(&found, expected));
        }
    }
    db.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
    let left = keyspace(&db, "left");
    db.put(&left, b"afterwards", b"1").unwrap().wait().unwrap();
    drop(db);
    let again = try_open(&disk.crash_copy(4), options()).unwrap();
    let mut expected = expected[0].clone();
    expected.insert(b"afterwards".to_vec(), b"1".to_vec());
    assert!(contents(&again, "left") == expected, "{what}: after another crash");
}

/// Everything in a keyspace; nothing if there is no such keyspace.
pub(crate) fn contents(db: &Db, name: &str) -> Records {
    if !db.keyspaces().iter().any(|known| known == name) {
        return Records::new();
    }
    let space = keyspace(db, name);
    let records = db.iter(&space).map(|record| record.unwrap());
    records.map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

/// Keys whose values differ, for the message of a failed test.
pub(crate) fn difference(found: &Records, expected: &Records) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differs = |k: &&&Vec<u8>| found.get(**k) != expected.get(**k);
    let say = |k: &Vec<u8>| {
        let len = |records: &Records| records.get(k).map(Vec::len);
        format!("{}: {:?}, not {:?}", k.escape_ascii(), len(found), len(expected))
    };
    keys.iter().filter(differs).map(|k| say(k)).collect()
}

/// Cuts the power before every call with which `act` could change the disk, each time on a copy of
/// `base`, and shows `check` what several crashes and a kill leave.
pub(crate) fn at_every_call(
    base: &SimVfs,
    act: impl Fn(&SimVfs),
    mut check: impl FnMut(&SimVfs, &str),
) -> u64 {
    let whole = base.crash_copy(0);
    act(&whole);
    let calls = whole.counts().changes();
    for cut in 0..=calls {
        let disk = base.crash_copy(0);
        disk.power_cut_after(cut);
        act(&disk);
        for seed in 0..3 {
            check(&disk.crash_copy(seed), &format!("cut before call {cut}, crash {seed}"));
        }
        check(&disk.kill_copy(), &format!("killed before call {cut}"));
    }
    calls
}
