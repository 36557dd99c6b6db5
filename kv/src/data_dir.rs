//! The folder that a store lives in: whose it is, and which version wrote it.
//!
//! ```text
//! <dir>/FORMAT     "drystone-kv 1\n"; written before anything else
//!       LOCK       locked while a process uses the folder
//!       engine/    the engine's files
//!       journal/   the write-ahead log's
//! ```
//!
//! A folder is taken only if it is ours or empty; anything else is left without a byte changed.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{Lock, OpenMode, Vfs};

use crate::error::Error;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_TMP: &str = "FORMAT.tmp";
const LOCK_FILE: &str = "LOCK";
const FORMAT_NAME: &str = "drystone-kv";
const FORMAT_VERSION: u32 = 1;
/// More than any format line there will be; a longer file is not one.
const FORMAT_BYTES_MAX: usize = 64;

/// A folder that is ours and locked, until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    dir: PathBuf,
    _lock: Lock,
}

impl DataDir {
    /// Takes `dir`: creates it, or checks that it is ours, and locks it.
    pub(crate) fn open(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<DataDir, Error> {
        let fresh = match vfs.list(dir) {
            Ok(names) => !check_ours(vfs, dir, &names)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(Error::io(dir, error)),
        };
        if fresh {
            vfs.create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        }
        let lock_path = dir.join(LOCK_FILE);
        let lock = vfs.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked { file: lock_path.clone() },
            _ => Error::io(&lock_path, error),
        })?;
        if fresh {
            write_format(vfs, dir).map_err(|error| Error::io(&dir.join(FORMAT_FILE), error))?;
        }
        Ok(DataDir { dir: dir.to_path_buf(), _lock: lock })
    }

    /// Where the engine lives.
    pub(crate) fn engine(&self) -> PathBuf {
        self.dir.join("engine")
    }

    /// Where the journal lives.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }
}

/// Whether the folder is ours; an error if it is somebody else's. A crash while it was being made
/// may have left a lock and half a format file: that is as good as empty.
fn check_ours(vfs: &Arc<dyn Vfs>, dir: &Path, names: &[std::ffi::OsString]) -> Result<bool, Error> {
    if names.iter().any(|name| name == FORMAT_FILE) {
        check_format(vfs, &dir.join(FORMAT_FILE))?;
        return Ok(true);
    }
    match names.iter().find(|name| *name != LOCK_FILE && *name != FORMAT_TMP) {
        None => Ok(false),
        Some(found) => Err(Error::Foreign { dir: dir.to_path_buf(), found: found.into() }),
    }
}

fn check_format(vfs: &Arc<dyn Vfs>, path: &Path) -> Result<(), Error> {
    let read = || {
        let file = vfs.open(path, OpenMode::Read)?;
        let mut buf = [0; FORMAT_BYTES_MAX];
        let len = file.read_at(&mut buf, 0)?;
        Ok(String::from_utf8_lossy(&buf[..len]).into_owned())
    };
    let line = read().map_err(|error| Error::io(path, error))?;
    let version = line
        .strip_suffix('\n')
        .and_then(|line| line.strip_prefix(FORMAT_NAME)?.strip_prefix(' ')?.parse::<u32>().ok());
    match version {
        Some(FORMAT_VERSION) => Ok(()),
        Some(version) => Err(Error::Unsupported { file: path.to_path_buf(), version }),
        None => Err(Error::Damaged {
            file: path.to_path_buf(),
            reason: "it does not hold the name and version of a format",
        }),
    }
}

fn write_format(vfs: &Arc<dyn Vfs>, dir: &Path) -> io::Result<()> {
    let line = format!("{FORMAT_NAME} {FORMAT_VERSION}\n");
    let tmp = dir.join(FORMAT_TMP);
    let file = vfs.open(&tmp, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(&[IoSlice::new(line.as_bytes())], 0)?;
    file.sync_data()?;
    vfs.rename(&tmp, &dir.join(FORMAT_FILE))?;
    vfs.sync_dir(dir)
}
