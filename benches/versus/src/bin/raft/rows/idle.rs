//! R4: what it costs to do nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::idle::{TICK, cpu_of_a_tick, memory, memory_of_all};
use drystone_versus::raft::openraft::Story;

use crate::Options;
use crate::contender::{Contender, with_cluster, with_core};
use crate::report::{Row, Want};

/// Groups of three that do nothing.
const GROUPS: u64 = 100_000;

/// As many of openraft, which asks for 5 MB a group; the rest is counted as if it were like them.
const GROUPS_OF_TASKS: u64 = 100;

/// Ticks that are measured.
const TICKS: u32 = 5;

/// Cores that the groups have.
const CORES: f64 = 2.0;

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let (mut follower, mut group) = (Vec::new(), Vec::new());
    let mut cpu = BTreeMap::new();
    for contender in &options.contenders {
        if let Some(memory) = with_core!(*contender, Core => memory::<Core>()?) {
            follower.push((*contender, memory.follower as f64));
            group.push((*contender, memory.group as f64));
        } else {
            group.push((*contender, memory_of_all::<Story>()? as f64));
        }
    }
    for round in 1..=options.rounds() {
        eprintln!("idle groups: round {round} of {}", options.rounds());
        for contender in &options.contenders {
            let groups = match contender {
                Contender::Openraft => GROUPS_OF_TASKS,
                _ => options.work(GROUPS),
            };
            if let Some(spent) = with_cluster!(*contender, It => {
                cpu_of_a_tick::<It>(groups, TICKS)?
            }) {
                let all = spent.as_secs_f64() * GROUPS as f64 / groups as f64;
                let share = 100.0 * all / (TICK.as_secs_f64() * CORES);
                cpu.entry(*contender).or_insert_with(Vec::new).push(share);
            }
        }
    }
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
