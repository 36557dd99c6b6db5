//! A member of a group: the real core, and a driver around it that does all a real one does.
//!
//! The driver is as hostile as a driver may be. Writes take long and are reported out of order,
//! reads of the log come back late and short, applying lags behind, snapshots come in pieces that
//! get lost, and nothing is done twice because something went wrong: that is for the core to see
//! to.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use drystone_raft::{
    Config, Configuration, Effect, Entry, Fault, Index, Input, Message, Payload, Position, Raft,
    ReadMode, Refused, Role, SnapshotMeta, Ticket, WriteId,
};
use drystone_sim::{self as sim, NodeId, OutboxOf, Process, Rng};

use crate::disk::{Disk, Snapshot};
use crate::machine::StateMachine;

/// How a driver behaves, and how large things may get before it does something about them.
#[derive(Debug, Clone)]
pub struct Ways {
    /// The core's options.
    pub config: Arc<Config>,
    /// How long a write takes, in ticks.
    pub write: Range<u64>,
    /// How long a read of the log takes.
    pub load: Range<u64>,
    /// How long applying takes.
    pub apply: Range<u64>,
    /// Entries applied since the last snapshot after which another is taken.
    pub snapshot_every: u64,
    /// Entries kept in the log behind a snapshot for those who are late.
    pub kept: u64,
    /// The share of reads of the log that come back short, in percent.
    pub short_reads: u64,
}

/// What nodes send each other.
#[derive(Debug, Clone)]
pub enum Parcel<S> {
    /// What the core has to say. More than one: they come as they were sent.
    Raft(Box<Message>),
    /// Send me the snapshot that you have.
    Pull,
    /// A snapshot, whole.
    Push(Box<Snapshot<S>>),
}

/// What happens at a node by itself.
#[derive(Debug)]
pub enum Event {
    /// A write is durable.
    Stored(WriteId),
    /// The log was read.
    Loaded {
        /// For whom.
        to: u64,
        /// The index before the first entry.
        after: Index,
        /// How far.
        through: Index,
    },
    /// Some more is applied.
    Applied,
    /// Too long without the snapshot that was asked for.
    NoSnapshot(Position),
    /// A client, or an operator, asks for something.
    Ask(Input),
}

/// An answer that a client gets.
#[derive(Debug, Clone)]
pub struct Answer<S> {
    /// To which question.
    pub ticket: Ticket,
    /// What the core said.
    pub result: Result<Index, Refused>,
    /// The state, if the question was a read.
    pub state: Option<Arc<S>>,
}

/// A member.
#[derive(Debug)]
pub struct Member<S: StateMachine> {
    /// The core.
    pub raft: Raft,
    ways: Ways,
    disk: Disk<S>,
    /// Committed, and told so by the core, up to here.
    told: Index,
    applied: Index,
    state: Arc<S>,
    whole: bool,
    /// The snapshot that it started with could not be read: there is no state before another is
    /// installed, whatever the log says is applied.
    stateless: bool,
    members: (Index, Arc<Configuration>),
    applying: bool,
    /// Reads that wait until this index is applied.
    reads: Vec<(Ticket, Index)>,
    read_tickets: Vec<Ticket>,
    /// Answers that nobody has fetched.
    pub answers: VecDeque<Answer<S>>,
    /// Entries applied since somebody looked.
    pub news: Vec<Entry>,
    /// Changes of members that it has made as a leader since somebody looked.
    pub changes: Vec<Position>,
    /// Faults reported since somebody looked.
    pub faults: Vec<Fault>,
    /// A snapshot was installed since somebody looked: state and position.
    pub installed: Option<(Position, Arc<S>)>,
    incoming: Option<Snapshot<S>>,
    effects: Vec<Effect>,
    /// Its disk takes writes and never says that they are done.
    pub stalls: bool,
}

type Out<'a, S> = OutboxOf<'a, Member<S>>;

impl<S: StateMachine> Process for Member<S> {
    type Message = Parcel<S>;
    type Event = Event;
    type Disk = (Ways, Disk<S>);

    fn start(
        id: NodeId,
        (ways, mut disk): (Ways, Disk<S>),
        now: u64,
        out: &mut Out<'_, S>,
    ) -> Member<S> {
        let boot = disk.boot();
        let seed = out.rng().draw();
        let raft = Raft::restore(u64::from(id.0), Arc::clone(&ways.config), boot, now, seed)
            .expect("the options are sound");
        let Snapshot { meta, state, whole } = disk.snapshot().clone();
        let stateless = disk.is_snapshot_bad();
        let state = if stateless { Arc::default() } else { state };
        Member {
            raft,
            ways,
            told: meta.last.index,
            applied: meta.last.index,
            state,
            whole,
            stateless,
            members: (meta.configuration_index, meta.configuration),
            applying: false,
            reads: Vec::new(),
            read_tickets: Vec::new(),
            answers: VecDeque::new(),
            news: Vec::new(),
            changes: Vec::new(),
            faults: Vec::new(),
            installed: None,
            incoming: None,
            effects: Vec::new(),
            stalls: false,
            disk,
        }
    }

