//! Why a call to the tree failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. Cheap to clone: a cursor repeats its error for ever.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes on disk are not what was written there. Nothing was changed.
    #[error("{}: at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file, from 0.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },

    /// The disk is full.
    #[error("no space left for {}", file.display())]
    NoSpace {
        /// The file that could not be made, written or synced.
        file: PathBuf,
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },

    /// The file was written by another version of this crate, or with a feature that this build
    /// lacks. Nothing was changed on disk.
    #[error("{}: {what} is not supported", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What it asks for.
        what: &'static str,
    },

    /// A key or value is longer than the tree accepts.
    #[error("{bytes} bytes exceed the limit of {bytes_max}")]
    TooLarge {
        /// The size offered.
        bytes: u64,
        /// The size accepted.
        bytes_max: u64,
    },

    /// The journal could not be written. Nobody knows what of it is on disk, so that nothing more
    /// is taken; open the database again to find out.
    #[error("journal is poisoned: writing {} failed", file.display())]
    Poisoned {
        /// The file that could not be written or synced.
        file: PathBuf,
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },

    /// Another opener, in this process or another, holds the database.
    #[error("{} is in use by another opener", dir.display())]
    Locked {
        /// The database's directory.
        dir: PathBuf,
    },

    /// There is no database in the directory, and the call makes none.
    #[error("there is no database in {}", dir.display())]
    NoDatabase {
        /// The directory.
        dir: PathBuf,
    },

    /// The directory is to receive a copy, and holds files already.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },

    /// The keyspace was dropped, or there is none of that name and the database is read-only.
    #[error("there is no keyspace {name:?}")]
    NoKeyspace {
        /// The name.
        name: String,
    },

    /// The database was opened for reading alone.
    #[error("database is open for reading alone")]
    ReadOnly,

    /// The database was closed.
    #[error("database is closed")]
    Closed,

    /// Code of the user's, a merge operator or a compaction filter, panicked in the background.
    #[error("a panic in the background: {what}")]
    Panicked {
        /// What it said.
        what: Arc<str>,
    },

    /// The options contradict each other, exceed a limit, or do not fit what is on disk; or a verb
    /// needs one that was not given.
    #[error("option {option}: {rule}")]
    Options {
        /// The option at fault.
        option: &'static str,
        /// The rule it breaks.
        rule: &'static str,
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
        let (path, source) = (path.to_path_buf(), Arc::new(source));
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { file: path, cause: source }
            }
            _ => Error::Io { action, path, source },
        }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, what: &'static str) -> Error {
        Error::Corrupt { file: file.to_path_buf(), offset, what }
    }
}

impl From<drystone_wal::Error> for Error {
    fn from(error: drystone_wal::Error) -> Error {
        use drystone_wal::Error as Wal;
        match error {
            Wal::Corrupt { file, offset, reason, .. } => {
                Error::Corrupt { file, offset, what: damage(reason) }
            }
            Wal::Poisoned { file, cause } => Error::Poisoned { file, cause },
            Wal::NoSpace { file, cause } => Error::NoSpace { file, cause },
            Wal::Locked { dir } => Error::Locked { dir },
            Wal::NoLog { dir } => Error::NoDatabase { dir },
            Wal::Unsupported { file, .. } => {
                Error::Unsupported { file, what: "format version of the log" }
            }
            Wal::TooLarge { bytes, bytes_max } => Error::TooLarge { bytes, bytes_max },
            Wal::Closed => Error::Closed,
            Wal::Options { option, rule } => Error::Options { option, rule },
            Wal::Io { action, path, source } => Error::Io { action, path, source },
            other => {
                let source = Arc::new(io::Error::other(other));
                Error::Io { action: "use the log", path: PathBuf::new(), source }
            }
        }
    }
}

/// What is wrong with a log, in the words of this crate's one line.
fn damage(reason: drystone_wal::Damage) -> &'static str {
    use drystone_wal::Damage;
    match reason {
        Damage::Header => "segment header is damaged",
        Damage::Misplaced => "segment header belongs elsewhere",
        Damage::FileEnds => "file ends early",
        Damage::Zeros => "zeros in place of a frame",
        Damage::FrameHeader => "frame header makes no sense",
        Damage::Checksum => "frame checksum does not match",
        Damage::Sequence => "frame is out of sequence",
        Damage::Group => "group is incomplete",
        Damage::SegmentMissing => "segment is missing",
        Damage::EndsEarly { .. } => "log ends before a record that was durable",
        _ => "log is damaged",
    }
}
