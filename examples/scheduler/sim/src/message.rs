//! What servers and agents say to the store, and what it answers.

use mason_core::agent::Note;
use mason_core::mirror::Change;
use mason_core::txn::Txn;
use mason_core::types::{NodeId, Revision, RunId};

/// The number of a question: its asker's own.
pub type CallId = u64;

/// Anything on the network.
#[derive(Clone, Debug)]
pub enum Message {
    /// To the store.
    Ask(CallId, Request),
    /// From the store.
    Answer(CallId, Response),
}

/// A question to the store.
#[derive(Clone, Debug)]
pub enum Request {
    /// If, then.
    Commit(Txn),
    /// All keys with this prefix.
    List(String),
    /// What changes keys with this prefix from that revision on; answered when there is something.
    Poll(String, Revision),
    /// A lease of so many milliseconds.
    Grant(u64),
    /// Keeps a lease.
    Renew(i64),
    /// Ends a lease, with its keys.
    Revoke(i64),
}

/// An answer of the store.
#[derive(Clone, Debug)]
pub enum Response {
    /// Whether it was done, and the store's revision then.
    Committed {
        /// Whether the comparisons held.
        done: bool,
        /// After it.
        revision: Revision,
    },
    /// As of a revision.
    Listed(Revision, Vec<Change>),
    /// All changes up to a revision.
    Changed(Revision, Vec<Change>),
    /// What was asked for is not kept any more: list again.
    Compacted,
    /// A lease.
    Granted(i64),
    /// Whether there is such a lease.
    Renewed(bool),
    /// It is gone.
    Revoked,
}

/// Something that happens at a node by itself, or is done to it.
#[derive(Clone, Debug)]
pub enum Event {
    /// To the store: a user's wish, if its comparisons hold.
    Write(Txn),
    /// To the store: it forgets all changes but the newest so many.
    Compact(u64),
    /// To the store: whoever waits for changes is cut off, and not told.
    Cut,
    /// To the store: the leader's lease is revoked, and it is not told.
    Depose,
    /// To the store: for so long its watchers hear nothing new, while all else is answered.
    Lag(u64),
    /// To a server: what gossip says of a node.
    Suspect(NodeId, bool),
    /// To a server or machine: its time of day jumps by so many milliseconds.
    Jump(i64),
    /// To a machine: its agent is killed, and starts again after so long.
    KillAgent(u64),
    /// The agent starts.
    StartAgent,
    /// To a machine: its agent is stopped for so long.
    PauseAgent(u64),
    /// To a machine: one of its keepers is killed; which, by chance.
    KillKeeper(u64),
    /// An agent's note is in its journal.
    Journaled(u64, Note),
    /// An image is there, or is not to be had.
    Prepared(u64, RunId, bool),
    /// A container's first process was started.
    Launched(RunId),
}
