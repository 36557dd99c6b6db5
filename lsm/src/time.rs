//! Wall time that never goes back, for entries that expire.
//!
//! Whoever sets the date back must not revive what has expired: a reader that saw a key gone would
//! see it again. So the time used is the latest ever seen, in this process or, by way of the
//! manifest, in an earlier one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::Clock;

/// Milliseconds since 1970 that only grow.
#[derive(Debug)]
pub(crate) struct WallTime {
    clock: Arc<dyn Clock>,
    latest: AtomicU64,
}

impl WallTime {
    /// Time that is at least `floor`.
    pub(crate) fn new(clock: Arc<dyn Clock>, floor: u64) -> WallTime {
        WallTime { clock, latest: AtomicU64::new(floor) }
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
}
