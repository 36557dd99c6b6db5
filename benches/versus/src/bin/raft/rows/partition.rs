//! R6: wires are cut, and not all who could work together see it.

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::failover::Ticks;
use drystone_versus::raft::partition::{Outcome, SETTLING_TICKS, Topology, partition};

use crate::Options;
use crate::contender::{Contender, with_cluster};
use crate::report::{Row, Want};

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let seeds = options.seed..options.seed + options.work(options.seeds / 10);
    let mut rows = Vec::new();
    for (topology, delay) in Topology::ALL.into_iter().flat_map(|it| [(it, 0), (it, 1)]) {
        eprintln!("cut wires: {}, messages take {delay}", topology.name());
        let mut all: Vec<(Contender, Vec<Outcome>)> = Vec::new();
        for contender in &options.contenders {
            let outcomes = with_cluster!(*contender, It => {
                let runs = seeds.clone().map(|seed| partition::<It>(topology, delay, seed));
                runs.collect::<Result<Vec<_>>>()?
            });
            if let Some(outcomes) = outcomes {
                // To be looked into: `--only r6 --seed N --seeds 10` runs it alone.
                let ticks = |it: &Outcome| it.recovered.unwrap_or(u64::MAX);
                let worst = seeds.clone().zip(&outcomes).max_by_key(|(_, it)| ticks(it));
                if let Some((seed, outcome)) = worst {
                    eprintln!("  {}: longest with seed {seed}: {outcome:?}", contender.name());
                }
                all.push((*contender, outcomes));
            }
        }
        let mut row = |what: &str, want, of: &dyn Fn(&[Outcome]) -> f64| {
            let what = format!("R6 {}, messages take {delay}: {what}", topology.name());
            rows.push(Row::counted(what, want, all.iter().map(|(it, all)| (*it, of(all)))));
        };
        let ticks = |all: &[Outcome]| Ticks::of(all.iter().map(|it| it.recovered));
        let share = |all: &[Outcome]| {
            let ticks = ticks(all);
            1000.0 * ticks.within(SETTLING_TICKS) as f64 / ticks.runs() as f64
        };
        let mean = |all: &[Outcome], of: fn(&Outcome) -> u64| {
            all.iter().map(of).sum::<u64>() as f64 / all.len() as f64
        };
        row("recovered in 4 E, of 1000", Want::Figure(Goal::AtLeast(1000.0)), &share);
        row("ticks to recover, p99", Want::Nothing, &|all| ticks(all).permille(990));
        row("changes of leader", Want::Nothing, &|all| mean(all, |it| it.changes));
        row("changes after 4 E", Want::Nothing, &|all| mean(all, |it| it.late_changes));
    }
    Ok(rows)
}
