//! Entries through a group of three: what one costs in CPU time, and in allocations.
//!
//! ```text
//!   propose a batch ──▶ settle: everything is said, committed and applied on all three ──▶ again
//! ```
//!
//! One batch is in the group at a time. Nothing ticks meanwhile: what is measured is replication.

use anyhow::{Result, ensure};

use super::cluster::Cluster as _;
use super::group::Group;
use super::replica::{Applied, Payload, Replica, Shape};
use crate::cost::{Cost, Meters};

/// Batches between two compactions, so that logs stay short.
const COMPACT_BATCHES: u64 = 512;

/// Entries that a compaction leaves.
const KEEP: u64 = 16;

/// A group of three that has a leader.
pub struct Throughput<R: Replica> {
    group: Group<R>,
    leader: usize,
    number: u64,
    /// Of all payloads so far.
    expected: Applied,
    batch: Vec<Payload>,
}

/// What a turn took.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Entries proposed, committed, and applied three times.
    pub entries: u64,
    /// Messages for them.
    pub messages: u64,
    /// All that was spent.
    pub cost: Cost,
}

impl Sample {
    /// Entries a second of CPU time.
    #[must_use]
    pub fn per_cpu_second(&self) -> f64 {
        self.entries as f64 / self.cost.cpu().as_secs_f64()
    }

    /// Entries a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.entries as f64 / self.cost.wall.as_secs_f64()
    }

    /// Allocations an entry, if they were counted.
    #[must_use]
    pub fn allocations(&self) -> f64 {
        self.cost.allocations as f64 / self.entries as f64
    }

    /// Messages an entry.
    #[must_use]
    pub fn messages(&self) -> f64 {
        self.messages as f64 / self.entries as f64
    }
}

impl<R: Replica> Throughput<R> {
    /// Starts a group and has a leader elected.
    ///
    /// # Errors
    /// If the group refuses.
    pub fn start() -> Result<Throughput<R>> {
        let mut group = Group::new(Shape::of(3), 0, 1)?;
        let leader = group.elect()?;
        let expected = Applied::default();
        Ok(Throughput { group, leader, number: 0, expected, batch: Vec::new() })
    }

    /// Has so many entries applied by all, in batches.
    ///
    /// # Errors
    /// If one is lost, or the group refuses.
    pub fn turn(&mut self, entries: u64, batch: u64) -> Result<Sample> {
        let sent = self.group.sent();
        let before = Meters::read()?;
        let batches = entries / batch;
        for i in 0..batches {
            self.batch.clear();
            for _ in 0..batch {
                self.number += 1;
                self.expected.count += 1;
                self.expected.sum = self.expected.sum.wrapping_add(self.number);
                self.batch.push(Payload { number: self.number, word: 0 });
            }
            self.group.propose(self.leader, &self.batch)?;
            self.group.settle()?;
            if i % COMPACT_BATCHES == 0 {
                self.group.compact(KEEP)?;
            }
        }
        let cost = before.spent()?;
        let applied = self.group.applied_by_all()?;
        let expected = self.expected;
        ensure!(applied == expected, "{}: {applied:?} applied, not {expected:?}", R::NAME);
        Ok(Sample { entries: batches * batch, messages: self.group.sent() - sent, cost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::ours::Ours;
    use crate::raft::raft_rs::{RaftRs, RaftRsAsOne};

    /// Entries that nobody applied would be the fastest of all.
    #[test]
    fn everything_is_applied_everywhere() {
        let mut one_by_one = Throughput::<RaftRs>::start().unwrap();
        assert_eq!(one_by_one.turn(100, 1).unwrap().entries, 100);
        assert_eq!(one_by_one.turn(128, 64).unwrap().entries, 128);
        assert_eq!(one_by_one.group.applied_by_all().unwrap().count, 228);
        let mut as_one = Throughput::<RaftRsAsOne>::start().unwrap();
        assert_eq!(as_one.turn(128, 64).unwrap().messages() * 64.0, 8.0);
        let mut ours = Throughput::<Ours>::start().unwrap();
        // So many that all of a log was compacted more than once.
        ours.turn(4000, 1).unwrap();
        ours.turn(128, 64).unwrap();
        assert_eq!(ours.group.applied_by_all().unwrap().count, 4128);
    }
}
