//! What the leader remembers of a job so that it need not look at all of its tasks.
//!
//! ```text
//!   index   0                      fresh            count
//!           ├──────────────────────┼────────────────┤
//!           │ marks, tasks, flying │ never begun    │
//!           │ holes: none of these │                │
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::Rank;
use super::services::Heard;
use crate::control::service::Start;
use crate::mirror::Job;
use crate::place::ClassId;
use crate::record::{MARKS_CHUNK, Mark, Reason, TaskWait};
use crate::types::{JobKey, Revision, UnixMs};

/// What is remembered of one job.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When the key of the job that it is about was made.
    pub(super) made: Revision,
    /// What made it.
    pub(super) owner: Option<JobKey>,
    /// What it waits for, each once.
    pub(super) waits_for: Vec<JobKey>,
    /// Where it stands in the queue, or stood.
    pub(super) rank: Option<Rank>,
    /// How its tasks are placed, by the generation that said so; none of one that nobody can place.
    pub(super) class: Option<(u64, Option<ClassId>)>,
    /// How many tasks there are.
    pub(super) count: u32,
    /// From here on, none was ever begun.
    pub(super) fresh: u32,
    /// Below that, slots without a task, a mark or a bind under way.
    holes: BTreeSet<u32>,
    /// Tasks without a run, by when they may have one.
    due: BTreeSet<(UnixMs, u32)>,
    due_at: BTreeMap<u32, UnixMs>,
    /// Those of them that ask for more than the others, after they ran out of memory.
    raised: BTreeSet<u32>,
    /// Binds under way.
    flying: BTreeSet<u32>,
    /// Those of them whose slots have no task in the copy yet.
    new: BTreeSet<u32>,
    /// Of a gated job: slots that may begin.
    open: Bits,
    /// Of a gated job: slots that never will, and are not marked yet.
    pub(super) walled: BTreeSet<u32>,
    /// Of a gated job: chunks of which somebody it waits for has ended more tasks.
    pub(super) chunks: BTreeSet<u32>,
    /// Slots only appear when what they depend on says so: none are fresh.
    pub(super) gated: bool,
    /// Of a gated job: all its slots have been looked at.
    pub(super) is_opened: bool,
    /// Of a service: places that shall have a run, and which.
    pub(super) starts: BTreeMap<u32, Start>,
    /// Of a service: when it was heard how its runs are.
    pub(super) heard: Heard,
    /// Why its runs are stopped, if they are.
    pub(super) stopping: Option<Reason>,
    /// Tasks whose runs must be told.
    pub(super) to_stop: BTreeSet<u32>,
    /// It is being removed, and its results were looked for.
    pub(super) is_leaving: bool,
}

/// How far one has searched for a slot with a place.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// All before are out, of those that are due.
    due: (UnixMs, u32),
    /// And of those without a task.
    slot: u32,
}

/// A bit for each slot: a set that costs what one does, and asks for no more than a look.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn insert(&mut self, index: u32) {
        let at = index as usize / 64;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (index % 64);
    }
}

impl Memory {
    /// Of a job as the copy has it.
    pub(super) fn new(made: Revision, count: u32, gated: bool, job: &Job) -> Memory {
        let fresh = if gated { count } else { begun(job).min(count) };
        let mut memory = Memory { made, count, fresh, gated, ..Memory::default() };
        if !gated {
            for index in 0..fresh {
                memory.recheck(index, Some(job));
            }
        }
        let from = if gated { 0 } else { fresh };
        for (&index, _) in job.tasks.range(from..) {
            memory.recheck(index, Some(job));
        }
        memory
    }

    /// Looks at one slot again.
    pub(super) fn recheck(&mut self, index: u32, job: Option<&Job>) {
        if let Some(at) = self.due_at.remove(&index) {
            self.due.remove(&(at, index));
        }
        self.holes.remove(&index);
        self.raised.remove(&index);
        let task = job.and_then(|job| job.tasks.get(&index));
        if task.is_some() {
            self.new.remove(&index);
            self.fresh = self.fresh.max(index + 1);
        }
        if self.flying.contains(&index) {
            return;
        }
        match task.map(|task| &task.value.wait) {
            Some(TaskWait::Due { not_before }) => {
                self.due.insert((*not_before, index));
                self.due_at.insert(index, *not_before);
                if task.is_some_and(|it| it.value.memory.is_some()) {
                    self.raised.insert(index);
                }
            }
            Some(TaskWait::Bound { .. }) if self.stopping.is_some() => {
                self.to_stop.insert(index);
            }
            Some(TaskWait::Bound { .. }) => {}
            None => {
                let begins =
                    if self.gated { self.open.contains(index) } else { index < self.fresh };
                if begins && job.is_none_or(|job| job.mark(index) == Mark::None) {
                    self.holes.insert(index);
                }
            }
        }
    }

