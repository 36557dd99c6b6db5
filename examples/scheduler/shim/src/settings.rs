//! What a keeper is asked to do: `run.json` in the folder of its run.
//!
//! ```text
//!   runs/<run>/run.json     these settings                                   agent
//!              keeper.log   the keeper's last words; locked while it lives   agent, keeper
//!              state        what may have happened                           keeper
//!              exit.json    how it ended                                     keeper, or agent
//!              log/         what the container printed                       keeper
//!              upper, work  what it wrote over its image                     kernel
//!              empty/<n>    folders of its own                               agent
//!              memory/      a tmpfs in the keeper's mount namespace:         keeper
//!                           bundle, runtime, root, volumes; nobody else sees
//! ```
//!
//! There is no secret in these settings: the file stays on disk as long as the run is known.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::log::Limits;

/// The name of this file in the folder of a run.
pub const FILE: &str = "run.json";
/// The keeper's own complaints; whoever holds the lock on it keeps the run.
pub const KEEPER_LOG: &str = "keeper.log";
/// The folder of what the container printed.
pub const LOG: &str = "log";
/// Where the keeper puts what must not be on a disk.
pub const MEMORY: &str = "memory";
/// The OCI bundle, below [`MEMORY`].
pub const BUNDLE: &str = "bundle";
/// What the OCI runtime notes, below [`MEMORY`].
pub const RUNTIME: &str = "runtime";
/// Where the image is mounted, below [`MEMORY`].
pub const ROOT: &str = "root";
/// Files of config maps and secrets and folders of the node, by number, below [`MEMORY`].
pub const VOLUMES: &str = "volumes";
/// Folders of its own on disk, by number.
pub const EMPTY: &str = "empty";
/// The output that is the end of what the program printed.
pub const PRINTED: &str = "result";
/// What is kept of that at most, in bytes.
pub const PRINTED_BYTES_MAX: u32 = 32 << 10;
/// A container's first process is told about its end on this descriptor.
pub const STATUS_FD: i32 = 3;

/// What a keeper is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which run: the container's name.
    pub run: String,
    /// The runtime and the arguments before its verb.
    pub runtime: Vec<String>,
    /// The start of the machine that it was made in: after another, nobody knows what happened.
    pub boot: String,
    /// Whether the container's first process writes how its child ended on [`STATUS_FD`].
    pub status: bool,
    /// Mounts that the runtime must not see: the unified hierarchy, for crun on a hybrid one.
    #[serde(default)]
    pub hide: Vec<PathBuf>,
    /// Where it listens.
    pub socket: PathBuf,
    /// The image's layers, the topmost first.
    pub layers: Vec<PathBuf>,
    /// Folders of the node that the container sees.
    #[serde(default)]
    pub host: Vec<HostFolder>,
    /// The container's folder in each hierarchy of control groups.
    pub cgroups: Vec<PathBuf>,
    /// How long it may run, in milliseconds.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// The signal that stops it when that is over.
    pub stop_signal: i32,
    /// How long it has then until SIGKILL, in milliseconds.
    pub grace: u64,
    /// The file with the agent's deadline, if two copies must not run.
    #[serde(default)]
    pub fence: Option<PathBuf>,
    /// How much of what it prints is kept.
    pub log: Limits,
    /// Files whose text is kept with its result, by the name of the output.
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    /// So much of the end of what it prints is kept with its result, as the output [`PRINTED`], in
    /// bytes; at most [`PRINTED_BYTES_MAX`].
    #[serde(default)]
    pub capture: u32,
}

/// A folder of the node. It is looked up by the keeper, below `root`, and mounted by the very
/// descriptor that was found, so that nobody can put a link in its place in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFolder {
    /// Its number among the volumes.
    pub volume: u32,
    /// What the agent allows.
    pub root: PathBuf,
    /// The way from there; no step may leave it.
    pub path: PathBuf,
}

/// Where to find the text of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The folder of its own it lies in, by number; the container's root if none.
    pub empty: Option<u32>,
    /// The way from there.
    pub path: PathBuf,
}

impl Settings {
    /// Reads those in the folder of a run.
    ///
    /// # Errors
    /// The file cannot be read, or is not in this form.
    pub fn read(folder: &Path) -> io::Result<Settings> {
        Ok(serde_json::from_slice(&std::fs::read(folder.join(FILE))?)?)
    }

    /// Writes them into the folder of a run.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::write(folder.join(FILE), serde_json::to_vec(self)?)
    }
}
