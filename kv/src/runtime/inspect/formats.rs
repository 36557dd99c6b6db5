//! Which versions wrote what is in the folder.
//!
//! Every file of a replica says at its beginning which version of its format it is in, and is read
//! by that alone. So a version that is told here was read, and compared with what this build knows;
//! one that it does not know is told as well, and is [trouble](super::Trouble) besides.

use std::collections::BTreeSet;
use std::path::PathBuf;

use drystone_raft::runtime::Error as NodeError;
use drystone_raft::store::{Error as LogError, SNAPSHOT_FORMAT, SnapshotFile, SnapshotState};
use drystone_wal::Error as WalError;

use super::Inspection;
use crate::data_dir::{format_file, version_of};
use crate::error::Error;

/// A file, or files of a kind, and the version of their format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// What it is: `store`, `log`, `snapshots`, or an engine's name.
    pub what: &'static str,
    /// The file, or the folder of files.
    pub file: PathBuf,
    /// What they say, each version once; nothing if they say nothing that can be read.
    pub versions: Vec<u32>,
}

impl Inspection {
    /// Which versions wrote what was looked at. What is not there is left out.
    pub fn formats(&self) -> Vec<Format> {
        let kind = self.engine.as_ref().ok().copied().flatten();
        let mut formats = Vec::new();
        let mut add = |what, file, versions| formats.push(Format { what, file, versions });
        let store = match &self.engine {
            Ok(None) => None,
            Ok(Some(kind)) => Some(vec![version_of(*kind)]),
            Err(Error::Unsupported { version, .. }) => Some(vec![*version]),
            Err(_) => Some(Vec::new()),
        };
        if let Some(versions) = store {
            add("store", format_file(&self.dir), versions);
        }
        match &self.log {
            Ok(None) => {}
            Ok(Some(log)) => {
                add("log", log.log().to_path_buf(), log.formats().to_vec());
                let is_read = |file: &&SnapshotFile| {
                    matches!(file.state, SnapshotState::Taken | SnapshotState::Fetched)
                };
                let files = log.snapshots();
                if let Some(first) = files.first() {
                    let read: BTreeSet<u32> =
                        files.iter().filter(is_read).map(|_| SNAPSHOT_FORMAT).collect();
                    let folder = first.path.parent().unwrap_or(&first.path).to_path_buf();
                    add("snapshots", folder, read.into_iter().collect());
                }
            }
            Err(Error::Log(NodeError::Store(LogError::Log(WalError::Unsupported {
                file,
                version,
            })))) => {
                add("log", file.clone(), vec![*version]);
            }
            Err(_) => add("log", self.log_place(), Vec::new()),
        }
        match (&self.state, kind) {
            (Ok(Some(state)), Some(kind)) => {
                add(kind.name(), state.dir.clone(), vec![state.format]);
            }
            (Err(_), Some(kind)) => add(kind.name(), self.dir.clone(), Vec::new()),
            _ => {}
        }
        formats
    }
}
