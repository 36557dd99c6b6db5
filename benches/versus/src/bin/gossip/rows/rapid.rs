//! G7: members that are half dead.

use drystone_membership_sim::scenario::rapid::{Fault, Rapid};
use drystone_versus::gossip::Subject;

use super::{Answer, Row, text};
use crate::Options;
use crate::goals::{Goal, STABLE, of};

const MEMBERS: usize = 1000;
const SECONDS: u64 = 200;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
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
        if let Some(stable) = of(STABLE, subjects, &found) {
            goals.extend(bounds(name, stable, seconds));
        }
    }
    Answer { rows, goals }
}

fn bounds(name: &str, stable: &Rapid, seconds: u64) -> [Goal; 3] {
    let after = stable.removed_after.unwrap_or(f64::INFINITY);
    let most = (seconds as f64 / 60.0).ceil();
    let flaps = stable.flaps_most as f64;
    let healthy = stable.healthy_removed as f64;
    [
        Goal::at_most(format!("G7 {name}, stable view: removed by all within 60 s"), after, 60.0),
        Goal::at_most(
            format!("G7 {name}, stable view: a transition a minute at most, {most} in all"),
            flaps,
            most,
        ),
        Goal::at_most(format!("G7 {name}, stable view: none of the healthy removed"), healthy, 0.0),
    ]
}
