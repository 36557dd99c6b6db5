//! G8: a cluster that comes into being; and G9, what is bounded even then.

use drystone_versus::gossip::Subject;

use super::{Answer, Row, text};
use crate::Options;
use crate::goals::{Goal, OURS, STABLE, of};

const MEMBERS: usize = 1000;
const SECONDS: u64 = 300;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let seconds = options.scaled(SECONDS);
    let found: Vec<_> =
        subjects.iter().map(|it| it.bootstrap(MEMBERS, options.seed, seconds)).collect();
    let mut rows = Vec::new();
    let mut row = |what: &str, cells: Vec<String>| {
        rows.push(Row { label: format!("{what}, {MEMBERS} join"), cells });
    };
    row("G8 s until all know all", found.iter().map(|it| text(it.all_after)).collect());
    row("G8 sizes believed in", found.iter().map(|it| it.sizes.to_string()).collect());
    row("G8 KB sent by member", found.iter().map(|it| format!("{:.1}", it.bytes / 1e3)).collect());
    let longest = found.iter().map(|it| it.datagram_bytes_max.to_string());
    row("G9 longest datagram of an MTU of 1400", longest.collect());
    row("G9 bytes kept about another", found.iter().map(|it| text(it.peer_bytes)).collect());
    let mut goals = Vec::new();
    if let Some(ours) = of(OURS, subjects, &found) {
        let after = ours.all_after.unwrap_or(f64::INFINITY);
        goals.push(Goal::at_most("G8 all know all within 15 s", after, 15.0));
        let longest = ours.datagram_bytes_max as f64;
        goals.push(Goal::at_most("G9 never a datagram above the MTU of 1400", longest, 1400.0));
        let kept = ours.peer_bytes.unwrap_or(f64::INFINITY);
        goals.push(Goal::at_most("G9 at most 256 bytes kept about another", kept, 256.0));
    }
    if let Some(stable) = of(STABLE, subjects, &found) {
        let sizes = stable.sizes as f64;
        goals.push(Goal::at_most("G8 stable view: at most 10 sizes", sizes, 10.0));
    }
    Answer { rows, goals }
}
