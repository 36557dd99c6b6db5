//! A register kept by a majority of five nodes: the algorithm of Attiya, Bar-Noy and Dolev (1995)
//! for several writers, and ways to get it wrong.
//!
//! Any node takes a request. It asks a majority for their tag and value, takes the highest, and
//! stores at a majority either a value of its own under a higher tag (a write) or what it has found
//! (a read: without that, a later read could find less). A node says that it has stored when the
//! disk has.

use std::collections::{BTreeMap, BTreeSet};

use drystone_sim::linear::register::{self, Ret};
use drystone_sim::{Input, InputOf, NodeId, OutboxOf, Process, Rate, Rng};

pub(crate) const NODES: usize = 5;

/// How long the protocol waits before it asks again.
pub(crate) const PATIENCE: u64 = 1000;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// A read returns what it has found without storing it at a majority.
    NoWriteBack,
    /// Two of five are taken for a majority.
    SmallQuorum,
    /// "Stored" is said before the disk has it.
    EarlyStored,
    /// Two writes of one node may have the same tag, if it crashed between them.
    TagOfNode,
    /// An answer to an earlier request counts for this one.
    AnyAnswer,
    /// A write does not ask for the highest tag: it counts by itself.
    BlindWrite,
    /// Nothing is done before all have answered.
    WaitsForAll,
}

/// Orders values: a number, and the request (or, wrongly, the node) that wrote it.
pub(crate) type Tag = (u64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamped {
    tag: Tag,
    value: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    Query { job: u64 },
    Found { job: u64, stamped: Stamped },
    Store { job: u64, stamped: Stamped },
    Stored { job: u64 },
}

#[derive(Debug)]
pub(crate) enum Event {
    /// The disk has this.
    Synced { to: NodeId, job: u64, stamped: Stamped },
}

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) bug: Bug,
    stamped: Stamped,
}

impl Disk {
    pub(crate) fn new(bug: Bug) -> Disk {
        Disk { bug, stamped: Stamped { tag: (0, 0), value: None } }
    }
}

struct Job {
    op: register::Op<u8, u64>,
    storing: bool,
    best: Stamped,
    heard: BTreeSet<NodeId>,
}

pub(crate) struct Node {
    id: NodeId,
    disk: Disk,
    writing: Vec<Stamped>,
    jobs: BTreeMap<u64, Job>,
    retry_at: u64,
    /// Answers that the client beside this node has not taken yet.
    pub(crate) done: Vec<(u64, Ret<u64>)>,
}

type Out<'a> = OutboxOf<'a, Node>;

impl Node {
    /// A client asks for `op`; `job` is a number that no other request has.
    pub(crate) fn ask(&mut self, job: u64, op: register::Op<u8, u64>, out: &mut Out<'_>) {
        let mut new = Job { op, storing: false, best: self.disk.stamped, heard: BTreeSet::new() };
        if self.disk.bug == Bug::BlindWrite && !matches!(new.op, register::Op::Read(_)) {
            self.store(job, &mut new);
        }
        self.jobs.insert(job, new);
        self.send_to_missing(out);
    }

    fn store(&self, job: u64, new: &mut Job) {
        new.storing = true;
        new.heard.clear();
        if let register::Op::Write(_, value) = &new.op {
            let writer = if self.disk.bug == Bug::TagOfNode { u64::from(self.id.0) } else { job };
            new.best = Stamped { tag: (new.best.tag.0 + 1, writer), value: Some(*value) };
        }
    }

    fn send_to_missing(&self, out: &mut Out<'_>) {
        for (job, Job { storing, best, heard, .. }) in &self.jobs {
            let (job, stamped) = (*job, *best);
            for to in NodeId::first(NODES).filter(|to| !heard.contains(to)) {
                match storing {
                    true => out.send(to, Message::Store { job, stamped }),
                    false => out.send(to, Message::Query { job }),
                }
            }
        }
    }

    /// Somebody has answered the phase that a job is in.
    fn heard(&mut self, job: u64, from: NodeId, found: Option<Stamped>, out: &mut Out<'_>) {
        let job = match self.disk.bug {
            Bug::AnyAnswer => self.jobs.keys().next().copied().unwrap_or(job),
            _ => job,
        };
        let Some(mut current) = self.jobs.remove(&job) else { return };
        if current.storing == found.is_none() {
            current.heard.insert(from);
            if let Some(found) = found.filter(|found| found.tag > current.best.tag) {
                current.best = found;
            }
        }
        let enough = match self.disk.bug {
            Bug::SmallQuorum => NODES / 2,
            Bug::WaitsForAll => NODES,
            _ => NODES / 2 + 1,
        };
        if current.heard.len() < enough {
            self.jobs.insert(job, current);
            return;
        }
        let read = matches!(current.op, register::Op::Read(_));
        if current.storing || (read && self.disk.bug == Bug::NoWriteBack) {
            let ret = if read { Ret::Value(current.best.value) } else { Ret::Written };
            self.done.push((job, ret));
            return;
        }
        self.store(job, &mut current);
        self.jobs.insert(job, current);
        self.send_to_missing(out);
    }

    fn receive(&mut self, from: NodeId, message: Message, out: &mut Out<'_>) {
        match message {
            Message::Query { job } => {
                out.send(from, Message::Found { job, stamped: self.disk.stamped });
            }
            Message::Store { job, stamped } => {
                self.writing.push(stamped);
                let latency = out.rng().range(1..PATIENCE / 4);
                out.later(latency, Event::Synced { to: from, job, stamped });
                if self.disk.bug == Bug::EarlyStored {
                    out.send(from, Message::Stored { job });
                }
            }
            Message::Found { job, stamped } => self.heard(job, from, Some(stamped), out),
            Message::Stored { job } => self.heard(job, from, None, out),
        }
    }

    fn take(&mut self, stamped: Stamped) {
        if stamped.tag > self.disk.stamped.tag {
            self.disk.stamped = stamped;
        }
    }
}

impl Process for Node {
    type Message = Message;
    type Event = Event;
    type Disk = Disk;

    fn start(id: NodeId, disk: Disk, now: u64, _: &mut Out<'_>) -> Node {
        let (writing, jobs, done) = (Vec::new(), BTreeMap::new(), Vec::new());
        Node { id, disk, writing, jobs, retry_at: now + PATIENCE, done }
    }

    fn step(&mut self, now: u64, input: InputOf<Node>, out: &mut Out<'_>) {
        match input {
            Input::Message { from, message } => self.receive(from, message, out),
            Input::Event(Event::Synced { to, job, stamped }) => {
                self.writing.retain(|other| *other != stamped);
                self.take(stamped);
                out.send(to, Message::Stored { job });
            }
            Input::Wake => {
                self.retry_at = now + PATIENCE;
                self.send_to_missing(out);
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.retry_at)
    }

    fn crash(mut self, rng: &mut Rng) -> Disk {
        for stamped in std::mem::take(&mut self.writing) {
            if rng.chance(Rate::percent(50)) {
                self.take(stamped);
            }
        }
        self.disk
    }
}