    fn step(&mut self, now: u64, input: sim::InputOf<Self>, out: &mut Out<'_, S>) {
        match input {
            sim::Input::Message { from, message } => self.receive(now, from, message, out),
            sim::Input::Event(event) => self.occur(now, event, out),
            sim::Input::Wake => self.feed(now, None, out),
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.raft.deadline()
    }

    fn crash(self, rng: &mut Rng) -> (Ways, Disk<S>) {
        let mut disk = self.disk;
        disk.crash(rng);
        (self.ways, disk)
    }
}

impl<S: StateMachine> Member<S> {
    fn receive(&mut self, now: u64, from: NodeId, parcel: Parcel<S>, out: &mut Out<'_, S>) {
        match parcel {
            Parcel::Raft(message) => self.feed(now, Some(Input::Peer(*message)), out),
            Parcel::Pull => {
                if let Some(snapshot) = self.newest_snapshot().filter(|snapshot| snapshot.whole) {
                    out.send(from, Parcel::Push(Box::new(snapshot)));
                }
            }
            Parcel::Push(snapshot) => {
                let meta = snapshot.meta.clone();
                self.incoming = Some(*snapshot);
                self.feed(now, Some(Input::SnapshotFetched(Some(meta))), out);
                self.incoming = None;
            }
        }
    }

    fn occur(&mut self, now: u64, event: Event, out: &mut Out<'_, S>) {
        let input = match event {
            Event::Stored(id) => {
                self.disk.complete(id);
                Input::Stored(id)
            }
            Event::Loaded { to, after, through } => {
                let most = if out.rng().below(100) < self.ways.short_reads { 1 } else { 1000 };
                match self.disk.read(after, through, most) {
                    Ok(entries) => Input::Loaded { to, after, entries },
                    Err(bad) => Input::Damaged { after: bad.prev(), through: bad },
                }
            }
            Event::NoSnapshot(_) => Input::SnapshotFetched(None),
            Event::Applied => return self.apply_some(now, out),
            Event::Ask(input) => {
                if let Input::Read { ticket, mode } = &input
                    && *mode != ReadMode::Stale
                {
                    self.read_tickets.push(*ticket);
                }
                input
            }
        };
        self.feed(now, Some(input), out);
    }

    /// One step of the core, and all that it wants done.
    pub fn feed(&mut self, now: u64, input: Option<Input>, out: &mut Out<'_, S>) {
        let mut effects = mem::take(&mut self.effects);
        self.raft.step(now, input, &mut effects);
        for effect in effects.drain(..) {
            self.perform(effect, out);
        }
        self.effects = effects;
    }

    fn perform(&mut self, effect: Effect, out: &mut Out<'_, S>) {
        match effect {
            Effect::Send(message) => {
                let to = u32::try_from(message.to).expect("ids are small here");
                out.send(NodeId(to), Parcel::Raft(Box::new(message)));
            }
            Effect::Write(write) => {
                let range = write.append.clone();
                let entries = self.raft.entries(range).expect("what is to be written is there");
                let entries: Vec<Entry> = entries.cloned().collect();
                self.note_changes(&entries);
                let snapshot = write.snapshot.clone().map(|meta| self.take_in(*meta));
                let id = write.id;
                self.disk.order(write, entries, snapshot);
                let delay = out.rng().range(self.ways.write.clone());
                if !self.stalls {
                    out.later(delay, Event::Stored(id));
                }
            }
            Effect::Load { to, after, through, .. } => {
                let delay = out.rng().range(self.ways.load.clone());
                out.later(delay, Event::Loaded { to, after, through });
            }
            Effect::Commit { through } => {
                self.told = through;
                self.go_on_applying(out);
            }
            Effect::Answer { ticket, result } => self.answer(ticket, result),
            Effect::Leader { .. } | Effect::Members(_) => {}
            Effect::SendSnapshot { to } => self.open_snapshot(to, out),
            Effect::FetchSnapshot { from, meta } => {
                let from = u32::try_from(from).expect("ids are small here");
                out.send(NodeId(from), Parcel::Pull);
                let patience = 4 * self.ways.config.election;
                out.later(patience, Event::NoSnapshot(meta.last));
            }
            Effect::Compact { through } => self.disk.compact(through),
            Effect::Fault(fault) => self.faults.push(fault),
        }
    }

    fn note_changes(&mut self, entries: &[Entry]) {
        let (leads, term) = (self.raft.role() == Role::Leader, self.raft.hard().term);
        let made = |entry: &&Entry| matches!(entry.payload, Payload::Configuration(_));
        let own = entries.iter().filter(|entry| leads && entry.term == term).filter(made);
        self.changes.extend(own.map(Entry::position));
    }

