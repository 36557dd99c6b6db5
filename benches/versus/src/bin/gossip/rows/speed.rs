//! G1: steps of members a second of wall time, at rest and with much to tell.

use drystone_sim::Rate;
use drystone_versus::gossip::Subject;

use super::Row;
use crate::Options;

/// Members.
const MEMBERS: [usize; 2] = [128, 512];

/// At 30 % loss foca's members suspect each other all the time, and every packet is full.
const LOSS_PERCENT: [u32; 2] = [0, 30];

/// Seconds of theirs, in each of the rounds.
const SECONDS: u64 = 60;
const ROUNDS: usize = 3;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let mut rows = Vec::new();
    for percent in LOSS_PERCENT {
        for members in options.members(&MEMBERS) {
            rows.push(row(options, subjects, *members, percent));
        }
    }
    rows
}

/// All take turns, so that a busy minute of the machine hits everyone; the best round counts.
fn row(options: &Options, subjects: &[&dyn Subject], members: usize, percent: u32) -> Row {
    let mut best = vec![0.0_f64; subjects.len()];
    for _ in 0..ROUNDS {
        for (best, subject) in best.iter_mut().zip(subjects) {
            let seconds = options.scaled(SECONDS);
            let (steps, took) =
                subject.speed(members, options.seed, Rate::percent(percent), seconds);
            *best = best.max(steps as f64 / took.as_secs_f64());
        }
    }
    let cells = best.iter().map(|rate| format!("{:.0} k", rate / 1e3)).collect();
    Row { label: format!("G1 steps/s of wall time, {members}, {percent} % loss"), cells }
}
