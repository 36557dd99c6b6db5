//! Which past states are still looked at.
//!
//! A compaction may drop a version of a key when no snapshot can tell it from a newer one. So it
//! asks here which snapshots there are; one that is taken later stands at or above everything that
//! is visible by then, and needs none of what the compaction drops.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::key::SeqNo;
use crate::ratchet::Ratchet;

/// The snapshots taken and not yet dropped.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// By number: how many, and when the first of them was taken.
    live: Mutex<BTreeMap<SeqNo, (usize, Duration)>>,
}

impl Registry {
    /// Registers a snapshot of what is visible now.
    pub(crate) fn take(&self, ratchet: &Ratchet, now: Duration) -> SeqNo {
        let mut live = self.live.lock();
        // Under the lock: a compaction that lists the snapshots sees this one, or has listed them
        // before, and then dropped nothing that is needed at a number read after that.
        let seq = ratchet.visible();
        live.entry(seq).or_insert((0, now)).0 += 1;
        seq
    }

    /// Another reference to a registered number.
    pub(crate) fn again(&self, seq: SeqNo, now: Duration) {
        self.live.lock().entry(seq).or_insert((0, now)).0 += 1;
    }

    pub(crate) fn drop(&self, seq: SeqNo) {
        let mut live = self.live.lock();
        let entry = live.get_mut(&seq).expect("registered");
        entry.0 -= 1;
        if entry.0 == 0 {
            live.remove(&seq);
        }
    }

    /// The numbers, ascending.
    pub(crate) fn list(&self) -> Vec<SeqNo> {
        self.live.lock().keys().copied().collect()
    }

    /// How many there are, and when the oldest was taken.
    pub(crate) fn stats(&self) -> (usize, Option<Duration>) {
        let live = self.live.lock();
        let count = live.values().map(|(count, _)| count).sum();
        (count, live.values().map(|(_, since)| *since).min())
    }
}
