//! A folder with a database in it, a file that can be hurt, and the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use drystone_btree::{Db, Options, Writer};
use drystone_vfs::SimVfs;
use tempfile::TempDir;

/// One experiment; all paths are relative to its folder.
pub(crate) struct Lab {
    pub(crate) here: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab { here: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.here.path().join(name)
    }

    /// A database in `db`: two trees, one with so many records of `len` bytes, each synced, the
    /// same bytes in every run. Unless `closed`, its writer was killed.
    pub(crate) fn make(&self, count: u64, len: usize, closed: bool) {
        let disk = SimVfs::new(1);
        let options = Options::default().writer(Writer::Caller).db_id(42);
        let db = Db::open(Arc::new(disk.clone()), Path::new("db"), options).unwrap();
        for i in 1..=count {
            let mut w = db.write().unwrap();
            let records = w.create_tree("records").unwrap();
            let mut text = format!("value {i} ").into_bytes();
            text.resize(len.max(text.len()), b'.');
            w.put(records, format!("record {i:04}").as_bytes(), &text).unwrap();
            if i == 1 {
                let long = w.create_tree("long ones").unwrap();
                w.put(long, b"long", &[b'-'; 10_000]).unwrap();
            }
            w.commit().unwrap().wait().unwrap();
        }
        let disk = if closed {
            db.close().unwrap();
            disk
        } else {
            disk.kill_copy()
        };
        for (path, bytes) in disk.files() {
            std::fs::write(self.path(path), bytes).unwrap();
        }
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(name);
        let mut bytes = std::fs::read(&path).unwrap();
        edit(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    /// The binary, to be run in the lab's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drystone-btree"));
        command.args(arguments).current_dir(self.here.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Every file in the folder.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.here.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut found: Vec<_> =
            paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        found.sort();
        found
    }
}
