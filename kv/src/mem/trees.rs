//! One state of all spaces.

use bytes::Bytes;

use super::tree::Tree;
use crate::engine::{Batch, Change, EngineStats, Space};

/// A tree for each space, and which batches they show. Cloning it takes constant time.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    spaces: [Tree; Space::COUNT],
    batches: u64,
}

impl Trees {
    /// The state that these trees make up, in the order of [`Space::ALL`].
    pub(super) fn new(spaces: [Tree; Space::COUNT]) -> Self {
        Self { spaces, batches: 0 }
    }

    /// No records.
    pub(super) fn empty() -> Self {
        Self::new(std::array::from_fn(|_| Tree::new()))
    }

    /// How many batches were applied to this state since it was made.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }

    pub(super) fn space(&self, space: Space) -> &Tree {
        &self.spaces[space.index()]
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        self.space(space).get(key).cloned()
    }

    pub(super) fn apply(&mut self, batch: Batch) {
        self.batches += 1;
        for change in batch {
            match change {
                Change::Put { space, key, value } => {
                    self.spaces[space.index()].insert(key, value);
                }
                Change::Delete { space, key } => {
                    self.spaces[space.index()].remove(&key);
                }
            }
        }
    }

    pub(super) fn stats(&self) -> EngineStats {
        let mut stats = EngineStats::default();
        for (tree, records) in self.spaces.iter().zip(&mut stats.records) {
            let tally = tree.tally();
            stats.bytes += tally.bytes();
            stats.bytes_in_use += tally.bytes_in_use();
            *records = tally.records;
        }
        // A state file is always whole, and lies beside the one before until it is.
        stats.persist_bytes = stats.bytes_in_use;
        stats.growth_bytes = stats.bytes_in_use;
        stats
    }
}
