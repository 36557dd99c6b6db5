//! What a leader holds: its followers, what waits for a quorum, and how long ago it had one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::log::Log;
use crate::progress::{Follower, Progress};
use crate::reads::Readers;
use crate::transfer::Handover;
use crate::types::{Index, NodeId, Ticket};

/// An entry that this leader made and that is not committed yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) index: Index,
    /// Who waits for it.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) bytes: usize,
    /// When it was appended.
    pub(crate) at: u64,
}

/// The state of a leader.
///
/// * There is one [`Progress`] for each other participant, by id.
/// * Rounds rise, and so do the times at which they were begun.
/// * Pending entries are those of this term that are not committed.
#[derive(Debug)]
pub(crate) struct Reign {
    pub(crate) peers: Vec<Progress>,
    /// Its first entry: until that is committed it does not know what is.
    pub(crate) first: Index,
    /// The latest round of contact.
    pub(crate) round: u64,
    /// When each round began that no quorum has acknowledged yet.
    rounds: VecDeque<(u64, u64)>,
    /// When the latest round began that a quorum has acknowledged.
    contact_at: u64,
    /// When a silence that was agreed on last came to an end.
    forgiven_at: u64,
    /// When the next heartbeat is due; `None` in a group that has fallen silent.
    pub(crate) heartbeat_at: Option<u64>,
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) pending_bytes: usize,
    pub(crate) readers: Readers,
    pub(crate) handover: Option<Handover>,
    /// Who waits for the change of members that is under way.
    pub(crate) change: Option<Ticket>,
    /// The members have changed, or it has just begun: there may be a change to finish.
    pub(crate) unfinished: bool,
    /// Another member is wanted more as a leader.
    pub(crate) outranked: bool,
    /// No lease is held before this entry is committed: another may have been told to take over.
    pub(crate) lease_from: Index,
    /// When the newest of its committed entries was appended.
    pub(crate) leased_at: Option<u64>,
    /// Nothing is committed before this time: an older leader may hold a lease. 0 when that is
    /// over.
    pub(crate) commit_from: u64,
    /// When there was last something to do.
    pub(crate) busy_at: u64,
    /// When it began.
    pub(crate) since: u64,
    /// When it last offered its office to one that is wanted more.
    pub(crate) tried_at: u64,
}

/// Rounds that a follower may be late and still counts as one that keeps in touch.
pub(crate) const RECENT: u64 = 20;

impl Reign {
    /// Whether a member has answered lately, or everyone had agreed to be silent.
    pub(crate) fn keeps_in_touch(&self, peer: &Progress) -> bool {
        peer.round + RECENT >= self.round
    }

    /// What is known of the others.
    pub(crate) fn followers(&self) -> impl Iterator<Item = Follower> {
        let follower = |peer: &Progress| {
            let in_touch = peer.life > 0 && self.keeps_in_touch(peer);
            Follower { id: peer.id, matched: peer.matched, in_touch }
        };
        self.peers.iter().map(follower)
    }

    pub(crate) fn new(now: u64, first: Index, commit_from: u64, heartbeat: u64) -> Reign {
        Reign {
            peers: Vec::new(),
            first,
            round: 0,
            rounds: VecDeque::new(),
            contact_at: now,
            forgiven_at: now,
            heartbeat_at: Some(now + heartbeat),
            pending: VecDeque::new(),
            pending_bytes: 0,
            readers: Readers::default(),
            handover: None,
            change: None,
            unfinished: true,
            outranked: false,
            lease_from: first,
            leased_at: None,
            commit_from,
            busy_at: now,
            since: now,
            tried_at: now,
        }
    }

    pub(crate) fn peer(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    pub(crate) fn matched(&self, id: NodeId) -> Index {
        let peer = self.peers.iter().find(|peer| peer.id == id);
        peer.map_or(Index(0), |peer| peer.matched)
    }

    /// Whether a quorum could still acknowledge a round that none has.
    pub(crate) fn awaits_contact(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// Begins a round of contact: who acknowledges it has heard of this leader after now.
    pub(crate) fn begin_round(&mut self, now: u64) {
        self.round += 1;
        self.rounds.push_back((self.round, now));
        // A quorum that is away for long lets the leader resign long before this many pile up.
        if self.rounds.len() > ROUNDS_MAX {
            self.rounds.pop_front();
        }
    }

    /// The latest round that `id` has acknowledged; `me` has acknowledged all.
    pub(crate) fn acknowledged(&self, id: NodeId, me: NodeId) -> u64 {
        if id == me {
            return u64::MAX;
        }
        self.peers.iter().find(|peer| peer.id == id).map_or(0, |peer| peer.round)
    }

    /// A quorum has acknowledged `round`.
    pub(crate) fn contact(&mut self, round: u64, now: u64) {
        if round == u64::MAX {
            // No other vote is needed.
            self.rounds.clear();
            self.contact_at = now;
            return;
        }
        while let Some((begun, at)) = self.rounds.front().copied() {
            if begun > round {
                break;
            }
            self.contact_at = at;
            self.rounds.pop_front();
        }
    }

    /// A time without contact was agreed on, and is over. It is no contact: no lease comes of it.
    pub(crate) fn forgive_silence(&mut self, now: u64) {
        self.forgiven_at = now;
    }

    /// Since when a quorum has been out of contact without leave.
    pub(crate) fn alone_since(&self) -> u64 {
        self.contact_at.max(self.forgiven_at)
    }

    pub(crate) fn contact_at(&self) -> u64 {
        self.contact_at
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        // After a wait for an old lease there may be something to commit at once.
        let commit = (self.commit_from > 0).then_some(self.commit_from);
        [self.heartbeat_at, commit].into_iter().flatten().min()
    }

    pub(crate) fn shrink(&mut self) {
        self.rounds.shrink_to_fit();
        self.pending.shrink_to_fit();
        for peer in &mut self.peers {
            peer.window.shrink();
        }
    }

    pub(crate) fn check(&self, log: &Log) {
        assert!(self.peers.is_sorted_by_key(|peer| peer.id), "peers are in order");
        for peer in &self.peers {
            peer.check();
            assert!(peer.matched <= log.last().index, "a follower has more than its leader");
            assert!(peer.next <= log.last().index.next(), "what is not there is not sent");
        }
        assert!(self.rounds.iter().is_sorted(), "rounds rise");
        let bytes: usize = self.pending.iter().map(|pending| pending.bytes).sum();
        assert_eq!(bytes, self.pending_bytes, "what is pending is counted");
        assert!(self.pending.iter().is_sorted_by_key(|pending| pending.index), "and in order");
    }
}

/// Most rounds that are remembered while none is acknowledged.
const ROUNDS_MAX: usize = 1024;
