//! Changing the members while the group works.
//!
//! A change that moves one voter is one entry: any quorum before meets any quorum after (thesis
//! §4.1). Any other goes through a joint configuration, in force from when it is appended, in which
//! both sets must agree; once that is committed the leader appends the new set alone (Raft §6).
//! Whoever leads by then does so: leaving is no command, it follows from what is in the log.
//!
//! ```text
//!    old ──► old+new  ───committed──►  new  ───committed──►  a leader that is not in it resigns
//! ```
//!
//! A leader changes nothing before it has committed an entry of its own term: its idea of what is
//! committed may be old, and two changes from different terms can have quorums that do not meet
//! (Ongaro's note on the single-server change, 2015).

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::configuration::Change;
use crate::effect::{Effect, Refused};
use crate::entry::Payload;
use crate::raft::{Raft, Standing};
use crate::types::Ticket;

impl Raft {
    /// [`Input::Change`](crate::Input::Change).
    pub(crate) fn change(&mut self, ticket: Ticket, change: &Change, out: &mut Vec<Effect>) {
        match self.may_change(change) {
            Ok(next) => {
                let Standing::Leader(reign) = &mut self.standing else { return };
                reign.change = Some(ticket);
                self.append_own_noted(Payload::Configuration(Arc::new(next)), None);
            }
            Err(why) => out.push(Effect::Answer { ticket, result: Err(why) }),
        }
    }

    fn may_change(&self, change: &Change) -> Result<crate::Configuration, Refused> {
        self.may_append(0)?;
        let Standing::Leader(reign) = &self.standing else {
            return Err(Refused::NotLeader(self.leader));
        };
        let now = self.history.active();
        let settled = self.commit >= reign.first.max(self.history.active_index());
        if !settled || now.is_joint() || reign.change.is_some() {
            return Err(Refused::ChangeUnderWay);
        }
        change.apply(now).map_err(Refused::Invalid)
    }

    /// Goes on with a change whose entry is committed.
    pub(crate) fn finish_change(&mut self, out: &mut Vec<Effect>) {
        let Standing::Leader(reign) = &mut self.standing else { return };
        let index = self.history.active_index();
        if !reign.unfinished || self.commit < index.max(reign.first) {
            return;
        }
        let members = self.history.active();
        if members.is_joint() {
            let left = Arc::new(members.left());
            self.append_own_noted(Payload::Configuration(left), None);
            return;
        }
        reign.unfinished = false;
        if let Some(ticket) = reign.change.take() {
            out.push(Effect::Answer { ticket, result: Ok(index) });
        }
        if !members.can_lead(self.id) && index > crate::Index(0) {
            // Thesis §4.2.2. The others hear of the commit, and one of them goes on at once.
            self.replicate(out);
            self.announce(out);
            self.hand_over_in_need(out);
            self.become_follower(self.hard.term, None, out);
        }
    }
}
