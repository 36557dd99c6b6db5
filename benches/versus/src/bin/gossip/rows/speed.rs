//! G1: steps of members a second of wall time, at rest and with much to tell; and ten thousand.

use std::time::Instant;

use drystone_sim::Rate;
use drystone_versus::gossip::Subject;

use super::{Answer, Row};
use crate::Options;
use crate::goals::{Goal, OURS, of};

/// Members.
const MEMBERS: [usize; 2] = [128, 512];

/// At 30 % loss foca's members suspect each other all the time, and every packet is full.
const LOSS_PERCENT: [u32; 2] = [0, 30];

/// Seconds of theirs, in each of the rounds.
const SECONDS: u64 = 60;
const ROUNDS: usize = 3;

/// As many as ours must bear, alone.
const MANY: usize = 10_000;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    for percent in LOSS_PERCENT {
        for &members in options.members(&MEMBERS) {
            let rates = rates(options, subjects, members, percent);
            let label = format!("G1 steps/s of wall time, {members}, {percent} % loss");
            let cells = rates.iter().map(|rate| format!("{:.0} k", rate / 1e3)).collect();
            rows.push(Row { label, cells });
            if let Some(ours) = of(OURS, subjects, &rates)
                && (members, percent) == (512, 0)
            {
                let asked = "G1 512 at rest: at least a million steps/s of wall time";
                goals.push(Goal::new(asked, format!("{:.2} M", ours / 1e6), *ours >= 1e6));
            }
        }
    }
    if let Some(ours) = of(OURS, subjects, subjects).filter(|_| options.members.is_empty()) {
        let from = Instant::now();
        let seconds = options.scaled(SECONDS);
        ours.speed(MANY, options.seed, Rate::NEVER, seconds);
        let took = from.elapsed().as_secs_f64();
        let asked = format!("G1 {MANY} made warm and {seconds} s of theirs: s of wall time <= 600");
        goals.push(Goal::at_most(asked, took, 600.0));
    }
    Answer { rows, goals }
}

/// All take turns, so that a busy minute of the machine hits everyone; the best round counts.
fn rates(options: &Options, subjects: &[&dyn Subject], members: usize, percent: u32) -> Vec<f64> {
    let mut best = vec![0.0_f64; subjects.len()];
    for _ in 0..ROUNDS {
        for (best, subject) in best.iter_mut().zip(subjects) {
            let seconds = options.scaled(SECONDS);
            let (steps, took) =
                subject.speed(members, options.seed, Rate::percent(percent), seconds);
            *best = best.max(steps as f64 / took.as_secs_f64());
        }
    }
    best
}
