//! The teeth of the store's simulation: bugs that are put into the store and into the log beneath
//! it, each hunted by seeds of `kv-sim`.
//!
//! ```text
//!     kv/sim/mutants/*.txt ──► a copy of the sources ──► one kv-sim with all of them
//!                                                           │ none is on: its seeds pass
//!                                                           ▼ one is on
//!                                                        seed after seed, until one fails
//!     kv/sim/MUTANTS.md ◄── which seed, after how long, what was seen
//! ```
//!
//! A bug's file is as that of a [`flaw`](super::flaw), with one line between the story and the
//! patches: `shows as`, and texts of which one stands in what is said when it is found. A seed that
//! fails without the bug as well finds nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::flaw::{FLAW, switch};
use super::patch::{Patch, story};
use super::table::{Row, Table};
use super::tree::Tree;

/// How long one is hunted unless told otherwise.
pub(crate) const SECONDS: u64 = 180;
/// How many seeds the sound simulation must pass before anything is hunted.
const SOUND_SEEDS: u64 = 40;
/// How many seeds run between two looks at the time.
const BATCH_SEEDS: u64 = 20;

const PACKAGE: &str = "drystone-kv-sim";
const PROGRAM: &str = "kv-sim";

const HEAD: &str = "\
# The teeth of the simulation of the store

Written by `cargo xtask mutants --kv-sim`: bugs that were put into the store, and into the log
beneath it, on purpose, and the first seed that found each. Seconds are of the clock.

| mutant | what is wrong | seed | seconds | what was seen |
|---|---|---|---|---|
";

/// One bug.
struct Bug {
    /// The name of its file.
    name: String,
    /// What is wrong.
    story: String,
    /// One of these is said when it is found.
    cries: Vec<String>,
    patches: Vec<Patch>,
}

impl Bug {
    fn parse(name: &str, text: &str) -> Option<Bug> {
        let (head, patches) = Patch::parse_all(text)?;
        let (head, cries) = head.rsplit_once("\nshows as ")?;
        let cries = cries.split(", ").map(str::to_owned).collect();
        let (name, on) = (name.to_owned(), switch(name));
        let patches = patches.into_iter().map(|patch| patch.with("$on", &on)).collect();
        Some(Bug { name, story: story(head)?, cries, patches })
    }
}

fn read_all(folder: &Path) -> anyhow::Result<Vec<Bug>> {
    super::patch::read_all(folder, Bug::parse)
}

/// Hunts every bug whose name contains one of the texts in `filter`, each for up to `seconds`,
/// writes what was seen into the table, and says whether all of these were found.
pub(crate) fn run(root: &Path, target: &Path, filter: &str, seconds: u64) -> anyhow::Result<bool> {
    let folder = root.join("kv/sim");
    let all = read_all(&folder.join("mutants"))?;
    let path = folder.join("MUTANTS.md");
    let mut table = Table::read(&path, HEAD);
    let chosen = table.choose(&all, |bug| &bug.name, filter);
    let tree = Tree::copy(root, target.join("mutants"))?;
    let patches = all.iter().flat_map(|bug| &bug.patches);
    let simulator = tree.build_with(patches, PACKAGE, PROGRAM, "kv-sim-flawed")?;
    if let Some(end) = run_seeds(&simulator, None, 1, SOUND_SEEDS)? {
        bail!("with no bug on, seed {} fails: {}", end.seed, end.seen);
    }
    let mut found = 0;
    for bug in &chosen {
        let find = hunt(&simulator, bug, Duration::from_secs(seconds))?;
        found += usize::from(find.is_some());
        let Bug { name, story, .. } = bug;
        let end = match find {
            Some((End { seed, seen }, time)) => format!("{seed} | {} | {seen}", time.as_secs()),
            None => format!("none | not in {seconds} | "),
        };
        let row = Row::of(name, format!("| {name} | {story} | {end} |"));
        println!("{row}");
        table.set(row);
        fs::write(&path, table.to_string())?;
    }
    println!("\n{found} of {} found", chosen.len());
    Ok(found == chosen.len())
}

/// Runs seeds with the bug on until one fails as it should.
fn hunt(
    simulator: &PathBuf,
    bug: &Bug,
    limit: Duration,
) -> anyhow::Result<Option<(End, Duration)>> {
    let (start, mut first) = (Instant::now(), 1);
    while start.elapsed() < limit {
        let Some(end) = run_seeds(simulator, Some(&bug.name), first, BATCH_SEEDS)? else {
            first += BATCH_SEEDS;
            continue;
        };
        first = end.seed + 1;
        let known = bug.cries.iter().any(|cry| end.seen.contains(cry));
        if known && run_seeds(simulator, None, end.seed, 1)?.is_none() {
            return Ok(Some((end, start.elapsed())));
        }
        eprintln!("{}, seed {}: {}", bug.name, end.seed, end.seen);
    }
    Ok(None)
}

/// How a run came to an early end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    seed: u64,
    /// What was said.
    seen: String,
}

/// Runs `count` seeds from `first` on with the bug that is named on; `None` if nothing was broken.
fn run_seeds(
    simulator: &PathBuf,
    on: Option<&str>,
    first: u64,
    count: u64,
) -> anyhow::Result<Option<End>> {
    let output = Command::new(simulator)
        .args(["--first", &first.to_string(), "--seeds", &count.to_string()])
        .env(FLAW, on.unwrap_or_default())
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let end = read_end(&text).with_context(|| format!("kv-sim ended without a word: {text}"));
    end.map(Some)
}

/// Reads `seed 7 failed; to replay it: …`, and what was said before.
fn read_end(text: &str) -> Option<End> {
    let line = text.lines().find(|line| line.contains(" failed; to replay it"))?;
    let seed = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(End { seed, seen: super::first_complaint(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the simulation says last is what the table is made of.
    #[test]
    fn the_end_of_a_run_is_read() {
        let text = "panicked at kv/sim/src/run.rs:1:2:\nn3: the revision went back to 7\n\
                    seed 12 failed; to replay it: cargo run …\n";
        let seen = "n3: the revision went back to 7".to_owned();
        assert_eq!(read_end(text), Some(End { seed: 12, seen }));
        assert_eq!(read_end("Killed"), None);
    }

    /// A bug whose text has moved away is one that nobody hunts any more; one without a cry is
    /// found by whatever happens.
    #[test]
    fn every_bug_of_the_store_still_fits() {
        let root = crate::test::root();
        for bug in read_all(&root.join("kv/sim/mutants")).unwrap() {
            let Bug { name, cries, .. } = &bug;
            for patch in &bug.patches {
                let source = fs::read_to_string(root.join(&patch.file)).unwrap();
                let file = &patch.file;
                assert!(patch.put_into(&source).is_some(), "{name}: not in {file} once");
            }
            assert!(cries.iter().all(|cry| cry.len() > 3), "{name}: {cries:?}");
        }
    }
}
