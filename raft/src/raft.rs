//! The node: what it holds, how it takes an input, and the rules on terms that all messages obey.
//!
//! ```text
//!                     no word of a leader for E..2E            pre-vote won
//!        ┌──────────┐ ─────────────────────► ┌───────────────┐ ───────────► ┌───────────┐
//!   ───► │ follower │                        │ pre-candidate │              │ candidate │
//!        └──────────┘ ◄───────────────────── └───────────────┘              └─────┬─────┘
//!             ▲   ▲      word of a leader                                         │ vote won
//!             │   └─────────── higher term, or a leader in this one ──────────────┤
//!             │                                                                   ▼
//!             └─── higher term, no quorum in sight, disk stalls, removed ──── ┌────────┐
//!                                                                             │ leader │
//!                                                                             └────────┘
//! ```
//!
//! One call is one step: inputs are taken in order, then timers, then *one* round of effects for
//! all of them. So a hundred proposals handed in together become one write and one message to each
//! follower, and a caller who wants batches has only to hand in what has gathered.
//!
//! The rules have rooms of their own, each an `impl Raft` over this state: `election.rs`,
//! `replication.rs` (the leader), `following.rs` (the follower), `reads.rs`, `change.rs`,
//! `snapshot.rs`, `transfer.rs`, `damage.rs`, `borrow.rs`, `quiet.rs`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use crate::boot::{Boot, HardState, SnapshotMeta};
use crate::borrow::Loan;
use crate::config::{Config, Lease};
use crate::configuration::{Configuration, History};
use crate::damage::Damage;
use crate::effect::{Effect, Fault, Refused, Write};
use crate::election::Candidacy;
use crate::entry::{Entry, Payload};
use crate::error::Error;
use crate::input::Input;
use crate::log::Log;
use crate::message::{Body, Message, Word};
use crate::patience::Turn;
use crate::progress::Follower;
use crate::reads::Asks;
use crate::reign::Reign;
use crate::rng::Rng;
#[cfg(feature = "runtime")]
use crate::tail::Piece;
use crate::types::{Index, NodeId, Position, Term};
use crate::writes::{Promise, Writes};

/// What a node is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes entries from a leader, or waits for one.
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Its disk or its peers contradicted what it knew. It does nothing any more.
    Stopped,
}

#[derive(Debug)]
pub(crate) enum Standing {
    Follower,
    Candidate(Box<Candidacy>),
    Leader(Box<Reign>),
    Stopped,
}

/// One member of a group, as a value: time and inputs go in, effects come out.
///
/// * The log, the writes and the history agree with themselves: each has a `check` of its own.
/// * `told` ≤ commit ≤ last.
/// * A leader is its own leader, and has voted for itself.
/// * `seen` ≤ last: what is known to be like the leader's log is in the log.
#[derive(Debug)]
pub struct Raft {
    pub(crate) id: NodeId,
    pub(crate) config: Arc<Config>,
    pub(crate) rng: Rng,
    /// The latest time it was told.
    pub(crate) now: u64,
    pub(crate) life: u64,
    pub(crate) hard: HardState,
    /// It has changed since a write was last asked for.
    pub(crate) hard_unwritten: bool,
    pub(crate) standing: Standing,
    pub(crate) leader: Option<NodeId>,
    /// When a leader was last heard of.
    pub(crate) heard_at: Option<u64>,
    /// When an entry last came from another node.
    pub(crate) entries_at: u64,
    /// When patience with the leader ends; `None` for who cannot lead and for a silent group.
    pub(crate) election_at: Option<u64>,
    /// Its turn in the order of candidates.
    pub(crate) turn: Turn,
    /// Elections begun since a leader was last heard of.
    pub(crate) attempts: u32,
    /// Whether it has given way to another candidate since.
    pub(crate) gave_way: bool,
    /// The leader said that the group falls silent.
    pub(crate) quiet: bool,
    pub(crate) log: Log,
    pub(crate) writes: Writes,
    pub(crate) history: History,
    pub(crate) commit: Index,
    /// How much of it the caller was told of.
    pub(crate) told: Index,
    /// Up to here the log is known to be like that of this term's leader.
    pub(crate) seen: Index,
    /// Up to here it has accepted entries of this term's leader: they are durable.
    pub(crate) stored: Index,
    /// The latest round of this term's leader whose heartbeat was answered.
    pub(crate) answered: u64,
    /// This step owes the leader a word on entries, which came in this round: one for all of them.
    pub(crate) owed: Option<u64>,
    pub(crate) asks: Option<Box<Asks>>,
    pub(crate) loans: Vec<Loan>,
    pub(crate) damage: Option<Box<Damage>>,
    /// A snapshot that is being fetched.
    pub(crate) fetching: Option<Box<SnapshotMeta>>,
    /// A snapshot to be written in this step.
    pub(crate) installing: Option<Box<SnapshotMeta>>,
    /// The leader that the caller was told of.
    /// 0 if that was nobody.
    told_leader: (Term, NodeId),
    told_members: bool,
    /// Steps taken, modulo [`SHRINK_STEPS`].
    steps: u8,
}