    /// Of a gated job: whether it is known that this slot may begin.
    pub(super) fn is_open(&self, index: u32) -> bool {
        self.open.contains(index)
    }

    /// Of a gated job: this slot may begin, now and for ever.
    pub(super) fn open(&mut self, index: u32, job: &Job) {
        self.open.insert(index);
        self.recheck(index, Some(job));
    }

    /// Tasks without a run, by index.
    pub(super) fn due(&self) -> impl Iterator<Item = u32> {
        self.due_at.keys().copied()
    }

    /// A slot that may have a run now.
    pub(super) fn next(&self, now: UnixMs) -> Option<u32> {
        if let Some(&(at, index)) = self.due.first()
            && at <= now
        {
            return Some(index);
        }
        let hole = self.holes.first().copied();
        hole.or_else(|| (self.fresh < self.count).then_some(self.fresh))
    }

    /// As [`Memory::next`], but none of those for which there is no place. They stay so as long as
    /// one searches: each is passed once.
    pub(super) fn next_but(
        &self,
        now: UnixMs,
        search: &mut Search,
        is_out: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        for &(at, index) in self.due.range(search.due..).take_while(|(at, _)| *at <= now) {
            if !is_out(index) {
                return Some(index);
            }
            search.due = (at, index + 1);
        }
        for &index in self.holes.range(search.slot..) {
            if !is_out(index) {
                return Some(index);
            }
            search.slot = index + 1;
        }
        (self.fresh.max(search.slot)..self.count).find(|index| !is_out(*index))
    }

    /// Tasks without a run that ask for more memory than the others, and may have one now.
    pub(super) fn raised(&self, now: UnixMs) -> impl Iterator<Item = u32> {
        let is_due = move |index: &&u32| self.due_at.get(index).is_some_and(|at| *at <= now);
        self.raised.iter().filter(is_due).copied()
    }

    /// When the next that waits for its time may have a run.
    pub(super) fn next_due(&self) -> Option<UnixMs> {
        self.due.first().map(|(at, _)| *at)
    }

    /// No task waits longer than until then. Only a clock that was set makes one wait longer: the
    /// leader's that wrote down the time, or this one's.
    pub(super) fn bound_due(&mut self, latest: UnixMs) {
        let late = self.due.split_off(&(latest + 1, 0));
        for (_, index) in late {
            self.due.insert((latest, index));
            self.due_at.insert(index, latest);
        }
    }

    /// A bind of this slot is under way.
    pub(super) fn fly(&mut self, index: u32) {
        match self.due_at.remove(&index) {
            Some(at) => drop(self.due.remove(&(at, index))),
            None => drop(self.new.insert(index)),
        }
        self.holes.remove(&index);
        self.raised.remove(&index);
        if self.fresh <= index {
            // Those before it, if any, had no place: they are looked at again as holes.
            self.holes.extend(self.fresh..index);
            self.fresh = index + 1;
        }
        assert!(self.flying.insert(index), "a slot is bound by one transaction at a time");
    }

    /// It is not any more.
    pub(super) fn unfly(&mut self, index: u32, job: Option<&Job>) {
        if self.flying.remove(&index) {
            self.new.remove(&index);
            self.recheck(index, job);
        }
    }

    /// How many have a run, or are about to.
    pub(super) fn running(&self, job: &Job) -> usize {
        let bound = job.tasks.len().saturating_sub(self.due.len());
        bound + self.new.len()
    }

    /// Nothing is under way for it.
    pub(super) fn is_still(&self) -> bool {
        self.flying.is_empty()
    }

    /// All its runs must be told to stop, for this reason.
    pub(super) fn stop(&mut self, why: Reason, job: &Job) {
        if self.stopping != Some(why) {
            self.stopping = Some(why);
            self.to_stop = job.tasks.keys().copied().collect();
        }
    }

    /// They need not any more.
    pub(super) fn go_on(&mut self) {
        self.stopping = None;
        self.to_stop.clear();
    }

    pub(super) fn check(&self, job: &Job) {
        for index in &self.holes {
            assert!(!job.tasks.contains_key(index), "a hole has no task: {index}");
            assert_eq!(job.mark(*index), Mark::None, "a hole has not ended: {index}");
        }
        for (_, index) in &self.due {
            assert!(
                job.tasks
                    .get(index)
                    .is_some_and(|it| matches!(it.value.wait, TaskWait::Due { .. })),
                "a due task has no run: {index}"
            );
        }
    }
}

/// One more than the last that was ever begun.
fn begun(job: &Job) -> u32 {
    let task = job.tasks.last_key_value().map_or(0, |(index, _)| index + 1);
    let marked = job.marks.last_key_value().map_or(0, |(chunk, marks)| {
        // Zeros at the end are left out, so the last byte has a mark.
        let bytes = u32::try_from(marks.value.bits.len()).expect("a chunk is small");
        chunk * MARKS_CHUNK + bytes * 4
    });
    task.max(marked)
}
