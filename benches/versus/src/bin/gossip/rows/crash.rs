//! G6: seconds until a crash is known.

use drystone_membership_sim::scenario::crash::Crash;
use drystone_versus::gossip::Subject;

use super::{Answer, Row, ended, mean};
use crate::Options;
use crate::goals::{FOCA, Goal, OURS, of};

const MEMBERS: [usize; 3] = [32, 128, 512];
const SEEDS: u64 = 50;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    for &members in options.members(&MEMBERS) {
        let found: Vec<Vec<_>> = subjects
            .iter()
            .map(|it| options.seeds(SEEDS).map(|seed| it.crash(members, seed)).collect())
            .collect();
        for (who, all) in [("the first knows", false), ("all know", true)] {
            let cell = |crashes: &Vec<Crash>| {
                let when = crashes.iter().map(|it| if all { it.all } else { it.first });
                ended(&when.collect::<Vec<_>>())
            };
            let label = format!("G6 s until {who} of a crash, {members}");
            rows.push(Row { label, cells: found.iter().map(cell).collect() });
        }
        if let Some(ours) = of(OURS, subjects, &found) {
            goals.extend(bounds(members, ours, of(FOCA, subjects, &found)));
        }
    }
    Answer { rows, goals }
}

fn bounds(members: usize, ours: &[Crash], foca: Option<&Vec<Crash>>) -> Vec<Goal> {
    let first = |crashes: &[Crash]| {
        let firsts: Vec<f64> = crashes.iter().filter_map(|it| it.first).collect();
        mean(&firsts).unwrap_or(f64::INFINITY)
    };
    let mut goals = Vec::new();
    if let Some(foca) = foca {
        let asked = format!("G6 {members}: the first knows in at most 0.8 of foca's time");
        goals.push(Goal::at_most(asked, first(ours) / first(foca), 0.8));
    }
    let gaps = ours.iter().map(|it| match (it.first, it.all) {
        (Some(first), Some(all)) => all - first,
        _ => f64::INFINITY,
    });
    let asked = format!("G6 {members}: all know at most 1 s after the first, in every seed");
    goals.push(Goal::at_most(asked, gaps.fold(0.0, f64::max), 1.0));
    goals
}
