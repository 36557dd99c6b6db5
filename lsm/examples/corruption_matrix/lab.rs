//! Databases of a thousand records on the real file system, copies of them to hurt, and what becomes
//! of the hurt ones.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_lsm::{Db, Error, Keyspace, KeyspaceOptions, Options};
use drystone_vfs::{OpenMode, OsVfs, SimClock, Vfs};

pub(crate) const RECORDS: u64 = 1000;
const VALUE_BYTES: usize = 143;
/// Bytes that one record takes in the journal, and those before the first.
const FRAME_BYTES: u64 = 192;
const HEADER_BYTES: u64 = 4096;

/// How a database was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Killed,
    Closed,
}

/// Where the records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All in the journal.
    Journal,
    /// 1 to 300 in one table, 301 to 600 in another, the rest in the journal.
    Tables,
}

/// What became of a hurt database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It opens: so many records are right, so many cannot be read and say so, the rest are absent.
    Opens { right: u64, errors: u64, says: String },
    /// It is refused, and not one of its bytes is changed.
    Refuses { file: String, offset: u64, what: String },
}

/// A folder with the databases in it, each left in both states.
pub(crate) struct Lab {
    home: tempfile::TempDir,
}

/// One database, to be hurt.
pub(crate) struct Patient {
    pub(crate) dir: PathBuf,
}

/// Where record `n` begins in the journal, if all are there.
pub(crate) fn place(n: u64) -> u64 {
    HEADER_BYTES + (n - 1) * FRAME_BYTES
}

fn key(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

/// Half of it cannot be packed.
fn value(n: u64) -> Vec<u8> {
    let mut state = n;
    let noise = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut value: Vec<u8> = (0..VALUE_BYTES / 2).map(noise).collect();
    value.resize(VALUE_BYTES, b'a' + (n % 26) as u8);
    value
}

fn vfs() -> Arc<dyn Vfs> {
    Arc::new(OsVfs::new())
}

fn options(seed: u64) -> Options {
    Options::default().memory_bytes(4 << 20).threads(0).seed(seed)
}

fn open(dir: &Path, seed: u64) -> Result<Db, Error> {
    Db::open(vfs(), Arc::new(SimClock::new()), dir, options(seed))
}

fn keyspace(db: &Db) -> Keyspace {
    db.keyspace("records", KeyspaceOptions::default()).expect("the keyspace is there, or made")
}

impl Lab {
    /// Writes the databases, each record synced by itself.
    pub(crate) fn new() -> Lab {
        let lab = Lab { home: tempfile::tempdir().expect("there is room for a folder") };
        lab.write("journal", Shape::Journal, 42);
        lab.write("tables", Shape::Tables, 42);
        lab.write("other", Shape::Tables, 77);
        lab
    }

    fn write(&self, name: &str, shape: Shape, seed: u64) {
        let dir = self.home.path().join(name);
        let db = open(&dir, seed).expect("a fresh database opens");
        let records = keyspace(&db);
        for n in 1..=RECORDS {
            let commit = db.put(&records, &key(n), &value(n)).expect("records are taken");
            commit.wait().expect("the disk takes records");
            if shape == Shape::Tables && (n == 300 || n == 600) {
                db.flush().expect("the disk takes a table");
            }
        }
        // What the files hold now is what a process that is killed now leaves.
        copy(&dir, &self.home.path().join(format!("{name} Killed")));
        db.close().expect("the database closes");
        copy(&dir, &self.home.path().join(format!("{name} Closed")));
    }

    /// A fresh copy of a database.
    pub(crate) fn patient(&self, shape: Shape, state: State) -> Patient {
        let name = if shape == Shape::Journal { "journal" } else { "tables" };
        let dir = self.home.path().join("patient");
        for (path, _) in files(&dir) {
            vfs().remove(&path).expect("it can be removed");
        }
        copy(&self.home.path().join(format!("{name} {state:?}")), &dir);
        Patient { dir }
    }

    /// The bytes of a file of another database.
    pub(crate) fn stranger(&self, name: &str) -> Vec<u8> {
        load(&self.home.path().join("other Closed").join(name))
    }

    /// Opens a patient, and reads every record.
    pub(crate) fn judge(&self, patient: &Patient) -> Outcome {
        let before = files(&patient.dir);
        match open(&patient.dir, 42) {
            Ok(db) => read(&db, patient),
            Err(Error::Corrupt { file, offset, what }) => {
                assert!(files(&patient.dir) == before, "a refused database was changed");
                Outcome::Refuses { file: patient.name(&file), offset, what: what.into() }
            }
            Err(error) => panic!("neither opened nor refused: {error}"),
        }
    }
}

/// Reads every record of a database that opened. None may be wrong.
fn read(db: &Db, patient: &Patient) -> Outcome {
    let records = keyspace(db);
    let (mut right, mut errors) = (0, 0);
    for n in 1..=RECORDS {
        match db.get(&records, &key(n)) {
            Ok(Some(found)) => {
                assert!(*found == value(n)[..], "record {n} is invented");
                right += 1;
            }
            Ok(None) => {}
            Err(_) => errors += 1,
        }
    }
    // A walk over all of them must not pass by what it cannot read.
    let mut walk = db.iter(&records);
    let walked = walk.by_ref().take_while(Result::is_ok).count() as u64;
    assert!(walked <= right, "a walk finds what is not there");
    assert!(walk.next().is_none_or(|next| next.is_err()) || errors == 0, "a walk goes on");
    let says = match db.verify() {
        Ok(()) => "nothing".into(),
        Err(Error::Corrupt { file, offset, what }) => {
            format!("{}, byte {offset}: {what}", patient.name(&file))
        }
        Err(error) => panic!("{error}"),
    };
    Outcome::Opens { right, errors, says }
}

impl Patient {
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let path = self.dir.join(name);
        let mut bytes = load(&path);
        edit(&mut bytes);
        store(&path, &bytes);
    }

    pub(crate) fn remove(&self, name: &str) {
        vfs().remove(&self.dir.join(name)).expect("it can be removed");
    }

    /// The path within the database.
    fn name(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.dir).unwrap_or(path);
        let name = inside.to_string_lossy().into_owned();
        if name.is_empty() { "the folder".into() } else { name }
    }
}

/// All files below a folder but locks, which an open makes before it looks.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in vfs().list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(files(&path));
        } else if name != "LOCK" {
            let bytes = load(&path);
            found.push((path, bytes));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let path = to.join(path.strip_prefix(from).expect("it lies in there"));
        vfs()
            .create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("there is room");
        store(&path, &bytes);
    }
}

pub(crate) fn load(path: &Path) -> Vec<u8> {
    let file = vfs().open(path, OpenMode::Read).expect("it can be opened");
    let mut bytes = vec![0; file.len().expect("it has a length") as usize];
    file.read_exact_at(&mut bytes, 0).expect("it can be read");
    bytes
}

pub(crate) fn store(path: &Path, bytes: &[u8]) {
    let file = vfs().open(path, OpenMode::Create).expect("it can be made");
    file.set_len(bytes.len() as u64).expect("it can be cut");
    file.write_at(&[IoSlice::new(bytes)], 0).expect("it can be written");
}
