//! Why a call to the tree failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

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
            io::ErrorKind::StorageFull => Error::NoSpace { file: path, cause: source },
            _ => Error::Io { action, path, source },
        }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, what: &'static str) -> Error {
        Error::Corrupt { file: file.to_path_buf(), offset, what }
    }
}
