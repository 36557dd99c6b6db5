//! A group on a bench: messages lie about until they are delivered, disks write when told to.
//!
//! ```text
//!   raft.step ──► Send ──► mail ──(deliver, drop, copy, cut, delay)──► raft.step
//!            └──► Write ─► writes ──(at once, or by hand in any order)─► disk, Stored
//!   after each step: watch.rs, over all members
//! ```

mod disk;
mod play;
mod seat;
mod story;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_raft::{
    Body, Change, Config, Configuration, Effect, Entry, Fault, Index, Input, Message, NodeId,
    Payload, Position, Raft, ReadMode, Refused, Role, SnapshotMeta, Term, Ticket, WriteId,
};

pub(crate) use disk::Disk;
pub(crate) use play::play;
use seat::Pending;
pub(crate) use seat::Seat;
pub(crate) use story::kind;
use watch::Watch;

/// A message on its way.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    due: u64,
    pub(crate) message: Message,
}

/// A group on a bench.
#[derive(Debug)]
pub(crate) struct Lab {
    /// True time.
    pub(crate) now: u64,
    pub(crate) config: Config,
    pub(crate) seats: BTreeMap<NodeId, Seat>,
    /// In the order in which they were sent.
    pub(crate) mail: VecDeque<Mail>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Messages take up to so many ticks.
    pub(crate) jitter: u64,
    /// Snapshots that are being fetched, by whom and from whom.
    pub(crate) fetches: VecDeque<(NodeId, NodeId, SnapshotMeta)>,
    /// Whether snapshots are opened and fetched at once.
    pub(crate) fetches_at_once: bool,
    pub(crate) watch: Watch,
    /// What happened since it was last asked for, if anybody listens.
    pub(crate) events: Vec<String>,
    pub(crate) tells: bool,
    pub(crate) tells_traffic: bool,
    /// Messages sent, by kind.
    pub(crate) sent: BTreeMap<&'static str, u64>,
    seed: u64,
    tickets: u64,
}

impl Lab {
    pub(crate) fn new(config: Config, ids: &[NodeId]) -> Lab {
        Lab::seeded(config, ids, 42)
    }

    pub(crate) fn seeded(config: Config, ids: &[NodeId], seed: u64) -> Lab {
        let members = Configuration::voters(ids.iter().copied());
        let mut lab = Lab::empty(config, seed);
        for id in ids {
            lab.seat(*id, Disk::new(members.clone()));
        }
        lab
    }

    pub(crate) fn empty(config: Config, seed: u64) -> Lab {
        Lab {
            now: 0,
            config,
            seats: BTreeMap::new(),
            mail: VecDeque::new(),
            cut: BTreeSet::new(),
            jitter: 0,
            fetches: VecDeque::new(),
            fetches_at_once: true,
            watch: Watch::default(),
            events: Vec::new(),
            tells: false,
            tells_traffic: true,
            sent: BTreeMap::new(),
            seed,
            tickets: 0,
        }
    }

    /// A member that starts with this disk.
    pub(crate) fn seat(&mut self, id: NodeId, disk: Disk) {
        let config = self.config.clone();
        self.seat_with(id, disk, config);
    }

    pub(crate) fn seat_with(&mut self, id: NodeId, mut disk: Disk, config: Config) {
        let boot = disk.boot(1);
        let raft = Raft::restore(id, config, boot, self.now, self.seed).unwrap();
        self.seats.insert(id, Seat::new(raft, disk, self.now, 1));
    }

    pub(crate) fn at(&mut self, id: NodeId) -> &mut Seat {
        self.seats.get_mut(&id).unwrap()
    }

    pub(crate) fn raft(&self, id: NodeId) -> &Raft {
        &self.seats[&id].raft
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.seats.keys().copied().collect()
    }

    /// Power is cut: of the writes under way only the first `kept` reached the disk.
    pub(crate) fn crash_keeping(&mut self, id: NodeId, kept: usize) {
        let seat = self.at(id);
        seat.up = false;
        let done = seat.writes.iter().take_while(|pending| pending.done).count();
        for pending in seat.writes.drain(..).take(kept.max(done)) {
            seat.disk.write(&pending.write, &pending.entries, pending.state.as_deref());
        }
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        self.crash_keeping(id, 0);
    }

