//! The follower's side of replication: taking a leader's entries, and saying so once they are safe.
//!
//! The one rule that must not be bent is when to cut the log: at an entry that *differs* from the
//! leader's, and never otherwise. A message that is old, short or empty cuts nothing (Raft §5.3,
//! step 3 of AppendEntries).

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::effect::{Effect, Fault};
use crate::entry::Entry;
use crate::message::Body;
use crate::raft::Raft;
use crate::types::{Index, NodeId, Position};
use crate::writes::Promise;

impl Raft {
    /// Entries from the leader.
    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        mut prev: Position,
        commit: Index,
        round: u64,
        mut entries: Arc<[Entry]>,
        out: &mut Vec<Effect>,
    ) {
        self.entries_at = self.now;
        let mut skipped = 0;
        // Up to the commit index the two logs are alike, compacted or not: nothing there is
        // compared with what may not be here any more, and nothing is ever refused.
        if prev.index < self.commit {
            let known = entries.partition_point(|entry| entry.index <= self.commit);
            let differs = |entry: &&Entry| {
                let here = self.log.term_at(entry.index);
                here.is_some_and(|term| term != entry.term) && !self.in_hole(entry.index)
            };
            if let Some(index) = entries[..known].iter().find(differs).map(|entry| entry.index) {
                return self.stop(Fault::Diverged { peer: from, index }, out);
            }
            self.mend_from(&entries[..known]);
            skipped = known;
            let term = self.log.term_at(self.commit).expect("what is committed is in the log");
            prev = Position::new(term, self.commit);
        }
        if !self.log.has(prev) || self.in_hole(prev.index) {
            let mut hint = self.log.meeting(prev.index.prev(), prev.term);
            if let Some(after) = self.hole_start(hint.index) {
                let term = self.log.term_at(after).unwrap_or_default();
                hint = Position::new(term, after);
            }
            let (prev, life) = (prev.index, self.life);
            return self.send(from, Body::Rejected { prev, hint, round, life }, out);
        }
        if self.damage.is_some() && skipped < entries.len() {
            let mut sound = entries[skipped..].to_vec();
            self.meet_hole(&mut sound);
            if sound.is_empty() {
                // They reach into a hole and cannot be told from what is missing. To say so would
                // bring them again at once, for ever; the leader tries again with its next
                // heartbeat, and by then a peer may have mended the hole.
                return self.saw(prev.index, commit);
            }
            (entries, skipped) = (sound.into(), 0);
        }
        let matched = entries[skipped..].last().map_or(prev.index, |entry| entry.index);
        self.take_over(&entries, skipped);
        self.saw(matched, commit);
        self.owed = Some(self.owed.map_or(round, |owed| owed.max(round)));
    }

    /// Appends what is new of a leader's entries, all but the first `skipped`. What differs from
    /// them is cut off.
    fn take_over(&mut self, entries: &Arc<[Entry]>, skipped: usize) {
        let fresh = |entry: &Entry| !self.log.has(entry.position());
        let Some(known) = entries[skipped..].iter().position(fresh) else { return };
        let first = entries[skipped + known].index;
        if first <= self.log.last().index {
            self.truncate(first.prev());
        }
        self.append_shared(entries, skipped + known);
    }

    /// The leader is there.
    pub(crate) fn on_heartbeat(
        &mut self,
        from: NodeId,
        commit: Index,
        round: u64,
        quiesce: bool,
        out: &mut Vec<Effect>,
    ) {
        self.saw(self.seen, commit);
        // One that brings no more than news of a commit is of a round that was answered before.
        if round > self.answered {
            self.answered = round;
            let (seen, life, receiving) = (self.seen, self.life, self.fetching.is_some());
            let stored = self.stored;
            self.send(from, Body::Alive { round, seen, stored, receiving, life }, out);
        }
        if quiesce && self.commit == self.log.last().index {
            self.fall_silent();
        }
    }

    /// The log is like the leader's up to `matched`, and the leader has committed up to `commit`.
    fn saw(&mut self, matched: Index, commit: Index) {
        self.seen = self.seen.max(matched);
        // Beyond what is known to match, this log may hold what will never be committed.
        self.commit_up_to(commit.min(self.seen));
    }

    /// Says, once it is durable, what came in this step.
    pub(crate) fn acknowledge(&mut self) {
        if let (Some(round), Some(leader)) = (self.owed.take(), self.leader) {
            self.promise(leader, Promise::Accepted { matched: self.seen, round });
        }
    }
}
