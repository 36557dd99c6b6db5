//! A group on a bench: messages lie about until they are delivered, disks write when told to.
//!
//! ```text
//!   raft.step ──► Send ──► mail ──(deliver, drop, copy, cut, delay)──► raft.step
//!            └──► Write ─► writes ──(at once, or by hand in any order)─► disk, Stored
//!   after each step: watch.rs, over all members
//! ```
//!
//! Tests drive it from Rust, and stories from a script: [`play`](play()).

mod callers;
mod disk;
mod expect;
mod mail;
mod play;
mod say;
mod seat;
mod story;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_raft::{
    Config, Configuration, Effect, Entry, Index, Input, NodeId, Payload, Position, Raft, Role,
    SnapshotMeta, Term, Ticket, WriteId,
};

pub(crate) use disk::Disk;
use mail::Mail;
pub(crate) use play::play;
use seat::Pending;
pub(crate) use seat::Seat;
pub(crate) use story::kind;
use story::{Event, Kind};
use watch::Watch;

/// A group on a bench.
#[derive(Debug)]
pub(crate) struct Lab {
    /// True time.
    pub(crate) now: u64,
    pub(crate) config: Config,
    /// Those that are set up in their own way.
    pub(crate) configs: BTreeMap<NodeId, Config>,
    pub(crate) seats: BTreeMap<NodeId, Seat>,
    /// In the order in which they were sent.
    pub(crate) mail: VecDeque<Mail>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Nothing more is sent to this member or by it; what is under way arrives.
    pub(crate) alone: Option<NodeId>,
    /// Messages take up to so many ticks.
    pub(crate) jitter: u64,
    /// Snapshots that are being fetched, by whom and from whom.
    pub(crate) fetches: VecDeque<(NodeId, NodeId, SnapshotMeta)>,
    /// Whether snapshots are opened and fetched at once.
    pub(crate) fetches_at_once: bool,
    pub(crate) watch: Watch,
    /// What happened since it was last asked for, if anybody listens.
    pub(crate) events: Vec<Event>,
    pub(crate) tells: bool,
    /// What a story calls its tickets.
    pub(crate) names: BTreeMap<Ticket, String>,
    /// Messages sent, by kind.
    pub(crate) sent: BTreeMap<&'static str, u64>,
    /// The same, by who said it to whom.
    pub(crate) said: BTreeMap<(NodeId, NodeId, &'static str), u64>,
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
            configs: BTreeMap::new(),
            seats: BTreeMap::new(),
            mail: VecDeque::new(),
            cut: BTreeSet::new(),
            alone: None,
            jitter: 0,
            fetches: VecDeque::new(),
            fetches_at_once: true,
            watch: Watch::default(),
            events: Vec::new(),
            tells: false,
            names: BTreeMap::new(),
            sent: BTreeMap::new(),
            said: BTreeMap::new(),
            seed,
            tickets: 0,
        }
    }

    /// A member that starts with this disk.
    pub(crate) fn seat(&mut self, id: NodeId, mut disk: Disk) {
        let boot = disk.boot(1);
        let raft = Raft::restore(id, self.config_of(id), boot, self.now, self.seed).unwrap();
        self.seats.insert(id, Seat::new(raft, disk, self.now, 1));
    }

    /// One that is set up in its own way.
    pub(crate) fn seat_with(&mut self, id: NodeId, disk: Disk, config: Config) {
        self.configs.insert(id, config);
        self.seat(id, disk);
    }

    fn config_of(&self, id: NodeId) -> Config {
        self.configs.get(&id).unwrap_or(&self.config).clone()
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
        let (now, config, seed) = (self.now, self.config_of(id), self.seed);
        let seat = self.at(id);
        let life = seat.life + 1;
        let boot = seat.disk.boot(life);
        let local = seat.clock.at(now);
        let raft = Raft::restore(id, config, boot, local, seed ^ life).unwrap();
        let clock = seat.clock;
        let (answers, stores) = (std::mem::take(&mut seat.answers), seat.stores);
        let fresh = Seat::new(raft, seat.disk.clone(), now, life);
        *seat = Seat { clock, answers, stores, ..fresh };
        if !self.raft(id).is_sound() {
            self.tell_damage(id);
        }
    }

    /// One step of one member; what it wants is done, but for what it wants sent.
    pub(crate) fn step(&mut self, id: NodeId, mut inputs: Vec<Input>) {
        loop {
            let now = self.now;
            let runs = |seat: &&mut Seat| seat.up && !seat.paused;
            let Some(seat) = self.seats.get_mut(&id).filter(runs) else { return };
            let mut out = Vec::new();
            seat.led = seat.raft.role() == Role::Leader;
            let sound = seat.raft.is_sound();
            let local = seat.clock.at(now);
            seat.raft.step(local, inputs.drain(..), &mut out);
            self.watch.after_step(id, seat);
            if sound != seat.raft.is_sound() {
                self.tell_damage(id);
            }
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
        if !self.tells {
            return;
        }
        if let Some((kind, what, whom, rest)) = story::effect(self, id, effect) {
            self.note(id, kind, what, whom, rest);
        }
    }

    /// Tells whether something is missing at a member.
    fn tell_damage(&mut self, id: NodeId) {
        let missing = !self.raft(id).is_sound();
        let what = if missing { "misses something" } else { "misses nothing any more" };
        self.note(id, Kind::News, what.to_owned(), None, String::new());
    }

    fn note(&mut self, id: NodeId, kind: Kind, what: String, whom: Option<NodeId>, rest: String) {
        if self.tells {
            let raft = self.raft(id);
            let state = format!("term {} {}", raft.hard().term, story::role(raft));
            self.events.push(Event { at: self.now, id, kind, state, what, whom, rest });
        }
    }

    fn perform(&mut self, id: NodeId, effect: Effect, next: &mut Vec<Input>) {
        let (now, jitter) = (self.now, self.jitter);
        let seat = self.seats.get_mut(&id).unwrap();
        match effect {
            Effect::Send(message) => {
                let kind = kind(&message.body);
                *self.sent.entry(kind).or_default() += 1;
                *self.said.entry((message.from, message.to, kind)).or_default() += 1;
                if self.alone.is_some_and(|id| message.from == id || message.to == id) {
                    return;
                }
                let late = if jitter == 0 { 0 } else { self.draw(jitter + 1) };
                self.mail.push_back(Mail { due: now + late, message });
            }
            Effect::Write(write) => {
                let range = write.append.clone();
                let entries = seat.raft.entries(range).unwrap().cloned().collect();
                let state =
                    write.snapshot.as_ref().map(|_| seat.fetched.take().unwrap_or_default());
                seat.written = if seat.stores { 0 } else { seat.written + 1 };
                let number = seat.written;
                seat.writes.push_back(Pending { write, number, entries, state, done: false });
            }
            Effect::Load { to, after, through, bytes_max } => {
                if seat.loads {
                    next.push(seat.disk.load(to, after, through, bytes_max));
                }
            }
            Effect::Commit { through } => self.apply(id, through),
            Effect::Answer { ticket, result } => {
                self.watch.answers(id, ticket, result);
                seat.answers.push((ticket, result));
            }
            Effect::Fault(fault) => seat.faults.push(fault),
            Effect::Compact { through } => {
                seat.disk.snapshot = snapshot(seat);
                seat.disk.state = seat.applied.clone();
                seat.disk.entries.retain(|entry| entry.index > through);
                seat.disk.damaged.retain(|index| *index > through.0);
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
        let term = seat.raft.hard().term;
        for entry in &entries {
            self.watch.applies(id, term, entry);
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
}

/// A snapshot of all that a member has applied.
pub(crate) fn snapshot(seat: &Seat) -> SnapshotMeta {
    seat.snapshot(Index(u64::MAX))
}

pub(crate) fn pos(term: u64, index: u64) -> Position {
    Position::new(Term(term), Index(index))
}

pub(crate) fn entry(term: u64, index: u64) -> Entry {
    let data = format!("{index}@{term}").into_bytes().into();
    Entry { term: Term(term), index: Index(index), payload: Payload::Data(data) }
}
