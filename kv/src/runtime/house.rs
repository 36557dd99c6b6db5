//! Housekeeping: garbage is swept, and space given back, on a thread beside the group's.
//!
//! Each member does this for itself. What garbage is left in an engine shows in no answer.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::Progress;
use crate::engines::AnyEngine;
use crate::runtime::replica::Core;

/// How often it is looked for something to do.
const PERIOD: Duration = Duration::from_millis(500);

/// What stops the thread, and what it is asked for.
#[derive(Default)]
pub(crate) struct House {
    stopped: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Engines whose place another has taken: their files go when they do.
    leaving: Mutex<Vec<Weak<AnyEngine>>>,
    /// The compaction whose garbage the engine was last saved for.
    brought_down: Mutex<Option<u64>>,
}

impl House {
    /// Starts the thread.
    pub(crate) fn start(core: &std::sync::Arc<Core>) {
        let shared = core.clone();
        let run = move || {
            let _guard = FailOnPanic(&shared);
            shared.house.run(&shared);
        };
        let thread = thread::Builder::new().name("kv-house".to_owned()).spawn(run);
        *core.house.thread.lock() = Some(thread.expect("the system can start a thread"));
    }

    /// Stops the thread, and waits for its end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Taking the lock orders the flag before a sleeper's next look at it.
        drop(self.lock.lock());
        self.wake.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic has ended the replica; whoever asks is told.
            drop(thread.join());
        }
    }

    /// Removes the files of the engine that is not in use, once nobody reads them any more.
    pub(crate) fn clear_when_gone(&self, engine: Weak<AnyEngine>) {
        self.leaving.lock().push(engine);
    }

    fn run(&self, core: &Core) {
        while !self.stopped.load(Ordering::Acquire) {
            self.clear(core);
            if let Ok(Progress::More) = core.sweep_step() {
                // A sweep lets clients have the lock between two steps.
                thread::yield_now();
                continue;
            }
            let free = core.options.disk.free_bytes();
            let pause = match crate::upkeep::step(&core.store, free) {
                Ok(Progress::More) => Duration::ZERO,
                Ok(Progress::Done) if self.bring_down(core, free) => Duration::ZERO,
                Ok(Progress::Done) | Err(_) => PERIOD,
            };
            let mut guard = self.lock.lock();
            if !pause.is_zero() && !self.stopped.load(Ordering::Acquire) {
                self.wake.wait_for(&mut guard, pause);
            }
        }
    }

    /// Has the engine save itself if it takes far more than it needs: what was swept may be known
    /// to its memory alone, and make no room before the disk hears of it. Once for each
    /// compaction; whether it was done.
    fn bring_down(&self, core: &Core, free: u64) -> bool {
        let swept = core.store.swept();
        let mut brought_down = self.brought_down.lock();
        if *brought_down == swept || !crate::upkeep::has_slack(&core.store, free) {
            return false;
        }
        *brought_down = swept;
        let saved = core.persist();
        core.note_persist(saved.as_ref().err().cloned());
        saved.is_ok()
    }

    fn clear(&self, core: &Core) {
        let mut leaving = self.leaving.lock();
        if !leaving.is_empty() && leaving.iter().all(|engine| engine.strong_count() == 0) {
            leaving.clear();
            drop(leaving);
            if let Err(error) = core.folder.clear_other() {
                // The next state that is sent, or the next start, tries again.
                tracing::warn!(%error, "an old engine's files could not be removed");
            }
        }
    }
}

/// Ends the replica when its thread panics.
struct FailOnPanic<'a>(&'a Core);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(&crate::error::Error::Stopped);
        }
    }
}
