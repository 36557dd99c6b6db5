//! The questions, one a file, each with its goals.

pub(crate) mod allocations;
pub(crate) mod failover;
pub(crate) mod idle;
pub(crate) mod partition;
pub(crate) mod reads;
pub(crate) mod service;
pub(crate) mod throughput;

use std::collections::BTreeMap;

use drystone_versus::raft::throughput::Sample;

use crate::contender::Contender;

/// What each contender came to with so much at once: a figure of each of its samples. `who` says
/// whose they are, and with how much.
fn figures(
    who: &[(u64, Contender)],
    samples: &[Vec<Sample>],
    at_once: u64,
    of: fn(&Sample) -> f64,
) -> BTreeMap<Contender, Vec<f64>> {
    let mine = who.iter().zip(samples).filter(|((its, _), _)| *its == at_once);
    mine.map(|((_, it), all)| (*it, all.iter().map(of).collect())).collect()
}
