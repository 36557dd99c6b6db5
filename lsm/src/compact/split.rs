//! One compaction in parts, by key, so that threads with nothing to do can help.
//!
//! ```text
//!   inputs    [    ][        ][   ]  [          ]  [     ]
//!             [          ][               ][             ]
//!   cuts                 │               │
//!   parts     0 ─────────┼ 1 ────────────┼ 2 ────────────     each a merge of its own
//!             │          │               │
//!   outputs   [   ][    ][      ][     ] [   ][    ][   ]     one edit of the manifest
//! ```
//!
//! A cut is a user key: all versions of a key are in one part, and so is everything that decides
//! what becomes of them. Range deletes are cut there as well, as they are between two tables.
//!
//! Whoever has the compaction takes one part after the other; other threads take parts, too, while
//! there are any. Nobody is waited for but those who have begun. In how many parts a compaction is
//! cut depends on its size alone, so that one thread writes the same tables as several.
//! What it brings is measured by `examples/parts_speed.rs`.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::inputs;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::merge::MergeCursor;
use crate::outputs::{Outputs, Plan};
use crate::range_del::Fragments;
use crate::run::TableFile;
use crate::sieve::{Rules, Sieve};
use crate::table::TableMeta;
use crate::work::panicked;

/// A part has at least as many bytes as so many tables: each may leave one that is not full.
const PART_TABLES_MIN: u64 = 3;
/// The most parts of one compaction.
const PARTS_MAX: u64 = 8;
/// Entries after which a part looks up.
const LOOK_UP: u32 = 1024;

/// What a part has written: the tables, and where they are.
pub(super) type Written = Vec<(TableMeta, PathBuf)>;

/// A compaction that is being done. See the module.
pub(crate) struct Split {
    inputs: Vec<Arc<TableFile>>,
    keyspace: Arc<Shared>,
    /// Taken after the inputs were chosen: a snapshot taken later needs nothing that goes.
    snapshots: Vec<SeqNo>,
    ranges: Fragments,
    bottom: bool,
    plan: Plan,
    /// Ascending; the first key of each part but part 0.
    cuts: Vec<Vec<u8>>,
    course: Mutex<Course>,
    /// Somebody has come to the end of a part.
    ended: Condvar,
}

/// How far it is.
#[derive(Default)]
struct Course {
    /// The part to be taken next.
    next: usize,
    running: usize,
    done: Vec<(usize, Written)>,
    /// The first failure: no part is begun after it.
    failed: Option<Error>,
}

impl Split {
    pub(super) fn new(
        inputs: Vec<Arc<TableFile>>,
        snapshots: Vec<SeqNo>,
        bottom: bool,
        plan: Plan,
    ) -> Split {
        let cuts = cuts(&inputs, plan.table_bytes);
        Split::at(cuts, inputs, snapshots, bottom, plan)
    }

