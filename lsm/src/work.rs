//! The threads that flush and compact, and what they tell the others.
//!
//! A thread does one step at a time, the same that [`Db::flush_once`](crate::Db::flush_once) and
//! [`Db::compact_once`](crate::Db::compact_once) do, and lies down when there is nothing to do. The
//! first of several leaves compactions to the others, so that it is there for the next flush; but a
//! large one is cut into parts, and of those it takes some, and flushes in between what has become
//! full. A step that fails is tried again, later and later: a full disk costs no processor, and is
//! noticed within seconds when it has room again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::compact::Split;
use crate::core::Core;
use crate::error::{Error, Result};

const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Nobody calls when an entry expires: looked after now and then.
const IDLE: Duration = Duration::from_secs(30);

/// What background threads wait for, and what became of their last steps.
#[derive(Default)]
pub(crate) struct Work {
    state: Mutex<State>,
    called: Condvar,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    calls: u64,
    stop: bool,
    /// Compactions that others may help with.
    offers: Vec<Arc<Split>>,
    flush_error: Option<Error>,
    compact_error: Option<Error>,
}

impl Work {
    /// There is something to do.
    pub(crate) fn call(&self) {
        self.state.lock().calls += 1;
        self.called.notify_all();
    }

    /// There is a compaction to help with.
    pub(crate) fn offer(&self, split: &Arc<Split>) {
        self.state.lock().offers.push(Arc::clone(split));
        self.call();
    }

    /// There is nothing more to be done for it.
    pub(crate) fn withdraw(&self, split: &Arc<Split>) {
        self.state.lock().offers.retain(|offer| !Arc::ptr_eq(offer, split));
    }

    /// Helps with a compaction, calling `meanwhile` now and then; whether there was one.
    fn help(&self, core: &Core, meanwhile: &dyn Fn()) -> bool {
        let offers = self.state.lock().offers.clone();
        offers.iter().any(|split| split.help(core, meanwhile))
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.called.notify_all();
        self.stopped.notify_all();
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

    /// Notes what a step that panicked could not note itself.
    fn note_panic(&self, outcome: &Result<bool>, place: fn(&mut State) -> &mut Option<Error>) {
        if let Err(error @ Error::Panicked { .. }) = outcome {
            *place(&mut self.state.lock()) = Some(error.clone());
        }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.state.lock().stop
    }

    fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Lies down until somebody calls after call `heard`, or for `most`.
    /// Whether nobody did.
    fn lie_down(&self, heard: u64, most: Duration) -> bool {
        let mut state = self.state.lock();
        while state.calls == heard && !state.stop {
            if self.called.wait_for(&mut state, most).timed_out() {
                return true;
            }
        }
        false
    }

    /// Lies down for `most`, whoever calls: writers that wait for memory call all the time.
    fn rest(&self, most: Duration) {
        let mut state = self.state.lock();
        while !state.stop {
            if self.stopped.wait_for(&mut state, most).timed_out() {
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

/// A step of upkeep; a panic in it is an error like any other, or all who wait for this thread
/// would wait for ever.
fn step(step: impl FnOnce() -> Result<bool>) -> Result<bool> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// What a panic said.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Panicked { what: text.unwrap_or_else(|| "no text".to_owned()).into() }
}

fn run(core: &Core, only_flushes: bool) {
    let (mut retry, mut retry_compact) = (RETRY_MIN, RETRY_MIN);
    // After a failed compaction the next one waits this long; flushes do not wait for it.
    let mut pause = Duration::ZERO;
    while !core.work.stopping() {
        let mut heard = core.work.calls();
        let flushed = step(|| core.flush_if_idle());
        core.work.note_panic(&flushed, |state| &mut state.flush_error);
        match flushed {
            Ok(true) => {
                retry = RETRY_MIN;
                continue;
            }
            Ok(false) => {}
            Err(_) => {
                // Whoever writes or asks is told; see `Work::flush_error`.
                core.work.rest(retry);
                retry = (retry * 2).min(RETRY_MAX);
                continue;
            }
        }
        if !only_flushes && pause.is_zero() {
            let compacted = step(|| core.compact_once());
            core.work.note_panic(&compacted, |state| &mut state.compact_error);
            match compacted {
                Ok(true) => {
                    retry_compact = RETRY_MIN;
                    continue;
                }
                Ok(false) => retry_compact = RETRY_MIN,
                Err(_) => {
                    // It has called by itself.
                    heard = core.work.calls();
                    pause = retry_compact;
                    retry_compact = (retry_compact * 2).min(RETRY_MAX);
                }
            }
        }
        // What is full meanwhile does not wait for it.
        if core.work.help(core, &|| drop(core.flush_sealed())) {
            continue;
        }
        let most = if pause.is_zero() { IDLE } else { pause };
        let slept = core.work.lie_down(heard, most);
        // Each call that comes meanwhile shortens the pause: nobody looks at a clock.
        pause = if slept || pause < RETRY_MIN / 4 { Duration::ZERO } else { pause * 3 / 4 };
    }
}
