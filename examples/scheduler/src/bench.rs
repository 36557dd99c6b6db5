//! `mason bench`: measures mason on this machine, beside what it is meant to do.
//!
//! # Problem
//! A figure that nobody can make again is an advertisement. Those of a scheduler are easily made to
//! look well: decisions that never reach a store, nodes that never answer, a server whose memory
//! nobody looked at.
//!
//! # Idea
//! Each measurement is a command that anyone can give. It starts the real parts as processes of
//! their own (a store, `mason server`, `mason agent`), so that the kernel tells what each of them
//! cost in processor time and memory, and stops them afterwards. What is not real is said: nodes
//! without containers are `hollow`, and `hollow` says in what they differ from real ones.
//!
//! ```text
//!   placement ─► decisions alone, in memory
//!   binds ─────► store ◄── mason server          how many binds a second
//!   array ─────►   ▲ ▲                           a million tasks: seconds, memory
//!                  │ └──── hollow nodes, thousands in a process
//!   start ─────►   └────── mason agent, runc     from a job's key to its running container
//!   churn ─────►                                 containers a second, and what they leave behind
//!   idle ──────►                                 memory and processor time of doing nothing
//! ```
//!
//! Each line ends with `PASS` or `FAIL`, and the command with status 1 if anything failed. Wall
//! time on a machine that does other work measures that, too; so processor time is beside it.

mod array;
mod churn;
mod hollow;
mod idle;
mod leaks;
mod placement;
mod process;
mod report;
mod stage;
mod start;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use report::Report;

/// Measure mason on this machine
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A goal that is missed is shown, and no failure
    #[arg(long, global = true)]
    no_goals: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Decisions a second, and how well they pack
    Placement(placement::Options),
    /// Binds a second through a store, to hollow nodes
    Binds(array::Binds),
    /// A large array on hollow nodes: how long until all is bound, and in how much memory
    Array(array::Array),
    /// From a job's key to its running container, image warm
    Start(start::Options),
    /// Containers a second for a while, and what they leave behind
    Churn(churn::Options),
    /// Memory and processor time of a server and an agent with nothing to do
    Idle(idle::Options),
    /// A store, as the others start it
    #[command(hide = true)]
    Store(stage::StoreOptions),
    /// Hollow nodes, as the others start them
    #[command(hide = true)]
    Hollow(hollow::Options),
}

/// Measures. Says whether all goals are met.
///
/// # Errors
/// If it could not be measured.
pub fn run(args: &BenchArgs) -> Result<bool> {
    let mut report = Report::default();
    match &args.what {
        What::Placement(options) => placement::run(options, &mut report),
        What::Binds(options) => on(options.run(&mut report))?,
        What::Array(options) => on(options.run(&mut report))?,
        What::Start(options) => on(start::run(options, &mut report))?,
        What::Churn(options) => on(churn::run(options, &mut report))?,
        What::Idle(options) => on(idle::run(options, &mut report))?,
        What::Store(options) => return stage::serve_store(options),
        What::Hollow(options) => {
            on(hollow::run(options))?;
            return Ok(true);
        }
    }
    Ok(report.passes() || args.no_goals)
}

/// Measures until it is done, or until somebody does not want to wait: either way the parts end.
fn on(measure: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("listen for signals")?;
        tokio::select! {
            measured = measure => measured,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
    })
}
