//! The folder that a store lives in: whose it is, which version wrote it, and with which engine.
//!
//! ```text
//! <dir>/FORMAT     one line; written before anything else, and never again
//!       LOCK       locked while a process uses the folder
//!       engine/    the engine's files
//!       journal/   the write-ahead log's
//!
//! FORMAT = "drystone-kv 1\n"            the engine is memory, the only one there was
//!        | "drystone-kv 2 <engine>\n"   any other
//! ```
//!
//! A folder is taken only if it is ours or empty; anything else is left without a byte changed. So
//! is one that was made with another engine than was asked for: that engine would find no file of
//! its own in it, and an empty store.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{Lock, OpenMode, Vfs};

use crate::engines::EngineKind;
use crate::error::Error;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_TMP: &str = "FORMAT.tmp";
const LOCK_FILE: &str = "LOCK";
/// A folder of the memory engine: older builds, which know no other, go on reading it.
const VERSION_MEMORY: u32 = 1;
/// A folder whose engine is named. Another engine needs another version: a build that does not know
/// it must not call the line damaged.
const VERSION_NAMED: u32 = 2;
/// More than any format line there will be; a longer file is not one.
const FORMAT_BYTES_MAX: usize = 64;

/// What a folder is for, as its first line says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose(&'static str);

/// A store that runs by itself.
pub(crate) const ALONE: Purpose = Purpose("drystone-kv");
/// A member of a group; what lies beside the format is drawn there.
#[cfg(feature = "runtime")]
pub(crate) const REPLICA: Purpose = Purpose("drystone-kv-replica");

/// A folder that is ours and locked, until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    dir: PathBuf,
    kind: EngineKind,
    _lock: Lock,
}

impl DataDir {
    /// Takes `dir`: creates it, or checks that it is ours, and locks it. `kind` is the engine that
    /// it must have; if that is left open, it is the one that it has, or the default of a new one.
    pub(crate) fn open(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        purpose: Purpose,
        kind: Option<EngineKind>,
    ) -> Result<DataDir, Error> {
        // A look before the first change: a folder that is not ours gets no lock either.
        if find(vfs, dir, purpose, kind)?.is_none() {
            vfs.create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        }
        let lock_path = dir.join(LOCK_FILE);
        let lock = vfs.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked { file: lock_path.clone() },
            _ => Error::io(&lock_path, error),
        })?;
        // Another process may have made the folder since, with another engine, and be gone again.
        let found = find(vfs, dir, purpose, kind)?;
        let format_path = dir.join(FORMAT_FILE);
        let kind = match found {
            // It may have died before the file's name was durable; what now follows builds on it.
            Some(kind) => vfs.sync_dir(dir).map(|()| kind),
            None => {
                let kind = kind.unwrap_or_default();
                write_format(vfs, dir, purpose, kind).map(|()| kind)
            }
        };
        let kind = kind.map_err(|error| Error::io(&format_path, error))?;
        Ok(DataDir { dir: dir.to_path_buf(), kind, _lock: lock })
    }

    /// Which engine the folder was made with.
    pub(crate) fn kind(&self) -> EngineKind {
        self.kind
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

/// The engine that the folder `dir` was made with, for whoever looks and takes nothing. `None` if
/// there is no store in it.
#[cfg(feature = "runtime")]
pub(crate) fn look(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    purpose: Purpose,
) -> Result<Option<EngineKind>, Error> {
    find(vfs, dir, purpose, None)
}

/// The file of the folder `dir` that says which version wrote it.
#[cfg(feature = "runtime")]
pub(crate) fn format_file(dir: &Path) -> PathBuf {
    dir.join(FORMAT_FILE)
}

/// The version of a folder with this engine.
pub(crate) fn version_of(kind: EngineKind) -> u32 {
    match kind {
        EngineKind::Memory => VERSION_MEMORY,
        EngineKind::Btree | EngineKind::Lsm => VERSION_NAMED,
    }
}

/// Whether there is no store in `dir` yet; an error if there is something else.
#[cfg(feature = "runtime")]
pub(crate) fn is_new(vfs: &dyn Vfs, dir: &Path) -> Result<bool, Error> {
    match vfs.list(dir) {
        Ok(names) => Ok(!is_ours(dir, &names)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io(dir, error)),
    }
}

/// The engine of the folder, or `None` if there is nothing in it; an error if it is somebody else's
/// or has another engine than `asked`.
fn find(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    purpose: Purpose,
    asked: Option<EngineKind>,
) -> Result<Option<EngineKind>, Error> {
    let names = match vfs.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(dir, error)),
    };
    if !is_ours(dir, &names)? {
        return Ok(None);
    }
    let file = dir.join(FORMAT_FILE);
    let found = read_format(vfs, &file, purpose)?;
    match asked {
        Some(asked) if asked != found => Err(Error::WrongEngine { file, found, asked }),
        _ => Ok(Some(found)),
    }
}

