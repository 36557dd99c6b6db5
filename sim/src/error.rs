//! Why something outside a simulation could not be used: a script.

use std::io;
use std::path::PathBuf;

/// Why a script could not be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A line of a script is not what one looks like.
    #[error("{file}:{line}: {what}")]
    Script {
        /// The script's name.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file or a folder of scripts cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a function that may fail returns.
pub type Result<T> = std::result::Result<T, Error>;
