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

    /// The log is kept in another folder than where it was looked for: see
    /// [`Options::log_dir`](crate::store::Options::log_dir). Nothing was changed; nor was it by the
    /// errors that follow.
    #[error("the log is kept in {}, not in {}", kept.display(), asked.display())]
    LogElsewhere {
        /// Where it is.
        kept: PathBuf,
        /// Where it was looked for.
        asked: PathBuf,
    },

    /// The folder in which the log is kept has no log of this store any more: perhaps its disk is
    /// not there.
    #[error("the log of {} is kept in {}, and is not there", store.display(), kept.display())]
    LogGone {
        /// The store's folder.
        store: PathBuf,
        /// Where the log is kept.
        kept: PathBuf,
    },

    /// The folder in which the log is to be kept is another store's.
    #[error(
        "{} holds the log of {}, and not that of {}",
        dir.display(),
        owner.display(),
        store.display()
    )]
    LogTaken {
        /// The folder that was asked for.
        dir: PathBuf,
        /// The store that was to have its log there.
        store: PathBuf,
        /// The store whose log it is, as that was called when it began.
        owner: PathBuf,
    },

    /// The folder in which the log is to be kept holds something else.
    #[error(
        "{} cannot hold the log of {}: there is {} in it",
        dir.display(),
        store.display(),
        found.display()
    )]
    LogForeign {
        /// The folder that was asked for.
        dir: PathBuf,
        /// The store that was to have its log there.
        store: PathBuf,
        /// What is in it.
        found: PathBuf,
    },

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