/// Steps after which room for entries that nothing is in is given back. It comes and goes with
/// the followers' lag, many times a second: to give it back at once is to pay for it each time.
const SHRINK_STEPS: u8 = 200;

impl Raft {
    /// A node as it comes back from its disk. `seed` keeps its timers apart from those of others;
    /// `now` is the time in ticks since any origin.
    pub fn restore(
        id: NodeId,
        config: impl Into<Arc<Config>>,
        boot: Boot,
        now: u64,
        seed: u64,
    ) -> Result<Raft, Error> {
        let config = config.into();
        config.validate()?;
        if id == 0 {
            return Err(Error::Config("a member is not called 0"));
        }
        let mut hard = boot.hard;
        hard.lost_vote |= boot.doubt.lost_vote;
        hard.lost_end = hard.lost_end.max(boot.doubt.lost_end);
        let damage = Damage::found(&boot, &hard, now, config.election);
        hard.term = hard.term.max(boot.last.term);
        if hard.term > boot.hard.term {
            // Entries outlived the term: the vote in it may be given away, so it is spent.
            hard.vote = Some(id);
        }
        let applied = if boot.snapshot_lost { boot.base.index } else { boot.applied };
        if applied > boot.last.index {
            return Err(Error::Config("more is applied than the log holds"));
        }
        // A lease by contact counts on this node's loyalty, which it has forgotten to whom.
        let loyal = matches!(config.lease, Some(Lease::Contact { .. }));
        let mut raft = Raft {
            id,
            rng: Rng::new(seed ^ id.rotate_left(32)),
            now,
            life: boot.life,
            hard,
            hard_unwritten: hard != boot.hard,
            standing: Standing::Follower,
            leader: None,
            heard_at: loyal.then_some(now),
            entries_at: now,
            election_at: None,
            turn: Turn::default(),
            attempts: 0,
            gave_way: false,
            quiet: false,
            log: Log::new(boot.base, boot.runs, boot.last.index),
            writes: Writes::default(),
            history: boot.history,
            commit: applied,
            told: applied,
            seen: Index(0),
            stored: Index(0),
            answered: 0,
            owed: None,
            asks: None,
            loans: Vec::new(),
            damage,
            fetching: None,
            installing: None,
            told_leader: (hard.term, 0),
            told_members: false,
            steps: 0,
            config,
        };
        raft.take_turns();
        raft.set_patience(raft.config.election);
        Ok(raft)
    }

    /// Takes what has happened until `now`, in ticks, and says what is to be done.
    ///
    /// A `now` that lies before the last one counts as the last one: time does not go back.
    /// Effects are appended to `out`; the next step may come before they are done.
    pub fn step(
        &mut self,
        now: u64,
        inputs: impl IntoIterator<Item = Input>,
        out: &mut Vec<Effect>,
    ) {
        let told = self.begin(now);
        for mut input in inputs {
            self.take(&mut input, out);
        }
        self.conclude(told, out);
    }

    /// [`step`](Raft::step) for a driver that counts nanoseconds: inputs are used where they lie,
    /// which saves moving each, and `inputs` is empty afterwards.
    pub fn step_all(&mut self, now: u64, inputs: &mut Vec<Input>, out: &mut Vec<Effect>) {
        let told = self.begin(now);
        for input in inputs.iter_mut() {
            self.take(input, out);
        }
        inputs.clear();
        self.conclude(told, out);
    }

