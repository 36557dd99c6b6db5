//! G7: members that are half dead.

use drystone_membership_sim::scenario::rapid::Fault;
use drystone_versus::gossip::Subject;

use super::{Row, text};
use crate::Options;

const MEMBERS: usize = 1000;
const SECONDS: u64 = 200;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (fault, name) in [
        (Fault::FlipFlop, "1 % deaf every other 20 s"),
        (Fault::LossIn, "1 % lose 80 % of what they are sent"),
        (Fault::LossOut, "1 % lose 80 % of what they send"),
    ] {
        let seconds = options.scaled(SECONDS);
        let found: Vec<_> =
            subjects.iter().map(|it| it.rapid(MEMBERS, options.seed, fault, seconds)).collect();
        let mut row = |what: &str, cells: Vec<String>| {
            rows.push(Row { label: format!("G7 {name}: {what}"), cells });
        };
        let after = found.iter().map(|it| text(it.removed_after)).collect();
        row("s until removed by all", after);
        let share = found.iter().map(|it| format!("{:.1}", 100.0 * it.removed_share)).collect();
        row("% of views without them at the end", share);
        let flaps =
            found.iter().map(|it| format!("{:.2} ({})", it.flaps_per_minute, it.flaps_most));
        let flaps = flaps.collect();
        row("transitions a minute, observer and victim (most)", flaps);
        let removed = found
            .iter()
            .map(|it| format!("{} ({})", it.healthy_removed, it.healthy_removed_by_healthy));
        row("healthy called down (by healthy)", removed.collect());
    }
    rows
}
