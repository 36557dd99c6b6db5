//! G6: seconds until a crash is known.

use drystone_versus::gossip::Subject;

use super::{Row, ended};
use crate::Options;

const MEMBERS: [usize; 3] = [32, 128, 512];
const SEEDS: u64 = 50;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &members in options.members(&MEMBERS) {
        let found: Vec<Vec<_>> = subjects
            .iter()
            .map(|it| options.seeds(SEEDS).map(|seed| it.crash(members, seed)).collect())
            .collect();
        for (who, all) in [("the first knows", false), ("all know", true)] {
            let cell = |crashes: &Vec<drystone_membership_sim::scenario::crash::Crash>| {
                let when = crashes.iter().map(|it| if all { it.all } else { it.first });
                ended(&when.collect::<Vec<_>>())
            };
            let label = format!("G6 s until {who} of a crash, {members}");
            rows.push(Row { label, cells: found.iter().map(cell).collect() });
        }
    }
    rows
}