    /// Takes note of the time. What the caller was told of until now is remembered to the end of
    /// the step.
    fn begin(&mut self, now: u64) -> Index {
        self.now = self.now.max(now);
        self.told
    }

    /// One round of effects for all that was taken in.
    fn conclude(&mut self, told: Index, out: &mut Vec<Effect>) {
        if self.is_stopped() {
            return;
        }
        self.pass_time(out);
        self.settle(out);
        self.trim(told);
        self.steps = (self.steps + 1) % SHRINK_STEPS;
        if self.steps == 0 {
            self.log.shrink_somewhat();
        }
    }

    /// By reference, as messages are further on: to move a hundred bytes from hand to hand takes
    /// longer than the rules do.
    fn take(&mut self, input: &mut Input, out: &mut Vec<Effect>) {
        if self.is_stopped() {
            return refuse(input, out);
        }
        match input {
            Input::Peer(message) => self.receive(message, out),
            Input::Propose { ticket, data } => self.propose(*ticket, mem::take(data), out),
            Input::Read { ticket, mode } => self.read(*ticket, *mode, out),
            Input::Change { ticket, change } => self.change(*ticket, change, out),
            Input::Transfer { ticket, to } => self.transfer(*ticket, *to, out),
            Input::Campaign => self.campaign_now(out),
            Input::Stored(id) => {
                self.writes.stored(*id);
                self.mended_saved(*id);
                self.land();
            }
            Input::StorageFailed => self.stop(Fault::Storage, out),
            Input::Loaded { to, after, entries } => self.loaded(*to, *after, entries, out),
            Input::Damaged { after, through } => self.damaged(*after, *through, out),
            Input::SnapshotOpen { to, meta } => self.snapshot_open(*to, meta.clone(), out),
            Input::SnapshotUnsound { to } => self.snapshot_unsound(*to, out),
            Input::SnapshotSent { to } => self.snapshot_sent(*to),
            Input::SnapshotFetched(meta) => self.snapshot_fetched(meta.take()),
            Input::Compact { through, must } => self.compact(*through, *must, out),
            Input::Unreachable(peer) => self.unreachable(*peer),
        }
    }