    pub(crate) fn restart(&mut self, id: NodeId) {
        let (now, config, seed) = (self.now, self.config.clone(), self.seed);
        let seat = self.at(id);
        let life = seat.life + 1;
        let boot = seat.disk.boot(life);
        let local = seat.clock.at(now);
        let raft = Raft::restore(id, config, boot, local, seed ^ life).unwrap();
        let clock = seat.clock;
        let (answers, stores) = (std::mem::take(&mut seat.answers), seat.stores);
        let fresh = Seat::new(raft, seat.disk.clone(), now, life);
        *seat = Seat { clock, answers, stores, ..fresh };
    }

    /// One step of one member; what it wants is done, but for what it wants sent.
    pub(crate) fn step(&mut self, id: NodeId, mut inputs: Vec<Input>) {
        loop {
            let now = self.now;
            let Some(seat) = self.seats.get_mut(&id).filter(|seat| seat.up) else { return };
            let mut out = Vec::new();
            let local = seat.clock.at(now);
            seat.raft.step(local, inputs.drain(..), &mut out);
            self.watch.after_step(id, seat);
            for effect in out {
                self.tell(id, &effect);
                self.perform(id, effect, &mut inputs);
            }
            if self.tells {
                self.watch.logs(&self.seats);
            }
            if self.seats[&id].stores {
                while let Some(write) = self.seats[&id].writes.front().map(|p| p.write.id) {
                    self.make_durable(id, write);
                    inputs.push(Input::Stored(write));
                }
            }
            if inputs.is_empty() {
                return;
            }
        }
    }

    fn tell(&mut self, id: NodeId, effect: &Effect) {
        if self.tells {
            let (news, text) = story::effect(effect);
            let seat = &self.seats[&id];
            let quiet = matches!(effect, Effect::Write(_)) && seat.stores;
            if news || (self.tells_traffic && !quiet) {
                let term = seat.raft.hard().term;
                let role = story::role(&seat.raft);
                self.events.push(format!("n{id} term {term} {role}: {text}"));
            }
        }
    }

    fn perform(&mut self, id: NodeId, effect: Effect, next: &mut Vec<Input>) {
        let (now, jitter) = (self.now, self.jitter);
        let seat = self.seats.get_mut(&id).unwrap();
        match effect {
            Effect::Send(message) => {
                *self.sent.entry(kind(&message.body)).or_default() += 1;
                let late = if jitter == 0 { 0 } else { self.draw(jitter + 1) };
                self.mail.push_back(Mail { due: now + late, message });
            }
            Effect::Write(write) => {
                let range = write.append.clone();
                let entries = seat.raft.entries(range).unwrap().cloned().collect();
                let state =
                    write.snapshot.as_ref().map(|_| seat.fetched.take().unwrap_or_default());
                seat.writes.push_back(Pending { write, entries, state, done: false });
            }
            Effect::Load { to, after, through, .. } => {
                if seat.loads {
                    let entries = seat.disk.read(after, through);
                    next.push(Input::Loaded { to, after, entries });
                }
            }
            Effect::Commit { through } => self.apply(id, through),
            Effect::Answer { ticket, result } => {
                self.watch.answers(id, ticket);
                seat.answers.push((ticket, result));
            }
            Effect::Fault(fault) => seat.faults.push(fault),
            Effect::Compact { through } => {
                seat.disk.snapshot = snapshot(seat);
                seat.disk.state = seat.applied.clone();
                seat.disk.entries.retain(|entry| entry.index > through);
            }
            Effect::SendSnapshot { to } if self.fetches_at_once => {
                next.push(if seat.disk.snapshot_damaged {
                    Input::SnapshotUnsound { to }
                } else {
                    Input::SnapshotOpen { to, meta: snapshot(seat) }
                });
            }
            Effect::FetchSnapshot { from, meta } => self.fetches.push_back((id, from, meta)),
            Effect::Leader { .. } | Effect::Members(_) | Effect::SendSnapshot { .. } => {}
        }
    }

