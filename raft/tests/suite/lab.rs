//! A group on a bench: messages lie about until they are delivered, disks write when told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_raft::{
    Boot, Config, Configuration, Effect, Entry, Fault, HardState, Index, Input, Message, NodeId,
    Payload, Raft, ReadMode, Refused, SnapshotMeta, Term, Ticket, Write, WriteId,
};

/// What a member has on its disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) hard: HardState,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) entries: Vec<Entry>,
    pub(crate) base: Index,
}

impl Disk {
    fn new(members: Configuration) -> Disk {
        let snapshot = SnapshotMeta {
            last: drystone_raft::Position::default(),
            configuration: members.into(),
            configuration_index: Index(0),
        };
        Disk { hard: HardState::default(), snapshot, entries: Vec::new(), base: Index(0) }
    }

    pub(crate) fn boot(&self, life: u64) -> Boot {
        let mut boot = Boot::after(&self.snapshot).hard(self.hard).life(life);
        for entry in self.entries.iter().filter(|entry| entry.index > self.snapshot.last.index) {
            boot.entry(entry);
        }
        boot
    }

    fn write(&mut self, write: &Write, entries: &[Entry]) {
        if let Some(hard) = write.hard {
            self.hard = hard;
        }
        if let Some(meta) = &write.snapshot {
            self.snapshot = meta.clone();
            self.base = meta.last.index;
            self.entries.retain(|entry| entry.index > meta.last.index);
        }
        for mended in &write.mended {
            let at = self.entries.iter().position(|entry| entry.index == mended.index).unwrap();
            self.entries[at] = mended.clone();
        }
        self.entries.retain(|entry| entry.index < write.append.start);
        self.entries.extend_from_slice(entries);
    }
}

/// One member.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) raft: Raft,
    pub(crate) disk: Disk,
    /// Writes that are not durable yet.
    pub(crate) writes: VecDeque<(Write, Vec<Entry>)>,
    /// Whether writes become durable by themselves.
    pub(crate) stores: bool,
    pub(crate) applied: Vec<Entry>,
    pub(crate) answers: Vec<(Ticket, Result<Index, Refused>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) up: bool,
    life: u64,
}

/// A group on a bench.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) now: u64,
    pub(crate) config: Config,
    pub(crate) seats: BTreeMap<NodeId, Seat>,
    /// In the order in which they were sent.
    pub(crate) mail: VecDeque<Message>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    tickets: u64,
}

impl Lab {
    pub(crate) fn new(config: Config, ids: &[NodeId]) -> Lab {
        let members = Configuration::voters(ids.iter().copied());
        let mut lab = Lab {
            now: 0,
            config,
            seats: BTreeMap::new(),
            mail: VecDeque::new(),
            cut: BTreeSet::new(),
            tickets: 0,
        };
        for id in ids {
            lab.seat(*id, members.clone());
        }
        lab
    }

    pub(crate) fn seat(&mut self, id: NodeId, members: Configuration) {
        let disk = Disk::new(members);
        let raft = self.restore(id, &disk, 1);
        let (writes, applied, answers, faults) = Default::default();
        let seat =
            Seat { raft, disk, writes, stores: true, applied, answers, faults, up: true, life: 1 };
        self.seats.insert(id, seat);
    }

    fn restore(&self, id: NodeId, disk: &Disk, life: u64) -> Raft {
        Raft::restore(id, self.config.clone(), disk.boot(life), self.now, 42).unwrap()
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        let seat = self.seats.get_mut(&id).unwrap();
        seat.up = false;
        seat.writes.clear();
    }

    pub(crate) fn restart(&mut self, id: NodeId) {
        let life = self.seats[&id].life + 1;
        let raft = self.restore(id, &self.seats[&id].disk.clone(), life);
        let seat = self.seats.get_mut(&id).unwrap();
        let base = seat.disk.snapshot.last.index;
        seat.applied.retain(|entry| entry.index <= base);
        (seat.raft, seat.life, seat.up) = (raft, life, true);
    }