/// Whether the folder is ours; an error if it is somebody else's. A crash while it was being made
/// may have left a lock and half a format file: that is as good as empty.
fn is_ours(dir: &Path, names: &[OsString]) -> Result<bool, Error> {
    if names.iter().any(|name| name == FORMAT_FILE) {
        return Ok(true);
    }
    match names.iter().find(|name| *name != LOCK_FILE && *name != FORMAT_TMP) {
        None => Ok(false),
        Some(found) => Err(Error::Foreign { dir: dir.to_path_buf(), found: found.into() }),
    }
}

fn read_format(vfs: &Arc<dyn Vfs>, path: &Path, purpose: Purpose) -> Result<EngineKind, Error> {
    let read = || {
        let file = vfs.open(path, OpenMode::Read)?;
        let mut buf = [0; FORMAT_BYTES_MAX];
        let len = file.read_at(&mut buf, 0)?;
        Ok(String::from_utf8_lossy(&buf[..len]).into_owned())
    };
    let text = read().map_err(|error| Error::io(path, error))?;
    let damaged = |reason| Error::Damaged { file: path.to_path_buf(), reason };
    let fields = text.strip_suffix('\n').and_then(|line| line.strip_prefix(purpose.0));
    let fields = fields.and_then(|fields| fields.strip_prefix(' '));
    let (version, rest) = match fields.map(|fields| fields.split_once(' ')) {
        Some(Some((version, rest))) => (version.parse().ok(), rest),
        Some(None) => (fields.and_then(|fields| fields.parse().ok()), ""),
        None => (None, ""),
    };
    let version: u32 =
        version.ok_or_else(|| damaged("it does not hold the name and version of a format"))?;
    let kind = match version {
        VERSION_MEMORY => EngineKind::Memory,
        VERSION_NAMED => rest.parse().map_err(|_| damaged("it does not name an engine"))?,
        _ => return Err(Error::Unsupported { file: path.to_path_buf(), version }),
    };
    // A line has one spelling.
    if format_line(purpose, kind) == text {
        Ok(kind)
    } else {
        Err(damaged("it is not what was written"))
    }
}

fn format_line(Purpose(name): Purpose, kind: EngineKind) -> String {
    let version = version_of(kind);
    match kind {
        EngineKind::Memory => format!("{name} {version}\n"),
        EngineKind::Btree | EngineKind::Lsm => format!("{name} {version} {kind}\n"),
    }
}

fn write_format(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    purpose: Purpose,
    kind: EngineKind,
) -> io::Result<()> {
    let tmp = dir.join(FORMAT_TMP);
    let file = vfs.open(&tmp, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(&[IoSlice::new(format_line(purpose, kind).as_bytes())], 0)?;
    file.sync_data()?;
    vfs.rename(&tmp, &dir.join(FORMAT_FILE))?;
    vfs.sync_dir(dir)
}
