//! Tables that nobody can see anything of: dropped without a look at them.
//!
//! * All of it has expired, and nothing older lies below that would come to light.
//! * One range delete of a newer place covers all of it, and no snapshot stands between the two.
//!   What lies below is older still, and covered as well.
//!
//! ```text
//!   level 0       [---------------- delete ----------------)
//!   level 5         [    ✗    ] [    ✗    ] [    ✗    ]   [         ]
//!   level 6       [ ✗ ][ ✗ ][ ✗ ][ ✗ ][ ✗ ][ ✗ ][ ✗ ][         ][    ]
//! ```

use std::sync::Arc;

use crate::config::LEVELS;
use crate::core::Running;
use crate::key::SeqNo;
use crate::run::{Run, TableFile};
use crate::table::{TableMeta, Upper};
use crate::version::{Tree, Version};

use super::pick::{Hull, Job};

/// Such a drop writes to no level.
const NOWHERE: usize = LEVELS + 1;

/// What can be dropped of some keyspace, if anything. `now` tells the time for a keyspace that
/// expires.
pub(crate) fn pick(
    version: &Version,
    running: &[Running],
    snapshots: &[SeqNo],
    now: impl Fn(&Tree) -> Option<u64>,
) -> Option<Job> {
    version.trees().iter().find_map(|tree| {
        let inputs = invisible(tree, snapshots, now(tree));
        if inputs.is_empty() {
            return None;
        }
        let running_here = Hull::of(&inputs).running(tree.id, NOWHERE);
        let job = Job {
            space: tree.id,
            inputs,
            output_level: NOWHERE,
            bottom: false,
            moves: false,
            whole: false,
            running: running_here,
        };
        (!running.iter().any(|other| other.conflicts(&job.running))).then_some(job)
    })
}

impl Job {
    /// Whether the inputs go, and nothing comes in their place.
    pub(crate) fn drops(&self) -> bool {
        self.output_level == NOWHERE
    }
}

fn invisible(tree: &Tree, snapshots: &[SeqNo], now: Option<u64>) -> Vec<Arc<TableFile>> {
    if now.is_none() && !tree.runs().any(|run| run.has_ranges()) {
        return Vec::new();
    }
    let runs: Vec<&Arc<Run>> = tree.runs().collect();
    let mut invisible = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let (newer, older) = (&runs[..at], &runs[at + 1..]);
        for table in run.tables().iter().filter(|table| table.is_usable()) {
            let expired = now.is_some_and(|now| has_expired(table.meta(), now))
                && !older.iter().any(|run| overlaps(run, table.meta()));
            if expired || newer.iter().any(|run| is_covered(table.meta(), run, snapshots)) {
                invisible.push(Arc::clone(table));
            }
        }
    }
    invisible
}

/// Whether all in the table has a time, and it is past.
pub(crate) fn has_expired(meta: &TableMeta, now: u64) -> bool {
    meta.time_max != 0 && meta.time_max <= now
}

fn overlaps(run: &Run, meta: &TableMeta) -> bool {
    !run.overlapping(&meta.smallest, meta.largest.key()).is_empty()
}

/// Whether one range delete of `run`, which is newer, hides all of the table from everybody.
fn is_covered(meta: &TableMeta, run: &Run, snapshots: &[SeqNo]) -> bool {
    let ranges = run.range_dels(&meta.smallest);
    let Some(cover) = ranges.and_then(|ranges| ranges.covering(&meta.smallest, SeqNo::MAX)) else {
        return false;
    };
    let whole = match &meta.largest {
        Upper::At(key) => **key < *cover.end,
        Upper::Before(key) => **key <= *cover.end,
    };
    // A snapshot before the delete may see something of the table: what it wrote has numbers from
    // its lowest on, or has number 0 and was visible to all.
    let seen = snapshots.iter().any(|snapshot| meta.seq_min <= *snapshot && *snapshot < cover.seq);
    whole && meta.seq_max < cover.seq && !seen
}
