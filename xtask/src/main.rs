//! The chores of this repository, as `cargo xtask <chore>`.
//!
//! There is one chore that everyone runs, people and CI alike: `cargo xtask test`. It is a fixed
//! list of commands ([`test::plan`]) that are run one after another ([`step::Step::run`]), but for
//! one that takes long and needs one core; each is announced, timed, and listed once more in a
//! summary at the end. A step that fails does not stop the ones after it, so that one run tells
//! everything that is wrong; a step that cannot run here says so by name and is never counted as
//! passed.
//!
//! More are for those who touch one thing: [`loom`](test::loom) tries out every order of threads
//! and is a step of the tests as well, [`fuzz`] throws bytes at decoders for as long as you like,
//! [`vm`] runs containers on another kernel.
//!
//! Deliberately absent: caching and configuration. Cargo has the first, and the list is short
//! enough to be read.

mod fuzz;
mod mutants;
mod step;
mod test;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

chores:
  test           format, optimised build, every test, models, docs, clippy, dependency rules
  test --fast    format, clippy and every test against the dev build; no docs, no deny
  test --slow    as test, and the slow tests too (SLOW=1)
  loom           the models of what threads share, alone
  fuzz wal|btree|lsm|raft|membership [--seconds N]
                 what a crate is handed from outside under libFuzzer, for ten minutes unless told
                 otherwise
  mutants [TEXT] [--seconds N]
                 protocol bugs put into the consensus core on purpose, each hunted by the simulator
                 for ten minutes at most; TEXT,TEXT choose by name, `unfound` those
                 that were not found the last time
  mutants --kv-sim [TEXT] [--seconds N]
                 bugs put into the store and the log beneath it on purpose, each hunted by the
                 store's simulator for three minutes at most
  mutants --server [TEXT] [--seconds N]
                 bugs put into the server on purpose, each hunted by a cluster of processes under
                 faults (etcd-faults) for three minutes at most
  mutants --past [TEXT]
                 bugs that etcd has had put into our code, each of which must make its test fail
  vm [TEXT]      the suite of mason-node's runtime in a virtual machine with an older kernel and
                 version 2 of control groups alone; TEXT chooses tests by name";

/// What the words of the command line ask for.
#[derive(Debug, PartialEq, Eq)]
enum Chore {
    Test(test::Pace),
    Loom,
    Fuzz { target: &'static str, seconds: u32 },
    Mutants { filter: String, seconds: u64 },
    StoreMutants { filter: String, seconds: u64 },
    ServerMutants { filter: String, seconds: u64 },
    PastBugs { filter: String },
    Vm { filter: String },
    Help,
}

fn parse(words: &[&str]) -> Option<Chore> {
    Some(match words {
        ["test"] => Chore::Test(test::Pace::Usual),
        ["test", "--fast"] => Chore::Test(test::Pace::Fast),
        ["test", "--slow"] => Chore::Test(test::Pace::Slow),
        ["loom"] => Chore::Loom,
        ["fuzz", name] => Chore::Fuzz { target: fuzz_target(name)?, seconds: fuzz::SECONDS },
        ["fuzz", name, "--seconds", count] => {
            Chore::Fuzz { target: fuzz_target(name)?, seconds: count.parse().ok()? }
        }
        ["mutants", "--kv-sim", rest @ ..] => {
            let (filter, seconds) = parse_hunt(rest, mutants::kv_sim::SECONDS)?;
            Chore::StoreMutants { filter, seconds }
        }
        ["mutants", "--server", rest @ ..] => {
            let (filter, seconds) = parse_hunt(rest, mutants::server::SECONDS)?;
            Chore::ServerMutants { filter, seconds }
        }
        ["mutants", "--past"] => Chore::PastBugs { filter: String::new() },
        ["mutants", "--past", filter] => Chore::PastBugs { filter: (*filter).to_owned() },
        ["mutants", rest @ ..] => {
            let (filter, seconds) = parse_hunt(rest, mutants::SECONDS)?;
            Chore::Mutants { filter, seconds }
        }
        ["vm"] => Chore::Vm { filter: "runtime".to_owned() },
        ["vm", filter] => Chore::Vm { filter: (*filter).to_owned() },
        [] | ["help" | "--help" | "-h"] => Chore::Help,
        _ => return None,
    })
}

/// Which mutants, and for how long each.
fn parse_hunt(words: &[&str], seconds: u64) -> Option<(String, u64)> {
    let (filter, seconds) = match words {
        [] => ("", seconds),
        ["--seconds", count] => ("", count.parse().ok()?),
        [filter] => (*filter, seconds),
        [filter, "--seconds", count] => (*filter, count.parse().ok()?),
        _ => return None,
    };
    (!filter.starts_with('-')).then(|| (filter.to_owned(), seconds))
}

fn fuzz_target(name: &str) -> Option<&'static str> {
    fuzz::TARGETS.into_iter().find(|target| *target == name)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match parse(&words) {
        Some(Chore::Test(pace)) => test::run(pace),
        Some(Chore::Loom) => test::run_loom(),
        Some(Chore::Fuzz { target, seconds }) => fuzz::run(target, seconds),
        Some(Chore::Mutants { filter, seconds }) => test::target_dir()
            .and_then(|target| mutants::run(&test::root(), &target, &filter, seconds)),
        Some(Chore::StoreMutants { filter, seconds }) => test::target_dir()
            .and_then(|target| mutants::kv_sim::run(&test::root(), &target, &filter, seconds)),
        Some(Chore::ServerMutants { filter, seconds }) => test::target_dir()
            .and_then(|target| mutants::server::run(&test::root(), &target, &filter, seconds)),
        Some(Chore::PastBugs { filter }) => test::target_dir()
            .and_then(|target| mutants::past::run(&test::root(), &target, &filter)),
        Some(Chore::Vm { filter }) => vm::run(&filter),
        Some(Chore::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        None => {
            eprintln!("unknown chore: {}\n\n{USAGE}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word that is not understood must not run something else instead.
    #[test]
    fn words_ask_for_one_chore_or_for_none() {
        assert_eq!(parse(&["test", "--slow"]), Some(Chore::Test(test::Pace::Slow)));
        assert_eq!(parse(&["loom"]), Some(Chore::Loom));
        for target in fuzz::TARGETS {
            let fuzz = Some(Chore::Fuzz { target, seconds: fuzz::SECONDS });
            assert_eq!(parse(&["fuzz", target]), fuzz);
            let hour = ["fuzz", target, "--seconds", "3600"];
            assert_eq!(parse(&hour), Some(Chore::Fuzz { target, seconds: 3600 }));
        }
        let (filter, seconds) = ("watch".to_owned(), 60);
        let hunt = ["mutants", "--server", "watch", "--seconds", "60"];
        assert_eq!(parse(&hunt), Some(Chore::ServerMutants { filter, seconds }));
        let (filter, seconds) = (String::new(), mutants::kv_sim::SECONDS);
        assert_eq!(parse(&["mutants", "--kv-sim"]), Some(Chore::StoreMutants { filter, seconds }));
        assert_eq!(parse(&["mutants", "--sever"]), None);
        let filter = "14370".to_owned();
        assert_eq!(parse(&["mutants", "--past", "14370"]), Some(Chore::PastBugs { filter }));
        let filter = "limits".to_owned();
        assert_eq!(parse(&["vm", "limits"]), Some(Chore::Vm { filter }));
        assert_eq!(parse(&[]), Some(Chore::Help));
        for wrong in [&["fuzz"][..], &["fuzz", "kv"], &["fuzz", "wal", "--seconds", "x"], &["tset"]]
        {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
