//! What a transport has done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::tcp::refusal::{Refusal, RefusalKind};

/// Numbers since the start. Each only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections to peers that came about.
    pub dialled: u64,
    /// Connections from peers that came about.
    pub accepted: u64,
    /// Connections that somebody opened, whatever came of them.
    pub opened: u64,
    /// Messages written to a socket.
    pub messages_sent: u64,
    /// Frames written, pings among them.
    pub frames_sent: u64,
    /// Bytes of frames written.
    pub bytes_sent: u64,
    /// Messages read and handed on.
    pub messages_received: u64,
    /// Frames of messages read.
    pub frames_received: u64,
    /// Messages dropped because a peer's queue was full.
    pub dropped_full: u64,
    /// Messages dropped because there is no such peer, or its connection broke.
    pub dropped_unreachable: u64,
    /// Messages dropped because no frame may be so large.
    pub dropped_large: u64,
    /// Bytes of snapshots served to others.
    pub snapshot_bytes_sent: u64,
    /// Bytes of snapshots fetched from others.
    pub snapshot_bytes_received: u64,
    refused: Vec<u64>,
}

impl Metrics {
    /// How many connections were refused, or ended, for a reason of this kind.
    #[must_use]
    pub fn refused(&self, kind: RefusalKind) -> u64 {
        self.refused.get(kind as usize).copied().unwrap_or(0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) dialled: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) messages_sent: AtomicU64,
    pub(super) frames_sent: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) messages_received: AtomicU64,
    pub(super) frames_received: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_unreachable: AtomicU64,
    pub(super) dropped_large: AtomicU64,
    pub(super) snapshot_bytes_sent: AtomicU64,
    pub(super) snapshot_bytes_received: AtomicU64,
    refused: [AtomicU64; RefusalKind::ALL.len()],
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn refused(&self, refusal: &Refusal) {
        add(&self.refused[refusal.kind() as usize], 1);
    }

    pub(super) fn read(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            dialled: read(&self.dialled),
            accepted: read(&self.accepted),
            opened: read(&self.opened),
            messages_sent: read(&self.messages_sent),
            frames_sent: read(&self.frames_sent),
            bytes_sent: read(&self.bytes_sent),
            messages_received: read(&self.messages_received),
            frames_received: read(&self.frames_received),
            dropped_full: read(&self.dropped_full),
            dropped_unreachable: read(&self.dropped_unreachable),
            dropped_large: read(&self.dropped_large),
            snapshot_bytes_sent: read(&self.snapshot_bytes_sent),
            snapshot_bytes_received: read(&self.snapshot_bytes_received),
            refused: self.refused.iter().map(read).collect(),
        }
    }
}
