//! `drystone-etcd snapshot restore`: a data directory from a copy of all data.
//!
//! ```sh
//! etcdctl snapshot save copy.db
//! drystone-etcd snapshot restore copy.db --data-dir new.etcd
//! ```
//!
//! The flags are those of `etcdutl snapshot restore`. Every member of the new cluster restores the
//! same file; the cluster is a new one, with members and numbers of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use drystone_kv::runtime::restore;
use drystone_vfs::{OsClock, OsVfs};

use crate::config::{self, Config, Start};
use crate::data_dir::DataDir;
use crate::error_text;
use crate::formation;
use crate::peers::Roll;
use crate::service::snapshot;
use crate::store::Options;

/// What `snapshot restore` is told.
#[derive(Debug, Parser)]
#[command(name = "drystone-etcd snapshot restore", about = "A data directory from a snapshot.")]
struct Restore {
    /// What `etcdctl snapshot save` has written
    file: PathBuf,
    /// Directory for the data; must not exist [default: NAME.etcd]
    #[arg(long, default_value = "", hide_default_value = true)]
    data_dir: String,
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
    /// Do not look at the hash: for a file that was not saved by etcdctl
    #[arg(long)]
    skip_hash_check: bool,
    /// What holds the records: memory, btree or lsm
    #[arg(long)]
    storage_engine: Option<String>,
}

/// Does what the words behind `snapshot` say.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    if words.first().is_none_or(|word| word != "restore") {
        eprintln!("usage: drystone-etcd snapshot restore FILE --data-dir DIR [flags]");
        return ExitCode::from(2);
    }
    let told = match Restore::try_parse_from(words) {
        Ok(told) => told,
        Err(error) => {
            // To print is all that can be done about it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match perform(&told) {
        Ok(revision) => {
            println!("restored {} at revision {revision}", told.file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("drystone-etcd snapshot restore: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The flags as the server would read them: they are checked by the same rules.
fn config(told: &Restore) -> Result<Config> {
    let mut words = vec![
        format!("--name={}", told.name),
        format!("--data-dir={}", told.data_dir),
        format!("--initial-cluster={}", told.initial_cluster),
        format!("--initial-cluster-token={}", told.initial_cluster_token),
        format!("--initial-advertise-peer-urls={}", told.initial_advertise_peer_urls),
    ];
    words.extend(told.storage_engine.iter().map(|engine| format!("--storage-engine={engine}")));
    match config::read(words.into_iter().map(OsString::from), []) {
        Start::Serve(config, _) => Ok(*config),
        Start::Refuse(text, _) | Start::Print(text) => Err(anyhow!(text)),
    }
}

fn perform(told: &Restore) -> Result<u64> {
    let config = config(told)?;
    formation::check_advertised(&config)?;
    if config.data_dir.exists() {
        bail!("data-dir {:?} not empty or could not be read", config.data_dir.display());
    }
    let read = || format!("cannot read {}", told.file.display());
    let mut state = snapshot::open(&told.file, told.skip_hash_check).with_context(read)?;
    let mut data_dir = DataDir::open(&config.data_dir)?;
    let formation = formation::found(&config);
    let options = Options { engine: config.storage_engine, ..Options::default() };
    let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
    let restored = restore(vfs, clock, &data_dir.store(), &options, &mut state);
    let revision =
        restored.map_err(|error| anyhow!("{}", error_text::chain(&error))).with_context(read)?;
    Roll::open(data_dir.path())?.keep(formation.known)?;
    data_dir.keep_identity(formation.identity)?;
    Ok(revision)
}
