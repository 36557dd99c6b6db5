//! G5: false downs while some members are blocked.

use drystone_membership_sim::scenario::anomaly::GRID;
use drystone_versus::gossip::Subject;

use super::{Answer, Row};
use crate::Options;
use crate::goals::{FOCA, Goal, OURS, SWIM, of};

const MEMBERS: usize = 128;
const SECONDS: u64 = 120;

/// The counts of single seeds differ by half.
const SEEDS: u64 = 20;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let seeds = options.seeds(SEEDS);
    let count = (seeds.end - seeds.start) as f64;
    let mut sums = vec![(0.0, 0.0); subjects.len()];
    let mut rows = Vec::new();
    for cell in GRID {
        let label = format!(
            "G5 FP / FP-, {} blocked {} ms every {} ms",
            cell.blocked, cell.duration_ms, cell.interval_ms
        );
        let mut cells = Vec::new();
        for (subject, sum) in subjects.iter().zip(&mut sums) {
            let (mut about, mut at) = (0.0, 0.0);
            for seed in seeds.clone() {
                let found = subject.anomaly(MEMBERS, seed, cell, options.scaled(SECONDS));
                about += found.about_healthy as f64 / count;
                at += found.at_healthy as f64 / count;
            }
            *sum = (sum.0 + about, sum.1 + at);
            cells.push(format!("{about:.0} / {at:.0}"));
        }
        rows.push(Row { label, cells });
    }
    let cells = sums.iter().map(|(about, at)| format!("{about:.0} / {at:.0}")).collect();
    rows.push(Row { label: "G5 FP / FP-, sum".to_owned(), cells });
    Answer { rows, goals: goals(subjects, &sums) }
}

fn goals(subjects: &[&dyn Subject], sums: &[(f64, f64)]) -> Vec<Goal> {
    let Some(ours) = of(OURS, subjects, sums) else { return Vec::new() };
    let mut goals = Vec::new();
    for (peer, name) in [(FOCA, "foca's"), (SWIM, "our own plain SWIM's")] {
        if let Some(theirs) = of(peer, subjects, sums) {
            for (what, ours, theirs) in [("FP", ours.0, theirs.0), ("FP-", ours.1, theirs.1)] {
                let asked = format!("G5 sum of {what}: at most 2 % of {name}");
                goals.push(Goal::at_most(asked, ours / theirs, 0.02));
            }
        }
    }
    goals
}
