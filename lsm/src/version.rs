//! Which tables there are, at one moment: immutable, shared, replaced as a whole.
//!
//! A reader takes one reference to the current version and needs no lock from then on; a flush or a
//! compaction makes the next version beside it. Files that only old versions know are removed when
//! the last reader of those is done.
//!
//! ```text
//!   keyspace ─┬─ level 0   sub-level 2   ────[    ]──────────[  ]──     newest
//!             │            sub-level 1   ──[       ]───[        ]──
//!             │            sub-level 0   [    ][         ][       ]
//!             ├─ level 4   ─[  ]──[  ]────[  ]─                         the base of level 0
//!             ├─ level 5   [  ][  ][  ][  ][  ][  ]
//!             └─ level 6   [  ][  ][  ][  ][  ][  ][  ][  ][  ]         oldest
//! ```
//!
//! For any one key, everything that a higher place says, range deletes included, is newer than what
//! a lower one says. A search may therefore stop at the first answer.
//!
//! **Sub-levels.** Tables of level 0 come from flushes and overlap. Each is put on the lowest
//! sub-level above all older tables that it overlaps: how many places a reader must look in is the
//! number of sub-levels, not the number of tables.

use std::sync::Arc;

use crate::config::{LEVELS, SUBLEVELS_DUE};
use crate::memtable::KeyspaceId;
use crate::run::{Run, TableFile};
use crate::table::TableId;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Version {
    /// By id.
    trees: Vec<Arc<Tree>>,
}

/// The tables of one keyspace.
///
/// Invariants:
/// * `sublevels` are ordered from the oldest to the newest; each is a run.
/// * Of tables that overlap, the one on a higher place is newer as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) id: KeyspaceId,
    pub(crate) sublevels: Vec<Arc<Run>>,
    /// Levels 1 to [`LEVELS`].
    levels: Vec<Arc<Run>>,
}

/// Tables that come and go together.
#[derive(Debug, Default)]
pub(crate) struct Swap {
    pub(crate) add: Vec<(u8, Arc<TableFile>)>,
    pub(crate) remove: Vec<TableId>,
}

impl Version {
    pub(crate) fn new(mut trees: Vec<Arc<Tree>>) -> Version {
        trees.sort_by_key(|tree| tree.id);
        Version { trees }
    }

    pub(crate) fn trees(&self) -> &[Arc<Tree>] {
        &self.trees
    }

    /// The tables of a keyspace; nothing if it was dropped.
    pub(crate) fn tree(&self, id: KeyspaceId) -> Option<&Arc<Tree>> {
        let at = self.trees.binary_search_by_key(&id, |tree| tree.id).ok()?;
        Some(&self.trees[at])
    }

    /// This version with one tree replaced or added.
    pub(crate) fn with(&self, tree: Tree) -> Version {
        let mut trees: Vec<_> =
            self.trees.iter().filter(|other| other.id != tree.id).cloned().collect();
        trees.push(Arc::new(tree));
        Version::new(trees)
    }

    /// This version without a keyspace.
    pub(crate) fn without(&self, id: KeyspaceId) -> Version {
        Version::new(self.trees.iter().filter(|tree| tree.id != id).cloned().collect())
    }

    /// Bytes of all tables.
    pub(crate) fn bytes(&self) -> u64 {
        self.trees.iter().map(|tree| tree.bytes()).sum()
    }
}

impl Tree {
    /// A keyspace without tables.
    pub(crate) fn empty(id: KeyspaceId) -> Tree {
        Tree::new(id, Vec::new()).expect("nothing overlaps")
    }

