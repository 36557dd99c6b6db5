//! Time as a value that is handed in, so that a test can own it.
//!
//! Engines measure intervals with [`Clock::monotonic`] alone; [`Clock::wall`] is for dates people
//! read, and may jump in either direction at any moment.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Where time comes from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since an arbitrary origin, fixed for the life of the clock. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since 1970-01-01 00:00 UTC as the machine believes it to be. May jump.
    fn wall(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Debug, Clone)]
pub struct OsClock {
    origin: Instant,
}

impl OsClock {
    /// A clock whose monotonic origin is now.
    #[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
    pub fn new() -> OsClock {
        OsClock { origin: Instant::now() }
    }
}

impl Default for OsClock {
    fn default() -> OsClock {
        OsClock::new()
    }
}

impl Clock for OsClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
    fn wall(&self) -> Duration {
        // A machine set to before 1970 is treated as standing at 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that moves only when told to. It starts at zero on both faces.
#[derive(Debug, Default)]
pub struct SimClock {
    faces: Mutex<Faces>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Faces {
    monotonic: Duration,
    wall: Duration,
}

impl SimClock {
    /// A clock standing at zero.
    pub fn new() -> SimClock {
        SimClock::default()
    }

    /// Lets `step` pass on both faces.
    pub fn advance(&self, step: Duration) {
        let mut faces = self.faces.lock();
        faces.monotonic += step;
        faces.wall += step;
    }

    /// Sets the wall clock, forwards or back, as an operator or a time daemon would.
    pub fn set_wall(&self, since_epoch: Duration) {
        self.faces.lock().wall = since_epoch;
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.faces.lock().monotonic
    }

    fn wall(&self) -> Duration {
        self.faces.lock().wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A lease that is measured on the wall clock would expire when an operator corrects the date.
    #[test]
    fn setting_the_wall_leaves_the_monotonic_face_alone() {
        let clock = SimClock::new();
        clock.advance(Duration::from_secs(7));
        clock.set_wall(Duration::from_secs(1));
        assert_eq!(clock.monotonic(), Duration::from_secs(7));
        assert_eq!(clock.wall(), Duration::from_secs(1));
    }

    // The origin is arbitrary, the direction is not.
    #[test]
    fn the_machine_clock_never_goes_back() {
        let clock = OsClock::new();
        let first = clock.monotonic();
        assert!(first <= clock.monotonic());
        assert!(clock.wall() > Duration::from_secs(1_600_000_000));
    }
}
