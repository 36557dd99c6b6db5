//! What was exchanged with one peer, in numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::NodeId;

/// How many bounds the round trips are sorted by.
const BOUNDS: usize = 16;
/// The lowest of them, nanoseconds: 0.1 ms. Each is twice the one before.
const FIRST_BOUND_NANOS: u64 = 100_000;

/// How many bounds the times of snapshots are sorted by.
const TRANSFER_BOUNDS: usize = 10;
/// The lowest of them, nanoseconds: 0.1 s. Each is twice the one before.
const FIRST_TRANSFER_BOUND_NANOS: u64 = 100_000_000;

/// What was exchanged with one peer since this node started. Each number only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerMetrics {
    /// Who it is.
    pub id: NodeId,
    /// A connection to it stands, and it has answered within
    /// [`Limits::patience`](super::Limits::patience).
    pub connected: bool,
    /// How often it was lost after it had been [connected](Self::connected).
    pub disconnects: u64,
    /// Bytes of frames written to it.
    pub bytes_sent: u64,
    /// Bytes of messages read from it, without what frames them.
    pub bytes_received: u64,
    /// Messages to it that were dropped: its queue was full, or its connection broke.
    pub dropped: u64,
    /// Connections from it that ended otherwise than by being closed, or by a newer one.
    pub broken: u64,
    /// How long it took to answer pings. There is one about every third of the patience.
    pub round_trips: RoundTrips,
    /// Whole snapshots that it fetched from here.
    pub snapshots_sent: Transfers,
    /// Whole snapshots that were fetched from it.
    pub snapshots_received: Transfers,
}

/// Snapshots on their way in one direction. One that is cut and taken up again counts as failed,
/// and its rest anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfers {
    /// How many came to their end.
    pub done: u64,
    /// How many did not.
    pub failed: u64,
    /// How many are on their way.
    pub under_way: u64,
    counts: [u64; TRANSFER_BOUNDS + 1],
    sum: Duration,
}

impl Transfers {
    /// Upper bounds, and how many of those that are done took longer than the bound before and at
    /// most this one: 0.1 s, 0.2 s, and so on, doubling, up to 51 s. Those that took longer come
    /// last, with `None`.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bound = |at| Duration::from_nanos(FIRST_TRANSFER_BOUND_NANOS << at);
        let counts = self.counts.into_iter().enumerate();
        counts.map(move |(at, count)| ((at < TRANSFER_BOUNDS).then(|| bound(at)), count))
    }

    /// All that are done together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// How long round trips took, sorted by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundTrips {
    counts: [u64; BOUNDS + 1],
    sum: Duration,
}

impl RoundTrips {
    /// Upper bounds, and how many took longer than the bound before and at most this one: 0.1 ms,
    /// 0.2 ms, and so on, doubling, up to 3.3 s. Those that took longer come last, with `None`.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bound = |at| Duration::from_nanos(FIRST_BOUND_NANOS << at);
        let counts = self.counts.into_iter().enumerate();
        counts.map(move |(at, count)| ((at < BOUNDS).then(|| bound(at)), count))
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The numbers as they are counted: by the tasks of one peer, so nobody contends for them.
#[derive(Debug, Default)]
pub(super) struct PeerCounters {
    connected: AtomicBool,
    disconnects: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) bytes_received: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) broken: AtomicU64,
    round_trips: [AtomicU64; BOUNDS + 1],
    round_trip_nanos: AtomicU64,
    pub(super) sending: TransferCounters,
    pub(super) receiving: TransferCounters,
}

/// Snapshots in one direction, as they are counted.
#[derive(Debug, Default)]
pub(super) struct TransferCounters {
    done: AtomicU64,
    failed: AtomicU64,
    under_way: AtomicU64,
    counts: [AtomicU64; TRANSFER_BOUNDS + 1],
    nanos: AtomicU64,
}

impl TransferCounters {
    /// One begins.
    pub(super) fn begin(&self) -> Transfer<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Transfer { counters: self, began: Instant::now(), done: false }
    }

    fn read(&self) -> Transfers {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Transfers {
            done: read(&self.done),
            failed: read(&self.failed),
            under_way: read(&self.under_way),
            counts: self.counts.each_ref().map(read),
            sum: Duration::from_nanos(read(&self.nanos)),
        }
    }
}