    /// A tree of `tables` with the levels they stand on; the error says what is wrong with them.
    pub(crate) fn new(
        id: KeyspaceId,
        tables: Vec<(u8, Arc<TableFile>)>,
    ) -> Result<Tree, &'static str> {
        let mut levels: Vec<Vec<Arc<TableFile>>> = vec![Vec::new(); LEVELS + 1];
        for (level, table) in tables {
            levels[usize::from(level)].push(table);
        }
        let sublevels = sublevels(std::mem::take(&mut levels[0]))?;
        let levels = levels.into_iter().skip(1).map(|tables| Run::new(tables).map(Arc::new));
        Ok(Tree { id, sublevels, levels: levels.collect::<Result<_, _>>()? })
    }

    /// The tree after `swap`. Runs that it does not touch are shared. The error says what is wrong:
    /// tables can be made by hand that hold other keys than they say.
    pub(crate) fn after(&self, swap: &Swap) -> Result<Tree, &'static str> {
        let stays = |table: &Arc<TableFile>| !swap.remove.contains(&table.meta().id);
        let gains = |level: usize| {
            let gained = swap.add.iter().filter(move |(to, _)| usize::from(*to) == level);
            gained.map(|(_, table)| Arc::clone(table))
        };
        let level_0 = self.sublevels.iter().flat_map(|run| run.tables().iter().cloned());
        let level_0: Vec<_> = level_0.filter(|table| stays(table)).chain(gains(0)).collect();
        let sublevels = sublevels(level_0)?;
        let levels = (1..=LEVELS).map(|level| {
            let run = self.level(level);
            let untouched = gains(level).next().is_none() && run.tables().iter().all(stays);
            if untouched {
                return Ok(Arc::clone(run));
            }
            let tables = run.tables().iter().filter(|table| stays(table)).cloned();
            Run::new(tables.chain(gains(level)).collect()).map(Arc::new)
        });
        Ok(Tree { id: self.id, sublevels, levels: levels.collect::<Result<_, _>>()? })
    }

    /// Level 1 to [`LEVELS`].
    pub(crate) fn level(&self, level: usize) -> &Arc<Run> {
        &self.levels[level - 1]
    }

    /// Every run, the newest first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.sublevels.iter().rev().chain(&self.levels).filter(|run| !run.is_empty())
    }

    /// Every table, with its level.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (u8, &Arc<TableFile>)> {
        let level_0 = self.sublevels.iter().flat_map(|run| run.tables()).map(|table| (0, table));
        let levels = self.levels.iter().zip(1..);
        level_0.chain(levels.flat_map(|(run, level)| run.tables().iter().map(move |t| (level, t))))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.runs().map(|run| run.bytes()).sum()
    }

    /// Which tables there are, in one number: two trees with the same tables have the same.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.tables().fold(0, |sum: u64, (_, table)| {
            sum.wrapping_add(crate::key::hash(&table.meta().id.0.to_le_bytes()))
        })
    }

    /// How far level 0 has grown beyond what a compaction is due for, as a ratio.
    pub(crate) fn level_0_pressure(&self) -> f64 {
        self.sublevels.len() as f64 / SUBLEVELS_DUE as f64
    }
}

/// Puts each table of level 0 on the lowest sub-level above all older ones that it overlaps.
fn sublevels(mut tables: Vec<Arc<TableFile>>) -> Result<Vec<Arc<Run>>, &'static str> {
    // Of two tables that overlap, all writes in one are newer than all in the other.
    tables.sort_by_key(|table| (table.meta().seq_max, table.meta().id));
    let mut stacks: Vec<Vec<Arc<TableFile>>> = Vec::new();
    for table in tables {
        let meta = table.meta();
        let overlaps = |other: &Arc<TableFile>| {
            let other = other.meta();
            other.overlaps(&meta.smallest, meta.largest.key())
        };
        let top = stacks.iter().rposition(|stack| stack.iter().any(overlaps));
        let at = top.map_or(0, |top| top + 1);
        if at == stacks.len() {
            stacks.push(Vec::new());
        }
        stacks[at].push(table);
    }
    stacks.into_iter().map(|stack| Run::new(stack).map(Arc::new)).collect()
}
