//! The command `kv-sim`: runs seeds, and stops at the first broken promise.

use clap::Parser;
use drystone_kv_sim::{Changes, Report, run_plan};
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
    #[command(flatten)]
    changes: Changes,
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
        let plan = options.changes.plan(&seed);
        let replay = options.changes.replay(value);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            eprintln!("{info}\nseed {value} failed; to replay it: {replay}");
        }));
        total.add(run_plan(seed, &plan));
        std::panic::set_hook(before);
    }
    println!("{} seeds: {total}; nothing broken", options.seeds);
}
