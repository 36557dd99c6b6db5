//! G2: rounds until all know.

use drystone_membership_sim::scenario::spread::News;
use drystone_sim::Rate;
use drystone_versus::gossip::Subject;

use super::{Answer, Row, ended};
use crate::Options;
use crate::goals::{Goal, OURS, figure, of};

const MEMBERS: [usize; 3] = [32, 128, 512];

/// Seeds, without loss and with it: then most of foca's runs last until patience ends.
const SEEDS: [(u32, u64); 2] = [(0, 50), (30, 20)];

/// Above so many members there are bounds for ours, and no row: it would take the others days.
const LARGEST_ROW: usize = 1024;

/// The sizes for which bounds are asked, of ours alone.
const BOUNDED: [usize; 5] = [32, 128, 512, 2048, 8192];
const BOUNDED_SEEDS: u64 = 200;

/// From so many members on one cluster says all, by another speaker each time.
const LARGE: usize = 4096;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let mut rows = Vec::new();
    for (news, name) in [
        (News::Leave, "a leave"),
        (News::Broadcast, "a user's message"),
        (News::Metadata, "new metadata"),
    ] {
        for (percent, seeds) in SEEDS {
            let sizes = options.members(&MEMBERS).iter().filter(|&&it| it <= LARGEST_ROW);
            for &members in sizes {
                let label = format!("G2 rounds until all know {name}, {members}, {percent} % loss");
                let ask = |subject: &dyn Subject| {
                    if !subject.can_say(news) {
                        return "-".to_owned();
                    }
                    let loss = Rate::percent(percent);
                    let found: Vec<Option<f64>> = options
                        .seeds(seeds)
                        .map(|seed| subject.spread(members, seed, news, loss).all_rounds)
                        .collect();
                    ended(&found)
                };
                rows.push(Row::of(label, subjects, ask));
            }
        }
    }
    let goals = of(OURS, subjects, subjects).map(|ours| goals(options, *ours));
    Answer { rows, goals: goals.unwrap_or_default() }
}

/// The worst of so many.
fn goals(options: &Options, ours: &dyn Subject) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (percent, _) in SEEDS {
        for &members in options.members(&BOUNDED) {
            let count = options.scaled(BOUNDED_SEEDS);
            let (news, loss) = (News::Broadcast, Rate::percent(percent));
            let found: Vec<Option<f64>> = if members < LARGE {
                let seeds = options.seed..options.seed + count;
                seeds.map(|seed| ours.spread(members, seed, news, loss).all_rounds).collect()
            } else {
                let all = ours.spreads(members, options.seed, news, loss, count);
                all.iter().map(|it| it.all_rounds).collect()
            };
            let worst = found.iter().map(|it| it.unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
            let bits = (members as f64).log2();
            let most = if percent == 0 { (bits / 2.0).ceil() + 2.0 } else { bits + 4.0 };
            let asked = format!(
                "G2 {members}, {percent} % loss: all of {count} within {} rounds",
                figure(most)
            );
            goals.push(Goal::at_most(asked, worst, most));
        }
    }
    goals
}
