//! R5: ticks from a leader's death to the next leader.

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::failover::{Failover, Ticks, failover};
use drystone_versus::raft::replica::ELECTION_TICKS;

use crate::Options;
use crate::contender::{Contender, with_cluster};
use crate::report::{Row, Want};

/// Voters, and the mean and the 99th percentile of ticks that are wanted of us.
const GROUPS: [(u64, Option<f64>, f64); 2] = [(3, Some(13.0), 25.0), (5, None, 30.0)];

/// What is wanted of the longest.
const MOST: f64 = 4.0 * ELECTION_TICKS as f64;

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for delay in [0, 1] {
        for (voters, mean, p99) in GROUPS {
            let plan = Failover { voters, delay };
            eprintln!("failover: {plan:?}");
            let mut all: Vec<(Contender, Ticks)> = Vec::new();
            for contender in &options.contenders {
                let runs = with_cluster!(*contender, It => {
                    let runs = seeds(options).map(|seed| failover::<It>(plan, seed));
                    runs.collect::<Result<Vec<_>>>()?
                });
                if let Some(runs) = runs {
                    // To be looked into: `--only r5 --seed N --seeds 1` runs it alone.
                    let ticks = |it: &Option<u64>| it.unwrap_or(u64::MAX);
                    let worst = seeds(options).zip(&runs).max_by_key(|(_, it)| ticks(it));
                    if let Some((seed, ticks)) = worst {
                        eprintln!("  {}: longest with seed {seed}: {ticks:?}", contender.name());
                    }
                    all.push((*contender, Ticks::of(runs)));
                }
            }
            let mut row = |what: &str, goal: Option<f64>, of: fn(&Ticks) -> f64| {
                let what = format!("R5 {what}, {voters} nodes, messages take {delay}");
                let want = goal.map_or(Want::Nothing, |most| Want::Figure(Goal::AtMost(most)));
                rows.push(Row::counted(what, want, all.iter().map(|(it, all)| (*it, of(all)))));
            };
            row("ticks, mean", mean, Ticks::mean);
            row("ticks, p99", Some(p99), |ticks| ticks.permille(990));
            row("ticks, max", Some(MOST), Ticks::max);
        }
    }
    Ok(rows)
}

fn seeds(options: &Options) -> std::ops::Range<u64> {
    options.seed..options.seed + options.work(options.seeds)
}
