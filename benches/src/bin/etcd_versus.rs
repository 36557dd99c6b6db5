//! `etcd-versus`: is our server better than real etcd, on this machine, with the same load?
//!
//! # Question
//! At 100 clients on 100 connections that put 256-byte values under 32-byte keys with durable
//! defaults: does our server take at most half of etcd's CPU per request, and do at least 1.5 times
//! the requests, without a worse 99th percentile? And how do the two compare at one client, at a
//! thousand, at linearizable reads, and where etcd counts all keys of a range for every page?
//!
//! # Method
//! Both servers get the same load from a `load` process, turn by turn in one run; see
//! [`drystone_benches::versus`] for what makes it fair. CPU time and peak memory of the servers
//! come from `/proc`.
//!
//! # Back of the envelope
//! etcd takes 50 to 70 us of CPU for such a put. A bare gRPC server without storage takes 7 us on
//! current-thread runtimes, its client about 15. If consensus, log and apply take us another 10 us,
//! that is 17 of 60, or 0.3 times etcd's CPU. Two cores then have 2,000,000 / (17 + 15), about
//! 60,000 requests a second to give, against 2,000,000 / (60 + 15), about 27,000: 2.3 times, unless
//! the disk's sync sets the pace. It takes 0.2 to 0.5 ms and is shared by the hundred requests
//! waiting for it, so it should not.
//!
//! # Output
//! A line a run on standard error; a table and the verdicts on standard output. Ends with status 2
//! if a goal is missed, 1 if something went wrong.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use drystone_benches::{
    server::find_program,
    versus::{
        Contender, Figures, Goals, SCENARIOS, Scenario, Settings, Tournament, built, verdicts,
    },
};

/// The scenario that the goals are about.
const GOALS_SCENARIO: &str = "put-100x100";

/// Compares our server with real etcd under the same load
#[derive(Debug, Parser)]
#[command(name = "etcd-versus")]
struct Arguments {
    /// The real etcd [default: the first on the PATH that is not a script]
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// Our server, or any other that knows etcd's flags [default: drystone-etcd beside this
    /// program, built with cargo if it is not there]
    #[arg(long)]
    ours: Option<PathBuf>,
    /// A flag for our server, such as --storage-engine=btree; may be repeated
    #[arg(long, allow_hyphen_values = true)]
    ours_flag: Vec<String>,
    /// What to measure; may be repeated [default: everything]
    #[arg(long, value_parser = scenario_names())]
    scenario: Vec<String>,
    /// Goal: CPU of our server per request, as a part of etcd's
    #[arg(long, default_value_t = 0.5)]
    goal_server_cpu: f64,
    /// Goal: our throughput, as a multiple of etcd's
    #[arg(long, default_value_t = 1.5)]
    goal_throughput: f64,
    /// Goal: our 99th percentile, as a part of etcd's
    #[arg(long, default_value_t = 1.0)]
    goal_p99: f64,
    #[command(flatten)]
    settings: Settings,
}

fn scenario_names() -> clap::builder::PossibleValuesParser {
    SCENARIOS.map(|scenario| scenario.name).into()
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let etcd = arguments.etcd.map_or_else(|| find_program("etcd"), Ok)?;
    let ours = arguments.ours.map_or_else(|| built("drystone-etcd", "drystone-etcd"), Ok)?;
    let named = |name: &String| Scenario::named(name, &SCENARIOS);
    let markdown = arguments.settings.markdown;
    let tournament = Tournament {
        settings: arguments.settings,
        contenders: vec![
            Contender { name: "etcd".to_owned(), program: etcd, flags: Vec::new() },
            Contender { name: "ours".to_owned(), program: ours, flags: arguments.ours_flag },
        ],
        scenarios: match arguments.scenario.is_empty() {
            true => SCENARIOS.to_vec(),
            false => arguments.scenario.iter().filter_map(named).collect(),
        },
        figures: Figures::Serving,
    };
    let all = tournament.run()?;
    let goals = Goals {
        scenario: GOALS_SCENARIO,
        server_cpu_max: arguments.goal_server_cpu,
        throughput_min: arguments.goal_throughput,
        p99_max: arguments.goal_p99,
    };
    let verdicts = verdicts(&all, &goals);
    for verdict in &verdicts {
        println!("{}{verdict}", if markdown { "* " } else { "" });
    }
    let pass = verdicts.iter().all(|verdict| verdict.pass);
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
