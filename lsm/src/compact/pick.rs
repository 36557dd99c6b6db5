//! Which tables to merge next.
//!
//! **Leveled.** The lowest level is as large as it is; each one above should be a tenth of the one
//! below, up to the *base*: the first that would be small enough to be what level 0 is compacted
//! into. Levels above the base are empty. So the shape follows the data, and no level is ever far
//! from the size that makes rewriting cheapest.
//!
//! ```text
//!   level 0   4 sub-levels           score 4 / 4 = 1.0
//!   level 4   -                      above the base: empty
//!   level 5   90 MiB of 60           score 1.5        ◄── this one first
//!   level 6   600 MiB                the lowest: never too large
//! ```
//!
//! A level that scores 1 or more is due, the highest first. From level 0 go the tables that overlap
//! the oldest, and what overlaps those; from another level goes the one table that drags along the
//! least of the next. Tables that another compaction reads are left alone, and so is every key
//! range that one is writing into.
//!
//! **Tiered.** All tables stay on level 0, as runs. When there are enough of them, neighbours of
//! similar size are merged into one run.

use std::sync::Arc;

use super::dropped::has_expired;
use crate::config::{FANOUT, LEVELS, Policy, Sizes};
use crate::core::Running;
use crate::memtable::KeyspaceId;
use crate::run::{Run, TableFile};
use crate::version::{Tree, Version};

/// Runs of a tiered keyspace from which on they are merged, and how many at most at once.
const TIERS_DUE: usize = 6;
const TIERS_MAX: usize = 12;

/// A table overlaps no more of the next level than so many full ones.
const OVERLAPPED_TABLES_MAX: u64 = 4;

/// What a compaction is to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) space: KeyspaceId,
    pub(crate) inputs: Vec<Arc<TableFile>>,
    pub(crate) output_level: usize,
    /// Nothing older can be left anywhere in the inputs' range.
    pub(crate) bottom: bool,
    /// The tables need only be told another level.
    pub(crate) moves: bool,
    /// They are all that the keyspace has.
    pub(crate) whole: bool,
    pub(crate) running: Running,
}

/// The most urgent thing to do, if anything is due.
pub(crate) fn pick(
    version: &Version,
    policy: impl Fn(KeyspaceId) -> Policy,
    running: &[Running],
    sizes: &Sizes,
) -> Option<Job> {
    let due = sizes.due_table_bytes(version.bytes());
    let mut best: Vec<(f64, Arc<Tree>, usize)> = Vec::new();
    for tree in version.trees() {
        let scores = match policy(tree.id) {
            Policy::Leveled => scores(tree, sizes),
            Policy::Tiered => vec![(tree.sublevels.len() as f64 / TIERS_DUE as f64, 0)],
        };
        let due = scores.into_iter().filter(|(score, _)| *score >= 1.0);
        best.extend(due.map(|(score, level)| (score, Arc::clone(tree), level)));
    }
    best.sort_by(|a, b| b.0.total_cmp(&a.0));
    best.iter().find_map(|(_, tree, level)| match policy(tree.id) {
        Policy::Leveled if *level == 0 => from_level_0(tree, running, sizes, due),
        Policy::Leveled => from_level(tree, *level, running),
        Policy::Tiered => from_tiers(tree, running),
    })
}

/// The level that level 0 is compacted into.
pub(crate) fn base_level(tree: &Tree, sizes: &Sizes) -> usize {
    let mut target = tree.level(LEVELS).bytes();
    let mut level = LEVELS;
    while target > sizes.base_bytes && level > 1 {
        target /= FANOUT;
        level -= 1;
    }
    level
}

/// The level that level 0 is compacted into, as levels lie now. Whatever lies above the base is
/// older than level 0, and must not be passed by.
pub(super) fn below_level_0(tree: &Tree, sizes: &Sizes) -> usize {
    let base = base_level(tree, sizes);
    (1..=base).find(|level| !tree.level(*level).is_empty()).unwrap_or(base)
}

