//! Merges for a disk that is nearly full: those that bring deletes down and what is due, the
//! lightest first.
//!
//! A merge writes what stays of its inputs before these go, and on a full disk the most urgent one
//! may not fit, today or ever. What would make room must not stand in line behind it.
//!
//! ```text
//!   level 0   [dd][dddd]                 deletes of all there is, small
//!   level 5   [████][████][████][████]   too large by much, and so the most urgent: does not fit
//!   level 6   [██████████████████████]
//!              └──► level 0 first: what it hides in level 5 goes, and then there is room
//! ```

use std::sync::Arc;

use super::pick::{self, Hull, Job, closure, has_deletes, job};
use crate::config::{LEVELS, Policy, Sizes};
use crate::core::Running;
use crate::memtable::KeyspaceId;
use crate::run::TableFile;
use crate::table::TableId;
use crate::version::{Tree, Version};

/// All of them that can be begun now, the lightest first.
pub(crate) fn jobs(
    version: &Version,
    policy: impl Fn(KeyspaceId) -> Policy,
    running: &[Running],
    sizes: &Sizes,
) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    jobs.extend(pick::pick(version, &policy, running, sizes));
    for tree in version.trees().iter().filter(|tree| policy(tree.id) == Policy::Leveled) {
        jobs.extend(from_level_0(tree, running, sizes));
        jobs.extend((1..LEVELS).flat_map(|level| from_level(tree, level, running)));
    }
    jobs.sort_by_key(weight);
    jobs
}

/// Deletes of level 0, with all that they have to take along, into the base.
fn from_level_0<'a>(
    tree: &'a Tree,
    running: &'a [Running],
    sizes: &Sizes,
) -> impl Iterator<Item = Job> + 'a {
    let output_level = pick::below_level_0(tree, sizes);
    let all: Vec<&Arc<TableFile>> = tree.sublevels.iter().flat_map(|run| run.tables()).collect();
    let seeds = tree.sublevels.first().map_or(&[][..], |run| run.tables());
    seeds.iter().filter(|seed| seed.is_usable()).filter_map(move |seed| {
        let inputs = closure(seed, &all)?;
        let deletes = inputs.iter().any(|table| has_deletes(table));
        let hull = Hull::of(&inputs);
        deletes.then(|| job(tree, inputs, &hull, output_level, running)).flatten()
    })
}

/// Tables of a level that have deletes, one at a time, into the next.
fn from_level<'a>(
    tree: &'a Tree,
    level: usize,
    running: &'a [Running],
) -> impl Iterator<Item = Job> + 'a {
    let ready = |table: &&Arc<TableFile>| table.is_usable() && has_deletes(table);
    tree.level(level).tables().iter().filter(ready).filter_map(move |table| {
        let inputs = vec![Arc::clone(table)];
        let hull = Hull::of(&inputs);
        job(tree, inputs, &hull, level + 1, running)
    })
}

/// About so many bytes are written before anything goes. In the lowest level each delete hides a
/// record of usual size, if there are as many; above, it may hide nothing yet.
pub(crate) fn weight(job: &Job) -> u64 {
    if job.moves || job.drops() {
        return 0;
    }
    let sum = |of: fn(&TableFile) -> u64| job.inputs.iter().map(|table| of(table)).sum::<u64>();
    let bytes = sum(|table| table.meta().bytes);
    if !job.bottom {
        return bytes;
    }
    let deletes = sum(|table| table.meta().deletes);
    let records = sum(|table| table.meta().entries.saturating_sub(table.meta().deletes)).max(1);
    let stay = records.saturating_sub(deletes);
    u64::try_from(u128::from(bytes) * u128::from(stay) / u128::from(records)).unwrap_or(u64::MAX)
}

/// Merges that were tried and did not fit.
#[derive(Debug, Default)]
pub(crate) struct Misfits(Vec<Vec<TableId>>);

impl Misfits {
    /// Each may write all that there is room for before it gives up: no more than so many.
    const TRIES: usize = 16;

    /// Whether this one may be tried, which counts as tried from here on.
    pub(crate) fn admit(&mut self, job: &Job) -> bool {
        let ids: Vec<TableId> = job.inputs.iter().map(|table| table.meta().id).collect();
        let new = self.0.len() < Misfits::TRIES && !self.0.contains(&ids);
        if new {
            self.0.push(ids);
        }
        new
    }
}
