//! A disk in memory that counts what is read from it, and does not grow without bound. The memory
//! that holds its files is not counted as the log's.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allocation_counter::opt_out;
use drystone_vfs::{File, Lock, MemVfs, OpenMode, Vfs};

/// A [`MemVfs`] with two meters. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    disk: MemVfs,
    meters: Arc<Meters>,
}

#[derive(Debug)]
struct Meters {
    /// Bytes read, plus a few for each call.
    read: AtomicU64,
    read_max: AtomicU64,
    /// No file may become longer than this.
    file_bytes_max: u64,
}

/// What a call costs besides its bytes, so that reading nothing for ever is noticed too.
const CALL_BYTES: u64 = 64;

impl Meter {
    pub(crate) fn new(file_bytes_max: u64) -> Meter {
        let meters =
            Meters { read: AtomicU64::new(0), read_max: AtomicU64::new(u64::MAX), file_bytes_max };
        Meter { disk: MemVfs::new(), meters: Arc::new(meters) }
    }

    /// From now on, reading more than `bytes` is a panic: the reader does not come to an end.
    pub(crate) fn allow(&self, bytes: u64) {
        self.meters.read.store(0, Ordering::Relaxed);
        self.meters.read_max.store(bytes, Ordering::Relaxed);
    }
}

impl Vfs for Meter {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(Metered { file, meters: Arc::clone(&self.meters) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
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
        self.disk.create_dir_all(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock_shared(path)
    }
}

#[derive(Debug)]
struct Metered {
    file: Arc<dyn File>,
    meters: Arc<Meters>,
}

impl File for Metered {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.file.read_at(buf, offset)?;
        let cost = count as u64 + CALL_BYTES;
        let read = self.meters.read.fetch_add(cost, Ordering::Relaxed) + cost;
        let max = self.meters.read_max.load(Ordering::Relaxed);
        assert!(read <= max, "more than {max} bytes are read: there is no end to it");
        Ok(count)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let end = offset + bufs.iter().map(|buf| buf.len() as u64).sum::<u64>();
        if end > self.meters.file_bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        uncounted(|| self.file.write_at(bufs, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.meters.file_bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        uncounted(|| self.file.set_len(len))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }
}

/// Runs `change`, whose memory is the disk's.
fn uncounted(change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut outcome = Ok(());
    opt_out(|| outcome = change());
    outcome
}
