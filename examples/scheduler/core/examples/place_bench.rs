//! Measures placement: `cargo run --release -p mason-core --example place_bench [-- name]`.
//!
//! Prints the table of [`mason_core::place::measure`], and ends with status 2 if a goal is missed.

use std::process::ExitCode;
use std::time::Instant;

use mason_core::place::measure::{Clock, Plan, measure};
use rustix::time::{ClockId, clock_gettime};

struct Real(Instant);

impl Clock for Real {
    fn wall(&mut self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).expect("less than 500 years")
    }

    fn processor(&mut self) -> Option<u64> {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Some(u64::try_from(now.tv_sec).ok()? * 1_000_000_000 + u64::try_from(now.tv_nsec).ok()?)
    }
}

fn main() -> ExitCode {
    let only = std::env::args().nth(1).unwrap_or_default();
    let plan = Plan { only: &only, percent: 100, seed: 1 };
    let passed = measure(plan, &mut Real(Instant::now()), &mut |line| println!("{line}"));
    if passed { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