    /// One step of one member; what it wants is done, but for what it wants sent.
    pub(crate) fn step(&mut self, id: NodeId, inputs: Vec<Input>) {
        let mut inputs = inputs;
        loop {
            let seat = self.seats.get_mut(&id).unwrap();
            if !seat.up {
                return;
            }
            let mut out = Vec::new();
            seat.raft.step(self.now, inputs.drain(..), &mut out);
            seat.raft.check();
            for effect in out {
                self.perform(id, effect, &mut inputs);
            }
            let seat = self.seats.get_mut(&id).unwrap();
            if seat.stores {
                while let Some((write, entries)) = seat.writes.pop_front() {
                    seat.disk.write(&write, &entries);
                    inputs.push(Input::Stored(write.id));
                }
            }
            if inputs.is_empty() {
                return;
            }
        }
    }

    fn perform(&mut self, id: NodeId, effect: Effect, next: &mut Vec<Input>) {
        let seat = self.seats.get_mut(&id).unwrap();
        match effect {
            Effect::Send(message) => self.mail.push_back(message),
            Effect::Write(write) => {
                let range = write.append.clone();
                let entries: Vec<Entry> = seat.raft.entries(range).unwrap().cloned().collect();
                seat.writes.push_back((write, entries));
            }
            Effect::Load { to, after, through, .. } => {
                let wanted = |entry: &&Entry| entry.index > after && entry.index <= through;
                let entries = seat.disk.entries.iter().filter(wanted).cloned().collect();
                next.push(Input::Loaded { to, after, entries });
            }
            Effect::Commit { through } => {
                let from = seat.applied.last().map_or(seat.disk.base, |entry| entry.index).next();
                let entries: Vec<Entry> = match seat.raft.entries(from..through.next()) {
                    Some(entries) => entries.cloned().collect(),
                    None => {
                        let wanted = |entry: &&Entry| entry.index >= from && entry.index <= through;
                        seat.disk.entries.iter().filter(wanted).cloned().collect()
                    }
                };
                assert_eq!(
                    entries.len() as u64,
                    through.0 + 1 - from.0,
                    "node {id} {from}..={through}"
                );
                seat.applied.extend(entries);
            }
            Effect::Answer { ticket, result } => seat.answers.push((ticket, result)),
            Effect::Fault(fault) => seat.faults.push(fault),
            Effect::Compact { through } => {
                let _ = through;
            }
            Effect::Leader { .. } | Effect::Members(_) => {}
            Effect::SendSnapshot { .. } | Effect::FetchSnapshot { .. } => {}
        }
    }

    /// Delivers everything, and what comes of it, until nothing is under way.
    pub(crate) fn deliver_all(&mut self) {
        let mut count = 0;
        while let Some(message) = self.mail.pop_front() {
            count += 1;
            assert!(count < 100_000, "messages without end: {message:?}");
            self.deliver(message);
        }
    }

    pub(crate) fn deliver(&mut self, message: Message) {
        if !self.cut.contains(&(message.from, message.to)) && self.seats.contains_key(&message.to) {
            self.step(message.to, vec![Input::Peer(message)]);
        }
    }

    /// Lets time pass, tick by tick, delivering all that is sent.
    pub(crate) fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.now += 1;
            for id in self.seats.keys().copied().collect::<Vec<_>>() {
                let due = self.seats[&id].raft.deadline().is_some_and(|at| at <= self.now);
                if due {
                    self.step(id, Vec::new());
                }
            }
            self.deliver_all();
        }
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

    pub(crate) fn answer(&self, id: NodeId, ticket: Ticket) -> Option<Result<Index, Refused>> {
        let mut found = self.seats[&id].answers.iter().filter(|(of, _)| *of == ticket);
        let answer = found.next().map(|(_, result)| *result);
        assert!(found.next().is_none(), "answered twice");
        answer
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leads = |(_, seat): &(&NodeId, &Seat)| {
            seat.up && seat.raft.role() == drystone_raft::Role::Leader
        };
        self.seats
            .iter()
            .filter(leads)
            .max_by_key(|(_, seat)| seat.raft.hard().term)
            .map(|(id, _)| *id)
    }

    /// The commands that a member has applied.
    pub(crate) fn applied(&self, id: NodeId) -> Vec<String> {
        let text = |entry: &Entry| match &entry.payload {
            Payload::Data(data) => Some(String::from_utf8_lossy(data).into_owned()),
            _ => None,
        };
        self.seats[&id].applied.iter().filter_map(text).collect()
    }

    pub(crate) fn term(&self, id: NodeId) -> Term {
        self.seats[&id].raft.hard().term
    }
}

#[expect(dead_code, reason = "for suites to come")]
fn unused(_: WriteId) {}
