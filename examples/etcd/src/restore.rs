//! `drystone-etcd snapshot`: what is in a copy of all data, and a data directory from one.
//!
//! ```sh
//! etcdctl snapshot save copy.db
//! drystone-etcd snapshot status copy.db -w table
//! drystone-etcd snapshot restore copy.db --data-dir new.etcd
//! ```
//!
//! The copy may be of this server or of etcd 3.4 to 3.6; the file `member/snap/db` of a stopped
//! etcd will do, too, with `--skip-hash-check`. (Copies of this server's first versions, which were
//! not files of etcd's, are still taken.) The flags are those of `etcdutl snapshot`. Each member of
//! the new cluster restores the same file; the cluster is a new one, with members and numbers of
//! its own.
//!
//! What clients have seen of the old cluster after the copy was made, they will see again under the
//! same revisions with other content. `--bump-revision` lets the new one begin so much higher, and
//! `--mark-compacted` ends watches from before.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Parser, ValueEnum};
use drystone_kv::runtime::{Import, move_log, restore};
use drystone_vfs::{OsClock, OsVfs};

use crate::backup::label::refuse_increment;
use crate::config::{self, Config, Start};
use crate::data_dir::DataDir;
use crate::error_text;
use crate::etcd_files::database::{Database, Reached};
use crate::etcd_files::summary::Summary;
use crate::formation;
use crate::log_dir;
use crate::peers::Roll;
use crate::service::snapshot;
use crate::store::Options;

/// What a copy of the first versions of this server begins with.
const OLD_COPY: &[u8] = b"drykvst\n";

/// What `snapshot` is told.
#[derive(Debug, Parser)]
#[command(name = "drystone-etcd snapshot", about = "Copies of all data, as etcdctl saves them.")]
enum Told {
    /// A data directory from a snapshot
    Restore(Restore),
    /// What is in a snapshot: hash, revision, records, bytes, version
    Status(Status),
}

#[derive(Debug, Args)]
struct Restore {
    /// What `etcdctl snapshot save` has written, here or from etcd
    file: PathBuf,
    #[command(flatten)]
    member: NewMember,
    /// Do not look at the hash: for a file that was not saved by etcdctl
    #[arg(long)]
    skip_hash_check: bool,
    /// Begin so many revisions higher than the snapshot ends; wants --mark-compacted
    #[arg(long, default_value_t = 0, requires = "mark_compacted")]
    bump_revision: u64,
    /// End watches from before: all revisions up to the new one count as compacted
    #[arg(long, requires = "bump_revision")]
    mark_compacted: bool,
}

/// The member that a data directory is made for.
#[derive(Clone, Debug, Args)]
pub(crate) struct NewMember {
    /// Directory for the data; must not exist [default: NAME.etcd]
    #[arg(long, default_value = "", hide_default_value = true)]
    data_dir: String,
    /// Directory for the journal alone; must not exist [default: in the data directory]
    #[arg(long, default_value = "", hide_default_value = true)]
    wal_dir: String,
    /// Human-readable name of this member
    #[arg(long, default_value = "default")]
    name: String,
    /// Members of the new cluster, NAME=URL,...
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Tells clusters with equal URLs apart
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Peer URLs of this member
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// What holds the records: memory, btree or lsm
    #[arg(long)]
    storage_engine: Option<String>,
}

#[derive(Debug, Args)]
struct Status {
    /// What `etcdctl snapshot save` has written, here or from etcd
    file: PathBuf,
    /// How to print it
    #[arg(short, long, default_value = "simple")]
    write_out: Form,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Simple,
    Json,
    Table,
}

