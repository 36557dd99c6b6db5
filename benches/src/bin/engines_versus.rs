//! `engines-versus`: which storage engine serves our server best, on this machine, with the same
//! load?
//!
//! # Question
//! With the same journal, the same index and the same answers, what does it cost to keep the
//! records in memory, in a B+tree, or in a log-structured merge tree: CPU per request, throughput,
//! tails, memory, bytes written, room on the disk, and the time until a restarted server answers?
//!
//! # Method
//! As `etcd-versus`: one server lives at a time, freshly started for every run, turn by turn in one
//! run of this program; see [`drystone_benches::versus`]. Ratios are to the memory engine.
//!
//! # Back of the envelope
//! A put costs the server some 20 us of CPU, most of it gRPC, system calls and the journal. The
//! memory engine's part is under 1 us a record. A B+tree with a hint at its right edge should take
//! about as much while records are applied, and a merge tree a little more; both then write what
//! changed, once, where the memory engine writes everything every time that half of it was
//! journaled. So serving should differ by less than a tenth, reads by the copy of a value from a
//! page, and the greatest difference should be in memory, in bytes written by `put-rewrite`, and in
//! the tail while the memory engine is saved.
//!
//! # Output
//! A line a run on standard error; a table on standard output.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use drystone_benches::versus::{
    Contender, ENGINE_SCENARIOS, Figures, Scenario, Settings, Tournament, built,
};

/// The engines that our server knows, the one that others are compared with first.
const ENGINES: [&str; 3] = ["memory", "btree", "lsm"];

/// Compares the storage engines of our server under the same load
#[derive(Debug, Parser)]
#[command(name = "engines-versus")]
struct Arguments {
    /// Our server [default: drystone-etcd beside this program, built with cargo if it is not there]
    #[arg(long)]
    server: Option<PathBuf>,
    /// An engine to measure; may be repeated, the first is what others are compared with [default:
    /// all]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::from(ENGINES))]
    engine: Vec<String>,
    /// What to measure; may be repeated [default: everything]
    #[arg(long, value_parser = scenario_names())]
    scenario: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

fn scenario_names() -> clap::builder::PossibleValuesParser {
    ENGINE_SCENARIOS.map(|scenario| scenario.name).into()
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let program = arguments.server.map_or_else(|| built("drystone-etcd", "drystone-etcd"), Ok)?;
    let engines = match arguments.engine.is_empty() {
        true => ENGINES.map(str::to_owned).to_vec(),
        false => arguments.engine,
    };
    let contender = |name: String| {
        let flags = vec![format!("--storage-engine={name}")];
        Contender { name, program: program.clone(), flags }
    };
    let named = |name: &String| Scenario::named(name, &ENGINE_SCENARIOS);
    let contenders: Vec<Contender> = engines.into_iter().map(contender).collect();
    let tournament = Tournament {
        settings: arguments.settings,
        pairs: (1..contenders.len()).map(|other| (other, 0)).collect(),
        contenders,
        members: vec![1],
        scenarios: match arguments.scenario.is_empty() {
            true => ENGINE_SCENARIOS.to_vec(),
            false => arguments.scenario.iter().filter_map(named).collect(),
        },
        figures: Figures::ServingAndStoring,
        big_bytes: 0,
        profile: false,
    };
    let results = tournament.run()?;
    ensure!(results.broken.is_empty(), "{}", results.broken.join("\n"));
    Ok(())
}
