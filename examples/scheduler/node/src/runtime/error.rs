//! Why something about a run could not be done.

use std::io;

use mason_core::types::RunId;

/// Why something about a run could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its spec asks for something that cannot be had here: trying again will not help.
    #[error("{field}: {reason}")]
    Refused {
        /// Where in the spec, or in the agent's configuration.
        field: String,
        /// Why.
        reason: String,
    },
    /// It has been started before; it is not started again.
    #[error("run {0} has been started before")]
    Exists(RunId),
    /// Nothing is known about it.
    #[error("nothing is known about run {0}")]
    Unknown(RunId),
    /// It does not run, so it cannot be told anything.
    #[error("run {0} does not run")]
    NotRunning(RunId),
    /// It still runs, so it cannot be forgotten.
    #[error("run {0} still runs")]
    StillRunning(RunId),
    /// It could not be started; its exit says the same.
    #[error("the container could not be started: {0}")]
    Start(String),
    /// Its keeper refuses.
    #[error("the keeper of run {run} says: {reason}")]
    Keeper {
        /// Of which run.
        run: RunId,
        /// What it says.
        reason: String,
    },
    /// The machine refuses.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    /// A refusal of a field.
    pub(crate) fn refused(field: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Refused { field: field.into(), reason: reason.into() }
    }
}

/// Says what was tried when the machine refused.
pub(crate) trait Context<T> {
    /// With what was tried.
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what(), source: source.into() })
    }
}
