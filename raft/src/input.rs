//! What can happen to a node.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::boot::SnapshotMeta;
use crate::configuration::Change;
use crate::entry::Entry;
use crate::message::Message;
use crate::types::{Index, NodeId, Ticket, WriteId};

/// One thing that happened. Time passes by itself: see [`Raft::step`](crate::Raft::step).
#[derive(Debug, Clone)]
pub enum Input {
    /// A message came in.
    Peer(Message),
    /// Append this command. Answered when it is committed.
    Propose {
        /// The caller's name for it.
        ticket: Ticket,
        /// The command.
        data: Bytes,
    },
    /// From which index on may a read be answered? The state machine must have applied it.
    Read {
        /// The caller's name for it.
        ticket: Ticket,
        /// What makes the answer good.
        mode: ReadMode,
    },
    /// Change the members. Answered when the last entry of the change is committed.
    Change {
        /// The caller's name for it.
        ticket: Ticket,
        /// What to change.
        change: Change,
    },
    /// Give the leadership to another, or to the best if none is named. Answered when it is given.
    Transfer {
        /// The caller's name for it.
        ticket: Ticket,
        /// To whom.
        to: Option<NodeId>,
    },
    /// Stand for election now, whatever the timers say. Leaders and those who cannot lead ignore
    /// it.
    Campaign,
    /// A write of [`Effect::Write`](crate::Effect::Write) is durable. In any order.
    Stored(WriteId),
    /// A write or its sync failed. Nothing may be believed of the disk any more: the node stops.
    StorageFailed,
    /// The entries of an [`Effect::Load`](crate::Effect::Load): all or the first of them.
    Loaded {
        /// For whom they were asked.
        to: NodeId,
        /// The index before the first.
        after: Index,
        /// In order, without gaps.
        entries: Vec<Entry>,
    },
    /// Entries after `after` and up to `through` cannot be read from the log any more. If they are
    /// the end of it the node stops, to be started anew with
    /// [`Boot::lost_end`](crate::Boot::lost_end).
    Damaged {
        /// The last one before them that can be read.
        after: Index,
        /// The last of them.
        through: Index,
    },
    /// A snapshot for `to` is open and can be fetched from here: the answer to
    /// [`Effect::SendSnapshot`](crate::Effect::SendSnapshot).
    SnapshotOpen {
        /// Who needs it.
        to: NodeId,
        /// What it holds.
        meta: SnapshotMeta,
    },
    /// There is no sound snapshot to send to `to`.
    SnapshotUnsound {
        /// Who needs it.
        to: NodeId,
    },
    /// The transfer of a snapshot to `to` came to an end, good or bad. May be left out.
    SnapshotSent {
        /// Who needed it.
        to: NodeId,
    },
    /// The snapshot of an [`Effect::FetchSnapshot`](crate::Effect::FetchSnapshot) is here, whole
    /// and sound; `None` when it could not be had.
    SnapshotFetched(Option<SnapshotMeta>),
    /// The log may be shortened up to `through`, and must be up to `must`, even if a follower that
    /// is catching up needs more. Answered by [`Effect::Compact`](crate::Effect::Compact).
    Compact {
        /// As far as anybody may wish.
        through: Index,
        /// As far as room demands. 0 when there is enough.
        must: Index,
    },
    /// A peer is believed to be out of reach: stop sending much to it, and if it is a leader that
    /// had fallen silent, watch the clock again.
    Unreachable(NodeId),
}

/// What makes a read good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// An entry in the log: as strong as a write, and as dear.
    Log,
    /// One round of heartbeats for all reads that wait (thesis §6.4).
    Index,
    /// The leader's lease: no message at all. Refused without
    /// [`Config::lease`](crate::Config::lease); falls back to [`ReadMode::Index`] while none is
    /// held.
    Lease,
    /// None: whatever this node has. May be old.
    Stale,
}
