//! Why a call to the log failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::Lsn;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a log operation failed. Cheap to clone: one failure is told to many waiters.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that were promised to be durable are damaged or gone. Nothing was changed on disk.
    #[error("{}: at byte {offset}{}: {reason}", file.display(), record(*lsn))]
    Corrupt {
        /// The segment file, or the directory if no single file is to blame.
        file: PathBuf,
        /// Where in the file, from 0.
        offset: u64,
        /// The first record that is lost or in doubt; [`Lsn::NONE`] if that cannot be known.
        lsn: Lsn,
        /// What is wrong there.
        reason: Damage,
    },

    /// A write or sync failed earlier. Nobody knows what is on disk, so the log takes no more
    /// records; open it again to find out.
    #[error("log is poisoned: writing {} failed", file.display())]
    Poisoned {
        /// The file that could not be written or synced.
        file: PathBuf,
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },

    /// As [`Poisoned`](Error::Poisoned), because the disk is full; also if it is too full for the
    /// log to be opened. Make space, then open again.
    #[error("no space left for {}", file.display())]
    NoSpace {
        /// The file or directory that could not be made, written or synced.
        file: PathBuf,
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },

    /// Another opener, in this process or another, holds the log.
    #[error("{} is in use by another opener", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },

    /// There is no log in the directory, or no directory, and the call makes none.
    #[error("there is no log in {}", dir.display())]
    NoLog {
        /// The directory.
        dir: PathBuf,
    },

    /// The file was written by another version of this crate. Nothing was changed on disk.
    #[error("{}: format version {version} is not supported", file.display())]
    Unsupported {
        /// The segment file.
        file: PathBuf,
        /// The version it names.
        version: u32,
    },

    /// A record or group is larger than the log accepts.
    #[error("{bytes} bytes exceed the limit of {bytes_max}")]
    TooLarge {
        /// The size offered.
        bytes: u64,
        /// The size accepted.
        bytes_max: u64,
    },

    /// The record asked for is not in the log: cut away, or not yet durable.
    #[error("record {lsn} is not in the log, which holds {first} to {last}")]
    Missing {
        /// The record asked for.
        lsn: Lsn,
        /// The first record there is; one past `last` if there is none.
        first: Lsn,
        /// The last durable record.
        last: Lsn,
    },

    /// The log was closed.
    #[error("log is closed")]
    Closed,

    /// The options contradict themselves or exceed a limit.
    #[error("option {option}: {rule}")]
    Options {
        /// The option at fault.
        option: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },

    /// The file system refused while opening or reading.
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

/// What is wrong with bytes that should be a segment or a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The segment's first block is not a header, or fails its checksum.
    #[error("segment header is damaged")]
    Header,
    /// The header is sound but belongs to another segment or another log.
    #[error("segment header belongs elsewhere")]
    Misplaced,
    /// The file ends where bytes are expected.
    #[error("file ends early")]
    FileEnds,
    /// Zeros where a frame is expected.
    #[error("zeros in place of a frame")]
    Zeros,
    /// The frame names a kind or a length that cannot be.
    #[error("frame header makes no sense")]
    FrameHeader,
    /// The frame fails its checksum.
    #[error("frame checksum does not match")]
    Checksum,
    /// The frame is sound but belongs at another position.
    #[error("frame is out of sequence")]
    Sequence,
    /// The last group lacks its last frames.
    #[error("group is incomplete")]
    Group,
    /// A segment file is gone although its neighbours are there.
    #[error("segment is missing")]
    SegmentMissing,
    /// The log is sound but shorter than the caller knows it was.
    #[error("log ends at record {found}, but record {expected} was durable")]
    EndsEarly {
        /// The last record found.
        found: Lsn,
        /// The last record the caller knows of.
        expected: Lsn,
    },
}

fn record(lsn: Lsn) -> String {
    if lsn == Lsn::NONE { String::new() } else { format!(", record {lsn}") }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        let (path, source) = (path.to_path_buf(), Arc::new(source));
        match source.kind() {
            io::ErrorKind::StorageFull => Error::NoSpace { file: path, cause: source },
            _ => Error::Io { action, path, source },
        }
    }

    /// The error that everyone gets after `file` could not be written.
    pub(crate) fn poison(file: &Path, cause: io::Error) -> Error {
        let full = cause.kind() == io::ErrorKind::StorageFull;
        let (file, cause) = (file.to_path_buf(), Arc::new(cause));
        if full { Error::NoSpace { file, cause } } else { Error::Poisoned { file, cause } }
    }
}
