//! Followers that the log does not reach any more, and shortening the log.
//!
//! Snapshots may be larger than memory, so their bytes never pass through the core. It decides who
//! needs one and whether it may be taken; the drivers move it, as a stream that the receiver pulls:
//!
//! ```text
//!     leader's core      leader's driver      follower's driver     follower's core
//!       SendSnapshot ───────► open
//!           ◄──── SnapshotOpen ┘
//!       Offer ─────────────────────────────────────────────────────────► may it be?
//!                                                  fetch ◄────────── FetchSnapshot
//!                              ◄──── pull, at its own pace ────┘
//!                                                    └── SnapshotFetched ──►  Write, then
//!           ◄──────────────────────────────────────────────────────────────── Accepted
//! ```
//!
//! Nothing in that chain is waited for with trust. A follower that has what it needs says so like
//! any other, and one that has fallen silent or given up is asked again after a while.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::boot::SnapshotMeta;
use crate::configuration::History;
use crate::effect::{Effect, Fault};
use crate::message::Body;
use crate::progress::{Pace, Progress};
use crate::raft::{Raft, Standing};
use crate::types::{Index, NodeId, Position};
use crate::writes::Promise;

impl Raft {
    /// The log does not reach back to what a follower needs.
    pub(crate) fn needs_snapshot(&self, peer: &mut Progress, out: &mut Vec<Effect>) {
        peer.rewind(peer.matched);
        peer.pace = Pace::Snapshot { since: self.now, index: Index(0) };
        if peer.witness.is_none() {
            out.push(Effect::SendSnapshot { to: peer.id });
            return;
        }
        // A witness has no state: what a snapshot would say of it is known here.
        let index = self.commit;
        let term = self.log.term_at(index).expect("what is committed is in the log");
        let (configuration_index, configuration) =
            self.history.at(index).expect("one is committed");
        let meta = SnapshotMeta {
            last: Position::new(term, index),
            configuration: Arc::clone(configuration),
            configuration_index,
        };
        peer.pace = Pace::Snapshot { since: self.now, index };
        self.send(peer.id, Body::Offer { meta }, out);
    }

    /// [`Input::SnapshotOpen`](crate::Input::SnapshotOpen).
    pub(crate) fn snapshot_open(&mut self, to: NodeId, meta: SnapshotMeta, out: &mut Vec<Effect>) {
        let now = self.now;
        if let Standing::Leader(reign) = &mut self.standing {
            let Some(peer) = reign.peer(to) else { return };
            let Pace::Snapshot { since, index } = &mut peer.pace else { return };
            (*since, *index) = (now, meta.last.index);
        }
        self.send(to, Body::Offer { meta }, out);
    }

    /// [`Input::SnapshotUnsound`](crate::Input::SnapshotUnsound): another sends its own.
    pub(crate) fn snapshot_unsound(&mut self, to: NodeId, out: &mut Vec<Effect>) {
        let members = self.history.active();
        let Standing::Leader(reign) = &self.standing else { return };
        let able = reign.peers.iter().filter(|peer| peer.id != to && !members.is_witness(peer.id));
        if let Some(best) = able.max_by_key(|peer| (peer.round, peer.matched)) {
            self.send(best.id, Body::Delegate { to }, out);
        }
    }

    /// Somebody needs a snapshot from here.
    pub(crate) fn on_delegate(&mut self, to: NodeId, out: &mut Vec<Effect>) {
        let lost = self.damage.as_ref().is_some_and(|damage| damage.snapshot_lost);
        if to != self.id && !lost && !self.history.active().is_witness(self.id) {
            out.push(Effect::SendSnapshot { to });
        }
    }

    /// [`Input::SnapshotSent`](crate::Input::SnapshotSent).
    pub(crate) fn snapshot_sent(&mut self, to: NodeId) {
        let Standing::Leader(reign) = &mut self.standing else { return };
        if let Some(peer) = reign.peer(to)
            && matches!(peer.pace, Pace::Snapshot { .. })
        {
            // What came of it, the next append will tell.
            let next = peer.next;
            peer.probe(next);
        }
    }

    /// A snapshot is offered by the leader, by a follower that it asked to, or by whoever has what
    /// is missing here. It is no word of a leader: whoever offers may have led and lead no more.
    pub(crate) fn on_offer(&mut self, from: NodeId, meta: SnapshotMeta, out: &mut Vec<Effect>) {
        let last = meta.last;
        if matches!(self.standing, Standing::Leader(_)) {
            if !self.misses_before(last) {
                return;
            }
            // What is missing here the others have in snapshots alone: who leads installs none, and
            // who lacks entries has none for those who are late.
            self.hand_over_in_need(out);
            self.become_follower(self.hard.term, None, out);
        }
        let lost = self.damage.as_ref().is_some_and(|damage| damage.snapshot_lost);
        // In a hole the terms are not known.
        let here = self.log.term_at(last.index).filter(|_| !self.in_hole(last.index));
        if last.index <= self.commit && here.is_some_and(|term| term != last.term) {
            // Two committed entries in one place: somebody's disk, or this one's, has lied.
            return self.stop(Fault::Diverged { peer: from, index: last.index }, out);
        }
        let known = last.index <= self.commit && !self.fills(last);
        if !lost && (known || (self.log.has(last) && !self.has_holes())) {
            // It brings nothing that is not here, but the word that it is committed.
            self.commit_up_to(last.index.max(self.commit));
            self.seen = self.seen.max(self.commit);
            let matched = self.commit;
            self.promise(self.leader.unwrap_or(from), Promise::Accepted { matched, round: 0 });
            return;
        }
        if !self.wants(last) {
            return;
        }
        if meta.configuration.is_witness(self.id) {
            return self.install(meta);
        }
        if self.fetching.as_ref().is_none_or(|under_way| under_way.last < last) {
            self.fetching = Some(Box::new(meta.clone()));
            out.push(Effect::FetchSnapshot { from, meta });
        }
    }

