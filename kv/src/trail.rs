//! What the newest commands have done, as a number for each few hundred of them.
//!
//! **The problem.** Members apply the same commands and must come to the same state. Should one
//! not, because of a bug, a bit that fell over in memory, or a file that was exchanged, it answers
//! wrongly from then on; and whoever compares records alone hears of it when he comes by there.
//!
//! **The idea.** What a command changes is put into a sum while it is at hand: every change of the
//! engine, whether it was refused, and at the end of a block how large the store is. That is one
//! CRC-32 of bytes that are in the processor's cache, whatever the size of the store. Blocks are
//! cut by position in the log, so they are the same on every member:
//!
//! ```text
//!   log       … 511 │ 512 ─────────── 767 │ 768 ──────────── 1023 │ 1024 …
//!   block       1   │          2          │           3           │   4
//!   a member that opened its store at 600:     not whole │  known  │  known
//! ```
//!
//! A block is known to a member that has applied all of it since it was opened. Blocks of which
//! nobody has applied a command yet that comes after are not finished. Nothing is written down: a
//! member that starts anew begins anew, and what it has in its engine is compared otherwise
//! ([`Store::hash_part`](crate::Store::hash_part)).

use std::collections::VecDeque;

use crate::engine::Change;

/// Positions of the log in a block.
pub const BLOCK: u64 = 256;
/// Blocks that are remembered.
const BLOCKS_MAX: usize = 4096;

/// What the newest commands have done. Invariants:
///
/// - `done` ascends by number, all below `block`;
/// - there are at most `BLOCKS_MAX`.
#[derive(Debug)]
pub(crate) struct Trail {
    /// The block that the newest command is in.
    block: u64,
    /// All of that block was applied since the store was opened.
    whole: bool,
    crc: crc32fast::Hasher,
    done: VecDeque<BlockHash>,
}

/// A block, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHash {
    /// Which: positions from [`BLOCK`] times this.
    pub block: u64,
    /// The number.
    pub hash: u32,
}

/// How large a store is, at the end of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) revision: u64,
    pub(crate) keys: u64,
    pub(crate) leases: u64,
}

impl Trail {
    /// Of a store that has applied the log up to `applied`.
    pub(crate) fn begin(applied: u64) -> Trail {
        let (block, crc) = (applied / BLOCK, crc32fast::Hasher::new());
        Trail { block, whole: false, crc, done: VecDeque::new() }
    }

    /// The command at `index` comes next; so large is the store before it.
    pub(crate) fn enter(&mut self, index: u64, extent: impl FnOnce() -> Extent) {
        let block = index / BLOCK;
        if block == self.block {
            return;
        }
        let mut crc = std::mem::take(&mut self.crc);
        if self.whole {
            let Extent { revision, keys, leases } = extent();
            for number in [revision, keys, leases] {
                crc.update(&number.to_be_bytes());
            }
            if self.done.len() == BLOCKS_MAX {
                self.done.pop_front();
            }
            self.done.push_back(BlockHash { block: self.block, hash: crc.finalize() });
        }
        (self.block, self.whole) = (block, true);
    }

    /// The command at `index` was done, or refused, and has changed this.
    pub(crate) fn note<'a>(
        &mut self,
        index: u64,
        is_done: bool,
        changes: impl Iterator<Item = &'a Change>,
    ) {
        let crc = &mut self.crc;
        crc.update(&index.to_be_bytes());
        crc.update(&[u8::from(is_done)]);
        for change in changes {
            let (space, key, value) = match change {
                Change::Put { space, key, value } => (space, key, Some(value)),
                Change::Delete { space, key } => (space, key, None),
            };
            let space = u8::try_from(space.index()).expect("there are few spaces");
            crc.update(&[space, u8::from(value.is_some())]);
            crc.update(&(key.len() as u64).to_be_bytes());
            crc.update(key);
            crc.update(value.map_or(&[], |value| &value[..]));
        }
    }

    /// Finished blocks from number `first` on, the oldest first, at most `max`.
    pub(crate) fn blocks(&self, first: u64, max: usize) -> Vec<BlockHash> {
        let from = self.done.partition_point(|done| done.block < first);
        self.done.iter().skip(from).take(max).copied().collect()
    }

    /// The newest finished block.
    pub(crate) fn newest(&self) -> Option<BlockHash> {
        self.done.back().copied()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::{Key, Space};

    fn trail(applied: u64, indices: impl Iterator<Item = u64>, odd: Option<u64>) -> Trail {
        let mut trail = Trail::begin(applied);
        for index in indices {
            trail.enter(index, || Extent { revision: index, keys: 1, leases: 0 });
            let value = Bytes::from_static(if odd == Some(index) { b"b" } else { b"a" });
            let change = Change::Put { space: Space::Record, key: Key::new(b"k"), value };
            trail.note(index, true, [change].iter());
        }
        trail
    }

    // A member that has seen half of a block would be called wrong.
    #[test]
    fn blocks_are_known_to_those_who_applied_all_of_them() {
        let all = trail(0, 1..=4 * BLOCK, None);
        let numbers =
            |trail: &Trail| trail.blocks(0, 99).iter().map(|done| done.block).collect::<Vec<_>>();
        assert_eq!(numbers(&all), [1, 2, 3], "the first began with the store");
        let late = trail(BLOCK + 88, BLOCK + 89..=4 * BLOCK, None);
        assert_eq!(numbers(&late), [2, 3]);
        assert_eq!(late.blocks(0, 99), all.blocks(2, 99));
        assert_eq!(all.blocks(2, 1), [all.blocks(0, 99)[1]]);
        assert_eq!(all.newest(), all.blocks(3, 1).first().copied());
    }

    // One byte of one command makes its block another, and no other block.
    #[test]
    fn one_change_makes_one_block_another() {
        let (one, two) = (trail(0, 1..=4 * BLOCK, None), trail(0, 1..=4 * BLOCK, Some(700)));
        let differ = one.blocks(0, 99).into_iter().zip(two.blocks(0, 99)).filter(|(a, b)| a != b);
        assert_eq!(differ.map(|(a, _)| a.block).collect::<Vec<_>>(), [700 / BLOCK]);
    }

    // It is kept for ever, in memory.
    #[test]
    fn few_blocks_are_remembered() {
        let trail = trail(0, (1..5000).map(|block| block * BLOCK), None);
        assert_eq!(trail.done.len(), BLOCKS_MAX);
        assert_eq!(trail.newest().map(|done| done.block), Some(4998));
    }
}
