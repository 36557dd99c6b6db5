//! Slows writers down before they have to stop.
//!
//! **The problem.** Writers fill memtables faster than flushes and compactions empty them. Without
//! a brake, level 0 grows, reads get slow, and in the end everything stops until a long compaction
//! is over. With a bad one, writers are stopped and let go in turns.
//!
//! **The idea.** *Debt* is how far the tree is from the shape that it should have: memtables
//! waiting to be flushed, sub-levels of level 0 waiting to be compacted. While there is little of
//! it nobody waits. From there on every batch waits a little, in proportion to its bytes, and the
//! more the more debt there is: writers slow down towards the speed at which debt is paid.
//!
//! ```text
//!   delay per MiB
//!     │                                     ╱     stop: no memory left
//!     │                                  ╱
//!     │                            ╱
//!     │                     __╱
//!     └─────────────────┴───────────────────┴──► debt
//!       nobody waits    0                   1
//! ```
//!
//! One wait lasts at most [`WAIT_MAX`], and ends at once when debt is paid. A writer that finds all
//! memtables full after that waits [`MEMORY_WAIT`] for one to be flushed, and then takes another
//! one all the same: memtables may take three quarters more than they ordinarily have. At full debt
//! a writer needs half a minute to fill 64 MiB, so that it comes to a stop only if flushes do. As
//! long as they get on, no batch is held up for longer than the two together; what the longest was
//! is in the [statistics](crate::Stats::longest_held). They come to half of the tenth of a second
//! that nobody should be kept waiting: a thread that lies down on a busy machine gets up late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::config::SUBLEVELS_DUE;
use crate::version::Version;

/// The longest that one batch waits because of debt.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(30);

/// How long a writer waits for memory before it takes more than its share.
pub(crate) const MEMORY_WAIT: Duration = Duration::from_millis(20);

/// Sub-levels of level 0 at which waiting begins, and at which it is longest.
const SUBLEVELS_SLOW: f64 = 3.0 * SUBLEVELS_DUE as f64;
const SUBLEVELS_FULL: f64 = 9.0 * SUBLEVELS_DUE as f64;

/// At full debt a batch waits this long for each MiB.
const DELAY_PER_MIB: Duration = Duration::from_millis(500);

/// Where writers wait, and background threads tell them to look again.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    state: Mutex<Debt>,
    /// There is debt: looked at without the lock.
    behind: AtomicBool,
    paid: Condvar,
}

#[derive(Debug, Default)]
struct Debt {
    /// 0 when nobody has to wait, 1 when the wait is longest.
    debt: f64,
    /// Delay that was too short to be waited for.
    saved: Duration,
}

/// Shorter delays are saved up: a thread that lies down for less wakes up late.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl Pace {
    /// Sets the debt after a seal, a flush or a compaction, and wakes those who wait.
    pub(crate) fn set(&self, sealed: usize, sealed_max: usize, version: &Version) {
        let sublevels = version.trees().iter().map(|tree| tree.sublevels.len()).max().unwrap_or(0);
        let level_0 = (sublevels as f64 - SUBLEVELS_SLOW) / (SUBLEVELS_FULL - SUBLEVELS_SLOW);
        // One sealed memtable is being flushed while the next is filled: that is no debt.
        let memory = sealed.saturating_sub(1) as f64 / sealed_max.max(2) as f64;
        let debt = level_0.max(memory).clamp(0.0, 1.0);
        self.state.lock().debt = debt;
        self.behind.store(debt > 0.0, Ordering::Relaxed);
        self.paid.notify_all();
    }

    /// Whether there is any debt.
    pub(crate) fn is_behind(&self) -> bool {
        // Relaxed: whoever misses a change pays with the next batch.
        self.behind.load(Ordering::Relaxed)
    }

    /// How far the tree is behind, from 0 to 1.
    pub(crate) fn debt(&self) -> f64 {
        self.state.lock().debt
    }

    /// Wakes all who wait: something has changed.
    pub(crate) fn wake(&self) {
        drop(self.state.lock());
        self.paid.notify_all();
    }

    /// Waits as long as a batch of `bytes` has to. Whether it waited.
    pub(crate) fn slow(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let delay = delay(state.debt, bytes) + state.saved;
        if delay < WAIT_MIN {
            state.saved = delay;
            return false;
        }
        state.saved = Duration::ZERO;
        // Waits for the debt to be paid, for this long at most.
        self.paid.wait_for(&mut state, delay.min(WAIT_MAX));
        true
    }

    /// Waits until something has been paid, for a while at most.
    pub(crate) fn wait(&self, most: Duration) {
        self.paid.wait_for(&mut self.state.lock(), most);
    }
}

/// The delay that a batch owes at this debt: small at first, steep at the end.
fn delay(debt: f64, bytes: u64) -> Duration {
    DELAY_PER_MIB.mul_f64(debt * debt * (bytes as f64 / (1 << 20) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A brake that jumps is a stall: the delay grows steadily with the debt and with the bytes.
    #[test]
    fn delays_grow_smoothly_with_debt() {
        let mut before = Duration::ZERO;
        for step in 1..=100 {
            let now = delay(f64::from(step) / 100.0, 1 << 20);
            assert!(before < now && now - before <= DELAY_PER_MIB / 40, "{before:?} to {now:?}");
            before = now;
        }
        assert_eq!(delay(1.0, 1 << 19), DELAY_PER_MIB / 2);
        assert_eq!(delay(0.0, 1 << 30), Duration::ZERO);
    }
}
