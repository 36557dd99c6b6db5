//! What a disk has lost, and what a node with such a disk may still say.
//!
//! A log that is damaged must not be cut: what is behind the damage was acknowledged, and a group
//! that counts on it may have told a client (protocol-aware recovery, Alagappan et al., FAST '18).
//! Nor need it be given up. What is lost here is mostly there elsewhere:
//!
//! ```text
//!   1@1 2@1 3@1 ██████████ 7@2 8@2        a hole: whoever has an entry like 7@2 has what was in it
//!                          └ anchor       (log matching, Raft §5.3), leader or not
//!
//!   1@1 2@1 3@1 ▒▒▒▒▒▒▒▒▒▒ end            a lost end: nothing vouches for it. Until a leader has
//!                                         shown what is committed, the node cannot say that a
//!                                         candidate's log is as good as its own was
//! ```
//!
//! | lost | votes | stands | until |
//! |---|---|---|---|
//! | entries before a sound one | yes | no | any peer with the anchor has sent them |
//! | the end of the log | for logs that are no worse | no | what a leader committed is here |
//! | the vote | no, for 2E; then not in terms seen by then | no | 2E have passed |
//! | the snapshot | yes | no | a peer's snapshot is installed |

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::boot::{Boot, HardState, Hole};
use crate::effect::{Effect, Fault};
use crate::entry::{Entry, Payload};
use crate::message::Body;
use crate::progress::Pace;
use crate::raft::{Raft, Standing};
use crate::types::{Index, NodeId, Position, WriteId};

/// What is lost here.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// In the order of the log.
    pub(crate) holes: Vec<Hole>,
    /// The vote is lost: no vote is cast before this time.
    vote_from: Option<u64>,
    pub(crate) snapshot_lost: bool,
    /// Mended entries to be written in this step.
    pub(crate) mended: Vec<Entry>,
    /// Mended entries that are not durable yet: the write, the first and the last of them.
    unsaved: Vec<(WriteId, Index, Index)>,
    /// When peers are asked next.
    ask_at: u64,
}

impl Damage {
    pub(crate) fn found(
        boot: &Boot,
        hard: &HardState,
        now: u64,
        election: u64,
    ) -> Option<Box<Damage>> {
        let damage = Damage {
            holes: boot.holes.clone(),
            vote_from: hard.lost_vote.then_some(now + 2 * election),
            snapshot_lost: boot.snapshot_lost,
            mended: Vec::new(),
            unsaved: Vec::new(),
            ask_at: now,
        };
        (!damage.is_nothing()).then(|| Box::new(damage))
    }

    /// Whether nothing is missing any more.
    pub(crate) fn is_nothing(&self) -> bool {
        let sound = self.holes.is_empty() && self.vote_from.is_none() && !self.snapshot_lost;
        sound && self.mended.is_empty() && self.unsaved.is_empty()
    }

    /// Whether mended entries are on their way to the disk, and cannot be read yet.
    fn is_saving(&self) -> bool {
        !self.mended.is_empty() || !self.unsaved.is_empty()
    }

    /// Whether all behind `after` up to `through` is on its way to the disk.
    fn is_saving_all(&self, after: Index, through: Index) -> bool {
        self.unsaved.iter().any(|(_, first, last)| *first <= after.next() && through <= *last)
    }

    pub(crate) fn covers(&self, index: Index) -> bool {
        self.holes.iter().any(|hole| hole.after < index && index < hole.anchor.index)
    }

    /// The last entry that can be applied: the one before anything is missing.
    pub(crate) fn sound_up_to(&self) -> Index {
        if self.snapshot_lost {
            return Index(0);
        }
        let holes = self.holes.iter().map(|hole| hole.after);
        let unsaved = self.unsaved.iter().map(|(_, first, _)| first.prev());
        holes.chain(unsaved).min().unwrap_or(Index(u64::MAX))
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let asks = !self.holes.is_empty() || self.snapshot_lost;
        [asks.then_some(self.ask_at), self.vote_from].into_iter().flatten().min()
    }

    /// Takes an entry that was in a hole, if it is the next one there.
    fn mend(&mut self, entry: &Entry) -> bool {
        let next = |hole: &&mut Hole| hole.after.next() == entry.index;
        let Some(hole) = self.holes.iter_mut().find(next) else { return false };
        hole.after = entry.index;
        self.mended.push(entry.clone());
        self.holes.retain(|hole| hole.after.next() < hole.anchor.index);
        true
    }
}

