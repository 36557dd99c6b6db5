//! What a running member counts beside [what the core does](crate::Stats).

use std::sync::atomic::{AtomicU64, Ordering};

/// What the sockets and the file have seen since the member began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Datagrams that came.
    pub datagrams_in: u64,
    /// Datagrams that the core refused: garbage, or of strangers.
    pub datagrams_refused: u64,
    /// Datagrams that went.
    pub datagrams_out: u64,
    /// Datagrams that the system did not take: its buffer was full, or there is no way there.
    pub datagrams_unsent: u64,
    /// Messages that came by stream.
    pub frames_in: u64,
    /// Messages by stream that the core refused. Each ends its connection.
    pub frames_refused: u64,
    /// Messages that went by stream.
    pub frames_out: u64,
    /// Messages by stream that were dropped: the peer could not be reached, or was too slow.
    pub frames_unsent: u64,
    /// Connections that were taken.
    pub guests: u64,
    /// Connections that were ended because they broke a rule: silent, too slow, too long a frame.
    pub guests_shown_out: u64,
    /// Connections that gave way to newer ones.
    pub guests_displaced: u64,
    /// Snapshots that were written.
    pub snapshots: u64,
    /// Snapshots that could not be.
    pub snapshots_failed: u64,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_in: AtomicU64,
    pub(super) datagrams_refused: AtomicU64,
    pub(super) datagrams_out: AtomicU64,
    pub(super) datagrams_unsent: AtomicU64,
    pub(super) frames_in: AtomicU64,
    pub(super) frames_refused: AtomicU64,
    pub(super) frames_out: AtomicU64,
    pub(super) frames_unsent: AtomicU64,
    pub(super) guests: AtomicU64,
    pub(super) guests_shown_out: AtomicU64,
    pub(super) guests_displaced: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) snapshots_failed: AtomicU64,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Counts several.
pub(super) fn add(counter: &AtomicU64, several: usize) {
    // Counters order nothing.
    counter.fetch_add(several as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn read(&self) -> Metrics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            datagrams_in: of(&self.datagrams_in),
            datagrams_refused: of(&self.datagrams_refused),
            datagrams_out: of(&self.datagrams_out),
            datagrams_unsent: of(&self.datagrams_unsent),
            frames_in: of(&self.frames_in),
            frames_refused: of(&self.frames_refused),
            frames_out: of(&self.frames_out),
            frames_unsent: of(&self.frames_unsent),
            guests: of(&self.guests),
            guests_shown_out: of(&self.guests_shown_out),
            guests_displaced: of(&self.guests_displaced),
            snapshots: of(&self.snapshots),
            snapshots_failed: of(&self.snapshots_failed),
        }
    }
}
