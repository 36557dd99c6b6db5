//! `drystone-etcd migrate`: a data directory of etcd's made into one of this server's.
//!
//! ```sh
//! systemctl stop etcd                                # on every member
//! drystone-etcd migrate --data-dir /var/lib/etcd     # on every member
//! # then start drystone-etcd where etcd was started, with the same flags
//! ```
//!
//! Everything comes along: keys with their revisions and all history since the last compaction,
//! leases, alarms, users and roles, members with their ids and names, and the place in the log that
//! they have in common. So each member is converted by itself, and those that had less than others
//! catch up with them afterwards; nothing that was acknowledged is lost as long as a majority is
//! converted.
//! A lease begins its time anew, as it does at each change of leaders.
//!
//! ```text
//!   member/            the database, and the journal behind its index
//!      │ read                                                       ([`crate::etcd_files`])
//!      ▼
//!   drystone-migrating/   replica, peers, identity                  synced, then renamed to
//!   drystone-migrated/    ───► replica, peers, identity             ([`place`])
//!   member/ ──► member.etcd                                         untouched, to go back to
//! ```
//!
//! A crash leaves either etcd's directory as it was, with some rubbish in it, or a conversion that
//! is finished by running the command once more; no server starts on anything in between. With
//! `--to` the new directory is another one, and etcd's stays where it is.
//!
//! A start on etcd's directory does the same by itself ([`start`]), unless it is told not to.

mod place;
mod start;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use drystone_kv::members::Cluster;
use drystone_kv::runtime::{Import, Logged, Standing};
use drystone_kv::{EngineKind, Error};
use drystone_vfs::{OsClock, OsVfs};
use rustix::fs::{FlockOperation, flock};

use crate::data_dir::DataDir;
use crate::error_text;
use crate::etcd_files::database::{Database, Reached};
use crate::etcd_files::entries;
use crate::etcd_files::journal::Journal;
use crate::etcd_files::members::Table;
use crate::etcd_files::raft_snapshot;
use crate::identity::{ClusterId, Identity, MemberId};
use crate::peers::{Known, Roll};
use crate::store::Options;

pub(crate) use start::at_start;

/// What `migrate` is told.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd migrate",
    about = "Makes a data directory of etcd 3.4, 3.5 or 3.6 one of this server's. Stop etcd first."
)]
struct Migrate {
    /// etcd's data directory
    #[arg(long)]
    data_dir: PathBuf,
    /// etcd's journal, if it was kept elsewhere (--wal-dir) [default: DATA_DIR/member/wal]; it is
    /// only read
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// A new directory, instead of converting in place
    #[arg(long)]
    to: Option<PathBuf>,
    /// What holds the records: memory, btree or lsm
    #[arg(long)]
    storage_engine: Option<EngineKind>,
}

/// Where a member was found to stand.
#[derive(Debug, PartialEq, Eq)]
struct Moved {
    identity: Identity,
    name: String,
    members: usize,
    revision: u64,
    applied: u64,
    behind: usize,
}

/// Does what the words say, `migrate` first.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    crate::data_dir::for_owner_only();
    let told = match Migrate::try_parse_from(words) {
        Ok(told) => told,
        Err(error) => return crate::program::misread(&error),
    };
    match perform(&told) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("drystone-etcd migrate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(told: &Migrate) -> Result<String> {
    let dir = &told.data_dir;
    if let Some(to) = &told.to {
        place::check_new(to)?;
        let beside = place::beside(to)?;
        let moved = convert(told, &beside)?;
        place::sync_all(&beside)?;
        place::put_beside(&beside, to)?;
        return Ok(format!("{}\n{} is as it was", moved.text(to), dir.display()));
    }
    let Some(moved) = in_place(told)? else {
        return Ok(format!("finished what was begun: {} is ready", dir.display()));
    };
    let kept = dir.join(place::KEPT);
    Ok(format!("{}\netcd's own files are kept in {}", moved.text(dir), kept.display()))
}

/// Converts the directory where it is; nothing is told where that had been begun before.
fn in_place(told: &Migrate) -> Result<Option<Moved>> {
    let dir = &told.data_dir;
    if place::is_begun(dir) {
        place::put_in_place(dir, usize::MAX)?;
        return Ok(None);
    }
    place::check_room(dir)?;
    let building = place::building(dir);
    let moved = convert(told, &building)?;
    place::sync_all(&building)?;
    place::put_in_place(dir, usize::MAX)?;
    Ok(Some(moved))
}

impl Moved {
    fn text(&self, dir: &Path) -> String {
        let Moved { identity, name, members, revision, applied, behind } = self;
        format!(
            "{} is ready: member {} ({name:?}, one of {members}) of cluster {}, revision \
             {revision}, entry {applied} of the log and {behind} behind it",
            dir.display(),
            identity.member,
            identity.cluster
        )
    }
}

