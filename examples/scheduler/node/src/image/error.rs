//! Why an image cannot be had.

use std::io;
use std::path::Path;

use super::digest::Digest;

/// Why an image cannot be named, fetched, imported, unpacked or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text names no image.
    #[error("`{text}` names no image: {rule}")]
    BadReference {
        /// What was given, cut short.
        text: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// Bytes are not what their name says. Asking again may help if another answers.
    #[error("{what}: expected {expected}, found {found}")]
    WrongDigest {
        /// Which bytes.
        what: String,
        /// What they were asked for by.
        expected: Digest,
        /// What they are.
        found: Digest,
    },
    /// A layer holds something that must not be unpacked, or is broken.
    #[error("layer {layer}, entry `{entry}`: {reason}")]
    Layer {
        /// The layer's digest.
        layer: String,
        /// Path of the entry, as far as it could be read.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest, configuration, index or archive is not as the specification says.
    #[error("{what}: {reason}")]
    BadImage {
        /// Which part.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Larger than the limit of that name.
    #[error("{what}: larger than {limit_name} ({limit} bytes)")]
    TooLarge {
        /// Which part.
        what: String,
        /// Name of the limit.
        limit_name: &'static str,
        /// The limit.
        limit: u64,
    },
    /// There is no such thing at the registry, in the archive, or in the store.
    #[error("{what}: not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The registry wants other credentials, or any.
    #[error("{what}: unauthorized: {reason}")]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// What the registry or its token server said.
        reason: String,
    },
    /// Nobody answers, or the line broke too often, or the server failed too often.
    #[error("{what}: unreachable: {reason}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// The last failure.
        reason: String,
    },
    /// The registry sent us where we do not go, or speaks a protocol that we do not.
    #[error("{what}: refused: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// Another process has the store open.
    #[error("the image store at {root} is open in another process")]
    Busy {
        /// The store's folder.
        root: String,
    },
    /// The disk refused.
    #[error("{what}: {source}")]
    Io {
        /// A path, or what was done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The disk refused something at this path.
    pub(crate) fn io(path: &Path, source: impl Into<io::Error>) -> Error {
        Error::Io { what: path.display().to_string(), source: source.into() }
    }

    /// Some part of an image is not as it must be.
    pub(crate) fn bad(what: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::BadImage { what: what.into(), reason: reason.into() }
    }
}
