//! A disk whose last room is opened by whoever needs it.
//!
//! Calls that find the disk full are made again after a step was cut off the [`Reserve`], until
//! they succeed or it has no more for them. To write the same bytes to the same place once more
//! does no harm. A sync is not made again: after one that failed nobody knows what of the bytes
//! before it is there. File systems that find room when bytes are synced, and not when they are
//! written (NFS), are not helped.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{File, Lock, OpenMode, OsVfs, Vfs};

use super::reserve::{Reserve, Writer};
use crate::disk::Part;

/// The disk of the operating system, with a reserve.
#[derive(Debug)]
pub(crate) struct Roomy {
    disk: OsVfs,
    reserve: Arc<Reserve>,
}

impl Roomy {
    /// With this reserve.
    pub(crate) fn new(reserve: Arc<Reserve>) -> Roomy {
        Roomy { disk: OsVfs::new(), reserve }
    }

    fn try_for<T>(&self, path: &Path, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
        insist(&self.reserve, writer(path), call)
    }
}

/// Who writes to this path.
fn writer(path: &Path) -> Writer {
    match Part::of(path) {
        Part::Log => Writer::Log,
        Part::Engine | Part::State | Part::Other => Writer::Other,
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
        let reserve = Arc::clone(&self.reserve);
        Ok(Arc::new(RoomyFile { file, writer: writer(path), reserve }))
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
        self.try_for(dir, || self.disk.create_dir_all(dir))
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
