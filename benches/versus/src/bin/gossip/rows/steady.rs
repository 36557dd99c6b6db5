//! G3: bytes at rest.

use drystone_versus::gossip::Subject;

use super::Row;
use crate::Options;

const MEMBERS: [usize; 4] = [32, 128, 512, 1000];
const SECONDS: u64 = 60;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let row = |members: &usize| {
        let label = format!("G3 B/member/s at rest, {members} (with IP and UDP)");
        Row::of(label, subjects, |subject| {
            let found = subject.steady(*members, options.seed, options.scaled(SECONDS));
            let wrong = if found.right { "" } else { ", WRONG" };
            format!("{:.1} ({:.0}){wrong}", found.bytes, found.bytes_on_wire)
        })
    };
    options.members(&MEMBERS).iter().map(row).collect()
}
