//! The leader's side of replication: what is sent, when it is committed, and when to give up.
//!
//! ```text
//!   propose ─► log ─┬─► Write ───────────────────────────► Stored ─┐
//!                   └─► Append to all, while it is written ─► Accepted ─┴─► commit ─► Answer
//! ```
//!
//! The leader writes to its disk and sends to its followers at the same time (thesis §10.2.1); its
//! own copy counts when it is durable, like everybody's. An entry is committed when a quorum has
//! it and it is of this term; older ones are committed by those behind them (Raft §5.4.2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::{Config, Lease};
use crate::configuration::Member;
use crate::effect::{Effect, Fault, Refused};
use crate::entry::{Entry, Payload};
use crate::log::Log;
use crate::message::Body;
use crate::progress::{Pace, Progress};
use crate::raft::{Raft, Standing};
use crate::reign::{Pending, Reign};
use crate::types::{Index, NodeId, Position, Ticket};

impl Raft {
    /// [`Input::Propose`](crate::Input::Propose).
    pub(crate) fn propose(&mut self, ticket: Ticket, data: Bytes, out: &mut Vec<Effect>) {
        match self.may_append(data.len() + Entry::OVERHEAD_BYTES) {
            Ok(()) => self.append_own_noted(Payload::Data(data), Some(ticket)),
            Err(why) => out.push(Effect::Answer { ticket, result: Err(why) }),
        }
    }

    /// Whether this leader takes an entry of so many bytes.
    pub(crate) fn may_append(&self, bytes: usize) -> Result<(), Refused> {
        let Standing::Leader(reign) = &self.standing else {
            return Err(Refused::NotLeader(self.leader));
        };
        if reign.handover.is_some() {
            return Err(Refused::Transferring);
        }
        // One is let in however large it is, or it would never be.
        let full = reign.pending_bytes + bytes > self.config.uncommitted_bytes_max;
        if full && reign.pending_bytes > 0 { Err(Refused::Overloaded) } else { Ok(()) }
    }

    /// Appends an entry of this term, and remembers who waits for it.
    pub(crate) fn append_own_noted(&mut self, payload: Payload, ticket: Option<Ticket>) {
        let term = self.hard.term;
        let entry = Entry { term, index: self.log.last().index.next(), payload };
        let bytes = entry.bytes();
        let index = self.append(entry);
        let at = self.now;
        let Standing::Leader(reign) = &mut self.standing else { return };
        reign.pending.push_back(Pending { index, ticket, bytes, at });
        reign.pending_bytes += bytes;
        reign.stir(at, self.config.heartbeat);
    }

    /// What a leader does as time passes: heartbeats, and the reasons to step down.
    pub(crate) fn reign_on(&mut self, out: &mut Vec<Effect>) {
        let now = self.now;
        let Standing::Leader(reign) = &mut self.standing else { return };
        if reign.heartbeat_at.is_none_or(|at| at > now) {
            return;
        }
        let limit = self.config.election + self.config.heartbeat;
        // Who has the only vote is out of contact with nobody, and frees nobody by stepping down:
        // it would only drop what it has taken on, and be elected again.
        if self.history.active().sole_voter() != Some(self.id) {
            if self.config.check_quorum && now - reign.alone_since() > limit {
                // Thesis §6.2. Silence is what frees the others: a follower that hears heartbeats
                // stays loyal, however useless the leader is.
                return self.become_follower(self.hard.term, None, out);
            }
            if self.is_stalled() {
                self.hand_over_in_need(out);
                return self.become_follower(self.hard.term, None, out);
            }
        }
        self.end_handover_in_time(out);
        let quiesce = self.may_fall_silent();
        let Standing::Leader(reign) = &mut self.standing else { return };
        reign.heartbeat_at = (!quiesce).then_some(now + self.config.heartbeat);
        reign.begin_round(now);
        self.greet(quiesce, out);
        if quiesce {
            self.rest();
        }
    }

    /// Whether its disk has not answered for too long, and the others do without: they have
    /// committed what it does not hold. If they have not (all may share one disk), the next leader
    /// would be no better off, and to step down would cost all that is under way.
    fn is_stalled(&self) -> bool {
        let stall = self.config.storage_stall;
        let waits = self.writes.oldest().is_some_and(|at| self.now - at > stall);
        waits && self.commit > self.log.stable()
    }

    /// Sends a heartbeat of the latest round to everyone.
    pub(crate) fn greet(&mut self, quiesce: bool, out: &mut Vec<Effect>) {
        let Standing::Leader(reign) = &mut self.standing else { return };
        let mut peers = core::mem::take(&mut reign.peers);
        let round = reign.round;
        for peer in &mut peers {
            peer.mark = (round, peer.next);
            self.heartbeat(peer, round, quiesce, out);
        }
        let Standing::Leader(reign) = &mut self.standing else { return };
        reign.peers = peers;
    }

