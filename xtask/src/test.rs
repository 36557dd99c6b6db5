//! The one test command: the steps, in order, and what decides that the whole passed.
//!
//! ```text
//!     format ─ no_std ─ build ─┬ test ─ faults ─ deny ───────────────────────────────┬─ summary
//!                              └ simulate ─ simulate store ─ loom ─ doc ─ clippy ─ doctest ┘
//! ```
//!
//! Tests of servers wait much of their time: for disks, for elections, for what must not happen.
//! What only computes, and minds no delay, runs beside them with what they leave of the
//! processors.
//!
//! Cheap steps come first, so that a slip in formatting is seen within a second. Folders with a
//! workspace of their own (the peers we measure against, the fuzzers) are slow to build and not
//! needed for a verdict: of them, only the format is checked. The server is built optimised before
//! the tests because its suites start the real program many times and compare it with real etcd;
//! they find it through `DRYSTONE_ETCD_BIN`. The profile is `quick`, whose code is that of
//! `release` but for the joint optimisation of all crates, which takes minutes and is worth six
//! percent; whoever asks for everything (`--slow`) has the program that users have.
//!
//! `cargo deny` is run when it is installed. Its `advisories` check fetches a database from the
//! network, and is reported as skipped when that database cannot be had; the checks of licences,
//! bans and sources do without, and always count. Installing it takes some minutes, which is why
//! nothing here does so: `tests/suite/supply.rs` checks the same lists on any machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::step::{Outcome, Report, Step};

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Formatting, lints and tests against the dev build.
    Fast,
    /// Everything but the tests that ask for `SLOW=1`.
    Usual,
    /// Everything.
    Slow,
}

/// Runs the steps, prints the summary, and says whether nothing failed.
pub(crate) fn run(pace: Pace) -> anyhow::Result<bool> {
    let root = root();
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))?;
    let steps = plan(pace, &target_dir()?, &workspaces(&root)?);
    let start = Instant::now();
    let done = run_all(&steps);
    println!("\n{}", summary(&done, start.elapsed()));
    Ok(passed(&done))
}

/// Runs steps one after another, and beside them, from where the first of them stands, those that
/// may, one after another too. The reports are in the order of the steps.
fn run_all(steps: &[Step]) -> Vec<Report> {
    let position = |i: usize| format!("{}/{}", i + 1, steps.len());
    let numbered = || steps.iter().enumerate();
    let run_beside = || -> Vec<(usize, Report)> {
        let beside = numbered().filter(|(_, step)| step.is_beside);
        beside.map(|(i, step)| (i, step.run(&position(i), &[]))).collect()
    };
    thread::scope(|scope| {
        let mut done: Vec<Report> = Vec::new();
        let mut lane = None;
        for (i, step) in numbered() {
            if step.is_beside {
                lane.get_or_insert_with(|| scope.spawn(run_beside));
            } else {
                done.push(step.run(&position(i), &done));
            }
        }
        let beside = lane.map_or_else(Vec::new, |lane| lane.join().expect("a step does not panic"));
        for (i, report) in beside {
            done.insert(i, report);
        }
        done
    })
}

/// Runs the models alone.
pub(crate) fn run_loom() -> anyhow::Result<bool> {
    std::env::set_current_dir(root())?;
    let report = loom(&target_dir()?).run("1/1", &[]);
    Ok(report.outcome == Outcome::Passed)
}

/// The steps of a run, in order. `workspaces` are the folders that have one of their own.
pub(crate) fn plan(pace: Pace, target_dir: &Path, workspaces: &[PathBuf]) -> Vec<Step> {
    let mut steps = vec![Step::new("format", "cargo fmt --all -- --check")];
    for folder in workspaces {
        let step = Step::new(format!("format {}", folder.display()), "cargo fmt --check");
        let manifest = folder.join("Cargo.toml").display().to_string();
        steps.push(step.arg("--manifest-path").arg(manifest));
    }
    let clippy = Step::new("clippy", "cargo clippy --workspace --all-targets -- -D warnings");
    // Features are joined over a whole workspace: alone, the crate shows what it can do without.
    let bare = "cargo build -p drystone-raft --no-default-features --lib";
    steps.push(Step::new("no_std", bare));
    let tests =
        Step::new("test", "cargo test --workspace --lib --bins --tests --examples --no-fail-fast");
    let tests = tests.env("RUST_TEST_THREADS", threads());
    if pace == Pace::Fast {
        steps.insert(steps.len() - 1, clippy);
        steps.push(tests);
        return steps;
    }
    let profile = if pace == Pace::Slow { "release" } else { "quick" };
    let built = |name: &str| target_dir.join(profile).join(name).display().to_string();
    let (server, judge) = (built("drystone-etcd"), built("etcd-faults"));
    let tests = tests.needs("build").env("DRYSTONE_ETCD_BIN", &server);
    let mut tests = tests.env("ETCD_FAULTS_SERVER", &server);
    if pace == Pace::Slow {
        tests = tests.env("SLOW", "1");
    }
    // Together, so that what both stand on is built once, with one set of features.
    let build = Step::new("build", "cargo build -p drystone-etcd -p drystone-etcd-faults");
    steps.push(build.arg("--profile").arg(profile));
    steps.extend(beside(pace, target_dir, clippy));
    steps.push(tests);
    let faults = Step::program("faults", judge).needs("build").arg("--server").arg(server);
    let faults = faults.arg("--members").arg("3").arg("--seconds");
    steps.push(faults.arg(if pace == Pace::Slow { "3600" } else { "180" }));
    steps.extend(deny());
    steps
}

