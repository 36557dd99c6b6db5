//! G4: false downs on a lossy network.

use drystone_sim::Rate;
use drystone_versus::gossip::Subject;

use super::{Row, mean, text};
use crate::Options;

const MEMBERS: usize = 128;
const SECONDS: u64 = 600;
const SEEDS: u64 = 5;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Vec<Row> {
    let row = |percent: u32| {
        let seconds = options.scaled(SECONDS);
        let label =
            format!("G4 false downs in {seconds} s, {MEMBERS}, {percent} % loss (B/member/s)");
        Row::of(label, subjects, |subject| {
            let (mut downs, mut bytes) = (Vec::new(), Vec::new());
            for seed in options.seeds(SEEDS) {
                let found = subject.loss(MEMBERS, seed, Rate::percent(percent), seconds);
                downs.push(found.false_downs as f64);
                bytes.push(found.bytes);
            }
            format!("{} ({})", text(mean(&downs)), text(mean(&bytes)))
        })
    };
    [5, 10, 20, 30].map(row).into()
}
