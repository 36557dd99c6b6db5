//! What is replicated: the user's state machine.
//!
//! It keeps its state in one of two ways. One in memory is *saved by snapshots*: the node writes
//! its whole state beside the log now and then, and shortens the log behind it. One that has a
//! disk of its own *keeps itself*: it is asked to make durable what it has applied, and the log is
//! shortened behind that; a whole snapshot is written only for a follower that the log cannot
//! help any more.
//!
//! ```text
//!                       by snapshots                     by itself
//!   now and then        snapshot ──► file                save ──► its own disk
//!   log begins behind   the newest file                  what save made durable
//!   after a restart     restore(newest file), log        applied(), log
//!   a late follower     is sent the newest file          snapshot ──► file, is sent that
//! ```

use std::io;

use bytes::Bytes;

use crate::types::Index;

/// Writes a snapshot, on a thread of its own.
pub type SnapshotJob = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<()> + Send>;

/// Makes a state durable, on a thread of its own. Returns the last index whose effect now survives
/// a restart, as [`StateMachine::applied`] will say it then.
pub type SaveJob = Box<dyn FnOnce() -> io::Result<Index> + Send>;

/// What a state machine has done since it was last saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsaved {
    /// Commands and other entries.
    pub entries: u64,
    /// Bytes of commands.
    pub bytes: u64,
    /// The log must become shorter, whether or not it pays.
    pub pressed: bool,
}

/// A deterministic state machine: the same commands in the same order give the same state, and the
/// same replies.
///
/// It is owned by the node. Whoever reads it keeps a handle to the same state of its own, such as
/// an `Arc`, and looks at it once [`Group::read`](crate::runtime::Group::read) resolved.
pub trait StateMachine: Send + 'static {
    /// What the caller of a proposal gets.
    type Reply: Send + 'static;

    /// Whether it keeps itself. Then [`StateMachine::applied`] and [`StateMachine::save`] are to be
    /// written, too.
    const KEEPS_ITSELF: bool = false;

    /// Does what a committed command says. A clone of the command is a handle to the same bytes.
    fn apply(&mut self, index: Index, command: &Bytes) -> Self::Reply;

    /// Does the same with several commands that follow each other, and adds a reply for each:
    /// what they have in common, such as a lock or a transaction, is then paid for once.
    fn apply_all(&mut self, commands: &[(Index, &Bytes)], replies: &mut Vec<Self::Reply>) {
        replies.extend(commands.iter().map(|(index, command)| self.apply(*index, command)));
    }

    /// The state as it is now, to be written while later commands are applied: a copy, or a view
    /// that does not change.
    fn snapshot(&mut self) -> SnapshotJob;

    /// Puts the state of a snapshot in place of what there is.
    ///
    /// # Errors
    /// Those of `from`, and whatever makes the bytes no snapshot. The node does not go on without.
    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()>;

    /// A batch of commands is applied, up to this index: the moment to commit a transaction.
    fn settle(&mut self, applied: Index) {
        let _ = applied;
    }

    /// Of one that keeps itself: the last index whose effect it has when it starts, and would have
    /// if it started again. 0 for a state machine in memory.
    fn applied(&self) -> Index {
        Index(0)
    }

    /// Of one that keeps itself: the job that makes durable what was applied, or nothing as long as
    /// that would not pay; it is asked again after the next batch. Only what such a job has made
    /// durable leaves the log.
    fn save(&mut self, unsaved: Unsaved) -> Option<SaveJob> {
        let _ = unsaved;
        None
    }
}
