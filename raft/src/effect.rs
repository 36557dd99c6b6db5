//! What a node wants done.
//!
//! Effects come in the order in which they must be *begun*. Only writes have an order among
//! themselves; nothing else waits for anything, because what has to wait for the disk is held back
//! by the core until [`Input::Stored`](crate::Input::Stored) names the write.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::boot::{HardState, SnapshotMeta};
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::message::Message;
use crate::types::{Index, NodeId, Term, Ticket, WriteId};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this now. It may be lost.
    Send(Message),
    /// Make this durable, after every write before it, and answer
    /// [`Input::Stored`](crate::Input::Stored).
    Write(Write),
    /// Read entries after `after` from the log, up to `bytes_max` but at least one, and answer
    /// [`Input::Loaded`](crate::Input::Loaded), or [`Input::Damaged`](crate::Input::Damaged).
    Load {
        /// For whom they are.
        to: NodeId,
        /// The index before the first.
        after: Index,
        /// The last that is wanted.
        through: Index,
        /// When to stop, in the measure of [`Entry::bytes`].
        bytes_max: usize,
    },
    /// Entries up to here are committed: apply them, in order.
    /// [`Raft::entries`](crate::Raft::entries) has those that are in memory, your log the others.
    Commit {
        /// The last of them.
        through: Index,
    },
    /// The answer to a ticket. Each gets one.
    Answer {
        /// Which.
        ticket: Ticket,
        /// The index of the entry or, of a read, the one to have applied; or why not.
        result: Result<Index, Refused>,
    },
    /// Who leads has changed.
    Leader {
        /// In this term.
        term: Term,
        /// This one, or nobody that is known.
        leader: Option<NodeId>,
    },
    /// These are the members from now on, though it may be taken back while it is not committed.
    Members(Arc<Configuration>),
    /// `to` is so far behind that the log does not reach it. Open a snapshot for it and say
    /// [`Input::SnapshotOpen`](crate::Input::SnapshotOpen).
    SendSnapshot {
        /// Who needs it.
        to: NodeId,
    },
    /// Fetch this snapshot from a peer, and say
    /// [`Input::SnapshotFetched`](crate::Input::SnapshotFetched).
    FetchSnapshot {
        /// Who has it.
        from: NodeId,
        /// What it holds.
        meta: SnapshotMeta,
    },
    /// Entries up to here are not needed any more.
    Compact {
        /// The last of them.
        through: Index,
    },
    /// Something is wrong, or somebody must know.
    Fault(Fault),
}

/// What is to be made durable, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its name.
    pub id: WriteId,
    /// The term and vote, if they changed. In a box, like a snapshot: effects are moved about a
    /// lot, and these are rare.
    pub hard: Option<Box<HardState>>,
    /// Replace the state by this snapshot, fetched before, and the log up to its last entry. What
    /// the log holds behind it goes as far as `append` says, even when `append` is empty.
    pub snapshot: Option<Box<SnapshotMeta>>,
    /// Entries that were damaged, to be put in their old places.
    pub mended: Vec<Entry>,
    /// Entries to put at `append.start`, in place of whatever the log holds from there on. Ends
    /// before `append.end`; empty when nothing is appended. [`Raft::entries`](crate::Raft::entries)
    /// has them.
    pub append: Range<Index>,
}

/// Why a ticket is not answered as its owner wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Not done, and never will be: this node does not lead. Ask this one.
    NotLeader(Option<NodeId>),
    /// Not done: a limit is reached. Later.
    Overloaded,
    /// Not done: the leadership is being handed over. Soon, elsewhere.
    Transferring,
    /// Not done: another change of the members is under way, or none can be made yet.
    ChangeUnderWay,
    /// Not done: it makes no sense, and this is why.
    Invalid(&'static str),
    /// Not done: there is no bound on the clocks ([`Config::lease`](crate::Config::lease)).
    NoClockBound,
    /// The transfer was not taken up in time.
    TimedOut,
    /// It may yet take effect, or never: leadership was lost before it was known.
    Unknown,
    /// Not done: this node has stopped.
    Stopped,
}

/// What somebody must know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The disk failed, or what it has lost may count as a copy. The node has stopped, and answers
    /// nothing until it is started anew.
    Storage,
    /// What a peer says of this committed entry is not what is here: one of the two has lost its
    /// way. Nothing was changed; the node has stopped.
    Diverged {
        /// Who says so.
        peer: NodeId,
        /// Of which entry.
        index: Index,
    },
    /// Two leaders in one term: a member has voted twice. The message was ignored.
    TwoLeaders {
        /// The other one.
        peer: NodeId,
        /// In which term.
        term: Term,
    },
    /// A peer of another generation: it was left behind by a recovery by force, or was ahead of it.
    OtherGeneration {
        /// Who.
        peer: NodeId,
        /// Its generation.
        generation: u64,
    },
    /// This peer acknowledged more than it has. Its disk was lost; what only it held is gone.
    LostLog {
        /// Who.
        peer: NodeId,
        /// What it had acknowledged.
        acknowledged: Index,
        /// What it has.
        has: Index,
    },
    /// The log was shortened for want of room before this peer had caught up. It gets a snapshot.
    LeftBehind {
        /// Who.
        peer: NodeId,
    },
    /// This message cannot be; nothing was done.
    Nonsense {
        /// Who sent it.
        peer: NodeId,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NotLeader(Some(leader)) => write!(f, "node {leader} leads, not this one"),
            Refused::NotLeader(None) => f.write_str("this node does not lead, nor knows who does"),
            Refused::Overloaded => f.write_str("a limit is reached"),
            Refused::Transferring => f.write_str("the leadership is being handed over"),
            Refused::ChangeUnderWay => f.write_str("the members cannot be changed right now"),
            Refused::Invalid(why) => write!(f, "invalid: {why}"),
            Refused::NoClockBound => f.write_str("no bound on the clocks is configured"),
            Refused::TimedOut => f.write_str("not taken up in time"),
            Refused::Unknown => f.write_str("leadership was lost before the outcome was known"),
            Refused::Stopped => f.write_str("this node has stopped"),
        }
    }
}

impl core::error::Error for Refused {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Storage => f.write_str("the disk failed"),
            Fault::Diverged { peer, index } => {
                write!(f, "committed entry {index} differs from what node {peer} says")
            }
            Fault::TwoLeaders { peer, term } => {
                write!(f, "node {peer} leads in term {term}, as this node does")
            }
            Fault::OtherGeneration { peer, generation } => {
                write!(f, "node {peer} is of generation {generation}")
            }
            Fault::LostLog { peer, acknowledged, has } => write!(
                f,
                "node {peer} had acknowledged entry {acknowledged} and has no more than {has}"
            ),
            Fault::LeftBehind { peer } => write!(f, "node {peer} was left behind by compaction"),
            Fault::Nonsense { peer, why } => write!(f, "node {peer} sent nonsense: {why}"),
        }
    }
}