/// How urgent each level is.
fn scores(tree: &Tree, sizes: &Sizes) -> Vec<(f64, usize)> {
    let base = base_level(tree, sizes);
    let level_0: u64 = tree.sublevels.iter().map(|run| run.bytes()).sum();
    let by_bytes = level_0 as f64 / sizes.base_bytes as f64;
    let mut scores = vec![(tree.level_0_pressure().max(by_bytes), 0)];
    let mut target = tree.level(LEVELS).bytes().max(1) as f64;
    for level in (1..LEVELS).rev() {
        target /= FANOUT as f64;
        let bytes = tree.level(level).bytes() as f64;
        if bytes > 0.0 {
            // Above the base nothing should be.
            let score = if level < base { 2.0 } else { bytes / target.max(1.0) };
            scores.push((score, level));
        }
    }
    scores
}

/// The oldest tables of level 0 and all that they overlap, into the base.
fn from_level_0(tree: &Tree, running: &[Running], sizes: &Sizes, due: u64) -> Option<Job> {
    let output_level = below_level_0(tree, sizes);
    let all: Vec<&Arc<TableFile>> = tree.sublevels.iter().flat_map(|run| run.tables()).collect();
    let seeds = tree.sublevels.first()?.tables();
    for (at, seed) in seeds.iter().enumerate().filter(|(_, seed)| seed.is_usable()) {
        let Some(inputs) = closure(seed, &all) else { continue };
        let hull = Hull::of(&inputs);
        let Some(mut job) = job(tree, inputs, &hull, output_level, running) else { continue };
        // Tables that are told another level stay as small as they are: when tables are many,
        // neighbours are made one.
        if job.moves && due > sizes.table_bytes {
            let joined = joined(tree, &seeds[at..], due);
            let hull = Hull::of(&joined);
            if let Some(merge) = self::job(tree, joined, &hull, output_level, running) {
                job = Job { moves: merge.moves && merge.inputs.len() == 1, ..merge };
            }
        }
        return Some(job);
    }
    None
}

/// Whether the table, on that level, would drag along far more of the next than one that is written
/// for it: such a one is cut into pieces there. A few deletes may lie over all there is.
fn is_wide(table: &TableFile, tree: &Tree, level: usize) -> bool {
    let meta = table.meta();
    let next = level < LEVELS;
    let next = next.then(|| tree.level(level + 1).overlapping(&meta.smallest, meta.largest.key()));
    next.is_some_and(|next| next.len() as u64 > 2 * OVERLAPPED_TABLES_MAX)
}

/// The first of `tables` and those that follow it, up to `due` bytes, as long as they overlap no
/// other table anywhere.
fn joined(tree: &Tree, tables: &[Arc<TableFile>], due: u64) -> Vec<Arc<TableFile>> {
    let mut joined = vec![Arc::clone(&tables[0])];
    let mut bytes = tables[0].meta().bytes;
    for table in &tables[1..] {
        let (lo, hi) = (&table.meta().smallest[..], &table.meta().largest.key()[..]);
        let overlapped: usize = tree.runs().map(|run| run.overlapping(lo, hi).len()).sum();
        if bytes >= due || overlapped > 1 || !table.is_usable() {
            break;
        }
        bytes += table.meta().bytes;
        joined.push(Arc::clone(table));
    }
    joined
}

/// `seed`, what overlaps it, and what older tables those overlap, until nothing is added; nothing
/// if one of them cannot be had.
pub(super) fn closure(
    seed: &Arc<TableFile>,
    all: &[&Arc<TableFile>],
) -> Option<Vec<Arc<TableFile>>> {
    let mut taken = vec![false; all.len()];
    let overlaps = |a: &TableFile, b: &TableFile| {
        a.meta().overlaps(&b.meta().smallest, b.meta().largest.key())
    };
    for (i, table) in all.iter().enumerate() {
        taken[i] = overlaps(table, seed);
    }
    // `all` is ordered by sub-level: what is older than a table and overlaps it comes before it.
    loop {
        let mut grown = false;
        for newer in (0..all.len()).rev().filter(|i| taken[*i]).collect::<Vec<_>>() {
            for older in 0..newer {
                if !taken[older] && overlaps(all[older], all[newer]) {
                    taken[older] = true;
                    grown = true;
                }
            }
        }
        if !grown {
            break;
        }
    }
    let inputs: Vec<Arc<TableFile>> =
        all.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(t, _)| Arc::clone(t)).collect();
    inputs.iter().all(|table| table.is_usable()).then_some(inputs)
}

