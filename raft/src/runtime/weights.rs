//! How much of a log lies behind an index, in bytes.
//!
//! The log is kept for a follower that is catching up as long as that costs no more than so many
//! bytes. Where that bound lies is remembered in steps: a mark for each [`STEP`] bytes of
//! commands.

use std::collections::VecDeque;

use crate::types::Index;

/// Bytes between two marks. The bound is met within this.
const STEP: u64 = 1 << 20;

/// How much of a group's log lies behind an index.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Ends of steps, oldest first, and all bytes up to there.
    marks: VecDeque<(Index, u64)>,
    total: u64,
}

impl Weights {
    /// What follows `last` is counted; what lies before it was counted by nobody.
    pub(crate) fn new(last: Index) -> Weights {
        Weights { marks: VecDeque::from([(last, 0)]), total: 0 }
    }

    /// An entry of so many bytes follows.
    pub(crate) fn push(&mut self, index: Index, bytes: u64) {
        self.total += bytes;
        let before = self.marks.back().map_or(0, |(_, bytes)| *bytes);
        if self.total - before >= STEP {
            self.marks.push_back((index, self.total));
        }
    }

    /// The first mark behind which the log takes no more than `bytes_max`; 0 if all of it does.
    /// What lies before it is forgotten.
    pub(crate) fn bound(&mut self, bytes_max: u64) -> Index {
        let mut bound = Index(0);
        if self.total <= bytes_max {
            return bound;
        }
        while let Some((index, bytes)) = self.marks.front() {
            bound = *index;
            if self.total - bytes <= bytes_max || self.marks.len() == 1 {
                break;
            }
            self.marks.pop_front();
        }
        bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound that is met too early sends snapshots to followers that are a little behind; one
    /// that is met too late fills the disk.
    #[test]
    fn bound_is_met_within_a_step() {
        let mut weights = Weights::new(Index(100));
        for index in 101..=1100 {
            weights.push(Index(index), 64 << 10);
        }
        assert_eq!(weights.bound(1000 << 16), Index(0), "all of it fits");
        // Sixteen entries are a step, and 62 and a half steps there are.
        assert_eq!(weights.bound(10 << 20), Index(100 + 53 * 16));
        assert_eq!(weights.bound(u64::MAX), Index(0));
        assert!(weights.marks.len() <= 11, "what lies before the bound is forgotten");
        weights.push(Index(1101), 100 << 20);
        assert_eq!(weights.bound(1), Index(1101), "the newest entries are never asked to go");
    }
}