    fn apply(&mut self, id: NodeId, through: Index) {
        let seat = self.seats.get_mut(&id).unwrap();
        let from = seat
            .applied
            .last()
            .map_or(Index(0), |entry| entry.index)
            .max(seat.disk.snapshot.last.index);
        // A witness has no state: its snapshots hold nothing.
        let from = from.next();
        let entries: Vec<Entry> = match seat.raft.entries(from..through.next()) {
            Some(entries) => entries.cloned().collect(),
            None => seat.disk.read(from.prev(), through),
        };
        let wanted = (through.0 + 1).saturating_sub(from.0);
        assert_eq!(entries.len() as u64, wanted, "n{id} applies {from}..={through}");
        for entry in &entries {
            self.watch.applies(id, entry);
        }
        self.at(id).applied.extend(entries);
    }

    fn make_durable(&mut self, id: NodeId, write: WriteId) {
        let seat = self.at(id);
        let found = seat.writes.iter_mut().find(|pending| pending.write.id == write);
        found.expect("a write that is under way").done = true;
        while seat.writes.front().is_some_and(|pending| pending.done) {
            let pending = seat.writes.pop_front().unwrap();
            seat.disk.write(&pending.write, &pending.entries, pending.state.as_deref());
            if let Some(state) = pending.state {
                seat.applied = state;
            }
        }
    }

    /// The disk of `id` completes a write. Others may still be under way before it.
    pub(crate) fn store(&mut self, id: NodeId, write: WriteId) {
        self.make_durable(id, write);
        self.step(id, vec![Input::Stored(write)]);
    }

    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    /// Delivers everything that is due, and what comes of it, until nothing is.
    pub(crate) fn deliver_all(&mut self) {
        let mut count = 0;
        while let Some(at) = self.mail.iter().position(|mail| mail.due <= self.now) {
            let message = self.mail.remove(at).unwrap().message;
            count += 1;
            assert!(count < 200_000, "messages without end: {message:?}");
            self.deliver(message);
            self.fetch_all();
        }
        self.fetch_all();
    }

    fn fetch_all(&mut self) {
        while self.fetches_at_once && !self.fetches.is_empty() {
            self.fetch(true);
        }
    }

    /// The first snapshot that is being fetched arrives, or cannot be had.
    pub(crate) fn fetch(&mut self, good: bool) {
        let (id, from, meta) = self.fetches.pop_front().unwrap();
        let there = self.seats[&from].up && !self.cut.contains(&(from, id));
        let known = |entry: &&Entry| entry.index <= meta.last.index;
        let state = self.seats[&from].applied.iter().filter(known).cloned().collect();
        let good = good && there;
        self.at(id).fetched = Some(state);
        self.step(id, vec![Input::SnapshotFetched(good.then_some(meta))]);
    }

    pub(crate) fn deliver(&mut self, message: Message) {
        if !self.cut.contains(&(message.from, message.to)) && self.seats.contains_key(&message.to) {
            if self.tells && self.tells_traffic {
                self.events.push(format!("n{} -> {}", message.from, story::message(&message)));
            }
            self.step(message.to, vec![Input::Peer(message)]);
        }
    }

    /// Takes the messages that `wanted` names off the mail.
    pub(crate) fn take(&mut self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (taken, left) = self.mail.drain(..).partition(|mail| wanted(&mail.message));
        self.mail = left;
        let taken: VecDeque<Mail> = taken;
        taken.into_iter().map(|mail| mail.message).collect()
    }

    /// A message made by hand, put behind all others.
    pub(crate) fn post(&mut self, from: NodeId, to: NodeId, term: u64, body: Body) {
        let message = Message { from, to, generation: 0, term: Term(term), body };
        self.mail.push_back(Mail { due: self.now, message });
    }

