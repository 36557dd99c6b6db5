//! A point in time made into a data directory, or into a copy: `drystone-etcd backup restore DIR`.
//!
//! The new cluster begins at a revision that no client has seen, and what was before counts as
//! compacted: so whoever watched the old one hears that it has missed something, and nobody takes
//! new content for old by its number. How far that has to be, nobody knows who has only backups;
//! the newest revision in them and [`MARGIN`] more will do for years of writing.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use jiff::Timestamp;

use super::chain::{Plan, Wanted};
use super::compose::{self, Composed};
use super::label;
use super::manifest::Manifest;
use crate::restore::{self as member, NewMember};

/// How much further than the newest backup a restored cluster begins: a year of thirty writes a
/// second, or a day of eleven thousand.
const MARGIN: u64 = 1_000_000_000;

/// What is told.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd backup restore",
    about = "Makes a data directory, or a copy as `etcdctl snapshot save` writes it, of any point \
        that a folder of backups has.",
    after_help = "Exit status: 0 done; 1 it could not be done, and nothing is left; 2 bad usage"
)]
pub(super) struct Restore {
    /// The folder
    dir: PathBuf,
    /// As of this revision [default: the newest]
    #[arg(long, conflicts_with = "to_time")]
    to_revision: Option<u64>,
    /// As of this time (RFC 3339), or the last backup before it
    #[arg(long)]
    to_time: Option<Timestamp>,
    /// Of this chain, as `backup list` numbers them
    #[arg(long)]
    chain: Option<u64>,
    /// Write a copy to this file, for `etcdctl`, `etcdutl` or `drystone-etcd snapshot restore`
    #[arg(long, conflicts_with_all = ["data_dir", "wal_dir", "name", "initial_cluster"])]
    to: Option<PathBuf>,
    /// Begin so many revisions above the newest that is in any backup of the folder
    #[arg(long, default_value_t = MARGIN)]
    bump_revision: u64,
    /// Begin at the revision of the point, with the history before it
    #[arg(long, conflicts_with = "bump_revision")]
    no_bump: bool,
    #[command(flatten)]
    member: NewMember,
}

/// Does it.
pub(super) fn run(told: &Restore) -> ExitCode {
    match perform(told) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("drystone-etcd backup restore: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(told: &Restore) -> Result<String> {
    let dir = &told.dir;
    let manifest = Manifest::read(dir)?;
    let manifest =
        manifest.with_context(|| format!("{} holds no backup: no manifest", dir.display()))?;
    if manifest.torn_bytes > 0 {
        eprintln!("the manifest ends in a line that was never finished, and is left out");
    }
    let wanted = match (told.to_revision, told.to_time) {
        (Some(revision), _) => Wanted::Revision(revision),
        (None, Some(time)) => Wanted::Time(time),
        (None, None) => Wanted::Newest,
    };
    let place = || dir.display().to_string();
    let plan = Plan::of(&manifest, wanted, told.chain).with_context(place)?;
    let bumped = bumped(told, &manifest)?;
    let composed = match &told.to {
        Some(to) => to_file(dir, &plan, bumped, to)?,
        None => to_data_dir(dir, &plan, bumped, &told.member)?,
    };
    if composed.strays > 0 {
        eprintln!(
            "{} leases of which nothing is known were made anew, for {} s",
            composed.strays,
            compose::STRAY_TTL
        );
    }
    let small = &plan.files[plan.small];
    Ok(format!(
        "restored revision {} of {} (leases, users and members as of revision {}, {}); it begins \
         at revision {}",
        plan.point,
        dir.display(),
        small.label.revision,
        small.label.time,
        composed.revision
    ))
}

/// Where the new cluster begins, if not at the point.
fn bumped(told: &Restore, manifest: &Manifest) -> Result<Option<u64>> {
    if told.no_bump {
        return Ok(None);
    }
    let bumped = manifest.revision_max().checked_add(told.bump_revision);
    bumped.filter(|at| *at < 1 << 62).context("--bump-revision is too large").map(Some)
}

fn to_file(dir: &Path, plan: &Plan<'_>, bumped: Option<u64>, to: &Path) -> Result<Composed> {
    if to.exists() {
        bail!("{} is there already", to.display());
    }
    plan.check(dir)?;
    let part = beside(to, "part")?;
    let made = compose_at(dir, plan, bumped, &part).and_then(|(mut file, composed)| {
        append_hash(&mut file)?;
        file.sync_all()?;
        fs::rename(&part, to)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(composed)
    });
    if made.is_err() {
        // What was begun is of no use; that it could not be made is what counts.
        let _ = fs::remove_file(&part);
    }
    made.with_context(|| format!("cannot write {}", to.display()))
}

fn to_data_dir(
    dir: &Path,
    plan: &Plan<'_>,
    bumped: Option<u64>,
    new: &NewMember,
) -> Result<Composed> {
    let config = member::config(new)?;
    plan.check(dir)?;
    let database = beside(&config.data_dir, "composing")?;
    let made = compose_at(dir, plan, bumped, &database).and_then(|(_, composed)| {
        let revision = member::from_database(&config, &database)?;
        if revision != composed.revision {
            bail!("it stands at revision {revision}, and not at {}", composed.revision);
        }
        Ok(composed)
    });
    let removed = fs::remove_file(&database);
    let made = made?;
    removed.with_context(|| format!("cannot remove {}", database.display()))?;
    Ok(made)
}

fn compose_at(
    dir: &Path,
    plan: &Plan<'_>,
    bumped: Option<u64>,
    path: &Path,
) -> Result<(File, Composed)> {
    let opened = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = opened.with_context(|| format!("cannot write {}", path.display()))?;
    compose::compose(dir, plan, bumped, file)
}

/// Where something is made that is to become `path`, or is of no use afterwards.
fn beside(path: &Path, what: &str) -> Result<PathBuf> {
    let mut name = path.file_name().context("that is no name of a file")?.to_owned();
    name.push(".");
    name.push(what);
    Ok(path.with_file_name(name))
}

/// The hash that etcd's tools look for.
fn append_hash(file: &mut File) -> Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let (hash, _) = label::hash(file)?;
    file.write_all(&hash)?;
    Ok(())
}
