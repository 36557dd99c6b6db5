//! The command `raft-sim`: runs seeds until there is none left, or the time is up.

#![expect(clippy::disallowed_methods, reason = "a command may look at the clock and at /proc")]

use std::time::{Duration, Instant};

use clap::Parser;
use drystone_raft_sim::{Choice, Report};
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
    /// Stop after so many seconds of one processor, however long they take.
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    choice: Choice,
    /// Tell every step of every seed.
    #[arg(long)]
    verbose: bool,
}

fn main() {
    let options = Options::parse();
    let start = Instant::now();
    let mut total = Report::default();
    let mut told = Duration::ZERO;
    let mut seeds = 0;
    for value in options.first.. {
        if options.is_done(seeds, total.steps, worked(start)) {
            break;
        }
        let seed = Seed::from(value);
        let seed = if options.verbose { seed.verbose() } else { seed };
        eprint!("{}", if options.verbose { format!("seed {value}\n") } else { String::new() });
        let before = std::panic::take_hook();
        let (steps, replay) = (total.steps, options.choice.replay(value));
        std::panic::set_hook(Box::new(move |info| {
            eprintln!("{info}");
            let time = worked(start).as_secs_f64();
            eprintln!(
                "seed {value} failed after {steps} steps and {time:.2} s of processor; to replay \
                 it: {replay}"
            );
        }));
        total.add(options.choice.run(seed));
        std::panic::set_hook(before);
        seeds += 1;
        if start.elapsed() > told + Duration::from_secs(10) {
            told = start.elapsed();
            println!("{seeds} seeds in {:.0} s: {total}", told.as_secs_f64());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let processor = worked(start).as_secs_f64();
    let hourly = total.steps as f64 / processor.max(1e-9) * 3600.0 / 1e6;
    println!(
        "{seeds} seeds in {seconds:.1} s, {processor:.1} s of one processor: {total}; {hourly:.0} \
         million steps an hour on one core; nothing broken"
    );
}

impl Options {
    fn is_done(&self, seeds: u64, steps: u64, time: Duration) -> bool {
        let limits = [self.seeds, self.steps, self.seconds];
        let count = self.seeds.or(limits.iter().all(Option::is_none).then_some(100));
        count.is_some_and(|count| seeds >= count)
            || self.steps.is_some_and(|most| steps >= most)
            || self.seconds.is_some_and(|most| time >= Duration::from_secs(most))
    }
}

/// What this thread, which does all the work, has had of the processors; where the system does not
/// tell, all the time since the start.
fn worked(start: Instant) -> Duration {
    processor_time().unwrap_or_else(|| start.elapsed())
}

fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