    fn at(
        cuts: Vec<Vec<u8>>,
        inputs: Vec<Arc<TableFile>>,
        snapshots: Vec<SeqNo>,
        bottom: bool,
        plan: Plan,
    ) -> Split {
        let ranges: Vec<_> =
            inputs.iter().flat_map(|table| table.table.range_dels().iter()).collect();
        Split {
            cuts,
            inputs,
            keyspace: Arc::clone(&plan.keyspace),
            snapshots,
            ranges: Fragments::build(ranges),
            bottom,
            plan,
            course: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub(super) fn parts(&self) -> usize {
        self.cuts.len() + 1
    }

    /// A part that nobody has taken, if there is one.
    fn take(&self) -> Option<usize> {
        let mut course = self.course.lock();
        let is_open = course.next < self.parts() && course.failed.is_none();
        is_open.then(|| {
            course.running += 1;
            course.next += 1;
            course.next - 1
        })
    }

    fn end(&self, part: usize, outcome: Result<Written>) {
        let mut course = self.course.lock();
        course.running -= 1;
        match outcome {
            Ok(written) => course.done.push((part, written)),
            Err(error) => drop(course.failed.get_or_insert(error)),
        }
        drop(course);
        self.ended.notify_all();
    }

    fn has_failed(&self) -> bool {
        self.course.lock().failed.is_some()
    }

    /// Takes a part and does it; whether there was one. Calls `meanwhile` now and then. A panic
    /// fails the compaction.
    pub(crate) fn help(&self, core: &Core, meanwhile: &dyn Fn()) -> bool {
        let Some(part) = self.take() else { return false };
        let merged = catch_unwind(AssertUnwindSafe(|| self.merge(part, core, meanwhile)));
        self.end(part, merged.unwrap_or_else(|panic| Err(panicked(&*panic))));
        true
    }

    /// Does all parts that nobody else takes, and waits for those. The tables are in order.
    pub(super) fn finish(self: &Arc<Split>, core: &Core) -> Result<Written> {
        let offer = Offer { core, split: self };
        if self.parts() > 1 {
            core.work.offer(self);
        }
        while let Some(part) = self.take() {
            let turn = Turn { split: self, part, outcome: None };
            turn.end(self.merge(part, core, &|| ()));
        }
        let mut course = offer.close();
        if let Some(error) = course.failed.take() {
            return Err(error);
        }
        let mut done = std::mem::take(&mut course.done);
        done.sort_unstable_by_key(|(part, _)| *part);
        assert_eq!(done.len(), self.parts(), "what has not failed was done");
        Ok(done.into_iter().flat_map(|(_, written)| written).collect())
    }

    /// Where a part begins and ends.
    fn bounds(&self, part: usize) -> (Option<&[u8]>, Option<&[u8]>) {
        let lower = part.checked_sub(1).map(|before| &self.cuts[before][..]);
        (lower, self.cuts.get(part).map(Vec::as_slice))
    }

    /// Merges the entries of a part into new tables.
    fn merge(&self, part: usize, core: &Core, meanwhile: &dyn Fn()) -> Result<Written> {
        let (lower, upper) = self.bounds(part);
        let rules = Rules {
            lower: lower.map(<[u8]>::to_vec),
            upper: upper.map(<[u8]>::to_vec),
            keyspace: Arc::clone(&self.keyspace),
            snapshots: self.snapshots.clone(),
            ranges: self.ranges.clip(lower, upper),
            bottom: self.bottom,
            filter: true,
        };
        let mut sieve = Sieve::new(MergeCursor::new(inputs(&self.inputs)), rules)?;
        let next_id = Box::new(|| core.next_table());
        let mut outputs = Outputs::new(self.plan.clone(), sieve.ranges(), next_id);
        let mut count = 0_u32;
        while let Some(kept) = sieve.kept() {
            outputs.add(kept)?;
            sieve.next()?;
            count = count.wrapping_add(1);
            if count.is_multiple_of(LOOK_UP) {
                if core.work.stopping() || self.has_failed() {
                    return Err(Error::Closed);
                }
                meanwhile();
            }
        }
        outputs.finish()
    }
}

/// A part under way: one that is left by a panic has failed.
struct Turn<'a> {
    split: &'a Split,
    part: usize,
    outcome: Option<Result<Written>>,
}

impl Turn<'_> {
    fn end(mut self, outcome: Result<Written>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.split.end(self.part, self.outcome.take().unwrap_or(Err(Error::Closed)));
    }
}

/// A compaction that others may help with. In the end nobody is at it any more, however it ends,
/// and what was written and is not wanted is gone.
struct Offer<'a> {
    core: &'a Core,
    split: &'a Arc<Split>,
}

impl Offer<'_> {
    /// Waits until nobody is at it.
    fn close(&self) -> parking_lot::MutexGuard<'_, Course> {
        self.core.work.withdraw(self.split);
        let mut course = self.split.course.lock();
        course.next = self.split.parts();
        while course.running > 0 {
            self.split.ended.wait(&mut course);
        }
        course
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        let done = std::mem::take(&mut self.close().done);
        let written = done.iter().flat_map(|(_, written)| written);
        self.core.remove_files(written.map(|(_, path)| path));
    }
}

/// Keys at which a compaction of `inputs` is cut.
fn cuts(inputs: &[Arc<TableFile>], table_bytes: u64) -> Vec<Vec<u8>> {
    let total: u64 = inputs.iter().map(|table| table.meta().bytes).sum();
    let parts = (total / (PART_TABLES_MIN * table_bytes)).clamp(1, PARTS_MAX);
    let mut cuts: Vec<Vec<u8>> = Vec::new();
    if parts == 1 {
        return cuts;
    }
    // Keys with about as many bytes behind each as were counted for it.
    let mut samples: Vec<(&[u8], u64)> =
        inputs.iter().flat_map(|table| table.table.samples()).collect();
    samples.sort_unstable();
    let first = samples.first().map_or(&[][..], |(key, _)| key);
    let mut passed = 0;
    for (key, bytes) in &samples {
        let due = total * (cuts.len() as u64 + 1) / parts;
        let last = cuts.last().map_or(first, Vec::as_slice);
        if passed >= due && last < *key && (cuts.len() as u64) < parts - 1 {
            cuts.push(key.to_vec());
        }
        passed += bytes;
    }
    cuts
}
