//! A disk that does its worst within the contract: the laboratory for crash tests.
//!
//! [`SimVfs`] keeps, for every file, what the last sync saved and every sector written since; for
//! every directory, the name changes not yet synced. [`crash`](SimVfs::crash) cuts the power: it
//! picks, by seed, what of that survives, and returns the disk a new process would find. The old
//! view and every handle made from it answer with errors from then on.
//!
//! ```text
//!      write_at ──► cache ──── sync_data ───► durable
//!                     │                          │
//!                     └── crash: any subset ─────┴──► what the next process finds
//!                         each sector: new, older, never written, torn, zeros, garbage
//!                         length: any it has had      names: any subset of the changes
//! ```
//!
//! The power can also be cut at the N-th call ([`power_cut_after`](SimVfs::power_cut_after)), so
//! that a test can walk through every point of a workload; single calls can be made to fail
//! ([`Fault`]); sectors can go bad; space can run out, at the write or, on a thin volume, only at
//! the sync.
//!
//! One kindness is left, *power-safe overwrite*: see [`Overwrite`], which can also take it away.
//!
//! **Left out:** directories are durable as soon as they are made (that is the contract of
//! `create_dir_all`); a rename between directories is atomic; latency is none.

pub(crate) mod disk;
pub(crate) mod fault;
pub(crate) mod image;

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::locks::Mode;
use crate::path::{name, normal, not_found, parent};
use crate::vfs::{File, Lock, OpenMode, Vfs};
use disk::{Disk, FileId};
use fault::{Counts, Fault, Harm, Op};
use image::{Overwrite, SECTOR_BYTES};

/// The hostile disk. Clones share it.
#[derive(Debug, Clone)]
pub struct SimVfs {
    disk: Arc<Mutex<Disk>>,
}

impl SimVfs {
    /// An empty disk whose crashes are chosen by `seed`.
    pub fn new(seed: u64) -> SimVfs {
        SimVfs::over(Disk::new(seed))
    }

    fn over(disk: Disk) -> SimVfs {
        SimVfs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Cuts the power and returns the disk as the next process finds it. Locks are free, faults
    /// forgotten, counts zero; bad sectors stay bad and the capacity stays.
    ///
    /// # Panics
    /// If this disk has crashed before.
    #[must_use = "the old view is dead"]
    pub fn crash(&self) -> SimVfs {
        let mut disk = self.disk.lock();
        disk.kill();
        SimVfs::over(disk.crashed(None))
    }

    /// What a power cut would leave right now, as `seed` has it. This disk goes on unharmed.
    #[must_use]
    pub fn crash_copy(&self, seed: u64) -> SimVfs {
        SimVfs::over(self.disk.lock().crashed(Some(seed)))
    }

    /// What a new process would find if this one were killed right now: everything written, synced
    /// or not, because the page cache outlives the process. This disk goes on unharmed.
    #[must_use]
    pub fn kill_copy(&self) -> SimVfs {
        SimVfs::over(self.disk.lock().killed())
    }

    /// Lets this many more changing calls (all but reads) through; then everything fails, as if the
    /// process were dead, until [`crash`](SimVfs::crash).
    pub fn power_cut_after(&self, calls: u64) {
        self.disk.lock().calls_left = Some(calls);
    }

    /// Whether a changing call can still get through. Where a program ignores that one failed, this
    /// tells that the power is gone.
    #[must_use]
    pub fn has_power(&self) -> bool {
        let disk = self.disk.lock();
        disk.check_alive().is_ok() && disk.calls_left != Some(0)
    }

    /// Orders a failure, on top of those already ordered.
    pub fn fail(&self, fault: Fault) {
        self.disk.lock().faults.push(fault);
    }

    /// Forgets every ordered failure.
    pub fn heal(&self) {
        self.disk.lock().faults.clear();
    }

    /// Limits what all files take together: their lengths without their holes. Writes that would
    /// grow beyond that, by the end or into a hole, fail with `StorageFull`.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.disk.lock().capacity_bytes = bytes;
    }

    /// Puts a thin volume of this size under the file system: zeros take no room there, and a full
    /// volume shows only when bytes are synced. That sync fails with `StorageFull` and the bytes
    /// written since the last one are lost, preallocated or not.
    pub fn set_thin_bytes(&self, bytes: Option<u64>) {
        self.disk.lock().thin_bytes = bytes;
    }

    /// What a power cut may do to bytes near those being written. Kept through crashes.
    pub fn set_overwrite(&self, overwrite: Overwrite) {
        self.disk.lock().overwrite = overwrite;
    }

