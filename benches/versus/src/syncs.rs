//! How often anyone in this process has asked the disk to sync.
//!
//! The peers do not say how many appends share a sync, and it is the number that explains all
//! others. So `fdatasync` is counted where it passes by:
//!
//! * The C library's `fdatasync`, through which the standard library and both peers go, is replaced
//!   by one that counts and then makes the system call.
//! * Our own [`OsVfs`](drystone_vfs::OsVfs) makes the system call itself, and is given a coat that
//!   counts: [`CountedVfs`].
//!
//! Either costs one atomic addition for each sync, for everyone alike.

#![expect(unsafe_code, reason = "a C symbol is replaced; nothing else sees all contenders' syncs")]

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::{File, Lock, OpenMode, OsVfs, Vfs};

static SYNCS: AtomicU64 = AtomicU64::new(0);

/// Calls so far.
pub fn count() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

/// `fdatasync(2)`, counted: same argument, same answer, same `errno`.
// SAFETY: the name is that of a C function whose contract this one keeps; nobody else in the
// program defines it.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: libc::c_int) -> libc::c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the system call takes a number and touches no memory of ours; a number that is no
    // open file is answered with EBADF.
    let outcome = unsafe { libc::syscall(libc::SYS_fdatasync, fd) };
    if outcome == 0 { 0 } else { -1 }
}

/// The real disk, its syncs counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountedVfs(OsVfs);

#[derive(Debug)]
struct CountedFile(Arc<dyn File>);

impl Vfs for CountedVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountedFile(self.0.open(path, mode)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.0.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.0.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.0.lock_shared(path)
    }
}

impl File for CountedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        SYNCS.fetch_add(1, Ordering::Relaxed);
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If the linker took the C library's own, every peer would sync for nothing.
    #[test]
    fn both_ways_to_the_disk_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let before = count();
        std::fs::File::create(&path).unwrap().sync_data().unwrap();
        assert_eq!(count() - before, 1, "the standard library's");
        CountedVfs::default().open(&path, OpenMode::Write).unwrap().sync_data().unwrap();
        assert_eq!(count() - before, 2, "ours");
        assert_eq!(fdatasync(-1), -1, "errors pass through");
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
    }
}