impl Raft {
    /// [`Input::Damaged`](crate::Input::Damaged).
    pub(crate) fn damaged(&mut self, after: Index, through: Index, out: &mut Vec<Effect>) {
        self.loads_failed();
        if self.damage.as_ref().is_some_and(|damage| damage.is_saving_all(after, through)) {
            // It was read while it was being mended.
            return;
        }
        let (base, last) = (self.log.base().index, self.log.last().index);
        if after >= last || through <= base {
            // Cut off or compacted away while it was being read.
            return;
        }
        let after = after.max(base);
        if through >= last {
            if self.commit < last {
                // A copy that was counted is gone, and nothing vouches for it. The word for that
                // is another life of this node, with a shorter log: it takes a start.
                return self.stop(Fault::Storage, out);
            }
            if !matches!(self.standing, Standing::Leader(_)) {
                // The next entry will vouch for it.
                return;
            }
            self.append_own_noted(Payload::Blank, None);
        }
        let anchor = through.min(last).next();
        let Some(term) = self.log.term_at(anchor) else { return };
        let now = self.now;
        let damage = self.damage.get_or_insert_with(Box::default);
        let mut hole = Hole { after, anchor: Position::new(term, anchor) };
        // Holes that touch are one: neither has a sound entry at its edge.
        damage.holes.retain(|other| {
            let apart = other.anchor.index <= hole.after || hole.anchor.index <= other.after;
            if !apart {
                hole.after = hole.after.min(other.after);
                hole.anchor =
                    if other.anchor.index > hole.anchor.index { other.anchor } else { hole.anchor };
            }
            apart
        });
        damage.holes.push(hole);
        damage.holes.sort_by_key(|hole| hole.after);
        damage.ask_at = now;
        let leads = matches!(self.standing, Standing::Leader(_));
        if leads && hole.anchor.index.prev() > self.commit {
            // What is not committed may be nowhere else, and then never comes: nothing behind it
            // could be sent. Another can lead, and need not have it.
            self.hand_over_in_need(out);
            self.become_follower(self.hard.term, None, out);
        }
    }

    /// Entries that were asked of the log for others will not come: who needs them is asked again,
    /// no sooner than with the next heartbeat, or asks again himself.
    fn loads_failed(&mut self) {
        self.loans.clear();
        let Standing::Leader(reign) = &mut self.standing else { return };
        for peer in reign.peers.iter_mut().filter(|peer| peer.loading) {
            peer.probe(peer.next);
            peer.pace = Pace::Probe { asked: true };
        }
    }

    /// Whether `index` is one of those that are missing.
    pub(crate) fn in_hole(&self, index: Index) -> bool {
        self.damage.as_ref().is_some_and(|damage| damage.covers(index))
    }

    /// The last index up to `through` that is sound like all behind `after`.
    pub(crate) fn sound_between(&self, after: Index, through: Index) -> Index {
        let Some(damage) = &self.damage else { return through };
        let met = |hole: &&Hole| hole.after < through && after.next() < hole.anchor.index;
        damage.holes.iter().find(met).map_or(through, |hole| hole.after.min(through))
    }

    /// The last sound index before the hole that `index` is in.
    pub(crate) fn hole_start(&self, index: Index) -> Option<Index> {
        Some(self.hole_at(index)?.after)
    }

    /// The sound entry behind the hole that `index` is in.
    pub(crate) fn hole_anchor(&self, index: Index) -> Option<Position> {
        Some(self.hole_at(index)?.anchor)
    }

    fn hole_at(&self, index: Index) -> Option<&Hole> {
        let holes = &self.damage.as_ref()?.holes;
        holes.iter().find(|hole| hole.after < index && index < hole.anchor.index)
    }

    /// Whether the log on disk can be read for others.
    pub(crate) fn can_load(&self) -> bool {
        !self.damage.as_ref().is_some_and(|damage| damage.is_saving())
    }

    pub(crate) fn has_holes(&self) -> bool {
        self.damage.as_ref().is_some_and(|damage| !damage.holes.is_empty())
    }

    /// Whether this node cannot say if a candidate whose log ends at `last` should lead.
    pub(crate) fn is_unsure(&self, last: Position) -> bool {
        self.hard.lost_vote || self.hard.lost_end.is_some_and(|lost| last < lost)
    }