    fn heartbeat(&self, peer: &mut Progress, round: u64, quiesce: bool, out: &mut Vec<Effect>) {
        // No further than what the follower is known to share: it may hold others there.
        let commit = self.commit.min(peer.matched);
        peer.commit_sent = commit;
        peer.round_sent = round;
        self.send(peer.id, Body::Heartbeat { commit, round, quiesce }, out);
    }

    /// Sends every follower what it lacks, as far as its window allows.
    pub(crate) fn replicate(&mut self, out: &mut Vec<Effect>) {
        let Standing::Leader(reign) = &mut self.standing else { return };
        let mut peers = core::mem::take(&mut reign.peers);
        let round = reign.round;
        let last = self.log.last().index;
        let witnessed = peers.iter().any(|peer| peer.witness.is_some());
        let for_witness = if witnessed { last.min(self.kept_whole(&peers)) } else { last };
        for peer in &mut peers {
            let last = if peer.witness.is_some() { for_witness } else { last };
            self.feed(peer, last, round, out);
            // News of commits rides with entries, and travels alone when there are none.
            if peer.commit_sent < self.commit.min(peer.matched) {
                self.heartbeat(peer, round, false, out);
            }
        }
        let Standing::Leader(reign) = &mut self.standing else { return };
        reign.peers = peers;
    }

    /// How far some voter has the commands too. A witness gets no position beyond: alone with it,
    /// it could neither lead nor vote for anyone.
    fn kept_whole(&self, peers: &[Progress]) -> Index {
        let members = self.history.active();
        let full = |id: NodeId| members.member(id).is_some() && members.can_lead(id);
        let copies = peers.iter().filter(|peer| full(peer.id)).map(|peer| peer.matched);
        let own = if full(self.id) { self.log.stable() } else { Index(0) };
        copies.fold(own, Index::max)
    }

    /// Sends one follower what it lacks, up to `last`.
    fn feed(&mut self, peer: &mut Progress, last: Index, round: u64, out: &mut Vec<Effect>) {
        let config: &Config = &self.config;
        while peer.may_send(config.window_messages_max, config.window_bytes_max) {
            let probing = matches!(peer.pace, Pace::Probe { .. });
            if peer.next > last && !probing {
                return;
            }
            let index = peer.next.prev();
            let Some(term) = self.log.term_at(index) else {
                return self.needs_snapshot(peer, out);
            };
            if self.damage.as_ref().is_some_and(|damage| damage.covers(peer.next)) {
                return;
            }
            let Some((entries, bytes)) = take(&self.log, peer, last, config.message_bytes_max)
            else {
                if !self.can_load() {
                    return;
                }
                peer.loading = true;
                let through = self.log.tail_start().prev().min(last);
                let bytes_max = config.message_bytes_max;
                out.push(Effect::Load { to: peer.id, after: index, through, bytes_max });
                return;
            };
            let reached = entries.last().map_or(index, |entry| entry.index);
            peer.sent(reached, bytes);
            peer.round_sent = round;
            let commit = self.commit;
            peer.commit_sent = commit.min(reached);
            let prev = Position::new(term, index);
            self.send(peer.id, Body::Append { prev, commit, round, entries }, out);
        }
    }

    /// Entries that were read from the log for a follower.
    pub(crate) fn loaded(
        &mut self,
        to: NodeId,
        after: Index,
        entries: &[Entry],
        out: &mut Vec<Effect>,
    ) {
        if self.lend_loaded(to, after, entries, out) {
            return;
        }
        let commit = self.commit;
        let Standing::Leader(reign) = &mut self.standing else { return };
        let round = reign.round;
        let Some(peer) = reign.peer(to) else { return };
        peer.loading = false;
        let fits = peer.next.prev() == after && !matches!(peer.pace, Pace::Snapshot { .. });
        let Some(term) = self.log.term_at(after) else { return };
        // The log may have been cut since, by an older reign of this node.
        let ours = entries.iter().all(|entry| self.log.has(entry.position()));
        if !fits || !ours || entries.is_empty() {
            return;
        }
        let bytes = entries.iter().map(Entry::bytes).sum();
        let entries: Arc<[Entry]> = entries.iter().map(|entry| peer.dress(entry)).collect();
        let reached = entries.last().expect("there is one").index;
        peer.sent(reached, bytes);
        peer.round_sent = round;
        peer.commit_sent = commit.min(reached);
        let prev = Position::new(term, after);
        self.send(to, Body::Append { prev, commit, round, entries }, out);
    }