    #[inline]
    fn pass_time(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.standing, Standing::Leader(_)) {
            self.reign_on(out);
        } else if self.election_at.is_some_and(|at| at <= self.now) {
            self.lose_patience(out);
        }
        self.ask_again(out);
        self.mend_on(out);
    }

    #[inline]
    fn settle(&mut self, out: &mut Vec<Effect>) {
        self.end_found();
        if self.asks.is_some() && self.history.active().is_witness(self.id) {
            self.drop_asks(Refused::NotLeader(self.leader), out);
        }
        self.tally(out);
        self.govern(out);
        self.ask_for_write(out);
        self.log.seal();
        self.replicate(out);
        self.acknowledge();
        while let Some((to, promise)) = self.writes.release() {
            self.keep(to, promise, out);
        }
        self.announce(out);
    }

    /// The rules on terms (Raft §5.1), and then the room that the message belongs to.
    fn receive(&mut self, message: &mut Message, out: &mut Vec<Effect>) {
        let &mut Message { from, to, generation, term, ref mut body } = message;
        if let Err(why) = self.is_sensible(from, to, term, body) {
            out.push(Effect::Fault(Fault::Nonsense { peer: from, why }));
            return;
        }
        if generation != self.hard.generation {
            if !self.is_newborn() || generation < self.hard.generation {
                out.push(Effect::Fault(Fault::OtherGeneration { peer: from, generation }));
                return;
            }
            self.hard_mut().generation = generation;
        }
        if term < self.hard.term {
            match body {
                Body::PreVote { .. } | Body::Vote { .. } | Body::Append { .. } => {}
                Body::Heartbeat { .. } | Body::Offer { .. } => {}
                // A pre-ballot may come from a term that is over here: it promises a later one.
                Body::Ballot { pre: true, asked, word, last } => {
                    return self.on_ballot(from, true, *asked, *word, *last);
                }
                _ => return,
            }
            return self.send(from, Body::Outdated, out);
        }
        if term > self.hard.term {
            match body {
                // Not a term yet, only the wish for one (thesis §9.6).
                Body::PreVote { .. } => {}
                // Thesis §4.2.3: who has a leader does not let itself be disturbed.
                Body::Vote { forced: false, .. } if self.is_loyal() => return,
                _ => self.become_follower(term, None, out),
            }
        }
        self.dispatch(from, body, term, out);
    }

    fn dispatch(&mut self, from: NodeId, body: &mut Body, term: Term, out: &mut Vec<Effect>) {
        match *body {
            Body::PreVote { last } => self.on_pre_vote(from, term, last, out),
            Body::Vote { last, forced } => self.on_vote(from, last, forced, out),
            Body::Ballot { pre, asked, word, last } => self.on_ballot(from, pre, asked, word, last),
            Body::Append { prev, commit, round, ref entries } => {
                if self.follow(from, out) {
                    self.on_append(from, prev, commit, round, Arc::clone(entries), out);
                }
            }
            Body::Heartbeat { commit, round, quiesce } => {
                if self.follow(from, out) {
                    self.on_heartbeat(from, commit, round, quiesce, out);
                }
            }
            Body::Accepted { matched, round, life } => {
                self.on_accepted(from, matched, round, life, out);
            }
            Body::Rejected { prev, hint, round, life } => {
                self.on_rejected(from, prev, hint, round, life, out);
            }
            Body::Alive { round, seen, stored, receiving, life } => {
                if self.is_news(from, stored) {
                    self.on_accepted(from, stored, round, life, out);
                }
                self.on_alive(from, round, seen, receiving, life);
            }
            Body::ReadRequest { id, lease } => self.on_read_request(from, id, lease, out),
            Body::ReadReply { id, index } => self.on_read_reply(from, id, index, out),
            Body::Offer { ref meta } => self.on_offer(from, meta.clone(), out),
            Body::Delegate { to } => self.on_delegate(to, out),
            Body::TimeoutNow { last } => self.on_timeout_now(from, last, out),
            Body::Mend { after, anchor } => self.on_mend(from, after, anchor, out),
            Body::Mended { anchor, ref entries } => self.on_mended(from, anchor, entries, out),
            Body::Borrow { prev } => self.on_borrow(from, prev, out),
            Body::Lent { prev, ref mut entries } => {
                self.on_lent(from, prev, mem::take(entries), out);
            }
            Body::Outdated => {}
        }
    }

    /// What no sound peer sends.
    fn is_sensible(
        &self,
        from: NodeId,
        to: NodeId,
        term: Term,
        body: &Body,
    ) -> Result<(), &'static str> {
        let check = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
        check(to == self.id, "it is for another node")?;
        check(from != self.id && from != 0, "its sender cannot be")?;
        check(term.0 < u64::MAX / 2, "its term cannot be")?;
        let (prev, entries) = match body {
            Body::Append { prev, entries, .. } => (*prev, &entries[..]),
            Body::Lent { prev, entries } => (*prev, &entries[..]),
            Body::Mended { entries, .. } => match entries.first() {
                Some(first) => (Position::new(Term(0), first.index.prev()), &entries[..]),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        check(prev.index.0 < u64::MAX / 2, "its index cannot be")?;
        let mut last = prev;
        for entry in entries {
            check(entry.index == last.index.next(), "its entries have gaps")?;
            check(entry.term >= last.term, "its terms fall")?;
            last = entry.position();
        }
        check(last.term <= term, "its entries are of a later term than itself")
    }

    /// A member that has nothing yet takes the generation of whoever speaks to it first.
    fn is_newborn(&self) -> bool {
        self.log.last().index == Index(0) && self.history.active().members().is_empty()
    }

    /// Sends what promises nothing.
    pub(crate) fn send(&self, to: NodeId, body: Body, out: &mut Vec<Effect>) {
        let (generation, term) = (self.hard.generation, self.hard.term);
        out.push(Effect::Send(Message { from: self.id, to, generation, term, body }));
    }

    /// Sends what must not be forgotten: as soon as all that was decided so far is durable.
    pub(crate) fn promise(&mut self, to: NodeId, promise: Promise) {
        let and_next = self.owes_write();
        self.writes.hold(to, promise, and_next);
    }

    /// Says what is durable now.
    fn keep(&mut self, to: NodeId, promise: Promise, out: &mut Vec<Effect>) {
        let (life, asked) = (self.life, self.hard.term);
        let body = match promise {
            Promise::Accepted { matched, round } => {
                self.stored = self.stored.max(matched);
                Body::Accepted { matched, round, life }
            }
            Promise::Vote { last, forced } => Body::Vote { last, forced },
            Promise::Granted { last } => {
                Body::Ballot { pre: false, asked, word: Word::Granted, last }
            }
        };
        self.send(to, body, out);
    }

    /// The term, the vote and the rest of it, to be changed and then written.
    pub(crate) fn hard_mut(&mut self) -> &mut HardState {
        self.hard_unwritten = true;
        &mut self.hard
    }

    /// Whether the term and vote are durable as they are now.
    pub(crate) fn is_hard_stored(&self) -> bool {
        !self.hard_unwritten && !self.writes.has_hard()
    }

    /// What was known of the log of an earlier term's leader says nothing of the next one's.
    pub(crate) fn forget_leader(&mut self) {
        self.writes.forget();
        (self.seen, self.stored) = (Index(0), Index(0));
        (self.answered, self.owed) = (0, None);
    }

    /// Whether something is decided that no write was asked for yet.
    fn owes_write(&self) -> bool {
        let mending = self.damage.as_ref().is_some_and(|damage| !damage.mended.is_empty());
        self.log.has_unwritten() || self.hard_unwritten || self.installing.is_some() || mending
    }

    fn ask_for_write(&mut self, out: &mut Vec<Effect>) {
        if !self.owes_write() {
            return;
        }
        let hard = mem::take(&mut self.hard_unwritten).then(|| Box::new(self.hard));
        let snapshot = self.installing.take();
        let append = self.log.take_unwritten();
        let last = if append.is_empty() { Index(0) } else { append.end.prev() };
        let id = self.writes.begin(self.now, last, hard.is_some());
        let mended = self.take_mended(id);
        out.push(Effect::Write(Write { id, hard, snapshot, mended, append }));
    }

    /// Takes note of the writes that are durable like all before them.
    fn land(&mut self) {
        while let Some(last) = self.writes.land() {
            self.log.stored(last);
        }
    }

    /// Tells the caller what changed for it: the commit index, the leader, the members.
    #[inline]
    pub(crate) fn announce(&mut self, out: &mut Vec<Effect>) {
        // Applied before it is durable here, an entry could be in the state and not in the log.
        let mended = self.damage.as_ref().map_or(Index(u64::MAX), |damage| damage.sound_up_to());
        let through = self.commit.min(self.log.stable()).min(mended);
        if through > self.told {
            self.told = through;
            out.push(Effect::Commit { through });
            self.answer_committed(out);
        }
        let (term, leader) = (self.hard.term, self.leader);
        if self.told_leader != (term, leader.unwrap_or(0)) {
            self.told_leader = (term, leader.unwrap_or(0));
            out.push(Effect::Leader { term, leader });
        }
        if !self.told_members {
            self.told_members = true;
            out.push(Effect::Members(Arc::clone(self.history.active())));
        }
    }

    /// The members have changed: whoever depends on them must look again.
    pub(crate) fn members_changed(&mut self) {
        self.told_members = false;
        self.meet_members();
        self.take_turns();
        if !matches!(self.standing, Standing::Leader(_)) && self.election_at.is_none() {
            self.set_patience(self.config.election);
        }
    }

    /// Appends an entry, and obeys it if it names the members.
    pub(crate) fn append(&mut self, entry: Entry) -> Index {
        let index = entry.index;
        let members = match &entry.payload {
            Payload::Configuration(members) => Some(Arc::clone(members)),
            _ => None,
        };
        self.log.append(entry);
        if let Some(members) = members {
            self.history.push(index, members);
            self.members_changed();
        }
        index
    }

    /// Appends all of these entries but the first `skipped`, and obeys those that name the members.
    pub(crate) fn append_shared(&mut self, entries: &Arc<[Entry]>, skipped: usize) {
        self.log.append_shared(Arc::clone(entries), skipped);
        for entry in &entries[skipped..] {
            if let Payload::Configuration(members) = &entry.payload {
                self.history.push(entry.index, Arc::clone(members));
                self.members_changed();
            }
        }
    }

    /// Cuts off the log behind `last`, and everything that was built on it.
    pub(crate) fn truncate(&mut self, last: Index) {
        let last = self.cut_holes(last);
        assert!(last >= self.commit, "what is committed is cut off");
        self.log.truncate(last);
        self.writes.cut(last);
        self.seen = self.seen.min(last);
        if self.history.truncate(last) {
            self.members_changed();
        }
    }

    pub(crate) fn stop(&mut self, fault: Fault, out: &mut Vec<Effect>) {
        self.resign(Refused::Unknown, out);
        self.drop_asks(Refused::Stopped, out);
        self.standing = Standing::Stopped;
        self.leader = None;
        self.election_at = None;
        out.push(Effect::Fault(fault));
    }

    /// When the next step is due if nothing happens before; `None` if none is.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.is_stopped() {
            return None;
        }
        let main = match &self.standing {
            Standing::Leader(reign) => reign.deadline(),
            _ => self.election_at,
        };
        let asks = self.asks.as_ref().and_then(|asks| asks.deadline());
        let mend = self.damage.as_ref().and_then(|damage| damage.deadline());
        [main, asks, mend].into_iter().flatten().min()
    }

    /// Entries of a range, if all of them are in memory: always when they are in a
    /// [`Write`] of the last step, mostly when they were just committed.
    pub fn entries(&self, range: Range<Index>) -> Option<impl Iterator<Item = &Entry> + Clone> {
        self.log.entries(range)
    }

    /// The same, shared.
    #[cfg(feature = "runtime")]
    pub(crate) fn pieces(&self, range: &Range<Index>) -> Option<Vec<Piece>> {
        self.log.pieces(range)
    }

    fn is_stopped(&self) -> bool {
        matches!(self.standing, Standing::Stopped)
    }

    /// Asserts what always holds. For tests; the time it takes grows with what is in memory.
    #[doc(hidden)]
    pub fn check(&self) {
        self.log.check();
        self.writes.check();
        self.history.check();
        assert!(self.told <= self.commit, "told more than is committed");
        assert!(self.commit <= self.log.last().index, "committed more than is there");
        assert!(self.log.base().index <= self.commit, "compacted more than is committed");
        if let Standing::Leader(reign) = &self.standing {
            assert_eq!(self.leader, Some(self.id), "a leader is its own leader");
            assert_eq!(self.hard.vote, Some(self.id), "a leader has voted for itself");
            reign.check(&self.log);
        }
        assert!(self.seen <= self.log.last().index, "seen more than is there");
    }
}

