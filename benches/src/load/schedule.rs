//! Which request comes next, and when.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Deals out tickets, numbered from 0, to all clients of a run.
///
/// The counters order nothing but themselves, hence `Relaxed`.
#[derive(Debug)]
pub(crate) struct Schedule {
    total: u64,
    /// Tickets a second; 0 for no pace.
    rate: u64,
    next: AtomicU64,
    done: AtomicU64,
    stopped: AtomicBool,
}

impl Schedule {
    pub(crate) fn new(total: u64, rate: u64) -> Schedule {
        Schedule {
            total,
            rate,
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The next ticket, if any is left.
    pub(crate) fn take(&self) -> Option<u64> {
        if self.stopped.load(Relaxed) {
            return None;
        }
        let ticket = self.next.fetch_add(1, Relaxed);
        (ticket < self.total).then_some(ticket)
    }

    /// Waits until the ticket is due and returns the time it was due at.
    pub(crate) async fn due(&self, ticket: u64, start: Instant) -> Instant {
        if self.rate == 0 {
            return Instant::now();
        }
        let due = start + due_after(ticket, self.rate);
        tokio::time::sleep_until(due.into()).await;
        due
    }

    /// Gives no further tickets.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// How many tickets have been given. Once somebody was refused one, this stands.
    pub(crate) fn taken(&self) -> u64 {
        self.next.load(Relaxed).min(self.total)
    }

    pub(crate) fn add_done(&self, count: u64) {
        self.done.fetch_add(count, Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }
}

/// `ticket / rate` seconds, without rounding that adds up.
fn due_after(ticket: u64, rate: u64) -> Duration {
    let nanos = u128::from(ticket) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ticket given twice or left out would make the total a lie.
    #[test]
    fn every_ticket_is_given_once() {
        let schedule = Schedule::new(1000, 0);
        let mut taken: Vec<u64> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| std::iter::from_fn(|| schedule.take()).collect::<Vec<_>>()))
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..1000).collect::<Vec<_>>());
    }

    /// A limit in seconds must end the run however many tickets are left.
    #[test]
    fn a_stopped_schedule_gives_nothing() {
        let schedule = Schedule::new(10, 0);
        assert_eq!(schedule.take(), Some(0));
        schedule.stop();
        assert_eq!(schedule.take(), None);
    }

    /// At 3 a second the millionth third must not be off by a million roundings.
    #[test]
    fn the_pace_does_not_drift() {
        assert_eq!(due_after(3_000_000, 3), Duration::from_secs(1_000_000));
        assert_eq!(due_after(1, 1_000_000), Duration::from_micros(1));
        assert_eq!(due_after(0, 7), Duration::ZERO);
    }
}
