//! R2: allocations an entry, of all three nodes together.

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::allocator;
use drystone_versus::raft::throughput::Throughput;

use crate::Options;
use crate::contender::with_core;
use crate::report::{Row, Want};

/// Entries at once, and how many allocations an entry may take of us.
const BATCHES: [(u64, Option<f64>); 3] = [(1, None), (16, Some(2.0)), (64, Some(2.0))];

/// Entries of a turn.
const ENTRIES: u64 = 64_000;

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (batch, most) in BATCHES {
        let mut figures = Vec::new();
        for contender in &options.contenders {
            let count = with_core!(*contender, Core => {
                let mut group = Throughput::<Core>::start()?;
                group.turn(ENTRIES, batch)?;
                allocator::count(true);
                let sample = group.turn(ENTRIES, batch)?;
                allocator::count(false);
                sample.allocations()
            });
            figures.extend(count.map(|count| (*contender, count)));
        }
        let want = most.map_or(Want::Nothing, |most| Want::Figure(Goal::AtMost(most)));
        rows.push(Row::counted(format!("R2 allocations an entry, {batch} at once"), want, figures));
    }
    Ok(rows)
}