    /// Asks peers for what is missing, and ends the time without a vote.
    pub(crate) fn mend_on(&mut self, out: &mut Vec<Effect>) {
        let (now, me) = (self.now, self.id);
        let again = now + self.config.election / 2;
        let Some(damage) = &mut self.damage else { return };
        if damage.vote_from.is_some_and(|from| from <= now) {
            damage.vote_from = None;
            self.hard_unwritten = true;
            self.hard.lost_vote = false;
            // In this term the vote may be given away: it is spent on nobody. Whoever got it led
            // or gave up while this node was silent, and later terms are fresh.
            self.hard.vote = self.hard.vote.or(Some(me));
        }
        let missing = !damage.holes.is_empty() || damage.snapshot_lost;
        if missing && damage.ask_at <= now {
            damage.ask_at = again;
            let snapshot = damage.snapshot_lost.then_some(Body::Delegate { to: me });
            let holes = damage.holes.iter().take(HOLES_ASKED);
            let mend = |hole: &Hole| Body::Mend { after: hole.after, anchor: hole.anchor };
            let bodies: Vec<Body> = holes.map(mend).chain(snapshot).collect();
            for id in self.history.active().participants().into_iter().filter(|id| *id != me) {
                for body in &bodies {
                    self.send(id, body.clone(), out);
                }
            }
        }
        damage_done(self);
    }

    /// A peer has a hole.
    pub(crate) fn on_mend(
        &mut self,
        from: NodeId,
        after: Index,
        anchor: Position,
        out: &mut Vec<Effect>,
    ) {
        let leads = matches!(self.standing, Standing::Leader(_));
        if leads && anchor.index > self.log.base().index && !self.log.has(anchor) {
            // Nor will it ever: a leader makes entries of its own term alone.
            return self.send(from, Body::Mended { anchor, entries: Vec::new() }, out);
        }
        if self.history.active().is_witness(self.id) || after.next() >= anchor.index {
            return;
        }
        if after < self.log.base().index {
            // Compacted here: a snapshot has what was there, whatever followed it.
            out.push(Effect::SendSnapshot { to: from });
            return;
        }
        if !self.log.has(anchor) {
            return;
        }
        // Every log may have holes: each gives what it has, and together they have everything. In a
        // hole the log here has terms that are guessed from the entry behind it. An anchor that is
        // like such a guess is vouched for by that entry, which is of the same term.
        let through = self.sound_between(after, anchor.index.prev());
        if through > after {
            self.lend(from, crate::borrow::Purpose::Mend(anchor), after, through, out);
        }
    }

    /// A peer had what was missing.
    pub(crate) fn on_mended(
        &mut self,
        from: NodeId,
        anchor: Position,
        entries: &[Entry],
        out: &mut Vec<Effect>,
    ) {
        let Some(damage) = &self.damage else { return };
        // The anchor vouches for the entries: it must still be this log's.
        let hole = damage.holes.iter().find(|hole| hole.anchor == anchor).copied();
        let Some(hole) = hole.filter(|_| self.log.has(anchor)) else { return };
        match entries.last() {
            Some(last) if last.index < anchor.index => self.mend_from(entries),
            Some(_) => {}
            None if self.leader != Some(from) => {}
            None if anchor.index <= self.commit => {
                self.stop(Fault::Diverged { peer: from, index: anchor.index }, out);
            }
            // The leader's next entries mend what is committed, and then cut the rest.
            None if hole.after < self.commit => {}
            None => {
                // What was missing may have been committed all the same, and must not be forgotten
                // before the leader has sent it.
                let lost = Position::new(anchor.term, anchor.index.prev());
                let lost = self.hard.lost_end.max(Some(lost));
                self.hard_mut().lost_end = lost;
                self.truncate(hole.after);
            }
        }
    }

