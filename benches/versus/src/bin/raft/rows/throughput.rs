//! R1: committed entries a CPU-second.

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::throughput::{Sample, Throughput};
use drystone_versus::rounds::{Unit, rounds};

use crate::Options;
use crate::contender::{Contender, with_core};
use crate::report::{Row, Want};
use crate::rows::figures;

/// Entries at once, how many in all for a turn, and how many times those of raft-rs we want.
const BATCHES: [(u64, u64, f64); 2] = [(1, 300_000, 3.0), (64, 2_000_000, 1.5)];

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let mut who = Vec::new();
    let mut units: Vec<Unit<'_, Sample>> = Vec::new();
    for (batch, entries, _) in BATCHES {
        for contender in &options.contenders {
            let entries = options.work(entries);
            let unit = with_core!(*contender, Core => {
                let mut group = Throughput::<Core>::start()?;
                Unit {
                    name: format!("{}, {batch} at once", contender.name()),
                    run: Box::new(move || group.turn(entries, batch)),
                }
            });
            if let Some(unit) = unit {
                who.push((batch, *contender));
                units.push(unit);
            }
        }
    }
    let samples = rounds("entries", &mut units, options.rounds(), options.seed)?;
    let mut rows = Vec::new();
    for (batch, _, times) in BATCHES {
        let of = |of| figures(&who, &samples, batch, of);
        let mut row = |what, want, figures| {
            rows.push(Row { what: format!("R1 {what}, {batch} at once"), want, figures });
        };
        let goal = Want::Times(Contender::RaftRs, Goal::AtLeast(times));
        row("entries/CPU-s", goal, of(Sample::per_cpu_second));
        row("entries/s", Want::Nothing, of(Sample::per_second));
        row("messages an entry", Want::Nothing, of(Sample::messages));
    }
    Ok(rows)
}
