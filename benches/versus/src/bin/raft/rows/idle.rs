//! R4: what it costs to do nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::idle::{TICK, cpu_of_a_tick, memory};

use crate::Options;
use crate::contender::with_core;
use crate::report::{Row, Want};

/// Groups of three that do nothing.
const GROUPS: u64 = 100_000;

/// Ticks that are measured.
const TICKS: u32 = 5;

/// Cores that the groups have.
const CORES: f64 = 2.0;

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let mut bytes = Vec::new();
    let mut cpu = BTreeMap::new();
    for contender in &options.contenders {
        let memory = with_core!(*contender, Core => memory::<Core>()?);
        bytes.extend(memory.map(|memory| (*contender, memory)));
    }
    for round in 1..=options.rounds() {
        eprintln!("idle groups: round {round} of {}", options.rounds());
        for contender in &options.contenders {
            let spent = with_core!(*contender, Core => {
                cpu_of_a_tick::<Core>(options.work(GROUPS), TICKS)?
            });
            if let Some(spent) = spent {
                // All of them, if only a part has been measured.
                let all = spent.as_secs_f64() * GROUPS as f64 / options.work(GROUPS) as f64;
                let share = 100.0 * all / (TICK.as_secs_f64() * CORES);
                cpu.entry(*contender).or_insert_with(Vec::new).push(share);
            }
        }
    }
    let follower = bytes.iter().map(|(it, memory)| (*it, memory.follower as f64));
    let group = bytes.iter().map(|(it, memory)| (*it, memory.group as f64));
    let most = |bound| Want::Figure(Goal::AtMost(bound));
    Ok(vec![
        Row::counted("R4 bytes of an idle follower", most(640.0), follower),
        Row::counted("R4 bytes of an idle group of three", most(3584.0), group),
        Row {
            what: format!("R4 % of two cores, {GROUPS} idle groups, ticks of {TICK:?}"),
            want: most(1.0),
            figures: cpu,
        },
    ])
}
