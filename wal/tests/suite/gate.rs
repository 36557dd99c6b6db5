//! A disk whose syncs wait for a word from the test.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::{Call, Tap, TapVfs, Vfs};
use parking_lot::{Condvar, Mutex};

/// A disk that counts syncs, and holds them up while its gate is shut.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) disk: Arc<TapVfs>,
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
        let shared = Arc::<GateState>::default();
        let disk = Arc::new(TapVfs::sharing(Arc::new(disk), shared.clone()));
        Gate { disk, shared }
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

impl Tap for GateState {
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if let Call::SyncData { .. } = call {
            let mut shut = self.shut.lock();
            while *shut && !self.take_pass() {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.moved.notify_all();
                self.moved.wait(&mut shut);
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            drop(shut);
            self.syncs.fetch_add(1, Ordering::SeqCst);
        }
        go()
    }
}