/// Does what the words behind `snapshot` say.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    crate::data_dir::for_owner_only();
    let name = OsString::from("drystone-etcd snapshot");
    let told = match Told::try_parse_from(std::iter::once(&name).chain(words)) {
        Ok(told) => told,
        Err(error) => return crate::program::misread(&error),
    };
    let done = match &told {
        Told::Restore(told) => perform(told)
            .map(|revision| format!("restored {} at revision {revision}", told.file.display())),
        Told::Status(told) => status(told),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let word = words.first().map_or_else(Default::default, |word| word.to_string_lossy());
            eprintln!("drystone-etcd snapshot {word}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn status(told: &Status) -> Result<String> {
    check_kind(&told.file)?;
    if is_old(&told.file)? {
        bail!(
            "{} is a copy of an early version of this server, of which there is nothing to count; \
             it can be restored",
            told.file.display()
        );
    }
    let summary = Summary::of(&told.file)?;
    Ok(match told.write_out {
        Form::Simple => summary.simple(),
        Form::Json => summary.json(),
        Form::Table => summary.table(),
    })
}

/// The flags as the server would read them: they are checked by the same rules.
///
/// # Errors
///
/// If they do not fit each other, or the directory is there.
pub(crate) fn config(told: &NewMember) -> Result<Config> {
    let mut words = vec![
        format!("--name={}", told.name),
        format!("--data-dir={}", told.data_dir),
        format!("--wal-dir={}", told.wal_dir),
        format!("--initial-cluster={}", told.initial_cluster),
        format!("--initial-cluster-token={}", told.initial_cluster_token),
        format!("--initial-advertise-peer-urls={}", told.initial_advertise_peer_urls),
    ];
    words.extend(told.storage_engine.iter().map(|engine| format!("--storage-engine={engine}")));
    match config::read(words.into_iter().map(OsString::from), []) {
        Start::Serve(config, _) => {
            formation::check_advertised(&config)?;
            if config.data_dir.exists() {
                bail!("data-dir {:?} not empty or could not be read", config.data_dir.display());
            }
            if let Some(wal_dir) = config.wal_dir.as_ref().filter(|dir| dir.exists()) {
                bail!("wal-dir {:?} exists", wal_dir.display());
            }
            Ok(*config)
        }
        Start::Refuse(text, _) | Start::Print(text) => Err(anyhow!(text)),
    }
}

/// Makes the data directory of a founder that begins with what a database of etcd's holds; returns
/// its revision.
///
/// # Errors
///
/// If the database is not sound, and the disk's. Nothing is left then.
pub(crate) fn from_database(config: &Config, database: &Path) -> Result<u64> {
    whole_or_nothing(config, |store, options| take_over(database, 0, store, options))
}

fn perform(told: &Restore) -> Result<u64> {
    let config = config(&told.member)?;
    check_kind(&told.file)?;
    let read = || format!("cannot read {}", told.file.display());
    let bytes = snapshot::check(&told.file, told.skip_hash_check).with_context(read)?;
    whole_or_nothing(&config, |store, options| match is_old(&told.file)? {
        true => {
            let mut state = BufReader::with_capacity(1 << 20, File::open(&told.file)?.take(bytes));
            let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
            let restored = restore(vfs, clock, store, options, &mut state);
            restored.map_err(|error| anyhow!("{}", error_text::chain(&error))).with_context(read)
        }
        false => take_over(&told.file, told.bump_revision, store, options),
    })
}

/// Refuses what is part of a backup.
fn check_kind(file: &Path) -> Result<()> {
    if file.is_dir() {
        let file = file.display();
        bail!("{file} is a folder; if it is one of backups: drystone-etcd backup restore {file}");
    }
    refuse_increment(file)
}

/// Makes the data directory, which is not there yet, and has `fill` fill the store in it.
fn whole_or_nothing(
    config: &Config,
    fill: impl FnOnce(&Path, &Options) -> Result<u64>,
) -> Result<u64> {
    let made = make(config, fill);
    if made.is_err() && config.data_dir.exists() {
        // It was not there before, and what there is of it is of no use.
        std::fs::remove_dir_all(&config.data_dir).context("cannot remove what was begun")?;
    }
    if let (Err(_), Some(wal_dir)) = (&made, config.wal_dir.as_ref().filter(|dir| dir.exists())) {
        std::fs::remove_dir_all(wal_dir).context("cannot remove what was begun")?;
    }
    made
}

fn make(config: &Config, fill: impl FnOnce(&Path, &Options) -> Result<u64>) -> Result<u64> {
    let mut data_dir = DataDir::open(&config.data_dir)?;
    let options = Options { engine: config.storage_engine, ..Options::default() };
    let revision = fill(&data_dir.store(), &options)?;
    if let Some(wal_dir) = &config.wal_dir {
        let wal_dir = log_dir::resolve(wal_dir)?;
        move_log(Arc::new(OsVfs::new()), &data_dir.store(), &wal_dir)
            .map_err(|error| log_dir::cannot_open(&error))?;
    }
    let formation = formation::found(config);
    Roll::open(data_dir.path())?.keep(formation.known)?;
    data_dir.keep_identity(formation.identity)?;
    Ok(revision)
}

/// Fills a founder's folder from a database of etcd's.
fn take_over(file: &Path, bump: u64, store: &Path, options: &Options) -> Result<u64> {
    let database = Database::open(file)?;
    let failed = |error: drystone_kv::Error| anyhow!("{}", error_text::chain(&error));
    let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
    let mut import = Import::begin(vfs, clock, store, options).map_err(failed)?;
    let Reached { mut revision, mut compacted } = database.pour(&mut import)?;
    if bump > 0 {
        let bumped = revision.checked_add(bump).filter(|at| *at < 1 << 62);
        revision = bumped.context("--bump-revision is too large")?;
        compacted = Some(revision);
    }
    let strays = import.found(revision, compacted).map_err(failed)?;
    if strays > 0 {
        eprintln!("{strays} keys hung on leases that are gone, and are kept without one");
    }
    Ok(revision)
}

fn is_old(file: &Path) -> Result<bool> {
    let read = || format!("cannot read {}", file.display());
    let mut head = Vec::new();
    let opened = File::open(file).with_context(read)?;
    opened.take(OLD_COPY.len() as u64).read_to_end(&mut head).with_context(read)?;
    Ok(head == OLD_COPY)
}
