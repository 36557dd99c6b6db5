//! A disk whose last room is opened by whoever needs it.
//!
//! Calls that find the disk full are made again after a step was cut off the [`Reserve`], until
//! they succeed or it has no more for them. A log that is on a disk of its own has a reserve there.
//! To write the same bytes to the same place once more does no harm. A sync is not made again:
//! after one that failed nobody knows what of the bytes before it is there. File systems that find
//! room when bytes are synced, and not when they are written (NFS), are not helped.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, IoSlice};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{File, Lock, OpenMode, OsVfs, Vfs};

use super::reserve::{On, Reserve, Reserves, Writer};
use crate::disk::Part;

/// The disk of the operating system, with a reserve.
#[derive(Debug)]
pub(crate) struct Roomy {
    disk: OsVfs,
    reserves: Reserves,
    log_dir: Option<PathBuf>,
}

impl Roomy {
    /// With these reserves. A log that is kept apart is in `log_dir`.
    pub(crate) fn new(reserves: Reserves, log_dir: Option<PathBuf>) -> Roomy {
        Roomy { disk: OsVfs::new(), reserves, log_dir }
    }

    /// Where the log is, if it is kept apart.
    pub(crate) fn log_dir(&self) -> Option<&Path> {
        self.log_dir.as_deref()
    }

    fn try_for<T>(&self, path: &Path, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let (reserve, writer) = self.reserve_of(path);
        insist(reserve, writer, call)
    }

    /// Who writes to this path, and the reserve of the disk that it is on.
    fn reserve_of(&self, path: &Path) -> (&Arc<Reserve>, Writer) {
        let log_dir = self.log_dir();
        let on = match log_dir.is_some_and(|log_dir| path.starts_with(log_dir)) {
            true => On::Log,
            false => On::Data,
        };
        let writer = match Part::of(path, log_dir) {
            Part::Log => Writer::Log,
            Part::Engine | Part::State | Part::Other => Writer::Other,
        };
        (self.reserves.on(on), writer)
    }

    /// Makes the log's directory, for its owner alone.
    fn make_log_dir(&self, dir: &Path) -> io::Result<()> {
        if let Some(parent) = dir.parent() {
            self.disk.create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        dir.parent().map_or(Ok(()), |parent| self.disk.sync_dir(parent))
    }
}

fn insist<T>(reserve: &Reserve, writer: Writer, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if is_full(&error) && reserve.give(writer) => {}
            outcome => return outcome,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Vfs for Roomy {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.try_for(path, || self.disk.open(path, mode))?;
        if mode == OpenMode::Read {
            return Ok(file);
        }
        let (reserve, writer) = self.reserve_of(path);
        Ok(Arc::new(RoomyFile { file, writer, reserve: Arc::clone(reserve) }))
    }

    fn create_dispensable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let reserve = self.reserve_of(path).0;
        let create = || self.disk.open(path, OpenMode::CreateNew);
        let file = insist(reserve, Writer::Merge, create)?;
        Ok(Arc::new(RoomyFile { file, writer: Writer::Merge, reserve: Arc::clone(reserve) }))
    }

    /// The reserve is opened for it only if it is enough: half of a file is of no use, and what was
    /// opened for that goes to whoever else writes to this disk.
    fn create_sized(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn File>> {
        let (reserve, writer) = self.reserve_of(path);
        if !reserve.is_enough_for(bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = insist(reserve, writer, || self.disk.create_sized(path, bytes))?;
        Ok(Arc::new(RoomyFile { file, writer, reserve: Arc::clone(reserve) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.try_for(to, || self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.try_for(dir, || match self.log_dir() {
            Some(log_dir) if log_dir == dir => self.make_log_dir(dir),
            _ => self.disk.create_dir_all(dir),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.try_for(path, || self.disk.lock(path))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock_shared(path)
    }
}

/// A file that is written to.
#[derive(Debug)]
struct RoomyFile {
    file: Arc<dyn File>,
    writer: Writer,
    reserve: Arc<Reserve>,
}

impl File for RoomyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        insist(&self.reserve, self.writer, || self.file.write_at(bufs, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        insist(&self.reserve, self.writer, || self.file.set_len(len))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}
