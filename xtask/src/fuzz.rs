//! The decoders of a crate under libFuzzer, for as long as one likes.
//!
//! libFuzzer keeps the inputs that reach code no input has reached before, and mutates those. It
//! learns what is reached from counters that the compiler puts into our code; the flags for that
//! are [`COVERAGE`], and work on a stable toolchain because no sanitizer is asked for. All is built
//! below `<target>/fuzz`, apart from everything else, for the flags change every dependency.
//!
//! What is fuzzed, and what must hold, is in each crate's `fuzz` and the `tests/suite/fuzz` that it
//! names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::step::{Outcome, Step};
use crate::test::{root, target_dir};

/// How long, unless told otherwise.
pub(crate) const SECONDS: u32 = 600;

/// Counters on every edge, a table of where they are, and a look at what is compared with what.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

/// The crates with a fuzzer, which lies in a workspace of its own below each.
pub(crate) const TARGETS: [&str; 5] = ["wal", "btree", "lsm", "raft", "membership"];

/// Inputs, in bytes: a log of a few small segments. Seconds for one of them; MiB for all.
const LIMITS: &str = "-max_len=65536 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1";

/// Where the fuzzer's things lie.
#[derive(Debug)]
struct Places {
    target: &'static str,
    build: PathBuf,
    corpus: PathBuf,
    artifacts: PathBuf,
}

impl Places {
    fn below(target_dir: &Path, target: &'static str) -> Places {
        let build = target_dir.join("fuzz");
        let corpus = build.join("corpus").join(target);
        let artifacts = build.join("artifacts").join(target);
        Places { target, build, corpus, artifacts }
    }

    fn program(&self, host: &str) -> PathBuf {
        self.build.join(host).join(format!("release/drystone-{}-fuzz", self.target))
    }
}

/// Builds, then runs for so many seconds. `false` if an input broke a rule.
pub(crate) fn run(target: &'static str, seconds: u32) -> anyhow::Result<bool> {
    std::env::set_current_dir(root())?;
    need_cxx()?;
    let host = host()?;
    let places = Places::below(&target_dir()?, target);
    for folder in [&places.corpus, &places.artifacts] {
        std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    let build = build(&places, &host).run("1/2", &[]);
    ensure!(build.outcome == Outcome::Passed, "the fuzzer does not build");
    let report = hunt(&places, &host, seconds).run("2/2", &[build]);
    if report.outcome == Outcome::Passed {
        return Ok(true);
    }
    println!("what it found, and the command that replays it:");
    for entry in places.artifacts.read_dir()? {
        println!("  {} {}", places.program(&host).display(), entry?.path().display());
    }
    Ok(false)
}

fn build(places: &Places, host: &str) -> Step {
    // Naming the target keeps the flags away from build scripts, which could not be linked.
    let manifest = format!("{}/fuzz/Cargo.toml", places.target);
    Step::new("build", "cargo build --release --manifest-path")
        .arg(manifest)
        .arg("--target")
        .arg(host)
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", places.build.display().to_string())
}

fn hunt(places: &Places, host: &str, seconds: u32) -> Step {
    let name = format!("fuzz {}", places.target);
    let mut step = Step::new(name, "nice -n 10").arg(places.program(host).display().to_string());
    for limit in LIMITS.split(' ') {
        step = step.arg(limit);
    }
    step.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", places.artifacts.display()))
        .arg(places.corpus.display().to_string())
        .env("DRYSTONE_FUZZ_SEEDS", places.corpus.display().to_string())
}

/// libFuzzer comes as C++ source; a missing compiler would show as a wall of a build script's text.
fn need_cxx() -> anyhow::Result<()> {
    let cxx = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(&cxx);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let answers = command.status().is_ok_and(|status| status.success());
    ensure!(answers, "fuzzing needs a C++ compiler, and `{cxx}` is none: apt-get install g++");
    Ok(())
}

/// The name of this kind of machine, as the compiler spells it.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fuzzer that is not in its place is found out here, and not after a long build.
    #[test]
    fn every_target_has_its_workspace() {
        for target in TARGETS {
            let manifest = root().join(target).join("fuzz/Cargo.toml");
            let text = std::fs::read_to_string(&manifest).unwrap();
            assert!(text.contains(&format!("name = \"drystone-{target}-fuzz\"")), "{target}");
        }
    }

    /// Flags that reach build scripts make them fail to link; flags that are lost leave a fuzzer
    /// that is blind and still looks busy.
    #[test]
    fn instrumentation_is_for_the_target_alone() {
        let places = Places::below(Path::new("/t"), "lsm");
        let step = build(&places, "x-y-z");
        assert!(step.command.ends_with(&["--target".to_owned(), "x-y-z".to_owned()]));
        assert!(
            step.env.iter().any(|(key, flags)| *key == "RUSTFLAGS" && flags.contains("pc-table"))
        );
    }

    /// The corpus and what is found are kept below the target folder, never beside the sources.
    #[test]
    fn fuzzer_leaves_its_things_below_target() {
        let step = hunt(&Places::below(Path::new("/t"), "lsm"), "x-y-z", 60);
        assert!(step.command.contains(&"-max_total_time=60".to_owned()), "{:?}", step.command);
        assert!(step.command.contains(&"-artifact_prefix=/t/fuzz/artifacts/lsm/".to_owned()));
        assert_eq!(step.command.last().unwrap(), "/t/fuzz/corpus/lsm");
        assert!(step.command.contains(&"/t/fuzz/x-y-z/release/drystone-lsm-fuzz".to_owned()));
    }
}