    /// [`Input::SnapshotFetched`](crate::Input::SnapshotFetched).
    pub(crate) fn snapshot_fetched(&mut self, meta: Option<SnapshotMeta>) {
        self.fetching = None;
        let Some(meta) = meta else { return };
        let leads = matches!(self.standing, Standing::Leader(_));
        if self.wants(meta.last) && !leads {
            self.install(meta);
        }
    }

    /// Whether a snapshot up to `last` brings anything that is not here.
    fn wants(&self, last: Position) -> bool {
        if self.damage.as_ref().is_some_and(|damage| damage.snapshot_lost) {
            // It may be older than what is known to be committed, if the log goes on from it.
            last.index >= self.log.base().index
        } else {
            last.index > self.commit || self.fills(last)
        }
    }

    /// Whether a snapshot up to `last` has what is missing here and takes back nothing that may be
    /// applied. The last entry that the caller was told of may be the missing one: found so when it
    /// was read to be applied.
    fn fills(&self, last: Position) -> bool {
        let next = last.index > self.told;
        let same = last.index == self.told && self.in_hole(last.index);
        self.misses_before(last) && (next || same)
    }

    fn misses_before(&self, last: Position) -> bool {
        let first = self.damage.as_ref().and_then(|damage| damage.holes.first());
        first.is_some_and(|hole| hole.after < last.index)
    }

    /// Puts a snapshot in the place of the log up to its last entry. What the log holds behind
    /// it stays if the two agree there (Raft §7), and goes if they do not.
    fn install(&mut self, meta: SnapshotMeta) {
        let last = meta.last;
        let agrees = match self.hole_anchor(last.index) {
            // The term there is not known. What is behind it may have been acknowledged, and is
            // given up only if it is older than what is committed.
            Some(anchor) => anchor.term >= last.term,
            None => self.log.has(last),
        };
        if agrees && self.log.last().index > last.index {
            self.log.skip(last);
            let known = self.history.at(last.index).map(|(index, _)| index);
            if known != Some(meta.configuration_index) {
                // It stood where entries are missing.
                let configuration = Arc::clone(&meta.configuration);
                self.history.insert(meta.configuration_index, configuration);
                self.members_changed();
            }
        } else if last.index < self.commit {
            // What is committed and missing comes from the leader, and then this one will do.
            return;
        } else {
            self.log.reset(last);
            self.writes.cut(last.index);
            let configuration = Arc::clone(&meta.configuration);
            self.history = History::new(meta.configuration_index, configuration);
            self.members_changed();
        }
        self.commit = self.commit.max(last.index);
        self.told = self.told.max(last.index);
        self.seen = self.seen.max(last.index).min(self.log.last().index);
        self.damage_below(last.index);
        if let Some(damage) = &mut self.damage {
            damage.snapshot_lost = false;
        }
        self.installing = Some(Box::new(meta));
        if let Some(leader) = self.leader {
            self.promise(leader, Promise::Accepted { matched: last.index, round: 0 });
        }
    }

    /// [`Input::Compact`](crate::Input::Compact).
    pub(crate) fn compact(&mut self, through: Index, must: Index, out: &mut Vec<Effect>) {
        let limit = self.told.min(self.log.stable());
        let (must, mut wish) = (must.min(limit), through.min(limit));
        let base = self.log.base().index;
        if let Standing::Leader(reign) = &self.standing {
            // Who keeps in touch gets what it lacks from the log, as long as there is room for it.
            let near = |peer: &&Progress| reign.keeps_in_touch(peer);
            for peer in reign.peers.iter().filter(near) {
                let needs = match peer.pace {
                    // What follows the snapshot that is on its way.
                    Pace::Snapshot { index, .. } => index,
                    _ => peer.matched,
                };
                wish = wish.min(needs);
                // Said once: the next time, the log does not reach it any more.
                if base <= needs && needs < must {
                    out.push(Effect::Fault(Fault::LeftBehind { peer: peer.id }));
                }
            }
        }
        let through = wish.max(must);
        if through > self.log.base().index {
            self.log.compact(through);
            self.damage_below(through);
            out.push(Effect::Compact { through });
        }
    }
}
