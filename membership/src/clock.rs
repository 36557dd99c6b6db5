//! A member's own time: it stands still while the process does.
//!
//! A process that was stopped for a minute (a debugger, a swapped-out page, a virtual machine on
//! its way to another host) wakes up to find every timer expired: all its probes unanswered, all
//! its suspicions ripe. A failure detector that believes its clock then declares everyone failed
//! but itself, and is wrong about each. What has really happened is that *it* was not there.
//!
//! The driver promised to call at the [deadline](crate::Swim::deadline). When it comes later than
//! that, by more than [`LATE`], nobody ran this process meanwhile, and the time beyond does not
//! count:
//!
//! ```text
//!     driver's time    ──┬──────┬──────────────── stopped ───────────────┬─────►
//!                      call  deadline                                   call
//!     own time         ──┬──────┬─┬───►         the calls are LATE apart, all timers
//!                      call       call          go on where they were
//! ```
//!
//! The same rule makes a driver's clock that jumps harmless: forward it is a stop, and when it goes
//! back, own time goes on from where it was.

use std::time::Duration;

/// Microseconds of a member's own time.
pub(crate) type Micros = u64;

/// How late a call may be before the rest counts as time in which the process did not run.
const LATE: Micros = 250_000;

/// The calls between which nothing was due may be as far apart.
const IDLE: Micros = 60_000_000;

/// Own time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// What the driver said last.
    outside: Micros,
    /// Own time then.
    own: Micros,
    started: bool,
}

pub(crate) fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Clock {
    /// It is `now` outside. `due` is when the member had asked to be called, in its own time. Says
    /// how long the process did not run.
    pub(crate) fn tell(&mut self, now: Duration, due: Option<Micros>, lenient: bool) -> Micros {
        let now = micros(now);
        if !self.started {
            (self.outside, self.started) = (now, true);
            return 0;
        }
        let passed = now.saturating_sub(self.outside);
        self.outside = now;
        let lawful = due.map_or(IDLE, |due| due.saturating_sub(self.own)).saturating_add(LATE);
        let counted = if lenient { passed.min(lawful) } else { passed };
        self.own += counted;
        passed - counted
    }

    /// Own time at the last call.
    pub(crate) fn now(&self) -> Micros {
        self.own
    }

    /// A moment of own time, as the driver's clock will show it if it does not stop.
    pub(crate) fn outside(&self, at: Micros) -> Duration {
        Duration::from_micros(self.outside + at.saturating_sub(self.own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    // A member that wakes from a stop must not find that everyone else has been silent.
    #[test]
    fn time_in_which_the_process_did_not_run_does_not_count() {
        let mut clock = Clock::default();
        assert_eq!(clock.tell(ms(1000), None, true), 0);
        assert_eq!((clock.tell(ms(1400), Some(400_000), true), clock.now()), (0, 400_000));
        assert_eq!((clock.tell(ms(1600), Some(500_000), true), clock.now()), (0, 600_000));
        let stopped = clock.tell(ms(61_600), Some(700_000), true);
        assert_eq!((stopped, clock.now()), (60_000_000 - 350_000, 950_000));
        assert_eq!(clock.outside(1_000_000), ms(61_650));
    }

    // Nobody's timers may stand still for an hour because a clock was set back by one.
    #[test]
    fn a_clock_that_jumps_moves_no_deadline() {
        let mut clock = Clock::default();
        clock.tell(ms(3_600_000), None, true);
        clock.tell(ms(3_600_100), Some(100_000), true);
        assert_eq!(clock.tell(ms(0), Some(200_000), true), 0);
        assert_eq!((clock.now(), clock.outside(200_000)), (100_000, ms(100)));
        clock.tell(ms(100), Some(200_000), true);
        assert_eq!(clock.now(), 200_000);
        clock.tell(ms(3_600_100), Some(300_000), true);
        assert_eq!(clock.now(), 550_000);
    }

    // Without it, plain SWIM counts every second.
    #[test]
    fn it_can_be_turned_off() {
        let mut clock = Clock::default();
        clock.tell(ms(0), None, false);
        assert_eq!((clock.tell(ms(60_000), Some(1), false), clock.now()), (0, 60_000_000));
    }
}
