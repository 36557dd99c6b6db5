//! The teeth of the simulator: protocol bugs that are put in on purpose, and how long it takes to
//! find each.
//!
//! ```text
//!     raft/sim/mutants/*.txt ──► one by one, in a copy of the sources ──► raft-sim, for so long
//!                                                                            │ seed 1234 failed
//!     raft/sim/MUTANTS.md ◄── time, steps, what was seen ◄── does it fail without the bug too? no
//! ```
//!
//! Those of the store are hunted by its own simulator, in [`kv_sim`]; those of the server by other
//! means, in [`server`]; those that etcd has had by tests, in [`past`].
//!
//! The bugs are kept as texts to be replaced ([`Mutant`]), not as flags in the code: the core stays
//! readable. The copy keeps its build, so that a bug costs the building of the core and the
//! simulator; that is not counted as time to find it. A seed that fails in the sound simulator as
//! well finds nothing, and the hunt goes on behind it.

mod flaw;
pub(crate) mod kv_sim;
mod mutant;
pub(crate) mod past;
mod patch;
pub(crate) mod server;
mod table;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use mutant::Mutant;
use table::{Row, Table};
use tree::Tree;

const HEAD: &str = "\
# The teeth of the simulator

Written by `cargo xtask mutants`: bugs that were put in on purpose, and what it took to
find them. Seconds are of one processor, without building; steps are of cores.

| mutant | scenario | what is wrong | seconds | steps | what was seen |
|---|---|---|---|---|---|
";

/// How long one is hunted unless told otherwise.
pub(crate) const SECONDS: u64 = 600;

/// The package of the simulator, and its program.
const SIMULATOR: (&str, &str) = ("drystone-raft-sim", "raft-sim");

/// Runs every mutant whose name contains one of the texts in `filter` for up to `seconds`, writes
/// what was seen into the table, and says whether at least 38 in 40 of these were found.
pub(crate) fn run(root: &Path, target: &Path, filter: &str, seconds: u64) -> anyhow::Result<bool> {
    let all = mutant::read_all(&root.join("raft/sim/mutants"))?;
    let bench = Bench::new(root, target.join("mutants"))?;
    let path = root.join("raft/sim/MUTANTS.md");
    let mut table = Table::read(&path, HEAD);
    let (mut hunted, mut found) = (0, 0);
    let mut scenarios: BTreeMap<&str, bool> = BTreeMap::new();
    for mutant in table.choose(&all, |mutant| &mutant.name, filter) {
        let find = bench.hunt(mutant, Duration::from_secs(seconds))?;
        hunted += 1;
        found += u64::from(find.is_some());
        *scenarios.entry(&mutant.scenario).or_default() |= find.is_some();
        let row = row(mutant, find.as_ref(), seconds);
        println!("{row}");
        table.set(row);
        fs::write(&path, table.to_string())?;
    }
    let shown = scenarios.values().filter(|found| **found).count();
    println!("\n{found} of {hunted} found, in {shown} of {} scenarios", scenarios.len());
    Ok(shown * 40 >= scenarios.len() * 38)
}

fn row(mutant: &Mutant, find: Option<&Find>, seconds: u64) -> Row {
    let Mutant { name, scenario, story, .. } = mutant;
    let end = match find {
        Some(Find { time, steps, seen }) => {
            format!("{:.1} | {steps} | {seen}", time.as_secs_f64())
        }
        None => format!("not in {seconds} | | "),
    };
    Row::of(name, format!("| {name} | {scenario} | {story} | {end} |"))
}

/// How a mutant was found.
pub(crate) struct Find {
    /// What the simulator took of the processor until then.
    pub(crate) time: Duration,
    /// Steps of cores until then.
    pub(crate) steps: u64,
    /// What it said.
    pub(crate) seen: String,
}

/// A copy of the sources to put bugs in, and the simulator without any.
struct Bench {
    tree: Tree,
    sound: PathBuf,
}

impl Bench {
    fn new(root: &Path, folder: PathBuf) -> anyhow::Result<Bench> {
        let tree = Tree::copy(root, folder)?;
        let sound = tree.build(SIMULATOR.0, SIMULATOR.1, "raft-sim-sound")?;
        Ok(Bench { tree, sound })
    }

    /// Builds the sources with the bug in them and runs seeds until one fails.
    fn hunt(&self, mutant: &Mutant, limit: Duration) -> anyhow::Result<Option<Find>> {
        let (package, program) = SIMULATOR;
        let built = self.tree.build_with([&mutant.patch], package, program, "raft-sim-mutant");
        let simulator = built.with_context(|| mutant.name.clone())?;
        let store: &[&str] = if mutant.is_in_store() { &["--store"] } else { &[] };
        let (start, mut first) = (Instant::now(), 1);
        let (mut time, mut steps) = (Duration::ZERO, 0);
        while let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            let seconds = left.as_secs().max(1);
            let seconds = seconds.to_string();
            let limits = [store, &["--seconds", &seconds]].concat();
            let Some(end) = run_seeds(&simulator, first, &limits)? else { return Ok(None) };
            (time, steps) = (time + end.time, steps + end.steps);
            let Some(seed) = end.seed else {
                return Ok(Some(Find { time, steps, seen: end.seen }));
            };
            if run_seeds(&self.sound, seed, &[store, &["--seeds", "1"]].concat())?.is_none() {
                return Ok(Some(Find { time, steps, seen: end.seen }));
            }
            eprintln!("seed {seed} fails without {} too", mutant.name);
            first = seed + 1;
        }
        Ok(None)
    }
}

/// How a run of the simulator came to an early end.
struct End {
    /// The seed that failed; `None` if not even that was said.
    seed: Option<u64>,
    time: Duration,
    steps: u64,
    seen: String,
}

/// Runs seeds from `first`; `None` if nothing was broken.
fn run_seeds(simulator: &Path, first: u64, limits: &[&str]) -> anyhow::Result<Option<End>> {
    let start = Instant::now();
    let output = Command::new(simulator)
        .args(["--first", &first.to_string()])
        .args(limits)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(Some(read_end(&text).unwrap_or_else(|| End {
        seed: None,
        time: start.elapsed(),
        steps: 0,
        seen: "it was killed".to_owned(),
    })))
}

/// Reads `seed 7 failed after 123 steps and 0.51 s of processor`, and what was said before.
fn read_end(text: &str) -> Option<End> {
    let line = text.lines().find(|line| line.contains(" failed after "))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let time: f64 = words.get(7)?.parse().ok()?;
    Some(End {
        seed: words.get(1)?.parse().ok(),
        steps: words.get(4)?.parse().ok()?,
        time: Duration::from_secs_f64(time),
        seen: first_complaint(text),
    })
}

/// The line that says what was broken.
fn first_complaint(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let line = lines.next().unwrap_or_default();
    line.chars().filter(|c| *c != '|').take(90).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the simulator says last is what the table is made of.
    #[test]
    fn the_end_of_a_run_is_read() {
        let text = "panicked at raft/sim/src/watch.rs:1:2:\ntwo leaders in term 3\n\
                    seed 7 failed after 123 steps and 0.51 s of processor; to replay it: …\n";
        let end = read_end(text).unwrap();
        assert_eq!((end.seed, end.steps, end.time.as_millis()), (Some(7), 123, 510));
        assert_eq!(end.seen, "two leaders in term 3");
        assert!(read_end("Killed").is_none());
    }
}
