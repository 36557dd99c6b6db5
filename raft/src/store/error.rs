//! Why the store failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::record::GroupId;

/// What every fallible call of the store returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store failed. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log beneath failed: it is in use, the disk refused, or a write failed and nothing more
    /// can be written.
    #[error("the log failed")]
    Log(#[from] drystone_wal::Error),

    /// Bytes that pass their checksum and are no record or no snapshot of this version.
    #[error("{}: at {offset}: {what}", file.display())]
    Corrupt {
        /// The file, or the log's directory.
        file: PathBuf,
        /// The byte in a snapshot, or the position of a record in the log.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },

    /// No such group is in the log.
    #[error("there is no group {0} here")]
    NoGroup(GroupId),

    /// The group is in the log already.
    #[error("there is a group {0} here")]
    GroupExists(GroupId),

    /// The file system refused.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, what: &'static str) -> Error {
        Error::Corrupt { file: file.to_path_buf(), offset, what }
    }
}
