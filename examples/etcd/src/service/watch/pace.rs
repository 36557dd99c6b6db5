//! How fast a watcher that is behind may catch up.
//!
//! The problem: the history is read where requests are served, and as fast as the client takes it.
//! One watcher that begins half a million revisions ago keeps a core from those who write, for as
//! long as it takes, and nobody waits for it as they do for their writes.
//!
//! So a stream rests between two stretches of history:
//!
//! ```text
//!   reads ██         ██         ██          a fortieth of one core
//!   rests   ─────────  ─────────
//! ```
//!
//! but only if that costs nobody anything: not while nobody writes, and not when it would gain too
//! little on those who write ever to be level with them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The rest is so many times the work. What the connection then does with it, and the client, is a
/// few times as much again: of two cores that all share, a watcher takes a twentieth at this pace.
const RESTS: u32 = 39;
/// The timer knows nothing shorter than a millisecond; work is added up until it has earned two.
const REST_MIN: Duration = Duration::from_millis(2);
/// One long read, of a disk that is slow, earns no more than this.
const REST_MAX: Duration = Duration::from_millis(100);
/// Whoever reads fewer revisions than this for each that is written does not rest.
const GAIN_MIN: u64 = 2;

/// The pace of one stream.
#[derive(Default)]
pub(super) struct Pace {
    /// Since the last rest, or the last time that none was due.
    worked: Duration,
    /// How many revisions the stream had read then.
    read: u64,
    /// The store's revision then.
    written: u64,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Whether the stream rests; if so, the task is woken when that is over.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.rest {
            std::task::ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        Poll::Ready(())
    }

    /// The stream was behind and has worked for so long; it has read `read` revisions in all, and
    /// the store is at `written`.
    pub(super) fn worked(&mut self, took: Duration, read: u64, written: u64) {
        if let Some(rest) = self.earn(took, read, written) {
            self.rest = Some(Box::pin(sleep(rest)));
        }
    }

    fn earn(&mut self, took: Duration, read: u64, written: u64) -> Option<Duration> {
        self.worked += took;
        let rest = self.worked * RESTS;
        if rest < REST_MIN {
            return None;
        }
        let (gained, lost) = (read - self.read, written.saturating_sub(self.written));
        *self = Pace { worked: Duration::ZERO, read, written, rest: None };
        (lost > 0 && gained >= lost * GAIN_MIN).then_some(rest.min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    // Every rest is time that a client waits for: it has to be of use to somebody.
    #[test]
    fn it_rests_for_the_sake_of_those_who_write() {
        let mut pace = Pace::default();
        pace.earn(MS, 1000, 500_000);
        assert_eq!(pace.earn(MS, 2000, 500_100), Some(39 * MS));
        assert_eq!(pace.earn(MS, 3000, 500_100), None, "nobody has written");
        assert_eq!(pace.earn(MS, 4000, 500_601), None, "it would not catch up");
        assert_eq!(pace.earn(MS, 5000, 501_100), Some(39 * MS), "and now they are not");
        assert_eq!(pace.earn(100 * MS, 6000, 501_200), Some(REST_MAX));
    }

    // The timer would make a millisecond of each: a hundred times what was earned.
    #[test]
    fn short_work_is_added_up() {
        let mut pace = Pace::default();
        let rests: Vec<Duration> =
            (1..=100).filter_map(|i| pace.earn(MS / 100, 100 * i, i)).collect();
        assert_eq!(rests.len(), 16, "every six");
        assert!(rests.iter().all(|rest| (REST_MIN..REST_MIN + MS).contains(rest)), "{rests:?}");
    }
}
