//! A clock that is wrong: too fast, too slow, or set by somebody.
//!
//! ```text
//!     local ▲              ╱ +100 ppm
//!           │         ┊  ╱      local = base + (world - since) · (1 + error)
//!           │       ╱ ┊╱
//!           │     ╱   ╱ step: base moves
//!           │   ╱   ┊
//!           └─╱─────┴──────────► world
//! ```
//!
//! Two crystals differ by some ten parts in a million, a virtual machine's by far more, and a
//! daemon that slews adds 500. A lease that forgets it is safe until the day that matters.
//!
//! The world's time is the only one that orders events. A node sees its own, and asks to be woken
//! at a time of its own; [`world_of`](Clock::world_of) is the first moment of the world at which
//! the node's clock shows that time. Ticks have to be fine for drift to be seen: at 100 ppm it
//! takes ten thousand of them to be off by one. Let a tick be a microsecond, and an election last
//! 10,000.

/// One node's clock, read in the world's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The world's time from which the rate counts.
    since: u64,
    /// What the clock showed then.
    base: u64,
    /// How many more ticks it shows while a million pass.
    error_ppm: i32,
}

const MILLION: u64 = 1_000_000;

/// A clock may run up to twice as fast, or at half the speed: more is not an error but a defect.
pub const CLOCK_ERROR_PPM_MAX: i32 = 1_000_000;
const CLOCK_ERROR_PPM_MIN: i32 = -500_000;

impl Clock {
    /// A clock that is right, and shows the world's time.
    pub const RIGHT: Clock = Clock { since: 0, base: 0, error_ppm: 0 };

    /// What the clock shows at a time of the world.
    #[inline]
    pub fn local(&self, world: u64) -> u64 {
        let passed = world - self.since;
        if self.error_ppm == 0 {
            return self.base + passed;
        }
        self.base + scale(passed, self.speed(), MILLION)
    }

    /// The first moment of the world at which the clock shows `local` or more.
    #[inline]
    pub fn world_of(&self, local: u64) -> u64 {
        let Some(ahead) = local.checked_sub(self.base) else { return self.since };
        if self.error_ppm == 0 {
            return self.since.saturating_add(ahead);
        }
        // The smallest p with floor(p · speed / million) >= ahead is ceil(ahead · million / speed).
        let speed = u128::from(self.speed());
        let passed = (u128::from(ahead) * u128::from(MILLION)).div_ceil(speed);
        self.since.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// How much faster than the world it runs, in parts per million.
    pub fn error_ppm(&self) -> i32 {
        self.error_ppm
    }

    /// Lets it run faster or slower from `world` on; what it shows then does not change.
    ///
    /// # Panics
    ///
    /// If the error is beyond half or double speed.
    pub fn set_error(&mut self, world: u64, error_ppm: i32) {
        assert!(
            (CLOCK_ERROR_PPM_MIN..=CLOCK_ERROR_PPM_MAX).contains(&error_ppm),
            "a clock runs at half speed to double speed"
        );
        *self = Clock { since: world, base: self.local(world), error_ppm };
    }

    /// Sets it forward by `ticks` at `world`, or back if they are negative, though not beyond 0.
    ///
    /// A monotonic clock jumps forward (the machine slept) and never back: set one back only for a
    /// protocol that reads the wall clock.
    pub fn step(&mut self, world: u64, ticks: i64) {
        let base = self.local(world).saturating_add_signed(ticks);
        *self = Clock { since: world, base, error_ppm: self.error_ppm };
    }

    fn speed(&self) -> u64 {
        MILLION.checked_add_signed(i64::from(self.error_ppm)).expect("half speed at least")
    }
}

/// `ticks * num / den`, rounded down, by the quick way where that fits.
#[inline]
fn scale(ticks: u64, num: u64, den: u64) -> u64 {
    match ticks.checked_mul(num) {
        Some(product) => product / den,
        None => (u128::from(ticks) * u128::from(num) / u128::from(den)) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    // A node woken one tick early finds nothing to do and asks again, for ever; one late is a
    // lease that lasts too long.
    #[test]
    fn the_time_to_wake_is_the_first_that_shows_the_deadline() {
        let mut rng = Rng::new(1);
        let some = |rng: &mut Rng| {
            let bits = rng.range(1..50);
            rng.below(1 << bits)
        };
        for _ in 0..200_000 {
            let mut clock = Clock::RIGHT;
            let since = some(&mut rng);
            clock.step(since, rng.below(1000) as i64);
            clock.set_error(since, rng.below(1_500_000) as i32 - 500_000);
            let local = clock.local(since) + some(&mut rng);
            let world = clock.world_of(local);
            assert!(clock.local(world) >= local, "{clock:?} at {world} is before {local}");
            let early = world > since && clock.local(world - 1) >= local;
            assert!(!early, "{clock:?} shows {local} before {world}");
        }
        assert_eq!(Clock::RIGHT.world_of(u64::MAX), u64::MAX);
    }

    // Drift is small; if it were rounded away no test of a lease would see it.
    #[test]
    fn a_clock_is_off_by_its_error() {
        let mut clock = Clock::RIGHT;
        clock.set_error(1_000_000, 100);
        assert_eq!(clock.local(1_000_000), 1_000_000);
        assert_eq!(clock.local(1_009_999), 1_009_999);
        assert_eq!(clock.local(1_010_000), 1_010_001);
        assert_eq!(clock.local(2_000_000), 2_000_100);
        clock.set_error(2_000_000, -100);
        assert_eq!(clock.local(3_000_000), 3_000_000);
        assert_eq!(clock.error_ppm(), -100);
    }

    // A change of speed that moved the hands would be a step that nobody asked for.
    #[test]
    fn a_step_moves_the_hands_and_a_new_speed_does_not() {
        let mut clock = Clock::RIGHT;
        clock.step(10, 5);
        assert_eq!((clock.local(10), clock.local(11)), (15, 16));
        clock.set_error(20, 250_000);
        assert_eq!((clock.local(20), clock.local(24)), (25, 30));
        clock.step(24, -100);
        assert_eq!(clock.local(24), 0);
        assert_eq!(clock.world_of(0), 24, "a time that has passed is now");
    }
}
