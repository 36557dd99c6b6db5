//! Adding to a folder of backups: `drystone-etcd backup --endpoints … --dir …`.
//!
//! ```text
//!   what the newest file has ──► ask for what came since
//!        nothing came ───────────────────────────────► nothing is written
//!        something ──────────────────────────────────► an increment
//!        compacted, gone back, another cluster, old ─► a base: a new chain begins
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::folder::Folder;
use super::label::Ask;
use super::manifest::Entry;
use super::source::{Refusal, Source};
use super::{say, tell};
use crate::config::duration;
use crate::remote::RemoteFlags;

/// No member gave a copy.
const FAILED: u8 = 1;
/// The folder cannot be used.
const FOLDER: u8 = 3;

/// What is told.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd backup",
    about = "Adds to a folder of backups: a whole copy first, then what came since.",
    after_help = "Also: drystone-etcd backup list DIR, drystone-etcd backup restore DIR\n\n\
        Exit status: 0 done, or nothing was new; 1 no member gave a copy; 2 bad usage; \
        3 the folder is damaged, in use or cannot be written"
)]
pub(super) struct Take {
    #[command(flatten)]
    remote: RemoteFlags,
    /// The folder, which is made if it is not there
    #[arg(long)]
    dir: PathBuf,
    /// Go on until a signal, adding this often
    #[arg(long, value_parser = duration::parse, conflicts_with = "once")]
    every: Option<Duration>,
    /// Add once, and end: the default
    #[arg(long)]
    once: bool,
    /// Begin a new chain with a whole copy when the newest is this old
    #[arg(long, default_value = "24h", value_parser = duration::parse)]
    full_after: Duration,
    /// Remove all chains but so many of the newest; 0 removes none
    #[arg(long, default_value_t = 0)]
    keep: usize,
}

/// Does it.
pub(super) fn run(told: &Take) -> ExitCode {
    let complain = |error: &anyhow::Error, status| {
        say(&format!("{error:#}"));
        ExitCode::from(status)
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.into(), FAILED),
    };
    let mut remote = told.remote.clone();
    remote.or_local();
    let source = match Source::new(remote.reach()) {
        Ok(source) => source,
        Err(error) => return complain(&error, FAILED),
    };
    let folder = match Folder::open(&told.dir) {
        Ok(folder) => folder,
        Err(error) => return complain(&error, FOLDER),
    };
    match runtime.block_on(add_all(told, folder, source)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Disk(error)) => complain(&error, FOLDER),
        Err(Refusal::Failed(error)) => complain(&error, FAILED),
        Err(refusal) => {
            let why = refusal.why_whole().unwrap_or_default();
            complain(&anyhow::anyhow!("no member gave a whole copy: {why}"), FAILED)
        }
    }
}

/// Adds once, or until a signal comes. What fails for want of a member is tried again at the next
/// tick.
async fn add_all(told: &Take, mut folder: Folder, mut source: Source) -> Result<(), Refusal> {
    let Some(every) = told.every else {
        return add(told, &mut folder, &mut source).await;
    };
    let disk = |error: std::io::Error| Refusal::Disk(error.into());
    let mut terminate = signal(SignalKind::terminate()).map_err(disk)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(disk)?;
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let turn = async {
            ticks.tick().await;
            add(told, &mut folder, &mut source).await
        };
        // What is cut off has not counted.
        let added = tokio::select! {
            added = turn => added,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        match added {
            Err(Refusal::Failed(error)) => say(&format!("{error:#}")),
            other => other?,
        }
    }
}

/// Adds what came since, and removes what is old.
async fn add(told: &Take, folder: &mut Folder, source: &mut Source) -> Result<(), Refusal> {
    match next(told, folder, source).await? {
        None => {
            let revision = folder.manifest().newest().map_or(0, |entry| entry.label.revision);
            tell(&format!("nothing is new: revision {revision}"));
        }
        Some(entry) => {
            let Entry { file, label, bytes, .. } = &entry;
            tell(&match label.since {
                0 => format!("{file}: all, up to revision {}, {bytes} bytes", label.revision),
                since => format!("{file}: from {since} to {}, {bytes} bytes", label.revision),
            });
        }
    }
    if told.keep > 0 && folder.manifest().chains.len() > told.keep {
        let removed = folder.keep(told.keep).map_err(Refusal::Disk)?;
        tell(&format!("removed {removed} old chains"));
    }
    Ok(())
}

/// What was added, if anything was new.
async fn next(
    told: &Take,
    folder: &mut Folder,
    source: &mut Source,
) -> Result<Option<Entry>, Refusal> {
    if let Some(ask) = ask(told, folder) {
        match fetch(folder, source, &ask).await {
            Ok(added) => return Ok(added),
            Err(refusal) => match refusal.why_whole() {
                Some(why) => say(&format!("a whole copy is made: {why}")),
                None => return Err(refusal),
            },
        }
    }
    fetch(folder, source, &Ask::default()).await
}

/// What the newest file has, if an increment may follow it.
fn ask(told: &Take, folder: &Folder) -> Option<Ask> {
    let chain = folder.manifest().chains.last()?;
    let began = chain.base().time().ok()?;
    let age = Timestamp::now().duration_since(began);
    let is_old = Duration::try_from(age).is_ok_and(|age| age >= told.full_after);
    let label = &chain.newest().label;
    (!is_old).then(|| Ask {
        since: label.revision,
        cluster: label.cluster.clone(),
        tail: label.tail.clone(),
        state: label.state.clone(),
    })
}

async fn fetch(
    folder: &mut Folder,
    source: &mut Source,
    ask: &Ask,
) -> Result<Option<Entry>, Refusal> {
    let (chain, file) = folder.next(ask.since == 0);
    let fetched = source.fetch(ask, &folder.part(&file)).await?;
    if fetched.label.unchanged {
        return Ok(None);
    }
    let (label, bytes, sha256) = (fetched.label, fetched.bytes, fetched.sha256);
    let entry = Entry { chain, file, label, bytes, sha256 };
    folder.add(&entry).map_err(Refusal::Disk)?;
    Ok(Some(entry))
}
