//! One member on the bench: its core, its disk, its clock and its state machine.

use std::collections::VecDeque;

use drystone_raft::{Configuration, Entry, Fault, Index, Payload, Raft, Refused, Ticket, Write};

use super::disk::Disk;

/// A clock that may be fast, slow or stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    since: u64,
    shown: u64,
    /// Thousandths of a tick it shows for a tick of true time.
    permille: u64,
}

impl Clock {
    pub(crate) fn new(now: u64) -> Clock {
        Clock { since: now, shown: now, permille: 1000 }
    }

    pub(crate) fn at(&self, now: u64) -> u64 {
        self.shown + (now - self.since) * self.permille / 1000
    }

    pub(crate) fn set_rate(&mut self, now: u64, permille: u64) {
        *self = Clock { since: now, shown: self.at(now), permille };
    }
}

/// A write that was asked for and is not durable.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) write: Write,
    pub(crate) entries: Vec<Entry>,
    pub(crate) state: Option<Vec<Entry>>,
    /// The disk says that it is done. It counts after a crash if all before it are done too.
    pub(crate) done: bool,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) raft: Raft,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) writes: VecDeque<Pending>,
    /// Whether writes become durable by themselves.
    pub(crate) stores: bool,
    /// Whether entries asked for are read at once.
    pub(crate) loads: bool,
    /// Everything its state machine has applied, from the first entry.
    pub(crate) applied: Vec<Entry>,
    /// A snapshot's content on its way into the state machine.
    pub(crate) fetched: Option<Vec<Entry>>,
    pub(crate) answers: Vec<(Ticket, Result<Index, Refused>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) up: bool,
    pub(crate) life: u64,
    /// The greatest commit index of this life.
    pub(crate) commit: Index,
}

impl Seat {
    pub(crate) fn new(raft: Raft, disk: Disk, now: u64, life: u64) -> Seat {
        let commit = raft.commit();
        Seat {
            raft,
            clock: Clock::new(now),
            writes: VecDeque::new(),
            stores: true,
            loads: true,
            applied: disk.state.clone(),
            fetched: None,
            answers: Vec::new(),
            faults: Vec::new(),
            up: true,
            life,
            commit,
            disk,
        }
    }

    /// What its log holds, durable or not, as its driver knows it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let last = self.raft.last().index;
        let written = self.writes.iter().flat_map(|pending| &pending.entries);
        let ours = move |entry: &&Entry| {
            entry.index <= last && self.raft.term_at(entry.index) == Some(entry.term)
        };
        self.disk.entries.iter().chain(written).filter(ours)
    }

    /// The members as of what is applied, and where they stand.
    pub(crate) fn applied_members(&self) -> (Index, Configuration) {
        let named = self.applied.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(members) => Some((entry.index, Configuration::clone(members))),
            _ => None,
        });
        let first = &self.disk.snapshot;
        named.unwrap_or_else(|| (first.configuration_index, (*first.configuration).clone()))
    }
}
