//! What a caller gives for a run: everything resolved, nothing left to look up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mason_core::spec::{Concurrency, Task};
use mason_core::types::RunId;

/// A run to start.
#[derive(Clone)]
pub struct Launch {
    /// Which.
    pub run: RunId,
    /// What it runs.
    pub task: Task,
    /// What its image says.
    pub image: Image,
    /// The image's layers, unpacked, in the order of its manifest: the base first.
    pub layers: Vec<PathBuf>,
    /// All of the task's variables, resolved, in order; later ones win. They come after the
    /// image's.
    pub env: Vec<(String, String)>,
    /// What it is called in there.
    pub hostname: String,
    /// The files of its config maps and secrets, by the number of the mount in the task.
    pub files: BTreeMap<usize, Vec<VolumeFile>>,
    /// Under `Strict` it is killed when the agent's deadline passes.
    pub concurrency: Concurrency,
    /// Signals that its first process hands on as another; 0 is as none.
    pub rewrites: Vec<(i32, i32)>,
}

/// What an image says about its program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Before the arguments.
    pub entrypoint: Vec<String>,
    /// The arguments, if none are given.
    pub command: Vec<String>,
    /// Variables, `NAME=value`.
    pub env: Vec<String>,
    /// Where it starts.
    pub workdir: String,
    /// Who: `user`, `user:group`, by number or by name.
    pub user: String,
}

/// A file of a config map or secret. Not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct VolumeFile {
    /// Its path below the mount.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}
