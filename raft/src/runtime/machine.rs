//! What is replicated: the user's state machine.

use std::io;

use bytes::Bytes;

use crate::types::Index;

/// Writes a snapshot, on a thread of its own.
pub type SnapshotJob = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<()> + Send>;

/// A deterministic state machine: the same commands in the same order give the same state, and the
/// same replies.
///
/// It is owned by the node. Whoever reads it keeps a handle to the same state of its own, such as
/// an `Arc`, and looks at it once [`Group::read`](crate::runtime::Group::read) resolved.
pub trait StateMachine: Send + 'static {
    /// What the caller of a proposal gets.
    type Reply: Send + 'static;

    /// Does what a committed command says. A clone of the command is a handle to the same bytes.
    fn apply(&mut self, index: Index, command: &Bytes) -> Self::Reply;

    /// The state as it is now, to be written while later commands are applied: a copy, or a view
    /// that does not change.
    fn snapshot(&mut self) -> SnapshotJob;

    /// Puts the state of a snapshot in place of what there is.
    ///
    /// # Errors
    /// Those of `from`, and whatever makes the bytes no snapshot. The node does not go on without.
    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()>;

    /// The last index whose effect survives a restart by itself. 0 for a state machine in memory:
    /// it is restored from its snapshot, and from the log behind that.
    fn applied(&self) -> Index {
        Index(0)
    }

    /// A batch of commands is applied, up to this index: the moment to commit a transaction.
    fn settle(&mut self, applied: Index) {
        let _ = applied;
    }
}
