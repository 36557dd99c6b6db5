//! Ten thousand members come in through three seeds, in a release build:
//!
//! ```text
//!     cargo run --release -p drystone-membership-sim --example large -- [members] [seeds]
//! ```
//!
//! For each seed it says when all knew all, in the time of the simulation and of the machine, and
//! what was sent and remembered.

use std::time::Instant;

use drystone_membership::Config;
use drystone_membership_sim::scenario::bootstrap::SEEDS;
use drystone_membership_sim::{Cluster, Drystone, SECOND, Setup};

/// After so long nobody waits any more.
const PATIENCE: u64 = 120 * SECOND;

#[expect(clippy::disallowed_methods, reason = "how long it took is what is asked")]
fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |usual| arguments.next().and_then(Result::ok).unwrap_or(usual);
    let (members, seeds) = (next(10_000) as usize, next(3));
    for seed in 1..=seeds {
        let begin = Instant::now();
        let setup = Setup::new(members, Config::lan());
        let mut cluster = Cluster::<Drystone>::cold(&setup, seed, SEEDS, SECOND);
        while !cluster.is_right() && cluster.now() < PATIENCE {
            cluster.run_for(SECOND, &mut []);
        }
        let took = begin.elapsed().as_secs_f64();
        let memory = cluster.world().processes().map(|(_, it)| it.gossiper().swim().memory());
        println!(
            "seed {seed}: {} of {members} know all after {} s; {took:.1} s of the machine, \
             {} steps; each has sent {} bytes and remembers {}",
            cluster.right_count(),
            cluster.now() / SECOND,
            cluster.world().steps(),
            cluster.traffic().bytes() / members as u64,
            memory.sum::<usize>() / members,
        );
        assert!(cluster.is_right(), "all know all");
    }
}
