//! What members say to each other.
//!
//! ```text
//!   an election          PreVote ──► Ballot        Vote ──► Ballot
//!   a leader's day       Append ──► Accepted | Rejected        Heartbeat ──► Alive
//!   a follower's read    ReadRequest ──► ReadReply
//!   far behind           Offer ──► Accepted      (the bytes travel outside the core)
//!   handing over         TimeoutNow ──► a Vote that is not refused
//!   a hole in a log      Mend ──► Mended          (damage.rs)
//!   a stale candidate    Borrow ──► Lent          (borrow.rs)
//!   anything outdated    Outdated: "your term has passed"
//! ```
//!
//! Every message names its sender's term and generation. Delivery promises nothing: messages may be
//! lost, doubled, delayed and reordered, and none may do harm by that. They must not be altered,
//! which is for the transport to see to. `wire.rs` has the bytes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::boot::SnapshotMeta;
use crate::entry::Entry;
use crate::types::{Index, NodeId, Position, Term};

/// A message between two members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The sender's generation ([`HardState::generation`](crate::HardState::generation)).
    pub generation: u64,
    /// The sender's term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

#[cfg(feature = "runtime")]
impl Message {
    /// Bytes of the entries that it carries.
    pub(crate) fn entry_bytes(&self) -> usize {
        let entries = match &self.body {
            Body::Append { entries, .. } => &entries[..],
            Body::Mended { entries, .. } | Body::Lent { entries, .. } => &entries[..],
            _ => &[],
        };
        entries.iter().map(Entry::bytes).sum()
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for me in the term after mine? My log ends at `last` (thesis §9.6).
    PreVote {
        /// Where the sender's log ends.
        last: Position,
    },
    /// Vote for me in my term. `forced` by a leader that hands over: loyalty to it does not count.
    Vote {
        /// Where the sender's log ends.
        last: Position,
        /// Whether a leader asked for this election (thesis §3.10).
        forced: bool,
    },
    /// The answer to either.
    Ballot {
        /// Whether it answers a [`Body::PreVote`].
        pre: bool,
        /// The term that the vote is, or would be, for.
        asked: Term,
        /// Yes or no, and why not.
        word: Word,
        /// Where the voter's log ends.
        last: Position,
    },
    /// Entries that follow the one at `prev` in the leader's log (Raft §5.3).
    Append {
        /// The entry before the first.
        prev: Position,
        /// What the leader knows to be committed.
        commit: Index,
        /// The leader's latest round of contact.
        round: u64,
        /// In order, without gaps. Shared with the log that they are from.
        entries: Arc<[Entry]>,
    },
    /// The follower's log is durable and like the leader's up to `matched`.
    Accepted {
        /// The end of what is known to be alike.
        matched: Index,
        /// The round that is acknowledged.
        round: u64,
        /// Which life of the follower's this is; see [`Boot::life`](crate::Boot::life).
        life: u64,
    },
    /// The follower has no entry like the one at `prev`.
    Rejected {
        /// The index that was refused.
        prev: Index,
        /// Where the two logs may meet: no later than here.
        hint: Position,
        /// The round that is acknowledged.
        round: u64,
        /// Which life of the follower's this is.
        life: u64,
    },
    /// The leader is there.
    Heartbeat {
        /// What is committed, as far as the follower is known to have it.
        commit: Index,
        /// The round of contact. It is answered once: a second heartbeat of the same round brings
        /// news of a commit, and asks nothing.
        round: u64,
        /// Nothing is going on: be silent until something is.
        quiesce: bool,
    },
    /// So is the follower.
    Alive {
        /// The round that is acknowledged.
        round: u64,
        /// The end of what it holds, durable or not, that is known to be like the leader's.
        seen: Index,
        /// The end of what it has accepted: an [`Body::Accepted`] may have been lost.
        stored: Index,
        /// Whether a snapshot is coming in.
        receiving: bool,
        /// Which life of the follower's this is.
        life: u64,
    },
    /// Which index must I have applied to answer the reads that I call `id`?
    ReadRequest {
        /// The follower's name for them.
        id: u64,
        /// Whether the leader's lease is enough.
        lease: bool,
    },
    /// The answer: this index, or `None` from a node that cannot know.
    ReadReply {
        /// The follower's name for the reads.
        id: u64,
        /// What was committed when the leader was known to be the leader.
        index: Option<Index>,
    },
    /// A snapshot is ready for you at the sender's.
    Offer {
        /// What it holds.
        meta: SnapshotMeta,
    },
    /// Send `to` a snapshot: a leader whose own is damaged says so of a follower, and a node that
    /// lost its own says so of itself.
    Delegate {
        /// Who needs one.
        to: NodeId,
    },
    /// Start an election at once if your log ends here (thesis §3.10).
    TimeoutNow {
        /// Where the leader's log ends.
        last: Position,
    },
    /// Entries after `after` and before `anchor` are damaged here; who has an entry at `anchor`
    /// has the same ones.
    Mend {
        /// The last sound entry before the hole.
        after: Index,
        /// The first sound entry behind it.
        anchor: Position,
    },
    /// The entries that were asked for.
    Mended {
        /// The entry that vouches for them.
        anchor: Position,
        /// In order, without gaps. None, from the leader: it has another entry in that place, so
        /// what is lost there was never committed.
        entries: Vec<Entry>,
    },
    /// A candidate whose log is too old asks a voter whose log is not for what it lacks.
    Borrow {
        /// Where the candidate believes that the two logs meet.
        prev: Position,
    },
    /// The answer: what follows `prev`, or nothing and a `prev` that lies further back.
    Lent {
        /// The entry before the first.
        prev: Position,
        /// In order, without gaps.
        entries: Vec<Entry>,
    },
    /// The term of what you sent has passed; mine is in the head of this message.
    Outdated,
}

/// What a voter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Yes.
    Granted,
    /// No: there is a leader, or the vote is given away.
    Refused,
    /// No: the candidate's log is older than the voter's, which would vote otherwise.
    Stale,
    /// The voter lost a part of its log, or its vote, and cannot say.
    Unsure,
}
