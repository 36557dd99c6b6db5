//! A disk whose syncs can be held up, so that a test can look at what happens in the meantime.

use std::io;
use std::sync::Arc;

use drystone_vfs::{Call, Tap, TapVfs, Vfs};
use parking_lot::{Condvar, Mutex};

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

/// Holds up the calls about files in one folder.
struct Guard {
    gate: Arc<Gate>,
    /// The name of that folder.
    folder: &'static str,
}

impl Tap for Guard {
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if let Call::SyncData { path } | Call::SyncDir { dir: path } = call
            && path.components().any(|part| part.as_os_str() == self.folder)
        {
            self.gate.pass();
        }
        go()
    }
}

/// A disk over another one, whose syncs of files in a folder of that name, at any depth, wait while
/// the gate is shut.
pub(crate) fn gated(disk: Arc<dyn Vfs>, folder: &'static str) -> (TapVfs, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    (TapVfs::sharing(disk, Arc::new(Guard { gate: gate.clone(), folder })), gate)
}
