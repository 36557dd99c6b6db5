//! What a disk holds, for the judgement whether a group must go on ([`rot`](crate::rot)).

use std::collections::BTreeMap;
use std::sync::Arc;

use drystone_raft::{Configuration, Index, Position, Term};

/// What a disk holds.
#[derive(Debug)]
pub struct Holdings {
    /// Where its durable log ends, damaged or not.
    pub last: Position,
    /// The members that its log names last.
    pub members: Arc<Configuration>,
    /// What its snapshot holds.
    pub base: Index,
    /// The entries behind that, as far as they are sound.
    pub entries: BTreeMap<Index, Term>,
    /// The sound entries behind those that cannot be read.
    pub anchors: Vec<Position>,
    /// Whether all that a leader needs is here and sound, commands included.
    pub can_serve: bool,
    /// Whether the end of its log is lost, so that a node on it cannot say what it had.
    pub in_doubt: bool,
}

impl Holdings {
    /// Whether it has the entry at this position, or a snapshot that has.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.entries.get(&position.index) == Some(&position.term) || position.index <= self.base
    }
}