/// The table of a level that drags along the least of the next.
fn from_level(tree: &Tree, level: usize, running: &[Running]) -> Option<Job> {
    let output_level = level + 1;
    let next = tree.level(output_level);
    let mut candidates: Vec<(f64, &Arc<TableFile>)> = tree
        .level(level)
        .tables()
        .iter()
        .filter(|table| table.is_usable())
        .map(|table| (dragged(table, next), table))
        .collect();
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    candidates.into_iter().find_map(|(_, table)| {
        let inputs = vec![Arc::clone(table)];
        let hull = Hull::of(&inputs);
        job(tree, inputs, &hull, output_level, running)
    })
}

/// Bytes of the next level that are rewritten for each byte of the table. Deletes make a table more
/// urgent: what they hide takes space until they have gone down.
fn dragged(table: &TableFile, next: &Run) -> f64 {
    let meta = table.meta();
    let overlapped = next.overlapping(&meta.smallest, meta.largest.key());
    let bytes: u64 = overlapped.iter().map(|table| table.meta().bytes).sum();
    let deletes = (meta.deletes + meta.range_deletes) as f64 / meta.entries.max(1) as f64;
    bytes as f64 / meta.bytes.max(1) as f64 - deletes.min(1.0)
}

/// Neighbouring runs of a tiered keyspace, from the oldest on, of similar size.
fn from_tiers(tree: &Tree, running: &[Running]) -> Option<Job> {
    let runs = &tree.sublevels;
    let mut last = runs.len();
    // From the newest down: a run joins as long as it is not much larger than those above it
    // together; a single large one is not rewritten for a few small ones.
    let mut bytes: u64 = 0;
    let mut first = last;
    while first > 0 && last - first < TIERS_MAX {
        let run = &runs[first - 1];
        if last - first >= 2 && run.bytes() > 2 * bytes {
            break;
        }
        bytes += run.bytes();
        first -= 1;
    }
    if last - first < 2 {
        first = 0;
        last = runs.len().min(TIERS_MAX);
    }
    let mut inputs: Vec<Arc<TableFile>> =
        runs[first..last].iter().flat_map(|run| run.tables().iter().cloned()).collect();
    // Sub-levels are made by overlap: a newer table may lie low. Whatever is older than an input
    // and younger than another has to come along.
    let lo = inputs.iter().map(|table| table.meta().seq_min).min()?;
    let hi = inputs.iter().map(|table| table.meta().seq_max).max()?;
    for table in runs.iter().flat_map(|run| run.tables()) {
        let within = lo <= table.meta().seq_max && table.meta().seq_min <= hi;
        if within && !inputs.iter().any(|input| Arc::ptr_eq(input, table)) {
            inputs.push(Arc::clone(table));
        }
    }
    if !inputs.iter().all(|table| table.is_usable()) {
        return None;
    }
    let hull = Hull::of(&inputs);
    let oldest = inputs.iter().map(|table| table.meta().seq_min).min()?;
    let older = |table: &Arc<TableFile>| {
        let meta = table.meta();
        let input = inputs.iter().any(|input| Arc::ptr_eq(input, table));
        !input && meta.seq_min <= oldest && meta.overlaps(&hull.smallest, &hull.largest)
    };
    let bottom = !tree.tables().any(|(_, table)| older(table));
    let job = Job {
        space: tree.id,
        output_level: 0,
        bottom,
        moves: false,
        whole: false,
        running: hull.running(tree.id, 0),
        inputs,
    };
    (!running.iter().any(|other| other.conflicts(&job.running))).then_some(job)
}