    /// Lets time pass, tick by tick, delivering all that is sent.
    pub(crate) fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.pass_tick();
            self.deliver_all();
        }
    }

    /// Lets a tick pass. Nothing is delivered.
    pub(crate) fn pass_tick(&mut self) {
        self.now += 1;
        for id in self.ids() {
            let seat = &self.seats[&id];
            if seat.raft.deadline().is_some_and(|at| at <= seat.clock.at(self.now)) {
                self.step(id, Vec::new());
            }
        }
    }

    /// Runs until `done`, for no more than `limit` ticks. Says how many it took.
    pub(crate) fn run_until(&mut self, limit: u64, done: impl Fn(&Lab) -> bool) -> Option<u64> {
        (0..=limit).find(|ticks| {
            if *ticks > 0 {
                self.run(1);
            }
            done(self)
        })
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn propose(&mut self, id: NodeId, data: &str) -> Ticket {
        let ticket = self.ticket();
        let data = data.as_bytes().to_vec().into();
        self.step(id, vec![Input::Propose { ticket, data }]);
        ticket
    }

    pub(crate) fn read(&mut self, id: NodeId, mode: ReadMode) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Read { ticket, mode }]);
        ticket
    }

    pub(crate) fn change(&mut self, id: NodeId, change: Change) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Change { ticket, change }]);
        ticket
    }

    pub(crate) fn transfer(&mut self, id: NodeId, to: NodeId) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Transfer { ticket, to: Some(to) }]);
        ticket
    }

    pub(crate) fn answer(&self, id: NodeId, ticket: Ticket) -> Option<Result<Index, Refused>> {
        self.seats[&id].answers.iter().find(|(of, _)| *of == ticket).map(|(_, result)| *result)
    }

    /// Who leads in the latest term in which somebody does.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leads = |(_, seat): &(&NodeId, &Seat)| seat.up && seat.raft.role() == Role::Leader;
        let leaders = self.seats.iter().filter(leads);
        leaders.max_by_key(|(_, seat)| seat.raft.hard().term).map(|(id, _)| *id)
    }

    /// Elects `id` by hand: it stands, and everything is delivered.
    pub(crate) fn elect(&mut self, id: NodeId) {
        // Loyalty to an older leader has to run out first.
        for _ in 0..4 * self.config.election {
            if self.raft(id).role() == Role::Leader {
                break;
            }
            self.now += 1;
            if self.now.is_multiple_of(self.config.election) {
                self.step(id, vec![Input::Campaign]);
            }
            self.deliver_all();
        }
        assert_eq!(self.raft(id).role(), Role::Leader, "n{id} is elected");
    }

    /// Cuts every link between two sides, both ways.
    pub(crate) fn part(&mut self, left: &[NodeId], right: &[NodeId]) {
        for a in left {
            for b in right {
                self.cut.insert((*a, *b));
                self.cut.insert((*b, *a));
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// The commands that a member has applied.
    pub(crate) fn applied(&self, id: NodeId) -> Vec<String> {
        self.seats[&id].applied.iter().filter_map(|entry| story::text(&entry.payload)).collect()
    }

    pub(crate) fn term(&self, id: NodeId) -> Term {
        self.raft(id).hard().term
    }

    /// The terms of a member's log, from 1 or behind its base.
    pub(crate) fn log(&self, id: NodeId) -> Vec<u64> {
        let raft = self.raft(id);
        let range = raft.base().index.0 + 1..=raft.last().index.0;
        range.map(|index| raft.term_at(Index(index)).unwrap().0).collect()
    }

    pub(crate) fn faulted(&self, id: NodeId, fault: impl Fn(&Fault) -> bool) -> bool {
        self.seats[&id].faults.iter().any(fault)
    }
}

/// A snapshot of what a member has applied.
pub(crate) fn snapshot(seat: &Seat) -> SnapshotMeta {
    let last = seat.applied.last().map_or(seat.disk.snapshot.last, Entry::position);
    let (configuration_index, configuration) = seat.applied_members();
    SnapshotMeta { last, configuration: configuration.into(), configuration_index }
}

pub(crate) fn pos(term: u64, index: u64) -> Position {
    Position::new(Term(term), Index(index))
}

pub(crate) fn entry(term: u64, index: u64) -> Entry {
    let data = format!("{index}@{term}").into_bytes().into();
    Entry { term: Term(term), index: Index(index), payload: Payload::Data(data) }
}
