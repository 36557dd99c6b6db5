//! The command `raft-sim`: runs seeds until there is none left, or the time is up.

#![expect(clippy::disallowed_methods, reason = "a command may look at the clock")]

use std::time::{Duration, Instant};

use clap::Parser;
use drystone_raft_sim::{Report, run};
use drystone_sim::Seed;

/// Runs simulated groups, one seed after the other, and stops at the first broken promise.
#[derive(Debug, Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds; without it, as many as the other limits allow.
    #[arg(long)]
    seeds: Option<u64>,
    /// Stop after so many steps of cores.
    #[arg(long)]
    steps: Option<u64>,
    /// Stop after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Tell every step of every seed.
    #[arg(long)]
    verbose: bool,
}

fn main() {
    let options = Options::parse();
    let start = Instant::now();
    let limit = options.seconds.map(Duration::from_secs);
    let mut total = Report::default();
    let mut told = Duration::ZERO;
    let mut seeds = 0;
    for value in options.first.. {
        let done = options.seeds.is_some_and(|count| seeds >= count)
            || options.steps.is_some_and(|steps| total.steps >= steps)
            || limit.is_some_and(|limit| start.elapsed() >= limit)
            || (options.seeds.is_none()
                && options.steps.is_none()
                && limit.is_none()
                && seeds >= 100);
        if done {
            break;
        }
        let seed = Seed::from(value);
        let seed = if options.verbose { seed.verbose() } else { seed };
        eprint!("{}", if options.verbose { format!("seed {value}\n") } else { String::new() });
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            eprintln!("{info}");
            eprintln!(
                "seed {value} failed; to replay it: raft-sim --first {value} --seeds 1 --verbose"
            );
        }));
        total.add(run(seed));
        std::panic::set_hook(before);
        seeds += 1;
        if start.elapsed() > told + Duration::from_secs(10) {
            told = start.elapsed();
            println!("{seeds} seeds in {:.0} s: {total}", told.as_secs_f64());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = total.steps as f64 / seconds.max(1e-9);
    println!("{seeds} seeds in {seconds:.1} s: {total}; {rate:.0} steps a second; nothing broken");
}
