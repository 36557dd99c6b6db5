//! `load`: makes load for a server that speaks etcd v3, and says how it went.
//!
//! Prints throughput, latency percentiles, errors and its own CPU time per request to standard
//! output, for people or with `--json` for programs. A bar on standard error shows progress when
//! that is a terminal. Ends with status 1 if any request failed.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use drystone_benches::load::{self, Options, Workload};
use indicatif::{ProgressBar, ProgressStyle};

/// Load for anything that speaks etcd v3
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
    #[command(flatten)]
    options: Options,
    /// Print the report as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Make connections, leases and watchers, print a line, and wait for one before it begins
    #[arg(long, global = true)]
    wait: bool,
}

/// Says that all is set up, and waits for the word.
fn wait() -> Result<()> {
    println!("ready");
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody gave the word to go");
    Ok(())
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    // Draws nothing unless standard error is a terminal.
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}")?);
    let ready = || if arguments.wait { wait() } else { Ok(()) };
    let report = load::run(&arguments.options, &arguments.workload, ready, |done, expected| {
        bar.set_length(expected);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