/// Makes in `target`, which is cleared first, what etcd's directory holds.
fn convert(told: &Migrate, target: &Path) -> Result<Moved> {
    let snap = told.data_dir.join("member/snap");
    let _lock = lock(&snap.join("db"))?;
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("cannot clear {}", target.display()))?;
    }
    let wal = told.wal_dir.clone().unwrap_or_else(|| told.data_dir.join("member/wal"));
    let (database, journal) = read(&snap, &wal)?;
    if let Some(torn) = &journal.torn {
        eprintln!("the journal ends in something that was never finished, and is left out: {torn}");
    }
    let entries = journal.entries.iter().map(entries::logged).collect::<Result<Vec<_>>>()?;
    let table = table(&database, &journal, &entries, &snap)?;
    let standing = standing(&database, &journal, entries, &table)?;
    let identity = Identity {
        cluster: ClusterId(journal.metadata.cluster_id),
        member: MemberId(journal.metadata.node_id),
    };
    let Some(own) = table.members.get(&identity.member.0) else {
        bail!(
            "member {} was removed from its cluster; there is nothing to convert",
            identity.member
        );
    };
    let cluster = Cluster {
        id: Some(identity.cluster.0),
        members: table.members.values().cloned().collect(),
        removed: table.removed.clone(),
    };
    let mut data_dir = DataDir::open(target)?;
    data_dir.make()?;
    let options = Options { engine: told.storage_engine, ..Options::default() };
    let reached = fill(&database, &data_dir.store(), &options, cluster.clone(), &standing)?;
    Roll::open(data_dir.path())?.keep(Known::of(&cluster, standing.applied.0))?;
    data_dir.keep_identity(identity)?;
    Ok(Moved {
        identity,
        name: own.name.clone(),
        members: cluster.members.len(),
        revision: reached.revision,
        applied: standing.applied.0,
        behind: standing.entries.len(),
    })
}

/// Keeps etcd out: it locks its database as bbolt does.
fn lock(db: &Path) -> Result<File> {
    let cannot = || format!("cannot read etcd's database {}", db.display());
    let file = File::open(db).with_context(cannot)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("{} is in use: stop etcd first", db.display())
        }
        Err(error) => Err(anyhow!(error).context(format!("cannot lock {}", db.display()))),
    }
}

/// The database, and the journal behind it. Where another member has sent a newer database, and
/// etcd ended before it was put in its place, that is the one.
fn read(snap: &Path, wal: &Path) -> Result<(Database, Journal)> {
    let database = Database::open(&snap.join("db"))?;
    let journal = Journal::read(wal, database.index()?)?;
    let sent = journal.snapshot.index;
    let (database, journal) = if sent > database.index()? {
        let file = snap.join(format!("{sent:016x}.snap.db"));
        let lacks =
            || format!("the journal goes on behind entry {sent}, which the database does not have");
        let database = Database::open(&file).with_context(lacks)?;
        let index = database.index()?.max(sent);
        (database, Journal::read(wal, index)?)
    } else {
        (database, journal)
    };
    journal.check_gapless()?;
    Ok((database, journal))
}

/// The members as of all that is known to be committed: those of the newest raft snapshot, or of
/// the log's beginning, and the changes since. The database, which knows of them as well, may lack
/// some that have never been started; it is asked for their names, and where there is nothing else.
fn table(database: &Database, journal: &Journal, entries: &[Logged], snap: &Path) -> Result<Table> {
    let in_database = database.table()?;
    let snapshot = raft_snapshot::newest(snap, journal.snapshot.index)?;
    let begins = (journal.snapshot.index == 0 && journal.first <= 1).then(Default::default);
    let (mut table, from) = match (snapshot, begins) {
        (Some((index, table)), _) => (table, index),
        (None, Some(table)) => (table, 0),
        (None, None) => (in_database.clone(), u64::MAX),
    };
    let index = database.index()?;
    let known =
        journal.changes.iter().filter(|change| from < change.index && change.index <= index);
    let known = known.map(entries::logged).collect::<Result<Vec<_>>>()?;
    let behind = entries.iter().filter(|entry| entry.index <= journal.hard.commit);
    for command in known.iter().chain(behind).filter_map(|entry| entry.command.as_ref()) {
        table.make(command);
    }
    for (id, member) in &mut table.members {
        if let (true, Some(named)) = (member.name.is_empty(), in_database.members.get(id)) {
            member.name.clone_from(&named.name);
            member.client_urls.clone_from(&named.client_urls);
        }
    }
    Ok(table)
}

fn standing(
    database: &Database,
    journal: &Journal,
    entries: Vec<Logged>,
    table: &Table,
) -> Result<Standing> {
    let applied = database.index()?.max(journal.snapshot.index);
    let term = match journal.applied_term {
        Some(term) => term,
        None if applied == 0 => 0,
        None => database.term()?,
    };
    if applied > 0 && term == 0 {
        bail!("neither the journal nor the database says of which term entry {applied} is");
    }
    let of = |learns: bool| {
        let members = table.members.values().filter(move |member| member.is_learner == learns);
        members.map(|member| member.id).collect()
    };
    Ok(Standing {
        applied: (applied, term),
        term: journal.hard.term.max(term),
        vote: Some(journal.hard.vote).filter(|&vote| vote != 0 && journal.hard.term >= term),
        voters: of(false),
        learners: of(true),
        entries,
    })
}

/// Fills the store's folder.
fn fill(
    database: &Database,
    store: &Path,
    options: &Options,
    cluster: Cluster,
    standing: &Standing,
) -> Result<Reached> {
    let failed = |error: Error| anyhow!("{}", error_text::chain(&error));
    let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
    let mut import = Import::begin(vfs, clock, store, options).map_err(failed)?;
    let reached = database.pour(&mut import)?;
    import.cluster(cluster);
    let joined = import.join(reached.revision, reached.compacted, standing);
    let strays = joined.map_err(failed)?;
    if strays > 0 {
        eprintln!("{strays} keys hung on leases that are gone, and are kept without one");
    }
    Ok(reached)
}
