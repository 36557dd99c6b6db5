//! Which groups a run is of, and the command that runs a seed of them once more.

use std::fmt::Write as _;

use drystone_sim::Seed;

use crate::plan::Plan;
use crate::run::{Report, run, run_plan, run_stored};

/// Which groups are simulated: the seed and this are all that a run depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Choice {
    /// Groups that read on the strength of clocks, which are off by so many parts in a million.
    #[arg(long)]
    pub clocks: Option<u32>,
    /// Members whose disk is the real store over a file system that crashes, not a model of it.
    #[arg(long, conflicts_with = "clocks")]
    pub store: bool,
}

impl Choice {
    /// Runs a seed.
    ///
    /// # Panics
    /// If a promise is broken.
    #[must_use]
    pub fn run(&self, seed: Seed) -> Report {
        match self.clocks {
            Some(ppm) => run_plan(seed.clone(), &Plan::clocks(&mut seed.rng("plan"), ppm)),
            None if self.store => run_stored(seed),
            None => run(seed),
        }
    }

    /// The command that runs seed `value` again, and tells every step.
    #[must_use]
    pub fn replay(&self, value: u64) -> String {
        let Choice { clocks, store } = self;
        let mut command = "cargo run --release -p drystone-raft-sim --".to_owned();
        if let Some(ppm) = clocks {
            write!(command, " --clocks {ppm}").expect("strings take all");
        }
        if *store {
            command.push_str(" --store");
        }
        write!(command, " --first {value} --seeds 1 --verbose").expect("strings take all");
        command
    }
}