    /// Entries of the leader's reach into a hole. If they reach the anchor, it tells whether what
    /// was lost was the same; if not, nothing is known, and those in the hole are left out.
    pub(crate) fn meet_hole(&mut self, entries: &mut Vec<Entry>) {
        let Some(damage) = &self.damage else { return };
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let (first, last) = (first.index, last.position());
        let met = |hole: &&Hole| hole.after < last.index && first < hole.anchor.index;
        let Some(hole) = damage.holes.iter().find(met).copied() else { return };
        let at_anchor = entries.iter().find(|entry| entry.index == hole.anchor.index);
        match at_anchor.map(Entry::position) {
            Some(position) if position == hole.anchor => {
                self.mend_from(entries);
                self.meet_hole(entries);
            }
            Some(_) => self.truncate(hole.after),
            None if last.term > hole.anchor.term => self.truncate(hole.after),
            None => entries.retain(|entry| entry.index <= hole.after),
        }
    }

    /// The log is to be cut behind `last`: no hole may be left without the entry behind it.
    pub(crate) fn cut_holes(&mut self, last: Index) -> Index {
        let Some(damage) = &mut self.damage else { return last };
        let cut = damage.holes.iter().find(|hole| hole.anchor.index > last);
        let last = cut.map_or(last, |hole| hole.after.min(last));
        damage.holes.retain(|hole| hole.anchor.index <= last);
        last
    }

    /// Fills holes with entries that are known to be this log's.
    pub(crate) fn mend_from(&mut self, entries: &[Entry]) {
        let Some(damage) = &mut self.damage else { return };
        if damage.holes.is_empty() {
            return;
        }
        let was_witness = self.history.active().is_witness(self.id);
        let mut configurations = Vec::new();
        for entry in entries {
            if entry.payload == Payload::Withheld && !was_witness {
                continue;
            }
            if damage.mend(entry) {
                self.log.correct(entry.position());
                if let Payload::Configuration(found) = &entry.payload {
                    configurations.push((entry.index, alloc::sync::Arc::clone(found)));
                }
            }
        }
        if !configurations.is_empty() {
            for (index, found) in configurations {
                self.history.insert(index, found);
            }
            self.members_changed();
        }
        damage_done(self);
    }

    /// Everything up to `index` is in a snapshot.
    pub(crate) fn damage_below(&mut self, index: Index) {
        let Some(damage) = &mut self.damage else { return };
        damage.holes.retain(|hole| hole.anchor.index > index.next());
        for hole in &mut damage.holes {
            hole.after = hole.after.max(index);
        }
        damage_done(self);
    }

    /// Ends the doubt about a lost end, in one of two ways.
    ///
    /// * The leader has sent all of it again: whatever was acknowledged, to this leader or another,
    ///   is here again.
    /// * A leader of a later term has committed an entry of its own, and it is here, durably. It
    ///   was elected without this node's vote, or had no less than it, so it has everything that
    ///   was committed with its help. The word of a leader of the same term would not do: it may
    ///   still count on what this node acknowledged and lost.
    pub(crate) fn end_found(&mut self) {
        let Some(lost) = self.hard.lost_end else { return };
        let again = self.stored >= lost.index;
        let later = self.hard.term > lost.term && self.log.stable() >= self.commit;
        let shown = later && self.log.term_at(self.commit) == Some(self.hard.term);
        if self.leader.is_some_and(|leader| leader != self.id) && (again || shown) {
            self.hard_mut().lost_end = None;
            self.set_patience(self.config.election);
        }
    }

    /// The mended entries go into this write.
    pub(crate) fn take_mended(&mut self, id: WriteId) -> Vec<Entry> {
        let Some(damage) = &mut self.damage else { return Vec::new() };
        let mended = core::mem::take(&mut damage.mended);
        let indexes = || mended.iter().map(|entry| entry.index);
        if let (Some(first), Some(last)) = (indexes().min(), indexes().max()) {
            damage.unsaved.push((id, first, last));
        }
        mended
    }

    /// This write is durable.
    pub(crate) fn mended_saved(&mut self, id: WriteId) {
        let Some(damage) = &mut self.damage else { return };
        damage.unsaved.retain(|(write, ..)| *write != id);
        damage_done(self);
    }
}

/// A node that misses nothing any more keeps no book of it.
fn damage_done(raft: &mut Raft) {
    if raft.damage.as_ref().is_some_and(|damage| damage.is_nothing()) {
        raft.damage = None;
        if raft.election_at.is_none()
            && !matches!(raft.standing, Standing::Leader(_))
            && !raft.quiet
        {
            raft.set_patience(raft.config.election);
        }
    }
}

/// Most holes that are asked about at once.
const HOLES_ASKED: usize = 16;