    /// A follower has entries up to `matched`, durably.
    pub(crate) fn on_accepted(
        &mut self,
        from: NodeId,
        matched: Index,
        round: u64,
        life: u64,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.standing, Standing::Leader(_)) {
            // To an earlier life of this node, that led.
            return;
        }
        if matched > self.log.last().index {
            let why = "it accepted what was never sent";
            out.push(Effect::Fault(Fault::Nonsense { peer: from, why }));
            return;
        }
        let base = self.log.base().index;
        let Some(peer) = self.heard_from(from, round, life) else { return };
        if matched >= peer.matched {
            // All that an earlier life acknowledged has outlived it.
            peer.life = life;
        }
        peer.accept(matched);
        match peer.pace {
            Pace::Probe { .. } => {
                // Where the logs meet is known: all behind it follows, whatever was asked.
                peer.rewind(matched);
                peer.pace = Pace::Replicate;
            }
            // Its own word ends the wait, whatever became of the snapshot and the news of it.
            Pace::Snapshot { index, .. } => {
                let reconnected = matched >= base;
                if reconnected && (index.0 == 0 || matched >= index) {
                    peer.rewind(matched);
                    peer.pace = Pace::Replicate;
                }
            }
            Pace::Replicate => {}
        }
    }

    /// Whether a follower has accepted more than this leader has heard of.
    pub(crate) fn is_news(&self, from: NodeId, stored: Index) -> bool {
        match &self.standing {
            Standing::Leader(reign) => stored > reign.matched(from),
            _ => false,
        }
    }

    /// A follower has no entry like the one at `prev`; the logs may meet at `hint` (Raft §5.3).
    pub(crate) fn on_rejected(
        &mut self,
        from: NodeId,
        prev: Index,
        hint: Position,
        round: u64,
        life: u64,
        out: &mut Vec<Effect>,
    ) {
        let meeting = self.log.meeting(hint.index, hint.term).index;
        let Some(peer) = self.heard_from(from, round, life) else { return };
        if prev <= peer.matched {
            if life <= peer.life {
                // An old word: what has matched since is not taken back.
                return;
            }
            // It came back with less than it had acknowledged. What it has now counts.
            let (acknowledged, has) = (peer.matched, hint.index);
            peer.life = life;
            peer.matched = Index(0);
            peer.probe(meeting.next());
            out.push(Effect::Fault(Fault::LostLog { peer: from, acknowledged, has }));
            return;
        }
        match peer.pace {
            Pace::Probe { .. } if prev != peer.next.prev() => {}
            Pace::Probe { .. } | Pace::Replicate => {
                let next = meeting.next().max(peer.matched.next());
                peer.probe(next.min(prev));
            }
            Pace::Snapshot { .. } => {}
        }
    }

    /// A follower answers a heartbeat, and says how far it has seen.
    pub(crate) fn on_alive(
        &mut self,
        from: NodeId,
        round: u64,
        seen: Index,
        receiving: bool,
        life: u64,
    ) {
        let (now, patience) = (self.now, self.config.election);
        let Some(peer) = self.heard_from(from, round, life) else { return };
        match &mut peer.pace {
            Pace::Probe { asked } => *asked = false,
            Pace::Snapshot { since, .. } => {
                if receiving {
                    *since = now;
                } else if now - *since >= patience {
                    // It gave up, or never heard of it. The next append tells what it needs.
                    let next = peer.matched.next();
                    peer.probe(next);
                }
            }
            Pace::Replicate if peer.mark.0 == round => {
                if seen < peer.matched {
                    // It was restarted: it has the entries, and does not know that they match.
                    let next = peer.matched.next();
                    peer.probe(next);
                } else if seen.next() < peer.mark.1 {
                    // Something was lost. What loses it may lose all that is as large: one message
                    // tries, and the window opens again when it has come through.
                    peer.probe(seen.next());
                }
            }
            Pace::Replicate => {}
        }
    }

    /// Takes note of a round, and finds the follower.
    fn heard_from(&mut self, from: NodeId, round: u64, life: u64) -> Option<&mut Progress> {
        let Standing::Leader(reign) = &mut self.standing else { return None };
        let latest = reign.round;
        let peer = reign.peer(from)?;
        if life < peer.latest_life || round > latest {
            return None;
        }
        peer.latest_life = life;
        peer.round = peer.round.max(round);
        if peer.matched == Index(0) {
            peer.life = life;
        }
        Some(peer)
    }

    /// What a leader concludes once all of a step is taken in.
    pub(crate) fn govern(&mut self, out: &mut Vec<Effect>) {
        let (now, me) = (self.now, self.id);
        let Standing::Leader(reign) = &mut self.standing else { return };
        let quorum = self.history.active().quorum();
        if reign.awaits_contact() {
            let round = quorum.reached(|id| reign.acknowledged(id, me));
            reign.contact(round, now);
        }
        self.advance();
        self.finish_change(out);
        self.serve_readers(out);
        self.hand_over(out);
    }

    /// Commits what a quorum has (Raft §5.3, §5.4.2).
    fn advance(&mut self) {
        let (now, me, stable) = (self.now, self.id, self.log.stable());
        let Standing::Leader(reign) = &mut self.standing else { return };
        if reign.commit_from > now {
            return;
        }
        reign.commit_from = 0;
        if self.commit == self.log.last().index {
            return;
        }
        let has = |id| if id == me { stable.0 } else { reign.matched(id).0 };
        let reached = Index(self.history.active().quorum().reached(has)).min(self.log.last().index);
        // Entries of older terms are not committed by counting (Raft figure 8).
        if reached <= self.commit || self.log.term_at(reached) != Some(self.hard.term) {
            return;
        }
        self.commit_up_to(reached);
    }

    /// Everything up to `commit` is committed.
    pub(crate) fn commit_up_to(&mut self, commit: Index) {
        assert!(commit <= self.log.last().index, "what is not there is not committed");
        if commit <= self.commit {
            return;
        }
        self.commit = commit;
        self.history.commit(commit);
        if let Standing::Leader(reign) = &mut self.standing {
            let newest = reign.pending.partition_point(|pending| pending.index <= commit);
            if let Some(newest) = newest.checked_sub(1) {
                reign.leased_at = Some(reign.pending[newest].at);
            }
        }
    }

    /// Answers the proposals whose entries the caller was just told of.
    pub(crate) fn answer_committed(&mut self, out: &mut Vec<Effect>) {
        let told = self.told;
        let Standing::Leader(reign) = &mut self.standing else { return };
        while reign.pending.front().is_some_and(|pending| pending.index <= told) {
            let pending = reign.pending.pop_front().expect("the first was looked at");
            reign.pending_bytes -= pending.bytes;
            if let Some(ticket) = pending.ticket {
                out.push(Effect::Answer { ticket, result: Ok(pending.index) });
            }
        }
    }

    /// Ends a reign: whoever waited for something is told.
    pub(crate) fn resign(&mut self, why: Refused, out: &mut Vec<Effect>) {
        let Standing::Leader(reign) = core::mem::replace(&mut self.standing, Standing::Follower)
        else {
            return;
        };
        let Reign { pending, readers, handover, change, .. } = *reign;
        let mut answer = |ticket, result| out.push(Effect::Answer { ticket, result });
        for ticket in pending.into_iter().filter_map(|pending| pending.ticket) {
            answer(ticket, Err(why));
        }
        if let Some(ticket) = change {
            answer(ticket, Err(why));
        }
        if let Some(ticket) = handover.and_then(|handover| handover.ticket) {
            answer(ticket, Ok(self.log.last().index));
        }
        for ticket in readers.into_tickets() {
            answer(ticket, Err(Refused::NotLeader(None)));
        }
        self.leader = None;
    }

    /// Keeps one [`Progress`] for each other participant.
    pub(crate) fn meet_members(&mut self) {
        let next = self.log.last().index.next();
        let members = self.history.active();
        let Standing::Leader(reign) = &mut self.standing else { return };
        let mut peers = Vec::new();
        for id in members.participants().into_iter().filter(|id| *id != self.id) {
            let known = reign.peers.iter().position(|peer| peer.id == id);
            let witness = self.history.witness_since(id);
            let mut peer = match known {
                Some(at) => reign.peers.swap_remove(at),
                None => Progress::new(id, witness, next),
            };
            peer.witness = witness;
            peers.push(peer);
        }
        reign.peers = peers;
        reign.unfinished = true;
        let own = members.priority(self.id);
        let better = |member: &Member| member.priority > own && members.can_lead(member.id);
        reign.outranked = members.members().iter().any(better);
    }

    /// [`Input::Unreachable`](crate::Input::Unreachable).
    pub(crate) fn unreachable(&mut self, id: NodeId) {
        if self.leader == Some(id) {
            self.wake();
        }
        let Standing::Leader(reign) = &mut self.standing else { return };
        if let Some(peer) = reign.peer(id)
            && peer.pace == Pace::Replicate
        {
            let next = peer.matched.next();
            peer.probe(next);
        }
    }

    /// How long after its beginning a lease may be trusted, if there are any.
    pub(crate) fn lease_ticks(&self) -> Option<(Lease, u64)> {
        self.config.lease.map(|lease| (lease, self.config.lease_ticks(lease)))
    }
}

/// The entries to send to a follower next, and their bytes; `None` if they are not in memory.
fn take(
    log: &Log,
    peer: &Progress,
    last: Index,
    bytes_max: usize,
) -> Option<(Arc<[Entry]>, usize)> {
    let range = peer.next..last.next().max(peer.next);
    let (mut entries, bytes) = log.shared(range, bytes_max)?;
    if peer.witness.is_some() {
        entries = entries.iter().map(|entry| peer.dress(entry)).collect();
    }
    Some((entries, bytes))
}
