//! What a folder of backups holds: `drystone-etcd backup list DIR`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use super::manifest::{Entry, Manifest};

/// What is told.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd backup list",
    about = "Shows what a folder of backups holds, by chain: a whole copy and what came since.",
    after_help = "Exit status: 0 all that was looked at is sound; 1 something is damaged, or there \
        is no backup; 2 bad usage"
)]
pub(super) struct List {
    /// The folder
    dir: PathBuf,
    /// Look at all bytes of all files
    #[arg(long)]
    verify: bool,
}

/// Shows it.
pub(super) fn run(told: &List) -> ExitCode {
    match list(told) {
        Ok((text, is_sound)) => {
            print!("{text}");
            if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("drystone-etcd backup list: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A page, and whether all is sound.
fn list(told: &List) -> Result<(String, bool)> {
    let dir = &told.dir;
    let manifest = Manifest::read(dir)?;
    let manifest =
        manifest.with_context(|| format!("{} holds no backup: no manifest", dir.display()))?;
    let (mut text, mut is_sound) = (String::new(), true);
    for chain in &manifest.chains {
        let (base, newest) = (chain.base(), chain.newest());
        let bytes: u64 = chain.entries.iter().map(|entry| entry.bytes).sum();
        writeln!(
            text,
            "chain {} of cluster {}: revisions {} to {}, {} to {}, {} files, {bytes} bytes",
            chain.number,
            base.label.cluster,
            base.label.revision,
            newest.label.revision,
            base.label.time,
            newest.label.time,
            chain.entries.len(),
        )?;
        for entry in &chain.entries {
            let found = match told.verify {
                true => entry.check(dir),
                false if entry.path(dir).exists() => Ok(()),
                false => Err(anyhow::anyhow!("{} is missing", entry.path(dir).display())),
            };
            is_sound &= found.is_ok();
            let word = match (&found, told.verify) {
                (Ok(()), true) => "sound".to_owned(),
                (Ok(()), false) => String::new(),
                (Err(error), _) => format!("{error:#}"),
            };
            writeln!(text, "{}", row(entry, &word).trim_end())?;
        }
    }
    if manifest.torn_bytes > 0 {
        let bytes = manifest.torn_bytes;
        writeln!(text, "the manifest ends in {bytes} bytes of a line that was never finished")?;
    }
    Ok((text, is_sound))
}

fn row(entry: &Entry, word: &str) -> String {
    let Entry { file, label, bytes, .. } = entry;
    let from = if label.since == 0 { "all".to_owned() } else { label.since.to_string() };
    let to = label.revision;
    format!("  {file:<29}  {from:>12} to {to:<12}  {}  {bytes:>12}  {word}", label.time)
}
