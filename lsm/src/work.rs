//! The threads that flush and compact, and what they tell the others.
//!
//! A thread does one step at a time, the same that [`Db::flush_once`](crate::Db::flush_once) and
//! [`Db::compact_once`](crate::Db::compact_once) do, and lies down when there is nothing to do. The
//! first thread flushes before it compacts; the others only compact, but flush when they would be
//! idle. A step that fails is tried again, later and later: a full disk costs no processor, and is
//! noticed within seconds when it has room again.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::core::Core;
use crate::error::{Error, Result};

const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Nobody calls when an entry expires: looked after now and then.
const IDLE: Duration = Duration::from_secs(30);

/// What background threads wait for, and what became of their last steps.
#[derive(Debug, Default)]
pub(crate) struct Work {
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    stop: bool,
    flush_error: Option<Error>,
    compact_error: Option<Error>,
}

impl Work {
    /// There is something to do.
    pub(crate) fn call(&self) {
        self.state.lock().calls += 1;
        self.called.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.called.notify_all();
    }

    /// Why the last flush failed, if it did.
    pub(crate) fn flush_error(&self) -> Option<Error> {
        self.state.lock().flush_error.clone()
    }

    /// Why the last compaction failed, if it did.
    pub(crate) fn compact_error(&self) -> Option<Error> {
        self.state.lock().compact_error.clone()
    }

    pub(crate) fn note_flush(&self, outcome: &Result<bool>) {
        self.state.lock().flush_error = outcome.as_ref().err().cloned();
    }

    pub(crate) fn note_compact(&self, outcome: &Result<bool>) {
        self.state.lock().compact_error = outcome.as_ref().err().cloned();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.state.lock().stop
    }

    fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Lies down until somebody calls after call `heard`, or for `most`.
    fn lie_down(&self, heard: u64, most: Duration) {
        let mut state = self.state.lock();
        while state.calls == heard && !state.stop {
            if self.called.wait_for(&mut state, most).timed_out() {
                return;
            }
        }
    }

    /// Lies down for `most`, whoever calls.
    fn rest(&self, most: Duration) {
        let mut state = self.state.lock();
        while !state.stop {
            if self.called.wait_for(&mut state, most).timed_out() {
                return;
            }
        }
    }
}

/// Starts the threads that the options ask for.
pub(crate) fn start(core: &Arc<Core>) -> Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    for number in 0..core.options.threads {
        let shared = Arc::clone(core);
        let thread = std::thread::Builder::new()
            .name(format!("lsm-{number}"))
            .spawn(move || run(&shared, number == 0 && shared.options.threads > 1));
        match thread {
            Ok(thread) => threads.push(thread),
            Err(e) => {
                core.work.stop();
                for thread in threads {
                    drop(thread.join());
                }
                return Err(Error::io("start a thread for", &core.dir, e));
            }
        }
    }
    Ok(threads)
}

fn run(core: &Core, only_flushes: bool) {
    let mut retry = RETRY_MIN;
    while !core.work.stopping() {
        let heard = core.work.calls();
        let mut outcome = core.flush_if_idle();
        if !only_flushes && matches!(outcome, Ok(false)) {
            outcome = core.compact_once();
        }
        match outcome {
            Ok(true) => retry = RETRY_MIN,
            Ok(false) => {
                retry = RETRY_MIN;
                core.work.lie_down(heard, IDLE);
            }
            Err(_) => {
                // Whoever writes or asks is told; see `Work::flush_error`.
                core.work.rest(retry);
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}
