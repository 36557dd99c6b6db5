//! Lanes: one task of a job may find no place where another of the same job still does.
//!
//! Mostly all tasks of a job ask for the same, and if there is no place for one there is none for
//! any. But a task that ran out of memory may ask for more from then on, and tasks of different
//! partitions go to different nodes. Those of one lane ask for the same; a lane without a place is
//! *out* for the rest of the job's turn, and the others go on. Without this, a rack that is off
//! would hold back the tasks of all other racks.

use std::collections::BTreeSet;

use super::memory::{Memory, Search};
use crate::mirror::Job;
use crate::spec::{Placement, Strategy};
use crate::types::UnixMs;

/// Lanes that are found out in one turn, at most: each costs a decision.
pub(super) const OUT_MAX: usize = 256;

/// How many partitions the tasks of a job are cut into.
pub fn partitions(placement: &Placement) -> u32 {
    match placement.strategy {
        Strategy::Partition { partitions, .. } => partitions.max(1),
        _ => 1,
    }
}

/// The lanes of one job, in one turn.
#[derive(Debug)]
pub(super) struct Lanes {
    partitions: u32,
    /// Those without a place: what memory was asked for if it was raised, and the partition.
    out: BTreeSet<(Option<u64>, u32)>,
    search: Search,
}

impl Lanes {
    pub(super) fn new(placement: &Placement) -> Lanes {
        let (out, search) = (BTreeSet::new(), Search::default());
        Lanes { partitions: partitions(placement), out, search }
    }

    /// The next slot that may have a place now.
    pub(super) fn next(&mut self, memory: &Memory, job: &Job, now: UnixMs) -> Option<u32> {
        if self.out.is_empty() {
            return memory.next(now);
        }
        if self.out.len() >= OUT_MAX {
            return None;
        }
        let Lanes { partitions, out, search } = self;
        let is_out = |index: u32| out.contains(&lane(*partitions, job, index));
        let plain = out.iter().take_while(|(raised, _)| raised.is_none()).count();
        if plain < *partitions as usize {
            return memory.next_but(now, search, is_out);
        }
        memory.raised(now).find(|index| !is_out(*index))
    }

    /// There is no place for this one, nor for those that ask for the same.
    pub(super) fn shut(&mut self, job: &Job, index: u32) {
        self.out.insert(lane(self.partitions, job, index));
    }

    /// Whether somebody found no place.
    pub(super) fn any_out(&self) -> bool {
        !self.out.is_empty()
    }
}

fn lane(partitions: u32, job: &Job, index: u32) -> (Option<u64>, u32) {
    let raised = job.tasks.get(&index).and_then(|it| it.value.memory);
    (raised, index % partitions)
}