/// How many tests run at once, unless whoever runs them has said it: one more than there are
/// processors, since most of them wait most of their time.
fn threads() -> String {
    let usual = || thread::available_parallelism().map_or(2, |count| count.get() + 1).to_string();
    std::env::var("RUST_TEST_THREADS").unwrap_or_else(|_| usual())
}

/// What only computes. The last of them wait until cargo has built the tests.
fn beside(pace: Pace, target_dir: &Path, clippy: Step) -> [Step; 6] {
    // Each run is the same seeds from the first on, as many as the time of one processor allows.
    let simulate = "cargo run --profile quick -p drystone-raft-sim --";
    let stored = Step::new("simulate store", simulate).arg("--store");
    let simulate = Step::new("simulate", simulate);
    let simulate = match pace {
        Pace::Slow => simulate.arg("--steps").arg("1000000000"),
        _ => simulate.arg("--seconds").arg("250"),
    };
    let stored = stored.arg("--seconds").arg(if pace == Pace::Slow { "900" } else { "30" });
    let doc =
        Step::new("doc", "cargo doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings");
    let examples = Step::new("doctest", "cargo test --workspace --doc --no-fail-fast");
    [simulate, stored, loom(target_dir), doc, clippy, examples].map(Step::beside)
}

/// Crates with models in them, in modules called `model`.
const MODELLED: [&str; 3] = ["drystone-wal", "drystone-btree", "drystone-lsm"];

/// The models of what threads share (the log's queue, commits, the memtable), in every order of
/// their threads.
///
/// The flag changes how all dependencies are built, hence the folder of its own.
pub(crate) fn loom(target_dir: &Path) -> Step {
    let mut step = Step::new("loom", "cargo test --profile quick --lib");
    for name in MODELLED {
        step = step.arg("-p").arg(name);
    }
    step.arg("model")
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", target_dir.join("loom").display().to_string())
}

