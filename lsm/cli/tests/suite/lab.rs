//! A folder with a database in it, files that can be hurt, and the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use drystone_lsm::{Batch, Compression, Db, KeyspaceOptions, Options};
use drystone_vfs::{SimClock, SimVfs};
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

    /// A database in `db`, the same bytes in every run: so many fruits in one table, some
    /// changed or deleted in a second, three more in the journal alone. Unless `closed`, its
    /// writer was killed.
    pub(crate) fn make(&self, count: u64, closed: bool) {
        let disk = SimVfs::new(1);
        let options = Options::default().memory_bytes(1 << 20).threads(0).seed(42);
        let vfs = Arc::new(disk.clone());
        let db = Db::open(vfs, Arc::new(SimClock::new()), Path::new("db"), options).unwrap();
        // What a packer makes of it may change with the packer.
        let plain = KeyspaceOptions::default().compression(Compression::None);
        let fruits = db.keyspace("fruits", plain.clone()).unwrap();
        let empty = db.keyspace("nothing yet", plain).unwrap();
        assert_eq!(db.iter(&empty).count(), 0);
        let put = |n: u64, text: &str| {
            let key = format!("fruit-{n:04}");
            db.put(&fruits, key.as_bytes(), text.as_bytes()).unwrap().wait().unwrap();
        };
        (0..count).for_each(|n| put(n, "ripe"));
        db.flush().unwrap();
        put(1, "eaten in part");
        let mut batch = Batch::new();
        batch.delete(&fruits, b"fruit-0002");
        batch.delete_range(&fruits, b"fruit-0004", b"fruit-0006");
        db.write(batch).unwrap().wait().unwrap();
        db.flush().unwrap();
        (0..3).for_each(|n| put(n + 9000, "\0green\n"));
        let disk = if closed {
            db.close().unwrap();
            disk
        } else {
            disk.crash()
        };
        for (path, bytes) in disk.files() {
            let path = self.path(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_drystone-lsm"));
        command.args(arguments).current_dir(self.here.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Every file below the folder.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.here.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    found.push((path, bytes));
                }
            }
        }
        found.sort();
        found
    }
}
