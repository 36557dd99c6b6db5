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

use crate::disk::{self, Disk, Opened, Snapshot, Start, Unread};
use crate::machine::StateMachine;
use crate::model::Model;

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
pub enum Parcel<P> {
    /// What the core has to say. More than one: they come as they were sent.
    Raft(Box<Message>),
    /// Send me the snapshot that you have.
    Pull,
    /// A snapshot, whole.
    Push(Box<P>),
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
    /// The log was shortened: it may give room back.
    Tidy,
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
pub struct Member<S: StateMachine, D: Disk<S> = Model<S>> {
    /// The core.
    pub raft: Raft,
    ways: Ways,
    disk: D,
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
    /// Its disk has refused something: it has to start anew.
    refused: bool,
}

type Out<'a, S, D> = OutboxOf<'a, Member<S, D>>;

impl<S: StateMachine, D: Disk<S>> Process for Member<S, D> {
    type Message = Parcel<D::Parcel>;
    type Event = Event;
    type Disk = (Ways, D);

    fn start(
        id: NodeId,
        (ways, mut disk): (Ways, D),
        now: u64,
        out: &mut Out<'_, S, D>,
    ) -> Member<S, D> {
        let Start { boot, snapshot, lost: stateless } = disk.start(u64::from(id.0));
        let seed = out.rng().draw();
        let raft = Raft::restore(u64::from(id.0), Arc::clone(&ways.config), boot, now, seed)
            .expect("the options are sound");
        assert!(!disk.is_unhurt() || raft.is_sound(), "{id}: a crash was taken for damage");
        let ((term, vote), hard) = (disk.vote(), raft.hard());
        let later = hard.term > term || hard.vote == vote || vote.is_none();
        let kept = hard.term >= term && later || !raft.is_sound();
        assert!(kept, "{id}: term {term} and vote {vote:?} were durable, and {hard:?} is left");
        let Snapshot { meta, state, whole } = snapshot;
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
            refused: false,
            disk,
        }
    }

    fn step(&mut self, now: u64, input: sim::InputOf<Self>, out: &mut Out<'_, S, D>) {
        match input {
            sim::Input::Message { from, message } => self.receive(now, from, message, out),
            sim::Input::Event(event) => self.occur(now, event, out),
            sim::Input::Wake => self.feed(now, None, out),
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.raft.deadline()
    }

    fn crash(self, rng: &mut Rng) -> (Ways, D) {
        (self.ways, self.disk.crash(rng))
    }
}

impl<S: StateMachine, D: Disk<S>> Member<S, D> {
    fn receive(
        &mut self,
        now: u64,
        from: NodeId,
        parcel: Parcel<D::Parcel>,
        out: &mut Out<'_, S, D>,
    ) {
        match parcel {
            Parcel::Raft(message) => self.feed(now, Some(Input::Peer(*message)), out),
            Parcel::Pull => {
                if let Some(parcel) = self.disk.pull(self.newest_snapshot()) {
                    out.send(from, Parcel::Push(Box::new(parcel)));
                }
            }
            Parcel::Push(parcel) => {
                self.incoming = self.disk.push(*parcel);
                let meta = self.incoming.as_ref().map(|snapshot| snapshot.meta.clone());
                self.feed(now, Some(Input::SnapshotFetched(meta)), out);
                self.incoming = None;
            }
        }
    }

