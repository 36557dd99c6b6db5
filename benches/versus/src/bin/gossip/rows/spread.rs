//! G2: rounds until all know.

use drystone_membership_sim::scenario::spread::News;
use drystone_sim::Rate;
use drystone_versus::gossip::Subject;

use super::{Row, ended};
use crate::Options;

const MEMBERS: [usize; 3] = [32, 128, 512];

/// Seeds, without loss and with it: then most of foca's runs last until patience ends.
const SEEDS: [(u32, u64); 2] = [(0, 50), (30, 20)];

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (news, name) in [
        (News::Leave, "a leave"),
        (News::Broadcast, "a user's message"),
        (News::Metadata, "new metadata"),
    ] {
        for (percent, seeds) in SEEDS {
            for &members in options.members(&MEMBERS) {
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
    rows
}
