//! A disk whose syncs can be held up, so that a test can look at what happens in the meantime.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{File, Lock, OpenMode, Vfs};
use parking_lot::{Condvar, Mutex};

/// A disk over another one, whose syncs of some files wait while the gate is shut.
#[derive(Debug)]
pub(crate) struct Gated {
    disk: Arc<dyn Vfs>,
    gate: Arc<Gate>,
    /// The name of the folder whose files are held up.
    folder: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    shut: bool,
    /// How many syncs wait.
    waiting: usize,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn File>,
    gate: Option<Arc<Gate>>,
}

impl Gated {
    /// Holds up what lies in a folder named `folder`, at any depth.
    pub(crate) fn new(disk: Arc<dyn Vfs>, folder: &'static str) -> (Gated, Arc<Gate>) {
        let gate = Arc::<Gate>::default();
        (Gated { disk, gate: gate.clone(), folder }, gate)
    }

    fn holds_up(&self, path: &Path) -> bool {
        path.components().any(|part| part.as_os_str() == self.folder)
    }
}

impl Gate {
    /// Shuts the gate, or opens it for all that wait.
    pub(crate) fn set(&self, shut: bool) {
        self.state.lock().shut = shut;
        self.moved.notify_all();
    }

    /// Blocks until somebody waits at the gate.
    pub(crate) fn wait_for_one(&self) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            self.moved.wait(&mut state);
        }
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.moved.notify_all();
        while state.shut {
            self.moved.wait(&mut state);
        }
        state.waiting -= 1;
    }
}

impl Vfs for Gated {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode)?;
        let gate = self.holds_up(path).then(|| self.gate.clone());
        Ok(Arc::new(GatedFile { file, gate }))
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
        if self.holds_up(dir) {
            self.gate.pass();
        }
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

impl File for GatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
