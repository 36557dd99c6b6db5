//! A group on a bench: messages lie about until they are delivered, disks write when told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_raft::{
    Body, Change, Config, Configuration, Effect, Entry, Fault, Index, Input, Message, NodeId,
    Payload, Raft, ReadMode, Refused, Role, Term, Ticket, Write, WriteId,
};

use self::disk::Disk;
use self::snapshots::Snapshots;

mod disk;
mod snapshots;
mod tools;

/// One member.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) raft: Raft,
    pub(crate) disk: Disk,
    /// Writes that are not durable yet.
    pub(crate) writes: VecDeque<(Write, Vec<Entry>)>,
    /// Those of them that it was told are durable, before others were.
    pub(crate) done: Vec<WriteId>,
    /// Whether writes become durable by themselves.
    pub(crate) stores: bool,
    pub(crate) applied: Vec<Entry>,
    pub(crate) answers: Vec<(Ticket, Result<Index, Refused>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) up: bool,
    pub(crate) snapshots: Snapshots,
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
    /// Messages that get lost.
    pub(crate) lost: Option<fn(&Message) -> bool>,
    /// All that was ever sent.
    pub(crate) sent: Vec<Message>,
    /// Those that are set up in their own way.
    pub(crate) configs: BTreeMap<NodeId, Config>,
    tickets: u64,
}

impl Lab {
    pub(crate) fn new(config: Config, ids: &[NodeId]) -> Lab {
        Lab::of(config, ids, &Configuration::voters(ids.iter().copied()))
    }

    pub(crate) fn of(config: Config, ids: &[NodeId], members: &Configuration) -> Lab {
        let mut lab = Lab {
            now: 0,
            config,
            seats: BTreeMap::new(),
            mail: VecDeque::new(),
            cut: BTreeSet::new(),
            lost: None,
            sent: Vec::new(),
            configs: BTreeMap::new(),
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
        let seat = Seat {
            raft,
            disk,
            writes: VecDeque::new(),
            done: Vec::new(),
            stores: true,
            applied: Vec::new(),
            answers: Vec::new(),
            faults: Vec::new(),
            up: true,
            snapshots: Snapshots::default(),
            life: 1,
        };
        self.seats.insert(id, seat);
    }

    fn restore(&self, id: NodeId, disk: &Disk, life: u64) -> Raft {
        let config = self.configs.get(&id).unwrap_or(&self.config).clone();
        Raft::restore(id, config, disk.boot(life), self.now, 42).unwrap()
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        let seat = self.seats.get_mut(&id).unwrap();
        seat.up = false;
        seat.writes.clear();
        seat.done.clear();
        seat.snapshots.forget();
    }

    pub(crate) fn restart(&mut self, id: NodeId) {
        let life = self.seats[&id].life + 1;
        let raft = self.restore(id, &self.seats[&id].disk.clone(), life);
        let seat = self.seats.get_mut(&id).unwrap();
        let rotten = seat.disk.snapshot_rotten;
        seat.applied = if rotten { Vec::new() } else { seat.disk.state.clone() };
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
                    seat.disk.write(&write, &entries, &seat.applied);
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
            Effect::Send(message) => {
                tools::is_anchored(&message);
                self.sent.push(message.clone());
                self.mail.push_back(message);
            }
            Effect::Write(write) => {
                let range = write.append.clone();
                let entries: Vec<Entry> = seat.raft.entries(range).unwrap().cloned().collect();
                if write.snapshot.is_some() {
                    seat.applied = seat.snapshots.fetched.clone();
                }
                seat.writes.push_back((write, entries));
            }
            Effect::Load { to, after, through, bytes_max } => {
                next.push(seat.disk.read(to, after, through, bytes_max));
            }
            Effect::Commit { through } => {
                // What a snapshot stands for is not applied one by one.
                let snapshot = seat.raft.base().index.min(through);
                let from = seat.applied.last().map_or(snapshot, |entry| entry.index).next();
                let entries: Vec<Entry> = match seat.raft.entries(from..through.next()) {
                    Some(entries) => entries.cloned().collect(),
                    None => seat.disk.sound(from, through),
                };
                let count = through.0 + 1 - from.0;
                assert_eq!(entries.len() as u64, count, "node {id} {from}..={through}");
                seat.applied.extend(entries);
            }
            Effect::Answer { ticket, result } => seat.answers.push((ticket, result)),
            Effect::Fault(fault) => seat.faults.push(fault),
            Effect::Compact { through } => seat.disk.compact(through),
            Effect::Leader { .. } | Effect::Members(_) => {}
            Effect::SendSnapshot { to } => self.open(id, to, next),
            Effect::FetchSnapshot { from, meta } => self.fetch(id, from, meta),
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
        let cut = self.cut.contains(&(message.from, message.to));
        let lost = self.lost.is_some_and(|lost| lost(&message));
        if !cut && !lost && self.seats.contains_key(&message.to) {
            self.step(message.to, vec![Input::Peer(message)]);
        }
    }

    /// Lets time pass, tick by tick, delivering all that is sent.
    pub(crate) fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.tick();
            self.deliver_all();
        }
    }

    /// Lets a tick pass; no message is delivered.
    pub(crate) fn tick(&mut self) {
        self.now += 1;
        for id in self.seats.keys().copied().collect::<Vec<_>>() {
            if self.seats[&id].raft.deadline().is_some_and(|at| at <= self.now) {
                self.step(id, Vec::new());
            }
        }
        self.carry();
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
        let leads = |(_, seat): &(&NodeId, &Seat)| seat.up && seat.raft.role() == Role::Leader;
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
