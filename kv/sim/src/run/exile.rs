//! Exiles: leaders that are cut off with clients who go on asking them, and come back too late.
//!
//! ```text
//!   the leader in exile    1 2 3 x x x           what nobody else will ever have
//!   the others             1 2 3 ─ ─ ─ 7 8 9     commit, save, and forget what came before
//!   back again             ◄── the state at 9, in place of all that
//! ```
//!
//! The state that the exile is sent stands where its log has other entries. Between the moment at
//! which it takes the state over and the one at which its log is durable a power cut matters, so
//! that is where it comes: elsewhere luck alone would find an order of the two that is wrong.

use drystone_raft::Role;
use drystone_sim::{NodeId, Shape};

use crate::plan::ELECTION;
use crate::run::Run;

/// When the next exile begins, and when the present one ends.
#[derive(Debug)]
pub(super) struct Exile {
    begins: u64,
    ends: u64,
}

impl Exile {
    /// `every` so many ticks; 0 is never.
    pub(super) fn new(every: u64) -> Exile {
        Exile { begins: if every == 0 { u64::MAX } else { every }, ends: u64::MAX }
    }

    /// When there is something to do.
    pub(super) fn next_at(&self) -> u64 {
        self.begins.min(self.ends)
    }
}

impl Run<'_> {
    /// Begins an exile, or ends it.
    pub(super) fn exile(&mut self) {
        let now = self.world.now();
        if self.exile.ends <= now {
            self.world.partition(&Shape::Whole);
            self.exile =
                Exile { begins: now + self.rng.range(1..2 * self.plan.exile), ends: u64::MAX };
            return;
        }
        let leaders = self.world.processes().filter(|(_, it)| it.raft.role() == Role::Leader);
        let newest = leaders.max_by_key(|(_, member)| member.raft.hard().term);
        let Some((leader, _)) = newest else {
            self.exile.begins = now + ELECTION;
            return;
        };
        let shape = Shape::isolate(leader, self.world.ids());
        self.world.partition(&shape);
        for client in &mut self.clients {
            if self.rng.below(2) == 0 {
                client.turn_to(leader);
            }
        }
        let ends = now + self.rng.range(3..10) * ELECTION;
        self.exile = Exile { begins: u64::MAX, ends };
    }

    /// There are no more exiles; links are mended by whoever says so.
    pub(super) fn end_exiles(&mut self) {
        self.exile = Exile { begins: u64::MAX, ends: u64::MAX };
    }

    /// A member has taken over the state of another: every other time it crashes at once.
    pub(super) fn strike(&mut self, id: NodeId) {
        if self.plan.exile > 0 && self.rng.below(2) == 0 {
            self.world.crash(id);
            let at = self.world.now() + self.rng.range(1..2 * ELECTION);
            self.restarts.push((at, id));
        }
    }
}
