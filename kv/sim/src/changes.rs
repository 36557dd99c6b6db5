//! What a run changes of the plan that a seed draws, and the command that does it once more.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use drystone_sim::Seed;

use crate::flaw::Flaw;
use crate::plan::Plan;

/// What is changed of a seed's plan: the seed and this are all that a run depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Changes {
    /// What clients ask in each of them.
    #[arg(long)]
    pub operations: Option<u64>,
    /// Plant a bug, to see it found.
    #[arg(long = "break")]
    pub flaw: Option<Flaw>,
    /// Nothing goes wrong but that member 1 loses its power at this sync.
    #[arg(long)]
    pub sync: Option<u64>,
}

impl Changes {
    /// The plan of a seed, changed.
    #[must_use]
    pub fn plan(&self, seed: &Seed) -> Plan {
        let mut plan = Plan::draw(&mut seed.rng("plan"));
        if self.sync.is_some() {
            plan = plan.calm();
            plan.cut_at_sync = self.sync;
        }
        plan.operations = self.operations.unwrap_or(plan.operations);
        plan.flaw = self.flaw;
        plan
    }

    /// The command that runs seed `value` again, with the same changes.
    #[must_use]
    pub fn replay(&self, value: u64) -> String {
        let Changes { operations, flaw, sync } = self;
        let mut command =
            format!("cargo run --release -p drystone-kv-sim -- --first {value} --seeds 1");
        let mut add = |name, value: Option<String>| {
            if let Some(value) = value {
                write!(command, " --{name} {value}").expect("strings take all");
            }
        };
        let named = |flaw: &Flaw| flaw.to_possible_value().map(|name| name.get_name().to_owned());
        add("operations", operations.map(|count| count.to_string()));
        add("break", flaw.as_ref().and_then(named));
        add("sync", sync.map(|at| at.to_string()));
        command
    }
}
