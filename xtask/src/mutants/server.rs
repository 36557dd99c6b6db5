//! The teeth of `etcd-faults`: bugs that are put into the server on purpose, each hunted by a
//! cluster of real processes under the faults in which it shows.
//!
//! ```text
//!     examples/etcd-faults/mutants/*.txt ──► a copy of the sources ──► a server with all of them
//!                                                                         │ none is on: it passes
//!                                                                         ▼ one is on
//!                                            etcd-faults, run after run, until a checker complains
//!     examples/etcd-faults/MUTANTS.md ◄── which checkers, after how long, what was seen
//! ```
//!
//! There is one build: which bug is on, the environment says. A run is short, so that most bugs
//! cost half a minute. One is found if a checker complains that should; others may complain as
//! well, since one bug breaks several promises.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::flaw::{self, FLAW, Flaw};
use super::table::{Row, Table};
use super::tree::Tree;

/// How long one is hunted unless told otherwise.
pub(crate) const SECONDS: u64 = 180;
/// How long trouble lasts in one run.
const RUN_SECONDS: u64 = 15;
/// How long a cluster may take to be well again. Three members of ours take a second or two, and
/// the sound server is judged by this, too; a flaw that nothing heals is found this much later.
const PATIENCE_SECONDS: u64 = 30;

const SERVER: &str = "drystone-etcd";
const FAULTS: &str = "drystone-etcd-faults";

const HEAD: &str = "\
# The teeth of the checkers

Written by `cargo xtask mutants --server`: bugs that were put into the server on purpose, and who
found them. Seconds are of the clock, from the start of the cluster to the verdict, over as many
runs as it took. The checker in front is the one that should complain; the others did, too.

| mutant | what is wrong | faults | found by | seconds | what was seen |
|---|---|---|---|---|---|
";

/// Hunts every flaw whose name contains one of the texts in `filter`, each for up to `seconds`,
/// writes what was seen into the table, and says whether all of these were found.
pub(crate) fn run(root: &Path, target: &Path, filter: &str, seconds: u64) -> anyhow::Result<bool> {
    let folder = root.join("examples/etcd-faults");
    let all = flaw::read_all(&folder.join("mutants"))?;
    let path = folder.join("MUTANTS.md");
    let mut table = Table::read(&path, HEAD);
    let chosen = table.choose(&all, |flaw| &flaw.name, filter);
    let bench = Bench::new(root, target.join("mutants"), &all)?;
    let mut found = 0;
    for flaw in &chosen {
        let find = bench.hunt(flaw, Duration::from_secs(seconds))?;
        found += usize::from(find.is_some());
        let row = row(flaw, find.as_ref(), seconds);
        println!("{row}");
        table.set(row);
        fs::write(&path, table.to_string())?;
    }
    println!("\n{found} of {} found", chosen.len());
    Ok(found == chosen.len())
}

fn row(flaw: &Flaw, find: Option<&Find>, seconds: u64) -> Row {
    let Flaw { name, story, faults, .. } = flaw;
    let end = match find {
        Some(Find { time, checkers, seen }) => {
            format!("{} | {} | {seen}", checkers.join(", "), time.as_secs())
        }
        None => format!("nobody | not in {seconds} | "),
    };
    Row::of(name, format!("| {name} | {story} | {faults} | {end} |"))
}

/// How a flaw was found.
struct Find {
    time: Duration,
    /// Who complained, those who should in front.
    checkers: Vec<String>,
    /// What the first of them said.
    seen: String,
}

/// A server with all bugs in it, and the judge.
struct Bench {
    faults: PathBuf,
    server: PathBuf,
    /// Where a run may leave what it likes.
    folder: PathBuf,
}

impl Bench {
    fn new(root: &Path, folder: PathBuf, all: &[Flaw]) -> anyhow::Result<Bench> {
        let tree = Tree::copy(root, folder)?;
        let faults = tree.build(FAULTS, "etcd-faults", "etcd-faults-judge")?;
        let patches = all.iter().flat_map(|flaw| &flaw.patches);
        let server = tree.build_with(patches, SERVER, SERVER, "drystone-etcd-flawed")?;
        let bench = Bench { faults, server, folder: tree.place("faults-run") };
        // A judge who complains about everyone finds nothing.
        let complaints = bench.judge(1, None)?;
        if let Some(first) = complaints.first() {
            bail!("with no bug on, the server is complained about: {first:?}");
        }
        Ok(bench)
    }

    /// Runs the server with this flaw on until the right checker complains.
    fn hunt(&self, flaw: &Flaw, limit: Duration) -> anyhow::Result<Option<Find>> {
        let (start, mut seed) = (Instant::now(), 1);
        while start.elapsed() < limit {
            let mut complaints = self.judge(seed, Some(flaw))?;
            let expected = |complaint: &Complaint| flaw.checkers.contains(&complaint.checker);
            complaints.sort_by_key(|complaint| !expected(complaint));
            if complaints.first().is_some_and(expected) {
                let seen = complaints[0].text.clone();
                let mut checkers: Vec<_> = complaints.into_iter().map(|it| it.checker).collect();
                checkers.dedup();
                return Ok(Some(Find { time: start.elapsed(), checkers, seen }));
            }
            for Complaint { checker, text } in &complaints {
                eprintln!("{}, seed {seed}: [{checker}] {text}", flaw.name);
            }
            seed += 1;
        }
        Ok(None)
    }

    /// One run: what the checkers said.
    fn judge(&self, seed: u64, flaw: Option<&Flaw>) -> anyhow::Result<Vec<Complaint>> {
        // What an interrupted run has left.
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        let mut command = Command::new(&self.faults);
        command.arg("--server").arg(&self.server).arg("--dir").arg(&self.folder);
        command.args(["--seconds", &RUN_SECONDS.to_string(), "--seed", &seed.to_string()]);
        command.args(["--patience", &PATIENCE_SECONDS.to_string()]);
        if let Some(flaw) = flaw {
            command.args(["--faults", &flaw.faults]).env(FLAW, &flaw.name);
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => Ok(Vec::new()),
            Some(1) => Ok(said.lines().filter_map(Complaint::read).collect()),
            _ => bail!("etcd-faults: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// One line of a checker's.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    checker: String,
    text: String,
}

impl Complaint {
    /// Reads `VIOLATION [log] what was seen`.
    fn read(line: &str) -> Option<Complaint> {
        let (checker, text) = line.strip_prefix("VIOLATION [")?.split_once("] ")?;
        // Where the log of a server lies is of this machine, and gone with the next run.
        let text = text.split("; see /").next().unwrap_or_default();
        let text = text.chars().map(|c| if c == '|' { ' ' } else { c }).take(110).collect();
        Some(Complaint { checker: checker.to_owned(), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the command prints last is what the table is made of.
    #[test]
    fn complaints_are_read() {
        let found = Complaint::read("VIOLATION [watch] watcher 8 missed revision 7").unwrap();
        assert_eq!((&*found.checker, &*found.text), ("watch", "watcher 8 missed revision 7"));
        let found = Complaint::read("VIOLATION [alive] m1 ended by itself; see /a/m1.log").unwrap();
        assert_eq!(found.text, "m1 ended by itself", "a path is of one machine");
        assert_eq!(Complaint::read("no violations"), None);
        assert_eq!(Complaint::read("server 3.6.0"), None);
    }
}
