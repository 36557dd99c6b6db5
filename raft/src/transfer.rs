//! Handing over: a leader that is asked to go, or has to, names its successor (thesis §3.10).
//!
//! The leader stops taking proposals, waits until the successor has its whole log, and tells it to
//! stand at once. Voters grant such a vote although they just heard of the leader: the request
//! says that the leader itself asked. From the moment it may have asked, the leader holds no lease,
//! and goes on holding none when the successor does not stand in time: the message may still be
//! on its way. The successor refuses it when its log does not end where the leader's did, so an
//! entry appended and committed after the attempt voids it for good.

use alloc::vec::Vec;

use crate::effect::{Effect, Refused};
use crate::entry::Payload;
use crate::message::Body;
use crate::raft::{Raft, Standing};
use crate::types::{NodeId, Position, Ticket};

/// A hand-over that is under way.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Who waits for it; nobody, if it is the leader's own wish.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) to: NodeId,
    /// When it is given up.
    until: u64,
    /// Whether the successor was told to stand.
    told: bool,
}

impl Raft {
    /// [`Input::Transfer`](crate::Input::Transfer).
    pub(crate) fn transfer(&mut self, ticket: Ticket, to: Option<NodeId>, out: &mut Vec<Effect>) {
        match self.may_transfer(to) {
            Ok(to) => {
                let (now, until) = (self.now, self.now + self.config.election);
                let heartbeat = self.config.heartbeat;
                let Standing::Leader(reign) = &mut self.standing else { return };
                let ticket = Some(ticket);
                reign.handover = Some(Handover { ticket, to, until, told: false });
                reign.stir(now, heartbeat);
            }
            Err(why) => out.push(Effect::Answer { ticket, result: Err(why) }),
        }
    }

    fn may_transfer(&self, to: Option<NodeId>) -> Result<NodeId, Refused> {
        let Standing::Leader(reign) = &self.standing else {
            return Err(Refused::NotLeader(self.leader));
        };
        if reign.handover.is_some() {
            return Err(Refused::Transferring);
        }
        let to =
            to.or_else(|| self.best_successor()).ok_or(Refused::Invalid("nobody else can lead"))?;
        let can = to != self.id && self.history.active().can_lead(to);
        if can { Ok(to) } else { Err(Refused::Invalid("this member cannot lead")) }
    }

    /// Of those that can lead, the one that is wanted most and has most.
    fn best_successor(&self) -> Option<NodeId> {
        let Standing::Leader(reign) = &self.standing else { return None };
        let members = self.history.active();
        let able = reign.peers.iter().filter(|peer| members.can_lead(peer.id));
        let best = able.max_by_key(|peer| (peer.round, peer.matched, members.priority(peer.id)));
        best.map(|peer| peer.id)
    }

    /// Tells the successor to stand once it has the whole log.
    pub(crate) fn hand_over(&mut self, out: &mut Vec<Effect>) {
        let last = self.log.last();
        self.prefer_another();
        let Standing::Leader(reign) = &mut self.standing else { return };
        let Some(handover) = &reign.handover else { return };
        let to = handover.to;
        if handover.told || reign.matched(to) < last.index {
            return;
        }
        let Some(handover) = &mut reign.handover else { return };
        handover.told = true;
        self.send(to, Body::TimeoutNow { last }, out);
    }

    /// A voter that is wanted more as a leader, and has everything, is given the office.
    fn prefer_another(&mut self) {
        let now = self.now;
        let Standing::Leader(reign) = &mut self.standing else { return };
        // Not before this leader has settled in, or two would push it to and fro.
        let early = now < reign.since + 2 * self.config.election;
        let lately = reign.tried_at + self.config.election > now;
        if !reign.outranked || early || lately || reign.handover.is_some() {
            return;
        }
        let members = self.history.active();
        let (own, last, round) = (members.priority(self.id), self.log.last().index, reign.round);
        let ready = |id: NodeId| {
            let peer = reign.peers.iter().find(|peer| peer.id == id);
            peer.is_some_and(|peer| peer.matched == last && peer.round + 2 >= round)
        };
        let better = members.members().iter().filter(|member| {
            member.priority > own && members.can_lead(member.id) && ready(member.id)
        });
        if let Some(member) = better.max_by_key(|member| member.priority) {
            let (to, until) = (member.id, now + self.config.election);
            reign.tried_at = now;
            reign.handover = Some(Handover { ticket: None, to, until, told: false });
        }
    }

    /// Gives up a hand-over that was not taken up.
    pub(crate) fn end_handover_in_time(&mut self, out: &mut Vec<Effect>) {
        let now = self.now;
        let last = self.log.last().index;
        let Standing::Leader(reign) = &mut self.standing else { return };
        let Some(handover) = reign.handover.take_if(|handover| handover.until <= now) else {
            return;
        };
        if let Some(ticket) = handover.ticket {
            out.push(Effect::Answer { ticket, result: Err(Refused::TimedOut) });
        }
        if handover.told {
            // Voids the word that may still be on its way, and the lease until then.
            reign.lease_from = last.next();
            self.append_own_noted(Payload::Blank, None);
        }
    }

    /// A leader that has to go asks the best of the others to stand, whatever comes of it.
    pub(crate) fn hand_over_in_need(&mut self, out: &mut Vec<Effect>) {
        let members = self.history.active();
        let Standing::Leader(reign) = &self.standing else { return };
        let able = reign.peers.iter().filter(|peer| members.can_lead(peer.id));
        let Some(best) = able.max_by_key(|peer| (peer.matched, peer.round)) else { return };
        // It stands if its log ends where it is known to: this leader's own may be longer.
        let index = best.matched;
        let Some(term) = self.log.term_at(index) else { return };
        self.send(best.id, Body::TimeoutNow { last: Position::new(term, index) }, out);
    }

    /// The leader asks this node to stand.
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, last: Position, out: &mut Vec<Effect>) {
        let current = self.leader == Some(from) && self.may_stand();
        // Old word, or a log with more or less in it than the leader thought.
        if current && self.log.last() == last && self.log.stable() == last.index {
            self.stand(true, out);
        }
    }
}