    fn occur(&mut self, now: u64, event: Event, out: &mut Out<'_, S, D>) {
        let input = match event {
            Event::Stored(id) => match self.disk.complete(id) {
                Ok(()) => Input::Stored(id),
                Err(disk::Refused) => self.refuse(),
            },
            Event::Loaded { to, after, through } => {
                let most = if out.rng().below(100) < self.ways.short_reads { 1 } else { 1000 };
                match self.disk.load(after, through, most) {
                    Ok(entries) => Input::Loaded { to, after, entries },
                    Err(Unread::Damaged(bad)) => {
                        let damaged = Input::Damaged { after: bad.prev(), through: bad };
                        self.feed(now, Some(damaged), out);
                        // Its state has what the entry did, and no other may have the entry.
                        return self.take_snapshot(now, true, out);
                    }
                    Err(Unread::Refused) => self.refuse(),
                }
            }
            Event::NoSnapshot(_) => Input::SnapshotFetched(None),
            Event::Applied => return self.apply_some(now, out),
            Event::Tidy => {
                if self.disk.tidy() {
                    self.take_snapshot(now, true, out);
                }
                return;
            }
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
    pub fn feed(&mut self, now: u64, input: Option<Input>, out: &mut Out<'_, S, D>) {
        let mut effects = mem::take(&mut self.effects);
        self.raft.step(now, input, &mut effects);
        for effect in effects.drain(..) {
            self.perform(effect, out);
        }
        self.effects = effects;
        if self.refused && self.raft.role() != Role::Stopped {
            self.feed(now, Some(Input::StorageFailed), out);
        }
    }

    /// The disk has refused.
    fn refuse(&mut self) -> Input {
        self.refused = true;
        Input::StorageFailed
    }

    fn perform(&mut self, effect: Effect, out: &mut Out<'_, S, D>) {
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
                let cuts = write.snapshot.is_some();
                self.refused |= self.disk.order(write, entries, snapshot).is_err();
                if cuts && D::TIDIES {
                    self.tidy_later(out);
                }
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
            Effect::Compact { through } => {
                self.refused |= self.disk.compact(through).is_err();
                if D::TIDIES {
                    self.tidy_later(out);
                }
            }
            Effect::Fault(fault) => self.faults.push(fault),
        }
    }

    fn tidy_later(&self, out: &mut Out<'_, S, D>) {
        let delay = out.rng().range(self.ways.load.clone());
        out.later(delay - 1, Event::Tidy);
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

    fn go_on_applying(&mut self, out: &mut Out<'_, S, D>) {
        if !self.applying && !self.stateless && self.applied < self.told {
            self.applying = true;
            let delay = out.rng().range(self.ways.apply.clone());
            out.later(delay, Event::Applied);
        }
    }

    fn apply_some(&mut self, now: u64, out: &mut Out<'_, S, D>) {
        self.applying = false;
        let next = self.applied.next();
        let entries = match self.disk.read(self.applied, self.told, 64) {
            Ok(entries) => entries,
            Err(Unread::Refused) => {
                let failed = self.refuse();
                return self.feed(now, Some(failed), out);
            }
            Err(Unread::Damaged(bad)) => {
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
        let held = self.disk.newest();
        if self.applied.0 >= held.0 + self.ways.snapshot_every {
            self.take_snapshot(now, false, out);
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

    /// Takes a snapshot, after which the log is shortened: to nothing, if it is crowding.
    fn take_snapshot(&mut self, now: u64, crowding: bool, out: &mut Out<'_, S, D>) {
        let Some(snapshot) = self.newest_snapshot() else { return };
        let last = snapshot.meta.last.index;
        let back = |kept: u64| Index(last.0.saturating_sub(if crowding { 0 } else { kept }));
        let (through, must) = (back(self.ways.kept), back(10 * self.ways.kept));
        if self.disk.keep(snapshot) {
            self.feed(now, Some(Input::Compact { through, must }), out);
        }
    }

    fn open_snapshot(&mut self, to: u64, out: &mut Out<'_, S, D>) {
        let opened = if self.stateless {
            Opened::Unsound
        } else {
            self.disk.open_snapshot(self.newest_snapshot(), self.raft.base().index)
        };
        let input = match opened {
            Opened::Open(meta) => Input::SnapshotOpen { to, meta },
            Opened::Unsound => Input::SnapshotUnsound { to },
            Opened::Nothing => return,
        };
        out.later(0, Event::Ask(input));
    }

    /// What it has applied, and the state.
    pub fn state(&self) -> (Index, &Arc<S>) {
        (self.applied, &self.state)
    }

    /// Its disk, which goes bad while it works as well as while it is down.
    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    pub(crate) fn disk_mut(&mut self) -> &mut D {
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

    /// Whether its disk has refused something, and it stopped for that.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether its log and its snapshot are whole.
    pub fn is_sound(&self) -> bool {
        !self.disk.is_bad() && self.raft.is_sound()
    }
}