    /// Makes the sector under byte `offset` of a file unreadable for good.
    pub fn break_sector(&self, path: &Path, offset: u64) -> io::Result<()> {
        let path = normal(path);
        let mut disk = self.disk.lock();
        let file = *disk.names.get(&path).ok_or_else(|| not_found(&path))?;
        disk.bad_sectors.insert((file, offset / SECTOR_BYTES as u64));
        Ok(())
    }

    /// The calls so far.
    pub fn counts(&self) -> Counts {
        self.disk.lock().counts
    }

    /// Every file as reads see it, for comparing two moments byte by byte.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.disk.lock();
        let content = |file| disk.files[file].bytes().to_vec();
        disk.names.iter().map(|(path, file)| (path.clone(), content(file))).collect()
    }

    fn take(&self, mut disk: MutexGuard<'_, Disk>, path: PathBuf, mode: Mode) -> io::Result<Lock> {
        disk.locks.take(&path, mode)?;
        Ok(Lock::new(SimLock { disk: Arc::clone(&self.disk), path }))
    }

    fn file(&self, file: FileId, path: PathBuf, read_only: bool) -> Arc<dyn File> {
        Arc::new(SimFile { disk: Arc::clone(&self.disk), file, path, read_only })
    }
}

impl Vfs for SimVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = normal(path);
        let mut disk = self.disk.lock();
        disk.check_alive()?;
        let file = match (mode, disk.names.get(&path).copied()) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (_, Some(file)) => file,
            (OpenMode::Read | OpenMode::Write, None) => return Err(not_found(&path)),
            (OpenMode::Create | OpenMode::CreateNew, None) => {
                disk.enter(Op::Create, &path)?;
                disk.create(&path)?
            }
        };
        drop(disk);
        Ok(self.file(file, path, mode == OpenMode::Read))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from), normal(to));
        let mut disk = self.disk.lock();
        disk.enter(Op::Rename, &to)?;
        disk.rename(&from, &to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let mut disk = self.disk.lock();
        disk.enter(Op::Remove, &path)?;
        disk.remove(&path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let dir = normal(dir);
        let disk = self.disk.lock();
        disk.check_alive()?;
        if !disk.has_dir(&dir) {
            return Err(not_found(&dir));
        }
        let paths = disk.names.keys().chain(&disk.dirs);
        let mut names: Vec<OsString> =
            paths.filter(|p| parent(p) == dir).filter_map(|p| name(p).ok()).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = normal(dir);
        let mut disk = self.disk.lock();
        match disk.enter(Op::SyncDir, &dir)? {
            Some(Harm::Lies) => Ok(()),
            _ => disk.sync_dir(&dir),
        }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = normal(dir);
        let mut disk = self.disk.lock();
        disk.check_alive()?;
        for at in dir.ancestors().filter(|at| !at.as_os_str().is_empty()) {
            if disk.names.contains_key(at) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.dirs.insert(at.to_path_buf());
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let path = normal(path);
        let mut disk = self.disk.lock();
        disk.check_alive()?;
        if !disk.names.contains_key(&path) {
            disk.enter(Op::Create, &path)?;
            disk.create(&path)?;
        }
        self.take(disk, path, Mode::Exclusive)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        let path = normal(path);
        let disk = self.disk.lock();
        disk.check_alive()?;
        if !disk.names.contains_key(&path) {
            return Err(not_found(&path));
        }
        self.take(disk, path, Mode::Shared)
    }
}

struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock().locks.release(&self.path);
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    file: FileId,
    path: PathBuf,
    read_only: bool,
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFile({})", self.path.display())
    }
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.enter(Op::Read, &self.path)?;
        disk.read(self.file, buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut disk = self.disk.lock();
        let harm = disk.enter(Op::Write, &self.path)?;
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        if bytes.is_empty() { Ok(()) } else { disk.write(self.file, &bytes, at, harm) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let harm = disk.enter(Op::Sync, &self.path)?;
        let image = disk.files.get_mut(&self.file).expect("an open handle keeps its file");
        match harm {
            Some(Harm::Lies) => Ok(()),
            Some(Harm::Drops) => {
                image.revert();
                Err(fault::eio())
            }
            Some(Harm::Forgets) => {
                image.forget();
                Err(fault::eio())
            }
            _ => disk.sync(self.file),
        }
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        Ok(disk.files[&self.file].bytes().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut disk = self.disk.lock();
        disk.enter(Op::SetLen, &self.path)?;
        let image = disk.files.get_mut(&self.file).expect("an open handle keeps its file");
        image.set_len(len);
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        Ok(disk.files[&self.file].allocated())
    }
}
