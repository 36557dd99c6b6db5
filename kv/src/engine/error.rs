//! Why an engine failed.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why an engine could not do what was asked.
///
/// It is `Clone` because an engine that meets a damaged block keeps reporting it: to every reader
/// that touches the block, and from an iterator again on every further step.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Bytes that were promised are not what was written. Nothing on disk was changed.
    #[error("{} is damaged at byte {offset}: {reason}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damaged piece (block, page, header) begins, in bytes from the file's start.
        offset: u64,
        /// Which rule the bytes break.
        reason: Cow<'static, str>,
    },
    /// The file was written by a later version of this crate, or with a feature that this build lacks.
    /// Nothing on disk was changed.
    #[error("{} has {what}, which this build does not know", file.display())]
    Unsupported {
        /// The file that cannot be read.
        file: PathBuf,
        /// What it asks for, such as a format version.
        what: Cow<'static, str>,
    },
    /// Another opener, in this process or another, holds the engine's files.
    #[error("{} is in use by another opener", file.display())]
    Locked {
        /// The file that is locked.
        file: PathBuf,
    },
    /// The disk is full. What was durable stays durable, reads go on, and the call may be repeated
    /// once there is room.
    #[error("no space left for {}", file.display())]
    NoSpace {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// The file system refused.
    #[error("input or output failed on {}", file.display())]
    Io {
        /// The file or folder concerned.
        file: PathBuf,
        /// What the file system said.
        source: Arc<io::Error>,
    },
}

impl EngineError {
    /// The error for damage at byte `offset` of `file`.
    #[must_use]
    pub fn corrupt(file: &Path, offset: u64, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { file: file.to_path_buf(), offset, reason: reason.into() }
    }

    /// The error for `source`, met while working on `file`.
    #[must_use]
    pub fn io(file: &Path, source: io::Error) -> Self {
        let file = file.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { file },
            _ => Self::Io { file, source: Arc::new(source) },
        }
    }
}
