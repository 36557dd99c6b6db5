//! The teeth of the simulator: protocol bugs that are put in on purpose, and how long it takes to
//! find each.
//!
//! ```text
//!     raft/sim/mutants/NN-what-is-wrong.txt          # why it matters
//!                                                    raft/src/file.rs
//!                                                    ---- instead of      ---- it says
//! ```
//!
//! The bugs are kept as texts to be replaced, not as flags in the code: the core stays readable,
//! and a test of the simulator checks that each text is still there, once. They are built in a copy
//! of the sources, one after the other, and run until the simulator stops or the time is up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long one is hunted unless told otherwise.
pub(crate) const SECONDS: u64 = 600;

/// One bug.
struct Mutant {
    name: String,
    story: String,
    file: PathBuf,
    instead_of: String,
    says: String,
}

/// Runs every mutant whose name contains `filter` for up to `seconds`, prints a table, and says
/// whether at least 38 in 40 were found.
pub(crate) fn run(root: &Path, target: &Path, filter: &str, seconds: u64) -> anyhow::Result<bool> {
    let mutants = read_all(&root.join("raft/sim/mutants"))?;
    let tree = target.join("mutants");
    copy_tree(root, &tree)?;
    let mut rows = Vec::new();
    let chosen: Vec<&Mutant> = mutants.iter().filter(|m| m.name.contains(filter)).collect();
    for mutant in &chosen {
        let found = hunt(&tree, mutant, seconds)?;
        let time = match &found {
            Some((time, how)) => format!("{:.1} s | {how}", time.as_secs_f64()),
            None => format!("not in {seconds} s |"),
        };
        let row = format!("| {} | {} | {time} |", mutant.name, mutant.story);
        println!("{row}");
        rows.push(found.is_some());
    }
    let found = rows.iter().filter(|found| **found).count();
    println!("\n{found} of {} found", rows.len());
    Ok(found * 40 >= rows.len() * 38)
}

/// Builds the sources with the bug in them and runs seeds until one fails.
fn hunt(tree: &Path, mutant: &Mutant, seconds: u64) -> anyhow::Result<Option<(Duration, String)>> {
    let place = tree.join(&mutant.file);
    let sound = fs::read_to_string(&place).with_context(|| format!("{}", mutant.file.display()))?;
    if sound.matches(&mutant.instead_of).count() != 1 {
        bail!("{}: the text is not in {} once", mutant.name, mutant.file.display());
    }
    fs::write(&place, sound.replace(&mutant.instead_of, &mutant.says))?;
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet", "-p", "drystone-raft-sim"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .env("RUSTFLAGS", "--cap-lints allow")
        .status()?;
    fs::write(&place, &sound)?;
    if !built.success() {
        bail!("{} does not build", mutant.name);
    }
    let start = Instant::now();
    let output = Command::new(tree.join("target/release/raft-sim"))
        .args(["--seconds", &seconds.to_string()])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Some((start.elapsed(), first_complaint(&text))))
}

/// The line that says what was broken.
fn first_complaint(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let line = lines.next().unwrap_or("it was killed");
    line.chars().filter(|c| *c != '|').take(90).collect()
}

fn read_all(folder: &Path) -> anyhow::Result<Vec<Mutant>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("{}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "txt"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> anyhow::Result<Mutant> {
    let text = fs::read_to_string(path)?;
    let parts = text.split_once("\n---- instead of\n").and_then(|(head, rest)| {
        let (instead_of, says) = rest.split_once("\n---- it says\n")?;
        let (story, file) = head.strip_prefix("# ")?.rsplit_once('\n')?;
        Some((story, file, instead_of, says.strip_suffix('\n')?))
    });
    let Some((story, file, instead_of, says)) = parts else {
        bail!("{} is not a mutant", path.display());
    };
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
    Ok(Mutant {
        name: name.unwrap_or_default(),
        story: story.replace("\n# ", " "),
        file: file.into(),
        instead_of: instead_of.to_owned(),
        says: says.to_owned(),
    })
}

/// Copies what is needed to build the simulator. Files that are the same are left alone, so that
/// they need not be built again.
fn copy_tree(root: &Path, tree: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    for name in listed.lines() {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        fs::write(&to, bytes)?;
    }
    Ok(())
}
