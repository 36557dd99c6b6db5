//! How often something happens, as a whole number of parts in a million.
//!
//! A float would do as well on most machines, and "most" is what a simulator must not say: a seed
//! that fails in CI has to fail on every desk.

use std::fmt;

/// A share between never and always, in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Rate(u32);

impl Rate {
    /// Not once.
    pub const NEVER: Rate = Rate(0);

    /// Every time.
    pub const ALWAYS: Rate = Rate(MILLION);

    /// So many times in a hundred, at most 100.
    pub const fn percent(parts: u32) -> Rate {
        assert!(parts <= 100, "a rate is at most 100 percent");
        Rate(parts * 10_000)
    }

    /// So many times in a million, at most a million.
    pub const fn ppm(parts: u32) -> Rate {
        assert!(parts <= MILLION, "a rate is at most a million in a million");
        Rate(parts)
    }

    /// The parts in a million.
    pub const fn parts(self) -> u32 {
        self.0
    }
}

const MILLION: u32 = 1_000_000;

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10_000 {
            0 => write!(f, "{}%", self.0 / 10_000),
            _ => write!(f, "{} ppm", self.0),
        }
    }
}
