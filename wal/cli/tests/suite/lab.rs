//! A folder with a log in it, files that can be hurt, and the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use drystone_vfs::SimVfs;
use drystone_wal::{Options, Wal, Writer};
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

    /// A log in `log`: so many records of `len` bytes, each synced, the same bytes in every run.
    /// Unless `closed`, its writer was killed.
    pub(crate) fn make(&self, count: u64, len: usize, closed: bool) {
        let disk = SimVfs::new(1);
        let options = Options::default().segment_bytes(16 << 10).writer(Writer::Caller).log_id(42);
        let (wal, _) = Wal::open(Arc::new(disk.clone()), Path::new("log"), options).unwrap();
        for i in 1..=count {
            let mut text = format!("record {i} ").into_bytes();
            text.resize(len.max(text.len()), b'.');
            wal.append(&[&text]).unwrap().wait().unwrap();
        }
        let disk = if closed {
            wal.close().unwrap();
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_drystone-wal"));
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
