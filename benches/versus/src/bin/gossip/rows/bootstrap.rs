//! G8: a cluster that comes into being.

use drystone_versus::gossip::Subject;

use super::{Row, text};
use crate::Options;

const MEMBERS: usize = 1000;
const SECONDS: u64 = 300;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let seconds = options.scaled(SECONDS);
    let found: Vec<_> =
        subjects.iter().map(|it| it.bootstrap(MEMBERS, options.seed, seconds)).collect();
    let mut rows = Vec::new();
    let mut row = |what: &str, cells: Vec<String>| {
        rows.push(Row { label: format!("G8 {MEMBERS} join: {what}"), cells });
    };
    row("s until all know all", found.iter().map(|it| text(it.all_after)).collect());
    row("sizes believed in", found.iter().map(|it| it.sizes.to_string()).collect());
    row("KB sent by member", found.iter().map(|it| format!("{:.1}", it.bytes / 1e3)).collect());
    rows
}
