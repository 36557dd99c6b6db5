//! Databases of a thousand records on the real file system, copies of them to hurt, and what
//! becomes of the hurt ones.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_btree::{Db, Error, Options, TxnId, Writer};
use drystone_vfs::{OpenMode, OsVfs, Vfs};

use super::forge::{Forge, Kind, Node, cells};

pub(crate) const RECORDS: u64 = 1000;
const VALUE_BYTES: usize = 150;
const TREE: &str = "records";

/// How a database was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Killed,
    Closed,
}

/// What became of a hurt database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It opens. Of the records some are read, for some there is an error, some are not there.
    Opens { read: u64, errors: u64, gone: u64, says: String },
    /// It is refused, and not one of its bytes is changed.
    Refuses { says: String },
}

/// A folder with the databases in it, each as it was left.
pub(crate) struct Lab {
    home: tempfile::TempDir,
}

/// One database, to be hurt.
pub(crate) struct Patient {
    pub(crate) path: PathBuf,
}

/// Records are put in an order that leaps about.
pub(crate) fn record(turn: u64) -> u64 {
    (turn * 617) % RECORDS
}

fn key(record: u64) -> String {
    format!("record {record:04}")
}

fn value(record: u64, fill: u8) -> Vec<u8> {
    let mut value = format!("value of {record:04} ").into_bytes();
    value.resize(VALUE_BYTES, b'a' + (record % 26) as u8);
    value[VALUE_BYTES - 1] = fill;
    value
}

fn vfs() -> Arc<dyn Vfs> {
    Arc::new(OsVfs::new())
}

fn options() -> Options {
    Options::default().writer(Writer::Caller)
}

impl Lab {
    /// Writes the databases, each record in a transaction that is synced by itself.
    pub(crate) fn new() -> Lab {
        let lab = Lab { home: tempfile::tempdir().expect("there is room for a folder") };
        lab.write("ours", 42, b'.');
        lab.write("other", 77, b'!');
        lab
    }

    fn write(&self, name: &str, db_id: u64, fill: u8) {
        let path = self.home.path().join(name);
        let db = Db::open(vfs(), &path, options().db_id(db_id)).expect("a fresh database opens");
        for turn in 0..RECORDS {
            let mut w = db.write().expect("nobody else writes");
            let tree = w.create_tree(TREE).expect("there is room for a tree");
            let at = record(turn);
            w.put(tree, key(at).as_bytes(), &value(at, fill)).expect("it takes records");
            let commit = w.commit().expect("it takes commits");
            commit.wait().expect("the disk takes commits");
            if turn + 1 == RECORDS - 100 {
                store(&self.home.path().join(format!("{name} Early")), &load(&path));
            }
        }
        // What the file holds now is what a process that is killed now leaves.
        store(&self.home.path().join(format!("{name} Killed")), &load(&path));
        db.close().expect("it closes");
        store(&self.home.path().join(format!("{name} Closed")), &load(&path));
    }

    /// A fresh copy of our database.
    pub(crate) fn patient(&self, state: State) -> Patient {
        let path = self.home.path().join("patient");
        store(&path, &load(&self.home.path().join(format!("ours {state:?}"))));
        Patient { path }
    }

    /// The bytes of another database that was written in the same way.
    pub(crate) fn other(&self) -> Vec<u8> {
        load(&self.home.path().join("other Closed"))
    }

    /// The bytes of our database a hundred transactions before the end.
    pub(crate) fn early(&self) -> Vec<u8> {
        load(&self.home.path().join("ours Early"))
    }

    /// Opens a patient and asks for every record.
    pub(crate) fn judge(&self, patient: &Patient, min_txn: u64) -> Outcome {
        let before = load_any(&patient.path);
        match Db::open(vfs(), &patient.path, options().min_txn(TxnId(min_txn))) {
            Ok(db) => examine(&db),
            Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
                assert!(load_any(&patient.path) == before, "a refused database was changed");
                Outcome::Refuses { says: told(&error) }
            }
            Err(error) => panic!("neither opened nor refused: {error}"),
        }
    }
}

/// Every record by its key, and all of them in a walk: the two agree, and nothing is invented.
fn examine(db: &Db) -> Outcome {
    let r = db.read();
    let tree = r.tree(TREE).expect("the tree is there");
    let (mut read, mut gone, mut first, mut errors) = (0, 0, None, 0);
    for at in 0..RECORDS {
        match r.get(tree, key(at).as_bytes()) {
            Ok(Some(found)) => {
                assert!(found == value(at, b'.'), "record {at} is invented");
                read += 1;
            }
            Ok(None) => gone += 1,
            Err(error) => {
                errors += 1;
                first.get_or_insert(error);
            }
        }
    }
    let mut walked = 0;
    for item in r.iter(tree) {
        let Ok((found, _)) = item else {
            assert!(errors > 0, "a walk fails where no record does");
            break;
        };
        walked += u64::from(found.starts_with(b"record "));
    }
    assert!(errors > 0 || walked == read, "a walk finds {walked} records, and not {read}");
    assert!(db.verify().is_ok() == (errors == 0), "a verification finds the same");
    let says = first.map_or_else(|| format!("transaction {}", r.txn()), |error| told(&error));
    Outcome::Opens { read, errors, gone, says }
}

/// An error without the name of its file.
fn told(error: &Error) -> String {
    let text = error.to_string();
    let at = text.find("patient: ").map_or(0, |at| at + "patient: ".len());
    text[at..].replacen("at byte ", "byte ", 1)
}

impl Patient {
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = load(&self.path);
        edit(&mut bytes);
        store(&self.path, &bytes);
    }

    pub(crate) fn forge(&self) -> Forge {
        Forge::open(load(&self.path))
    }

    pub(crate) fn remove(&self) {
        vfs().remove(&self.path).expect("it can be removed");
    }
}

/// The page that a record is in now.
pub(crate) fn leaf_of(forge: &Forge, record: u64) -> Node {
    let value = value(record, b'.');
    let holds = |node: &&Node| {
        let page = &forge.bytes[forge.offset(node.id)..][..forge.page_bytes];
        let is_it = |(at, suffix)| page[at + 2 + suffix..].starts_with(&value);
        node.kind == Kind::Leaf && cells(page).any(is_it)
    };
    *forge.nodes.iter().find(holds).expect("every record is somewhere")
}

pub(crate) fn load(path: &Path) -> Vec<u8> {
    load_any(path).expect("it can be read")
}

fn load_any(path: &Path) -> Option<Vec<u8>> {
    let file = vfs().open(path, OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.len().ok()? as usize];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

pub(crate) fn store(path: &Path, bytes: &[u8]) {
    let file = vfs().open(path, OpenMode::Create).expect("it can be made");
    file.set_len(bytes.len() as u64).expect("it can be cut");
    file.write_at(&[IoSlice::new(bytes)], 0).expect("it can be written");
}