/// Answers for a node that has stopped.
fn refuse(input: &Input, out: &mut Vec<Effect>) {
    let ticket = match input {
        Input::Propose { ticket, .. } | Input::Read { ticket, .. } => *ticket,
        Input::Change { ticket, .. } | Input::Transfer { ticket, .. } => *ticket,
        _ => return,
    };
    out.push(Effect::Answer { ticket, result: Err(Refused::Stopped) });
}

/// What can be seen of a node.
impl Raft {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What it is at the moment.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.standing {
            Standing::Follower => Role::Follower,
            Standing::Candidate(candidacy) if candidacy.pre => Role::PreCandidate,
            Standing::Candidate(_) => Role::Candidate,
            Standing::Leader(_) => Role::Leader,
            Standing::Stopped => Role::Stopped,
        }
    }

    /// Its term, vote and generation, durable or not.
    #[must_use]
    pub fn hard(&self) -> HardState {
        self.hard
    }

    /// Who leads in this term, as far as it knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The last committed index that it knows of.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// Where its log ends.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The last entry that is compacted away.
    #[must_use]
    pub fn base(&self) -> Position {
        self.log.base()
    }

    /// The term of an entry, if it is in the log.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// Whether nothing of its log, its vote or its snapshot is missing.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_none() && !self.hard.lost_vote && self.hard.lost_end.is_none()
    }

    /// The members that are in force.
    #[must_use]
    pub fn members(&self) -> &Configuration {
        self.history.active()
    }

    /// What a leader knows of the other members, by id; empty elsewhere.
    #[must_use]
    pub fn followers(&self) -> Vec<Follower> {
        match &self.standing {
            Standing::Leader(reign) => reign.followers().collect(),
            _ => Vec::new(),
        }
    }
}
