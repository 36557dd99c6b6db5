//! How long things took, sorted into etcd's buckets.
//!
//! An observation is two relaxed additions, on cache lines that no other histogram shares; who
//! shows the numbers adds the buckets up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// More than any layout has, the one without a bound included.
const BUCKETS_MAX: usize = 26;

/// Upper bounds of buckets, nanoseconds, ascending.
pub(crate) type Bounds = &'static [u64];

/// `COUNT` bounds, each twice the one before.
const fn doubling<const COUNT: usize>(first: u64) -> [u64; COUNT] {
    let mut bounds = [first; COUNT];
    let mut at = 1;
    while at < COUNT {
        bounds[at] = 2 * bounds[at - 1];
        at += 1;
    }
    bounds
}

const MILLI: u64 = 1_000_000;

/// Syncs of the log, writes to it, commits of the engine: 1 ms to 8.2 s.
pub(crate) const DISK: Bounds = &doubling::<14>(MILLI);
/// Ranges: 0.1 ms to 52 s.
pub(crate) const RANGE: Bounds = &doubling::<20>(MILLI / 10);
/// Commands that are applied, in the same.
pub(crate) const APPLY: Bounds = RANGE;
/// Hashes of the data: 10 ms to 164 s.
pub(crate) const HASH: Bounds = &doubling::<15>(10 * MILLI);
/// Copies of the data that clients take: 10 ms to 655 s.
pub(crate) const BACKUP: Bounds = &doubling::<17>(10 * MILLI);
/// Defragmentations: 0.1 s to 410 s.
pub(crate) const DEFRAGMENT: Bounds = &doubling::<13>(100 * MILLI);
/// Times to live of leases: 1 s to 97 days.
pub(crate) const LEASE: Bounds = &doubling::<24>(1000 * MILLI);
/// Calls, in the buckets that Prometheus' libraries begin with.
pub(crate) const CALL: Bounds = &[
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    1000 * MILLI,
    2500 * MILLI,
    5000 * MILLI,
    10_000 * MILLI,
];

/// How long things took.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Histogram {
    bounds: Bounds,
    counts: [AtomicU64; BUCKETS_MAX],
    nanos: AtomicU64,
}

impl Histogram {
    /// Nothing was observed.
    pub(crate) fn new(bounds: Bounds) -> Histogram {
        assert!(bounds.len() < BUCKETS_MAX, "the last bucket has no bound");
        Histogram { bounds, counts: Default::default(), nanos: AtomicU64::new(0) }
    }

    /// Something took so long.
    pub(crate) fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// So many things took so long each.
    pub(crate) fn observe_many(&self, took: Duration, count: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = self.bounds.partition_point(|&bound| bound < nanos);
        self.counts[at].fetch_add(count, Ordering::Relaxed);
        self.nanos.fetch_add(nanos.saturating_mul(count), Ordering::Relaxed);
    }

    /// What was observed so far.
    pub(crate) fn read(&self) -> Buckets {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let bounds = self.bounds.iter().map(|bound| Some(Duration::from_nanos(*bound)));
        let buckets = bounds.chain([None]).zip(counts).collect();
        Buckets { buckets, sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)) }
    }
}

/// What a histogram has seen.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// Upper bounds, and how many were above the one before and not above this one; the last has
    /// no bound.
    pub(crate) buckets: Vec<(Option<Duration>, u64)>,
    /// All of them together.
    pub(crate) sum: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    // A batch of a thousand commands is a thousand observations.
    #[test]
    fn many_observations_count_as_many() {
        let histogram = Histogram::new(APPLY);
        histogram.observe_many(Duration::from_millis(1), 1000);
        let read = histogram.read();
        assert_eq!(read.buckets.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert_eq!(read.sum, Duration::from_secs(1));
    }

    // An alert on a bucket is an alert on its bound.
    #[test]
    fn an_observation_counts_below_the_first_bound_that_is_not_less() {
        for bounds in [DISK, RANGE, HASH, BACKUP, DEFRAGMENT, LEASE, CALL] {
            assert!(bounds.is_sorted());
            let at_bounds = bounds.iter().enumerate().map(|(at, &nanos)| (nanos, at));
            let above = bounds.iter().enumerate().map(|(at, &nanos)| (nanos + 1, at + 1));
            for (nanos, expected) in at_bounds.chain(above).chain([(0, 0)]) {
                let histogram = Histogram::new(bounds);
                histogram.observe(Duration::from_nanos(nanos));
                let read = histogram.read();
                assert_eq!(read.buckets.len(), bounds.len() + 1);
                let at = read.buckets.iter().position(|bucket| bucket.1 == 1);
                assert_eq!(at, Some(expected), "{nanos} ns");
                assert_eq!(read.sum, Duration::from_nanos(nanos));
            }
        }
    }
}
