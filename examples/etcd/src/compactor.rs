//! Compaction without being asked: when history becomes too old or too long to keep.
//!
//! etcd's two modes:
//!
//! ```text
//!   periodic, keep P   a sample (time, revision) every P/10; once one is P old, compact to its
//!                      revision, and again every P, or every hour where P is longer
//!   revision, keep N   every five minutes: compact to newest - N
//! ```
//!
//! [`Compactor`] only decides; a loop in [`crate::server`] tells it the time and performs.

use std::collections::VecDeque;
use std::time::Duration;

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// History of this length.
    Period(Duration),
    /// So many revisions.
    Revisions(u64),
}

const HOUR: Duration = Duration::from_secs(3600);
const REVISION_MODE_INTERVAL: Duration = Duration::from_secs(300);
const SAMPLES_PER_INTERVAL: u32 = 10;

/// Decides when to compact, and to which revision.
///
/// - `samples` is sorted by time and spans at most the retention period and one step.
/// - A revision is proposed once only.
#[derive(Debug)]
pub(crate) struct Compactor {
    retention: Retention,
    samples: VecDeque<(Duration, u64)>,
    compacted_at: Option<Duration>,
    compacted_to: u64,
}

impl Compactor {
    /// A compactor that has seen nothing yet.
    pub(crate) fn new(retention: Retention) -> Compactor {
        Compactor { retention, samples: VecDeque::new(), compacted_at: None, compacted_to: 0 }
    }

    /// How long to wait between calls of [`Compactor::tick`].
    pub(crate) fn step(&self) -> Duration {
        match self.retention {
            Retention::Period(period) => period.min(HOUR) / SAMPLES_PER_INTERVAL,
            Retention::Revisions(_) => REVISION_MODE_INTERVAL,
        }
    }

    /// Notes that `revision` is the newest at time `now`; a revision to compact to, if it is time.
    pub(crate) fn tick(&mut self, now: Duration, revision: u64) -> Option<u64> {
        let target = match self.retention {
            Retention::Revisions(keep) => revision.saturating_sub(keep),
            Retention::Period(period) => self.sample(now, revision, period)?,
        };
        if target <= self.compacted_to.max(1) {
            return None;
        }
        self.compacted_to = target;
        Some(target)
    }

    fn sample(&mut self, now: Duration, revision: u64, period: Duration) -> Option<u64> {
        self.samples.push_back((now, revision));
        // Of the samples that are old enough, only the newest matters.
        let old = |sample: &(Duration, u64)| sample.0 + period <= now;
        while self.samples.get(1).is_some_and(old) {
            self.samples.pop_front();
        }
        let (_, target) = *self.samples.front().filter(|sample| old(sample))?;
        let due = self.compacted_at.is_none_or(|at| at + period.min(HOUR) <= now);
        if !due {
            return None;
        }
        self.compacted_at = Some(now);
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    // What is compacted can never be read again: nothing younger than the period may go.
    #[test]
    fn periodic_mode_keeps_the_period() {
        let period = 10 * MINUTE;
        let mut compactor = Compactor::new(Retention::Period(period));
        assert_eq!(compactor.step(), MINUTE);
        let mut compactions = Vec::new();
        for minute in 0..=40u32 {
            let revision = u64::from(100 + minute);
            if let Some(target) = compactor.tick(minute * MINUTE, revision) {
                assert!(target <= 100 + u64::from(minute - 10), "younger than the period");
                compactions.push((minute, target));
            }
        }
        assert_eq!(compactions, [(10, 100), (20, 110), (30, 120), (40, 130)]);
    }

    // With a day to keep, waiting a day between compactions would keep two.
    #[test]
    fn long_periods_compact_hourly() {
        let mut compactor = Compactor::new(Retention::Period(24 * HOUR));
        assert_eq!(compactor.step(), 6 * MINUTE);
        let ticks =
            (0..=260u32).filter(|&n| compactor.tick(n * 6 * MINUTE, u64::from(n) + 2).is_some());
        assert_eq!(ticks.collect::<Vec<_>>(), [240, 250, 260]);
    }

    // An idle store must not be compacted to the same revision again and again.
    #[test]
    fn revision_mode_keeps_the_count_and_rests_when_idle() {
        let mut compactor = Compactor::new(Retention::Revisions(1000));
        assert_eq!(compactor.tick(Duration::ZERO, 900), None);
        assert_eq!(compactor.tick(5 * MINUTE, 1500), Some(500));
        assert_eq!(compactor.tick(10 * MINUTE, 1500), None);
        assert_eq!(compactor.tick(15 * MINUTE, 1600), Some(600));
    }
}