/// A merge of every table of a keyspace into the lowest level there is, if that would free
/// anything: there are deletes or what has expired, or more than one place.
pub(crate) fn whole(
    tree: &Tree,
    running: &[Running],
    policy: Policy,
    now: Option<u64>,
) -> Option<Job> {
    let inputs: Vec<Arc<TableFile>> = tree.tables().map(|(_, table)| Arc::clone(table)).collect();
    let places = tree.runs().count();
    let expired = |table: &TableFile| now.is_some_and(|now| has_expired(table.meta(), now));
    let has_garbage = inputs.iter().any(|table| has_deletes(table) || expired(table));
    if inputs.is_empty() || places == 1 && !has_garbage {
        return None;
    }
    if !inputs.iter().all(|table| table.is_usable()) {
        return None;
    }
    let hull = Hull::of(&inputs);
    let output_level = if policy == Policy::Tiered { 0 } else { LEVELS };
    let job = Job {
        space: tree.id,
        output_level,
        bottom: true,
        moves: false,
        whole: true,
        running: hull.running(tree.id, output_level),
        inputs,
    };
    (!running.iter().any(|other| other.conflicts(&job.running))).then_some(job)
}

/// Keys before which tables of a level end, so that none of them overlaps more than a few of the
/// next: a table of deletes alone is small, and may lie over all there is.
pub(crate) fn stops(tree: &Tree, level: usize, table_bytes: u64) -> Vec<Vec<u8>> {
    let (mut stops, mut bytes) = (Vec::new(), 0);
    if level == LEVELS {
        return stops;
    }
    for table in tree.level(level + 1).tables() {
        if bytes >= OVERLAPPED_TABLES_MAX * table_bytes {
            stops.push(table.meta().smallest.to_vec());
            bytes = 0;
        }
        bytes += table.meta().bytes;
    }
    stops
}

pub(crate) fn has_deletes(table: &TableFile) -> bool {
    table.meta().deletes > 0 || table.meta().range_deletes > 0
}

/// A job for `inputs` of one level (or of level 0), with what they overlap below.
pub(super) fn job(
    tree: &Tree,
    mut inputs: Vec<Arc<TableFile>>,
    hull: &Hull,
    output_level: usize,
    running: &[Running],
) -> Option<Job> {
    let below = tree.level(output_level).overlapping(&hull.smallest, &hull.largest);
    if !below.iter().all(|table| table.is_usable()) {
        return None;
    }
    let deeper = (output_level + 1..=LEVELS)
        .any(|level| !tree.level(level).overlapping(&hull.smallest, &hull.largest).is_empty());
    let alone = below.is_empty() && Run::new(inputs.clone()).is_ok();
    // Deletes that arrive at the bottom have nothing left to do there.
    let deletes = || inputs.iter().filter(|table| has_deletes(table));
    let moves = match deeper {
        true => alone && !deletes().any(|table| is_wide(table, tree, output_level)),
        false => alone && deletes().next().is_none(),
    };
    inputs.extend(below.iter().cloned());
    let hull = Hull::of(&inputs);
    let running_here = hull.running(tree.id, output_level);
    if running.iter().any(|other| other.conflicts(&running_here)) {
        return None;
    }
    // What the tables below stretch over may have company further down.
    let bottom = !(output_level + 1..=LEVELS)
        .any(|level| !tree.level(level).overlapping(&hull.smallest, &hull.largest).is_empty());
    let (space, running) = (tree.id, running_here);
    Some(Job { space, inputs, output_level, bottom, moves, whole: false, running })
}

/// The key range that tables span together.
#[derive(Debug)]
pub(super) struct Hull {
    smallest: Vec<u8>,
    largest: Vec<u8>,
}

impl Hull {
    pub(super) fn of(tables: &[Arc<TableFile>]) -> Hull {
        let smallest = tables.iter().map(|table| &table.meta().smallest).min();
        let largest = tables.iter().map(|table| table.meta().largest.key()).max();
        Hull {
            smallest: smallest.expect("a job has inputs").to_vec(),
            largest: largest.expect("a job has inputs").to_vec(),
        }
    }

    pub(super) fn running(&self, space: KeyspaceId, level: usize) -> Running {
        let (smallest, largest) = (self.smallest.clone(), self.largest.clone());
        Running { space, level, smallest, largest }
    }
}

impl Running {
    /// Whether two compactions would write into the same place.
    pub(super) fn conflicts(&self, other: &Running) -> bool {
        self.space == other.space
            && self.level == other.level
            && self.smallest <= other.largest
            && other.smallest <= self.largest
    }
}
