//! Wall time that never goes back, for entries that expire.
//!
//! Whoever sets the date back must not revive what has expired: a reader that saw a key gone would
//! see it again. So the time used is the latest ever seen, in this process or, by way of the
//! manifest and the journal, in an earlier one.
//!
//! **What survives a crash.** Saving the time whenever a reader finds that something has expired
//! would be a sync for a read. So the time is saved with the next thing that is made durable: an
//! edit of the manifest carries it, and in the journal it goes before the next batch, if since the
//! last time somebody was shown that something is gone. Whoever has seen a key gone and then made
//! anything durable finds it gone after any crash, and after a clean close in any case. Who has
//! only looked may see it again, if the process is killed and the date set back before the next
//! write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::Clock;

/// Milliseconds since 1970 that only grow.
#[derive(Debug)]
pub(crate) struct WallTime {
    clock: Arc<dyn Clock>,
    latest: AtomicU64,
    /// The latest time at which an entry was hidden from somebody because it had expired.
    acted: AtomicU64,
    /// A time that is in the journal, or on its way there before all that comes later.
    journaled: AtomicU64,
}

impl WallTime {
    /// Time that is at least `floor`.
    pub(crate) fn new(clock: Arc<dyn Clock>, floor: u64) -> WallTime {
        WallTime {
            clock,
            latest: AtomicU64::new(floor),
            acted: AtomicU64::new(floor),
            journaled: AtomicU64::new(floor),
        }
    }

    /// The time now.
    pub(crate) fn now(&self) -> u64 {
        let wall = u64::try_from(self.clock.wall().as_millis()).unwrap_or(u64::MAX);
        // Relaxed: the number guards nothing but itself.
        self.latest.fetch_max(wall, Ordering::Relaxed).max(wall)
    }

    /// The latest time that anybody was given.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Relaxed)
    }

    /// Notes that something was hidden because it has expired by `now`.
    pub(crate) fn act(&self, now: u64) {
        // Read first: the line is shared by all readers, and most of them change nothing. Release:
        // whoever writes after it has heard of it finds it noted.
        if self.acted.load(Ordering::Relaxed) < now {
            self.acted.fetch_max(now, Ordering::Release);
        }
    }

    /// The time to put into the journal before the next batch; nothing if it has it.
    pub(crate) fn to_journal(&self) -> Option<u64> {
        let acted = self.acted();
        (self.journaled.load(Ordering::Relaxed) < acted).then_some(acted)
    }

    /// The latest time by which anything was hidden.
    pub(crate) fn acted(&self) -> u64 {
        self.acted.load(Ordering::Acquire)
    }

    /// Notes that this time is in the journal before all that comes later.
    pub(crate) fn set_journaled(&self, time: u64) {
        self.journaled.fetch_max(time, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drystone_vfs::SimClock;

    use super::*;

    // A date set back must not bring back what has expired.
    #[test]
    fn time_never_goes_back() {
        let clock = Arc::new(SimClock::new());
        let time = WallTime::new(clock.clone(), 5);
        assert_eq!(time.now(), 5);
        clock.set_wall(Duration::from_millis(900));
        assert_eq!(time.now(), 900);
        clock.set_wall(Duration::from_millis(3));
        assert_eq!(time.now(), 900);
    }

    // Time goes into the journal when it has decided something, and then once.
    #[test]
    fn time_is_journaled_when_somebody_has_seen_it_pass() {
        let clock = Arc::new(SimClock::new());
        clock.set_wall(Duration::from_millis(900));
        let time = WallTime::new(clock, 5);
        assert_eq!(time.now(), 900);
        assert_eq!(time.to_journal(), None, "nobody has seen anything expire");
        time.act(700);
        time.act(600);
        assert_eq!(time.to_journal(), Some(700));
        time.set_journaled(700);
        assert_eq!(time.to_journal(), None);
    }
}
