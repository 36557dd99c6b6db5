//! G4: false downs on a lossy network.

use drystone_sim::Rate;
use drystone_versus::gossip::Subject;

use super::{Answer, Row, mean, text};
use crate::Options;
use crate::goals::{DATAGRAMS, FOCA, Goal, OURS, of};

const MEMBERS: usize = 128;
const SECONDS: u64 = 600;
const SEEDS: u64 = 5;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    for percent in [5, 10, 20, 30] {
        let seconds = options.scaled(SECONDS);
        let found: Vec<(f64, f64)> = subjects
            .iter()
            .map(|subject| {
                let (mut downs, mut bytes) = (Vec::new(), Vec::new());
                for seed in options.seeds(SEEDS) {
                    let found = subject.loss(MEMBERS, seed, Rate::percent(percent), seconds);
                    downs.push(found.false_downs as f64);
                    bytes.push(found.bytes);
                }
                (mean(&downs).unwrap_or(f64::NAN), mean(&bytes).unwrap_or(f64::NAN))
            })
            .collect();
        let label =
            format!("G4 false downs in {seconds} s, {MEMBERS}, {percent} % loss (B/member/s)");
        let cells = found
            .iter()
            .map(|(downs, bytes)| format!("{} ({})", text(Some(*downs)), text(Some(*bytes))))
            .collect();
        rows.push(Row { label, cells });
        goals.extend(bounds(percent, subjects, &found));
    }
    Answer { rows, goals }
}

fn bounds(percent: u32, subjects: &[&dyn Subject], found: &[(f64, f64)]) -> Vec<Goal> {
    let downs = |name| of(name, subjects, found).map(|(downs, _)| *downs);
    let mut goals = Vec::new();
    match (percent, downs(DATAGRAMS)) {
        (20, Some(downs)) => {
            goals.push(Goal::at_most("G4 20 %, datagrams only: at most 10", downs, 10.0));
        }
        (30, Some(downs)) => {
            goals.push(Goal::at_most("G4 30 %, datagrams only: at most 200", downs, 200.0));
            if let Some(foca) = of(FOCA, subjects, found) {
                let asked = "G4 30 %, datagrams only: at most 1/50 of foca's";
                goals.push(Goal::at_most(asked, downs / foca.0, 1.0 / 50.0));
            }
        }
        _ => {}
    }
    if let (30, Some(downs)) = (percent, downs(OURS)) {
        goals.push(Goal::at_most("G4 30 %, with streams: none", downs, 0.0));
    }
    goals
}
