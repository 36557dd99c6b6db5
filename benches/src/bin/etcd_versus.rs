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

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser;
use drystone_benches::{
    machine::{Machine, ensure_disk},
    server::find_program,
    versus::{Arena, Goals, Rounds, SCENARIOS, Scenario, Side, table, verdicts},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// The scenario that the goals are about.
const GOALS_SCENARIO: &str = "put-100x100";

/// How long killed child processes get to be gone.
const LAST_BREATH: Duration = Duration::from_millis(200);

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
    /// Where to put the data, on a real disk [default: cargo's target directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Rounds, each with a run of both
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What to measure; may be repeated [default: everything]
    #[arg(long, value_parser = scenario_names())]
    scenario: Vec<String>,
    /// Factor to the length of every run
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Keys of the large key space (range-limited, count)
    #[arg(long, default_value_t = 300_000)]
    many_keys: u64,
    /// Goal: CPU of our server per request, as a part of etcd's
    #[arg(long, default_value_t = 0.5)]
    goal_server_cpu: f64,
    /// Goal: our throughput, as a multiple of etcd's
    #[arg(long, default_value_t = 1.5)]
    goal_throughput: f64,
    /// Goal: our 99th percentile, as a part of etcd's
    #[arg(long, default_value_t = 1.0)]
    goal_p99: f64,
    /// Put machine, date and method above the table, ready for a README
    #[arg(long)]
    markdown: bool,
}

fn scenario_names() -> clap::builder::PossibleValuesParser {
    SCENARIOS.map(|scenario| scenario.name).into()
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    ensure!(arguments.scale > 0.0 && arguments.scale.is_finite(), "--scale must be above 0");
    let target = target_dir()?;
    let parent = arguments.dir.clone().unwrap_or_else(|| target.clone());
    fs::create_dir_all(&parent)?;
    ensure_disk(&parent)?;
    // Removed at the end, however that comes about, after the servers in it are dead.
    let dir = tempfile::Builder::new().prefix("etcd-versus-").tempdir_in(&parent)?;
    let arena = Arena {
        load: built(&target, "load", "drystone-benches")?,
        etcd: arguments.etcd.clone().map_or_else(|| find_program("etcd"), Ok)?,
        ours: match &arguments.ours {
            Some(ours) => ours.clone(),
            None => built(&target, "drystone-etcd", "drystone-etcd")?,
        },
        dir: dir.path().to_owned(),
        scale: arguments.scale,
        many_keys: arguments.many_keys,
        versions: HashMap::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut int, mut term) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // Dropping the measurement kills its child processes.
        let outcome = tokio::select! {
            outcome = measure(&arguments, arena) => outcome,
            _ = int.recv() => Err(anyhow!("interrupted")),
            _ = term.recv() => Err(anyhow!("terminated")),
        };
        if outcome.is_err() {
            // The runtime takes the exit status of those it killed, and none stays a zombie.
            sleep(LAST_BREATH).await;
        }
        outcome
    })
}

async fn measure(arguments: &Arguments, mut arena: Arena) -> Result<ExitCode> {
    let scenarios: Vec<Scenario> = if arguments.scenario.is_empty() {
        SCENARIOS.to_vec()
    } else {
        arguments.scenario.iter().filter_map(|name| Scenario::named(name)).collect()
    };
    let mut all = Vec::new();
    for scenario in &scenarios {
        let mut rounds = Rounds { scenario: scenario.name, ..Rounds::default() };
        for round in 0..arguments.rounds {
            for side in Side::order(round as usize) {
                let sample = arena
                    .run(scenario, side)
                    .await
                    .with_context(|| format!("{side} in {}", scenario.name))?;
                eprintln!("{:<13} round {:>2}  {side}  {sample}", scenario.name, round + 1);
                match side {
                    Side::Etcd => rounds.etcd.push(sample),
                    Side::Ours => rounds.ours.push(sample),
                }
            }
        }
        all.push(rounds);
    }
    let title = |side| format!("{side} {}", arena.versions.get(&side).map_or("?", String::as_str));
    if arguments.markdown {
        println!("{}", preamble(arguments, &Machine::here(&arena.dir)));
    }
    println!("{}", table(&all, &title(Side::Etcd), &title(Side::Ours)));
    let goals = Goals {
        scenario: GOALS_SCENARIO,
        server_cpu_max: arguments.goal_server_cpu,
        throughput_min: arguments.goal_throughput,
        p99_max: arguments.goal_p99,
    };
    let verdicts = verdicts(&all, &goals);
    for verdict in &verdicts {
        println!("{}{verdict}", if arguments.markdown { "* " } else { "" });
    }
    let pass = verdicts.iter().all(|verdict| verdict.pass);
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// What the numbers below it are worth.
fn preamble(arguments: &Arguments, machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, file_system, date, commit } = machine;
    let command: Vec<_> = env::args().skip(1).map(|argument| without_folders(&argument)).collect();
    format!(
        "{date}, commit {commit}; {cpu}, {cores} cores shared by server and client, \
         Linux {kernel}, {file_system}.\n\
         {} rounds of `etcd-versus {}`: the same load on both, turn by turn, each run \
         with a freshly started server and durable defaults; ratios within a round.\n",
        arguments.rounds,
        command.join(" ")
    )
}

/// Where things lie on this machine is of no use to a reader of the table.
fn without_folders(argument: &str) -> String {
    match (argument.find('/'), argument.rfind('/')) {
        (Some(first), Some(last)) => [&argument[..first], &argument[last + 1..]].concat(),
        _ => argument.to_owned(),
    }
}

/// Cargo's target directory: this program lies in a folder of it, named after the profile.
fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.context("this program has no folder")?.to_owned())
}

/// A release build of one of our programs; cargo makes it if it is not there.
fn built(target: &Path, program: &str, package: &str) -> Result<PathBuf> {
    let path = target.join("release").join(program);
    if !path.exists() {
        eprintln!("building {program}");
        let status = Command::new("cargo")
            .args(["build", "--release", "--package", package, "--bin", program])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        ensure!(status.success() && path.exists(), "cargo cannot build {program}");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command stands above a published table; the folders of whoever ran it do not.
    #[test]
    fn published_commands_name_programs_without_their_folders() {
        assert_eq!(without_folders("--ours=/home/me/bin/etcd"), "--ours=etcd");
        assert_eq!(without_folders("/home/me/bin/etcd"), "etcd");
        assert_eq!(without_folders("put-100x100"), "put-100x100");
    }
}
