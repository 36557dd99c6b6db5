//! A disk whose syncs wait for a word from the test.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::{File, Lock, OpenMode, Vfs};
use parking_lot::{Condvar, Mutex};

/// A disk that counts syncs, and holds them up while its gate is shut.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    disk: Arc<dyn Vfs>,
    shared: Arc<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    syncs: AtomicU64,
    shut: Mutex<bool>,
    waiting: AtomicU64,
    /// Syncs that may pass though the gate is shut.
    passes: AtomicU64,
    moved: Condvar,
}

impl GateState {
    fn take_pass(&self) -> bool {
        let less = |passes: u64| passes.checked_sub(1);
        self.passes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

impl Gate {
    pub(crate) fn over(disk: impl Vfs) -> Gate {
        Gate { disk: Arc::new(disk), shared: Arc::default() }
    }

    pub(crate) fn set_shut(&self, shut: bool) {
        *self.shared.shut.lock() = shut;
        self.shared.moved.notify_all();
    }

    /// Lets one sync through the shut gate.
    pub(crate) fn pass_one(&self) {
        let shut = self.shared.shut.lock();
        assert!(*shut, "an open gate needs no passes");
        self.shared.passes.fetch_add(1, Ordering::SeqCst);
        drop(shut);
        self.shared.moved.notify_all();
    }

    /// Blocks until a sync is being held up.
    pub(crate) fn wait_for_sync(&self) {
        let mut shut = self.shared.shut.lock();
        while self.shared.waiting.load(Ordering::SeqCst) == 0 {
            self.shared.moved.wait(&mut shut);
        }
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::SeqCst)
    }
}

impl Vfs for Gate {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(GateFile { file, shared: Arc::clone(&self.shared) }))
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
struct GateFile {
    file: Arc<dyn File>,
    shared: Arc<GateState>,
}

impl File for GateFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_at(bufs, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut shut = self.shared.shut.lock();
        while *shut && !self.shared.take_pass() {
            self.shared.waiting.fetch_add(1, Ordering::SeqCst);
            self.shared.moved.notify_all();
            self.shared.moved.wait(&mut shut);
            self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(shut);
        self.shared.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
