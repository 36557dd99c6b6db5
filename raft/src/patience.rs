//! Patience: how long a follower waits for its leader, and how long it stays loyal to it.
//!
//! ```text
//!   last word of                                E                               2E
//!   the leader ├── loyal: votes for no other ──┤ ├─ first ─┼─ second ─┼─ third ─┤
//!              0                            3E/4  turns, in an order that all can work out
//! ```
//!
//! The order of turns is by priority, then by a hash of term and name: fair over time, the same
//! for all who share term and members, and without the collisions of drawing lots. Nothing depends
//! on it being the same.

use crate::raft::{Raft, Standing};
use crate::rng::mix;
use crate::types::NodeId;

/// Where a node stands in the order of turns.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn {
    /// Whether it gets one.
    stands: bool,
    /// How long after the first, in ticks.
    late: u32,
    /// How long each has to itself, in ticks.
    slot: u32,
}

impl Raft {
    /// Works out the order of turns. Whoever changes term, leader or members calls it.
    pub(crate) fn take_turns(&mut self) {
        let members = self.history.active();
        let key = |id: NodeId| {
            (u8::MAX - members.priority(id), mix(self.hard.term.0.wrapping_mul(31) ^ mix(id)))
        };
        let stands = |id: NodeId| members.can_lead(id) && members.priority(id) > 0;
        let (mut all, mut before) = (0, 0);
        let mine = key(self.id);
        members.each_voter(|id| {
            if stands(id) && Some(id) != self.leader {
                all += 1;
                before += u64::from(id != self.id && key(id) < mine);
            }
        });
        let slot = (self.config.election / all.max(1)).max(1);
        // By the configuration before, while the one in force is not known to be committed.
        let still = !members.can_lead(self.id) && self.history.can_lead(self.id, self.commit);
        // Of an election that takes four billion ticks, the turns may well be cut short.
        let short = |ticks: u64| u32::try_from(ticks).unwrap_or(u32::MAX);
        let (late, slot) = (short(before * slot), short(slot));
        self.turn = Turn { stands: stands(self.id) || still, late, slot };
    }

    /// Loses patience after `ticks`, when its turn comes.
    pub(crate) fn set_patience(&mut self, ticks: u64) {
        let Turn { stands, late, slot } = self.turn;
        let at = self.now + ticks + u64::from(late) + self.rng.below(u64::from(slot / 2) + 1);
        self.election_at = stands.then_some(at);
    }

    /// Whether a leader was heard of so lately that no other gets a vote (thesis §4.2.3). A leader
    /// is loyal to itself while it is in contact with a quorum.
    pub(crate) fn is_loyal(&self) -> bool {
        let (heard_at, silent) = match &self.standing {
            Standing::Leader(reign) => (Some(reign.alone_since()), reign.heartbeat_at.is_none()),
            _ => (self.heard_at, self.quiet),
        };
        let lately = heard_at.is_some_and(|at| self.now - at < self.config.loyalty());
        self.config.check_quorum && (lately || silent)
    }
}
