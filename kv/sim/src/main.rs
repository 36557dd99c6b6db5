//! The command `kv-sim`: runs seeds, and stops at the first broken promise.

use clap::Parser;
use drystone_kv_sim::{Flaw, Plan, Report, run_plan};
use drystone_sim::Seed;

/// Runs whole members of a replicated store, one seed after the other.
#[derive(Debug, Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// What clients ask in each of them.
    #[arg(long)]
    operations: Option<u64>,
    /// Plant a bug, to see it found.
    #[arg(long = "break")]
    flaw: Option<Flaw>,
    /// Nothing goes wrong but that member 1 loses its power at this sync.
    #[arg(long)]
    sync: Option<u64>,
    /// Tell every step of every seed.
    #[arg(long)]
    verbose: bool,
}

fn main() {
    let options = Options::parse();
    let mut total = Report::default();
    for value in options.first..options.first + options.seeds {
        let seed = Seed::from(value);
        let seed = if options.verbose { seed.verbose() } else { seed };
        let mut plan = Plan::draw(&mut seed.rng("plan"));
        if options.sync.is_some() {
            plan = plan.calm();
            plan.cut_at_sync = options.sync;
        }
        plan.operations = options.operations.unwrap_or(plan.operations);
        plan.flaw = options.flaw;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            eprintln!(
                "{info}\nseed {value} failed; to replay it: kv-sim --first {value} --seeds 1"
            );
        }));
        total.add(run_plan(seed, &plan));
        std::panic::set_hook(before);
    }
    println!("{} seeds: {total}; nothing broken", options.seeds);
}