/// A snapshot on its way. It has failed if it is dropped before its end.
#[derive(Debug)]
pub(super) struct Transfer<'a> {
    counters: &'a TransferCounters,
    began: Instant,
    done: bool,
}

impl Transfer<'_> {
    /// It came to its end.
    pub(super) fn end(mut self) {
        self.done = true;
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        let TransferCounters { done, failed, under_way, counts, nanos } = self.counters;
        under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.done {
            failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let at = bucket(took, FIRST_TRANSFER_BOUND_NANOS).min(TRANSFER_BOUNDS);
        counts[at].fetch_add(1, Ordering::Relaxed);
        nanos.fetch_add(took, Ordering::Relaxed);
    }
}

/// The first of the bounds `first`, twice that, and so on, that is not less than `nanos`.
fn bucket(nanos: u64, first: u64) -> usize {
    let bounds_below = nanos.saturating_sub(1) / first;
    (u64::BITS - bounds_below.leading_zeros()) as usize
}

impl PeerCounters {
    /// It can be reached, or it cannot.
    pub(super) fn set_connected(&self, connected: bool) {
        if self.connected.swap(connected, Ordering::Relaxed) && !connected {
            self.disconnects.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A ping was answered.
    pub(super) fn round_trip(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = bucket(nanos, FIRST_BOUND_NANOS);
        self.round_trips[at.min(BOUNDS)].fetch_add(1, Ordering::Relaxed);
        self.round_trip_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn read(&self, id: NodeId) -> PeerMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sum = Duration::from_nanos(read(&self.round_trip_nanos));
        PeerMetrics {
            id,
            connected: self.connected.load(Ordering::Relaxed),
            disconnects: read(&self.disconnects),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
            dropped: read(&self.dropped),
            broken: read(&self.broken),
            round_trips: RoundTrips { counts: self.round_trips.each_ref().map(read), sum },
            snapshots_sent: self.sending.read(),
            snapshots_received: self.receiving.read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A time in the wrong bucket makes a slow network look fast.
    #[test]
    fn a_round_trip_counts_below_the_first_bound_that_is_not_less() {
        let cases = [
            (0, 0),
            (1, 0),
            (100, 0),
            (101, 1),
            (200, 1),
            (201, 2),
            (3_276_800, 15),
            (3_276_801, 16),
        ];
        for (micros, expected) in cases {
            let counters = PeerCounters::default();
            counters.round_trip(Duration::from_micros(micros));
            let read = counters.read(7).round_trips;
            let at = read.buckets().position(|(_, count)| count == 1);
            assert_eq!(at, Some(expected), "{micros} µs");
            let (bound, _) = read.buckets().nth(expected).expect("there is such a bucket");
            assert!(bound.is_none_or(|bound| Duration::from_micros(micros) <= bound));
            assert_eq!(read.sum(), Duration::from_micros(micros));
        }
    }

    // One that is cut must not look like one that came, nor stay on its way for ever.
    #[test]
    fn a_transfer_is_done_at_its_end_and_has_failed_otherwise() {
        let counters = PeerCounters::default();
        let (first, second) = (counters.sending.begin(), counters.sending.begin());
        assert_eq!(counters.read(7).snapshots_sent.under_way, 2);
        first.end();
        drop(second);
        let Transfers { done, failed, under_way, counts, .. } = counters.read(7).snapshots_sent;
        assert_eq!((done, failed, under_way), (1, 1, 0));
        assert_eq!(counts.iter().sum::<u64>(), 1, "only what is done has a time");
        assert_eq!(counters.read(7).snapshots_received, Transfers::default());
    }

    // Whoever was never there has not been lost.
    #[test]
    fn a_disconnect_is_the_end_of_a_connection() {
        let counters = PeerCounters::default();
        counters.set_connected(false);
        assert_eq!(counters.read(1).disconnects, 0);
        counters.set_connected(true);
        counters.set_connected(true);
        counters.set_connected(false);
        counters.set_connected(false);
        assert_eq!(counters.read(1).disconnects, 1);
    }
}
