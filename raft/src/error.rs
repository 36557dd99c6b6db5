//! What can be wrong with what a node is given from outside.

use core::fmt;

/// Why something from outside was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// This rule of [`Config`](crate::Config) is broken.
    Config(&'static str),
    /// These bytes are no message.
    Message {
        /// Where it shows, from the beginning of the message.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(rule) => write!(f, "configuration refused: {rule}"),
            Error::Message { offset, what } => write!(f, "not a message at byte {offset}: {what}"),
        }
    }
}

impl core::error::Error for Error {}
