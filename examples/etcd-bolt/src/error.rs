//! Why a file could not be read.

use std::io;
use std::path::PathBuf;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes break a rule of the format.
    #[error("{} is not a sound bbolt file: page {page}: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The number of the page that breaks it.
        page: u64,
        /// Which rule.
        reason: &'static str,
    },
    /// The file system refused.
    #[error("cannot read {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// What reading gives.
pub type Result<T> = std::result::Result<T, Error>;
