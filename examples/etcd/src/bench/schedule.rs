//! Which request comes next, and when it is due.
//!
//! With a rate, requests are due at fixed times, whatever became of those before: a client that
//! waits for a slow answer is late for the next, and that one's time counts from when it was due.
//! Otherwise a server that stands still for a second would be charged for the few requests that
//! were under way, and not for all that could not be made meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Deals out requests.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    /// None is dealt out after so many.
    total: u64,
    /// None is dealt out, or due, after so long.
    time: Option<Duration>,
    /// Requests a second; 0 is as many as there can be.
    rate: u64,
    next: AtomicU64,
}

impl Schedule {
    /// Begins now.
    pub(crate) fn new(total: u64, time: Option<Duration>, rate: u64) -> Schedule {
        Schedule { start: Instant::now(), total, time, rate, next: AtomicU64::new(0) }
    }

    /// The next request and when it is due, if there is one more.
    pub(crate) fn take(&self) -> Option<(u64, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.rate {
            0 => Instant::now(),
            rate => self.start + due_after(number, rate),
        };
        let over = self.time.is_some_and(|time| due.duration_since(self.start) >= time);
        (number < self.total && !over).then_some((number, due))
    }

    /// When it began.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }
}

fn due_after(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The rate is a promise about the whole run: no request is lost to rounding.
    #[test]
    fn requests_are_due_evenly() {
        assert_eq!(due_after(0, 3), Duration::ZERO);
        assert_eq!(due_after(3, 3), Duration::from_secs(1));
        assert_eq!(due_after(3_000_000, 3), Duration::from_secs(1_000_000));
        let schedule = Schedule::new(u64::MAX, Some(Duration::from_secs(2)), 100);
        let dealt = std::iter::from_fn(|| schedule.take()).count();
        assert_eq!(dealt, 200);
    }

    #[test]
    fn no_more_than_the_total_is_dealt_out() {
        let schedule = Schedule::new(5, None, 0);
        assert_eq!(
            std::iter::from_fn(|| schedule.take()).last().map(|(number, _)| number),
            Some(4)
        );
        assert!(schedule.take().is_none());
    }
}
