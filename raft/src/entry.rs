//! What the log is made of.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::configuration::Configuration;
use crate::types::{Index, Position, Term};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing. A leader begins its term with one, so that it has an entry of its own to commit
    /// (Raft §8, thesis §6.4).
    Blank,
    /// A command for the state machine. The core does not look into it.
    Data(Bytes),
    /// From here on, these are the members. In force as soon as it is in a log, committed or not
    /// (thesis §4.1).
    Configuration(Arc<Configuration>),
    /// A command that a witness does not get to see: it keeps the position alone.
    Withheld,
}

impl Entry {
    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.term, self.index)
    }

    /// What it counts towards limits of bytes: its payload and [`Entry::OVERHEAD_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Data(data) => data.len(),
            Payload::Configuration(configuration) => configuration.members().len() * 12,
            Payload::Blank | Payload::Withheld => 0,
        };
        payload + Entry::OVERHEAD_BYTES
    }

    /// What an entry counts beside its payload, so that a million empty ones are not free.
    pub const OVERHEAD_BYTES: usize = 24;

    /// The entry as a witness keeps it.
    pub(crate) fn withheld(&self) -> Entry {
        let payload = match &self.payload {
            Payload::Data(_) => Payload::Withheld,
            other => other.clone(),
        };
        Entry { term: self.term, index: self.index, payload }
    }
}
