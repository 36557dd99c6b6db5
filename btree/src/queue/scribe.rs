//! The database's own thread, as the queue knows it: how it is called, rests, and ends.
//!
//! ```text
//!      no commit for a nap           it is called, or finds commits that nobody flushes
//!     Asleep ◄──────────── Napping ─────────────────────────────► Called ──► Busy
//!        └── a commit ──────►▲                                                 │
//!                            └─────────────── nothing more to flush ───────────┘
//! ```
//!
//! A sleeper costs nothing and has to be woken; one that naps looks by itself, so that committers
//! make no system call for it. Calls of the system with a limit of time are here alone, and nothing
//! rests on the limit but commits that nobody waits for.

use std::time::Duration;

use super::{Queue, State};

/// What the database's own thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scribe {
    /// There is none: [`Writer::Caller`](crate::Writer::Caller).
    Absent,
    /// Waits to be woken.
    Asleep,
    /// Will look by itself soon.
    Napping,
    /// Was given the pen, and has not yet noticed.
    Called,
    /// Holds the pen.
    Busy,
}

impl Queue {
    /// Gives the pen, which the caller holds or which lies free, to the scribe.
    pub(super) fn hand_over(&self, state: &mut State) {
        if matches!(state.scribe, Scribe::Asleep | Scribe::Napping) {
            state.pen_held = true;
            state.scribe = Scribe::Called;
            self.work.notify_one();
        }
    }

    /// The scribe asks: is there more to flush at once? If not, it lays the pen down. Commits that
    /// nobody waits for gather during its nap: to sync them as fast as they come would keep the
    /// disk and a processor busy for nobody.
    pub(crate) fn more(&self) -> bool {
        let mut state = self.state.lock();
        assert!(state.pen_held && state.scribe == Scribe::Busy, "the scribe holds the pen");
        if self.is_due(&state) && (state.wanted || state.stop) {
            return true;
        }
        state.pen_held = false;
        state.scribe = Scribe::Napping;
        false
    }

    /// Blocks the scribe until it holds the pen; `false` to end. As long as commits come, it looks
    /// every `nap` whether some lie there for which nobody waits.
    pub(crate) fn rest(&self, nap: Duration) -> bool {
        let mut state = self.state.lock();
        loop {
            // Its last flush is the closer's.
            if state.failed.is_some() || (state.stop && !self.is_due(&state)) {
                return false;
            }
            if state.scribe == Scribe::Called || (state.stop && !state.pen_held) {
                state.pen_held = true;
                state.scribe = Scribe::Busy;
                return true;
            }
            if state.scribe == Scribe::Asleep || state.stop {
                self.work.wait(&mut state);
                continue;
            }
            let before = state.committed;
            if self.work.wait_for(&mut state, nap).timed_out() && state.scribe == Scribe::Napping {
                let due = self.is_due(&state);
                if due && !state.pen_held {
                    state.scribe = Scribe::Called;
                } else if state.committed == before && !due {
                    state.scribe = Scribe::Asleep;
                }
            }
        }
    }

    /// Tells the scribe to end once everything that is due is flushed.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
    }
}