    /// The state of a snapshot that the core wants written: fetched before, or a witness's nothing.
    fn take_in(&mut self, meta: SnapshotMeta) -> Snapshot<S> {
        let fetched = self.incoming.take().filter(|snapshot| snapshot.meta == meta);
        (self.whole, self.stateless) = (fetched.is_some(), false);
        let state = fetched.map_or_else(Arc::default, |snapshot| snapshot.state);
        let index = meta.last.index;
        self.installed = Some((meta.last, Arc::clone(&state)));
        self.state = Arc::clone(&state);
        self.applied = index;
        self.told = self.told.max(index);
        self.members = (meta.configuration_index, Arc::clone(&meta.configuration));
        Snapshot { meta, state, whole: self.whole }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Index, Refused>) {
        let read = self.read_tickets.iter().position(|other| *other == ticket);
        match (read, result) {
            (Some(at), Ok(index)) => {
                self.read_tickets.swap_remove(at);
                self.reads.push((ticket, index));
                self.serve_reads();
            }
            (read, _) => {
                if let Some(at) = read {
                    self.read_tickets.swap_remove(at);
                }
                self.answers.push_back(Answer { ticket, result, state: None });
            }
        }
    }

    fn serve_reads(&mut self) {
        if self.stateless {
            return;
        }
        let applied = self.applied;
        let ready: Vec<_> = self.reads.extract_if(.., |(_, index)| *index <= applied).collect();
        for (ticket, index) in ready {
            // A node that was a witness has nothing to read from, member or not.
            let result = if self.whole { Ok(index) } else { Err(Refused::NotLeader(None)) };
            let state = Some(Arc::clone(&self.state));
            self.answers.push_back(Answer { ticket, result, state });
        }
    }

    fn go_on_applying(&mut self, out: &mut Out<'_, S>) {
        if !self.applying && !self.stateless && self.applied < self.told {
            self.applying = true;
            let delay = out.rng().range(self.ways.apply.clone());
            out.later(delay, Event::Applied);
        }
    }

    fn apply_some(&mut self, now: u64, out: &mut Out<'_, S>) {
        self.applying = false;
        let next = self.applied.next();
        let entries = match self.disk.read(self.applied, self.told, 64) {
            Ok(entries) => entries,
            Err(bad) => {
                self.feed(now, Some(Input::Damaged { after: bad.prev(), through: bad }), out);
                return self.go_on_applying(out);
            }
        };
        if entries.first().is_some_and(|entry| entry.index != next) || entries.is_empty() {
            return;
        }
        for entry in entries {
            match &entry.payload {
                Payload::Data(command) => {
                    Arc::make_mut(&mut self.state).apply(entry.index.0, command);
                }
                Payload::Configuration(members) => {
                    self.members = (entry.index, Arc::clone(members));
                }
                Payload::Blank => {}
                Payload::Withheld => {
                    self.whole = false;
                    // A witness has nothing to read from, whatever was asked while it had.
                    for (ticket, _) in self.reads.drain(..) {
                        let result = Err(Refused::NotLeader(None));
                        self.answers.push_back(Answer { ticket, result, state: None });
                    }
                }
            }
            self.applied = entry.index;
            self.news.push(entry);
        }
        self.serve_reads();
        let held = self.disk.snapshot().meta.last.index;
        if self.applied.0 >= held.0 + self.ways.snapshot_every {
            self.take_snapshot(now, out);
        }
        self.go_on_applying(out);
    }

    fn newest_snapshot(&self) -> Option<Snapshot<S>> {
        let term = self.raft.term_at(self.applied).filter(|_| !self.stateless)?;
        let meta = SnapshotMeta {
            last: Position::new(term, self.applied),
            configuration: Arc::clone(&self.members.1),
            configuration_index: self.members.0,
        };
        Some(Snapshot { meta, state: Arc::clone(&self.state), whole: self.whole })
    }

    fn take_snapshot(&mut self, now: u64, out: &mut Out<'_, S>) {
        let Some(snapshot) = self.newest_snapshot() else { return };
        let through = Index(snapshot.meta.last.index.0.saturating_sub(self.ways.kept));
        let must = Index(snapshot.meta.last.index.0.saturating_sub(10 * self.ways.kept));
        self.disk.keep(snapshot);
        self.feed(now, Some(Input::Compact { through, must }), out);
    }

    fn open_snapshot(&mut self, to: u64, out: &mut Out<'_, S>) {
        let input = match self.newest_snapshot() {
            _ if self.stateless || self.disk.is_snapshot_bad() => Input::SnapshotUnsound { to },
            Some(snapshot) if !snapshot.whole => Input::SnapshotUnsound { to },
            Some(snapshot) => Input::SnapshotOpen { to, meta: snapshot.meta },
            None => return,
        };
        out.later(0, Event::Ask(input));
    }

    /// What it has applied, and the state.
    pub fn state(&self) -> (Index, &Arc<S>) {
        (self.applied, &self.state)
    }

    /// Its disk, which goes bad while it works as well as while it is down.
    pub(crate) fn disk(&self) -> &Disk<S> {
        &self.disk
    }

    pub(crate) fn disk_mut(&mut self) -> &mut Disk<S> {
        &mut self.disk
    }

    /// How often it has been started.
    pub fn life(&self) -> u64 {
        self.disk.life()
    }

    /// Whether its state has the effect of every command: a witness's has not.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether its log and its snapshot are whole.
    pub fn is_sound(&self) -> bool {
        !self.disk.is_bad() && self.raft.is_sound()
    }
}