/// Folders below `root`, relative to it, with a workspace of their own.
fn workspaces(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("{}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if entry.file_type()?.is_dir() && !hidden && name != "target" {
                folders.push(entry.path());
            } else if name == "Cargo.toml" && folder != root {
                let text = std::fs::read_to_string(entry.path())?;
                if text.lines().any(|line| line.trim() == "[workspace]") {
                    found.push(folder.strip_prefix(root)?.to_owned());
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The two halves of `cargo deny`: the one that needs nothing but the crates themselves, and the
/// one that needs a database.
fn deny() -> [Step; 2] {
    let missing = (!answers(&["deny", "--version"]))
        .then(|| "cargo-deny is not installed: cargo install cargo-deny --locked".to_owned());
    let rules = Step::new("deny", "cargo deny check licenses bans sources");
    let advisories = Step::new("advisories", "cargo deny check advisories");
    let unreachable = || {
        let fetched = answers(&["deny", "fetch", "db"]);
        (!fetched).then(|| "the advisory database cannot be fetched from here".to_owned())
    };
    let why = missing.clone().or_else(unreachable);
    [rules.skip(missing), advisories.skip(why)]
}

/// Whether `cargo <arguments>` runs and succeeds, silently.
fn answers(arguments: &[&str]) -> bool {
    let mut command = Command::new("cargo");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Every step in one line each, then the verdict.
fn summary(done: &[Report], time: Duration) -> String {
    let lines: String = done.iter().map(|report| report.line() + "\n").collect();
    let skipped = done.iter().filter(|r| matches!(r.outcome, Outcome::Skipped(_))).count();
    let verdict = if passed(done) { "all steps that ran passed" } else { "FAILED" };
    let seconds = time.as_secs_f64();
    let words: String = done.iter().filter_map(last_words).collect();
    let verdict = format!("{verdict} ({} steps, {skipped} skipped) in {seconds:.1} s", done.len());
    format!("{lines}{words}{verdict}")
}

/// What a step said that failed.
fn last_words(report: &Report) -> Option<String> {
    let failed = matches!(report.outcome, Outcome::Failed(_));
    let lines = report.words.lines().map(|line| format!("  {line}\n"));
    failed.then(|| format!("{} said:\n", report.name) + &lines.collect::<String>())
}

/// Nothing failed. A step that was skipped because another failed is covered by that other one.
fn passed(done: &[Report]) -> bool {
    !done.iter().any(|report| matches!(report.outcome, Outcome::Failed(_)))
}

/// The root of the repository: the folder above this crate.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies one folder below the root").to_owned()
}

/// Where cargo puts what it builds, read off the place of this very program:
/// `<target>/<profile>/xtask`.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let target = program.ancestors().nth(2).context("this program lies outside a target folder")?;
    Ok(target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Words;

    fn names(pace: Pace) -> Vec<String> {
        let steps = plan(pace, Path::new("/t"), &["benches/versus".into()]);
        steps.into_iter().map(|step| step.name).collect()
    }

    /// Whoever shortens the list must change this line, and say why in the commit.
    #[test]
    fn usual_run_covers_every_step_in_order() {
        let first = ["format", "format benches/versus"];
        let beside = ["simulate", "simulate store", "loom", "doc", "clippy", "doctest"];
        let last = ["test", "faults", "deny", "advisories"];
        let all = [&first[..], &["no_std", "build"], &beside, &last].concat();
        assert_eq!(names(Pace::Usual), all);
        assert_eq!(names(Pace::Slow), all);
        assert_eq!(names(Pace::Fast), [&first[..], &["clippy", "no_std", "test"]].concat());
    }

    /// A step that runs beside others must be waited for, and be told in its place.
    #[test]
    fn steps_that_run_beside_others_count_like_any_other() {
        let steps = [
            Step::new("first", "true"),
            Step::new("slow", "false").beside(),
            Step::new("next", "true"),
            Step::new("slow too", "true").beside(),
        ];
        let done = run_all(&steps);
        let names: Vec<&str> = done.iter().map(|report| report.name.as_str()).collect();
        assert_eq!(names, ["first", "slow", "next", "slow too"]);
        assert!(!passed(&done), "the one beside the others failed");
    }

    /// A workspace that is not found is never checked, and nobody notices.
    #[test]
    fn workspaces_beside_the_root_are_found() {
        let found = workspaces(&root()).unwrap();
        assert!(found.contains(&PathBuf::from("wal/fuzz")), "{found:?}");
        assert!(!found.contains(&PathBuf::new()), "the root is checked anyway");
    }

    /// Built with another flag in the same folder, every run would build everything twice.
    #[test]
    fn models_are_built_apart() {
        let step = loom(Path::new("/t"));
        assert!(step.env.contains(&("RUSTFLAGS", "--cfg loom".to_owned())));
        assert!(step.env.contains(&("CARGO_TARGET_DIR", "/t/loom".to_owned())));
    }

    /// The suites of the server must meet an optimised program, not the dev build, and once the
    /// very one that users run.
    #[test]
    fn tests_run_against_an_optimised_server() {
        for (pace, profile) in [(Pace::Usual, "quick"), (Pace::Slow, "release")] {
            let steps = plan(pace, Path::new("/t"), &[]);
            let step = |name: &str| steps.iter().find(|step| step.name == name).unwrap();
            let test = step("test");
            let server = ("DRYSTONE_ETCD_BIN", format!("/t/{profile}/drystone-etcd"));
            assert!(test.env.contains(&server), "{:?}", test.env);
            assert_eq!(test.needs, Some("build"));
            assert_eq!(step("build").command.last().unwrap(), profile);
        }
    }

    /// One failed step fails the run, whatever comes after it; a skipped one alone does not.
    #[test]
    fn one_failure_fails_the_run() {
        let report = |outcome| {
            let (time, words) = (Duration::ZERO, Words::default());
            Report { name: "x".to_owned(), outcome, time, words }
        };
        let fine = report(Outcome::Passed);
        let skipped = report(Outcome::Skipped("no".to_owned()));
        let failed = report(Outcome::Failed("exit status: 1".to_owned()));
        let mut done = vec![fine, skipped];
        assert!(passed(&done));
        done.insert(0, failed);
        assert!(!passed(&done));
        assert!(summary(&done, Duration::ZERO).contains("FAILED (3 steps, 1 skipped)"));
    }
}
