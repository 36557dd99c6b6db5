//! Decisions alone: what [`mason_core::place::measure`] does, by this machine's clocks.

use std::time::Instant;

use clap::Args;
use mason_core::place::measure::{Clock, Plan, measure};
use rustix::time::{ClockId, clock_gettime};

use super::report::{Report, machine};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only workloads with this in their names
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// So many hundredths of the usual number of decisions
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    percent: u64,
    /// What workloads are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

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

pub(super) fn run(options: &Options, report: &mut Report) {
    println!("{}", machine());
    let plan = Plan { only: &options.only, percent: options.percent, seed: options.seed };
    let passes = measure(plan, &mut Real(Instant::now()), &mut |line| println!("{line}"));
    report.verdict(passes);
}
