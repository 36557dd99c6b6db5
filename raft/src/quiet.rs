//! Silence: a group with nothing to do costs nothing.
//!
//! A leader whose followers all have everything, and who has been asked nothing for a while, says
//! so in a last heartbeat and stops its timers; so do the followers that have everything. A message
//! or a request wakes them. What silence gives up is noticing that a leader died: whoever hosts
//! many groups watches *nodes* instead and reports one that is gone
//! ([`Input::Unreachable`](crate::Input::Unreachable)).

use crate::progress::Pace;
use crate::raft::{Raft, Standing};
use crate::reign::Reign;
use crate::types::Index;

impl Reign {
    /// There is something to do.
    pub(crate) fn stir(&mut self, now: u64, heartbeat: u64) {
        self.busy_at = now;
        if self.heartbeat_at.is_none() {
            self.heartbeat_at = Some(now + heartbeat);
            // The silence was agreed on: it does not count as contact lost.
            self.forgive_silence(now);
        }
    }
}

impl Raft {
    /// Whether this leader's group has nothing to do, and everyone knows all there is to know.
    pub(crate) fn may_fall_silent(&self) -> bool {
        let Some(after) = self.config.quiesce_after else { return false };
        let Standing::Leader(reign) = &self.standing else { return false };
        let last = self.log.last().index;
        let settled = self.commit == last && self.told == last && self.writes.is_idle();
        let idle = reign.handover.is_none() && reign.readers.is_empty() && reign.change.is_none();
        let even = reign.peers.iter().all(|peer| {
            peer.matched == last && peer.commit_sent == last && peer.pace == Pace::Replicate
        });
        // Everyone must be there: one that is not would stand when it comes back.
        let present = reign.peers.iter().all(|peer| peer.round + 2 >= reign.round);
        let long = self.now - reign.busy_at >= after;
        settled && idle && even && present && long && self.damage.is_none()
    }

    /// The leader has said that the group falls silent.
    pub(crate) fn fall_silent(&mut self) {
        self.quiet = true;
        self.election_at = None;
        self.rest();
    }

    /// Something is going on: watch the clock again.
    pub(crate) fn wake(&mut self) {
        let (now, heartbeat) = (self.now, self.config.heartbeat);
        match &mut self.standing {
            Standing::Leader(reign) if reign.heartbeat_at.is_none() => {
                reign.stir(now, heartbeat);
                // Followers watch no clock until they hear of this.
                reign.heartbeat_at = Some(now);
            }
            Standing::Follower if self.quiet => {
                self.quiet = false;
                self.set_patience(self.config.election);
            }
            _ => {}
        }
    }

    /// Gives back the memory that a silent group does not need.
    pub(crate) fn rest(&mut self) {
        self.log.trim(self.log.last().index, 0);
        self.log.shrink();
        self.writes.shrink();
        self.asks = self.asks.take().filter(|asks| asks.deadline().is_some());
        if let Standing::Leader(reign) = &mut self.standing {
            reign.shrink();
        }
    }

    /// Keeps in memory what followers that keep up may want, and what the caller was told of in
    /// this step, behind `told`.
    pub(crate) fn trim(&mut self, told: Index) {
        let done = match &self.standing {
            Standing::Leader(reign) => {
                let near = reign.peers.iter().map(|peer| peer.matched).min();
                near.map_or(told, |near| near.min(told))
            }
            _ => told,
        };
        self.log.trim(done, self.config.tail_bytes_max);
    }
}
