//! One member on the bench: its core, its disk, its clock and its state machine.

use std::collections::VecDeque;
use std::sync::Arc;

use drystone_raft::{Entry, Fault, Index, Payload, Raft, Refused, SnapshotMeta, Ticket, Write};

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
    /// Its number among those since the disk is slow.
    pub(crate) number: u64,
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
    /// How many writes were asked for since they do not.
    pub(crate) written: u64,
    /// Whether it led before the step that is under way.
    pub(crate) led: bool,
    /// Whether entries asked for are read at once.
    pub(crate) loads: bool,
    /// Everything its state machine has applied, from the first entry.
    pub(crate) applied: Vec<Entry>,
    /// A snapshot's content on its way into the state machine.
    pub(crate) fetched: Option<Vec<Entry>>,
    pub(crate) answers: Vec<(Ticket, Result<Index, Refused>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) up: bool,
    /// Its machine stands still: nothing is done, and what comes in waits.
    pub(crate) paused: bool,
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
            written: 0,
            led: false,
            loads: true,
            applied: disk.state.clone(),
            fetched: None,
            answers: Vec::new(),
            faults: Vec::new(),
            up: true,
            paused: false,
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

    /// A snapshot of what it had applied up to `through`.
    pub(crate) fn snapshot(&self, through: Index) -> SnapshotMeta {
        let applied = || self.applied.iter().rev().filter(|entry| entry.index <= through);
        let first = &self.disk.snapshot;
        let last = applied().next().map_or(first.last, Entry::position);
        let named = applied().find_map(|entry| match &entry.payload {
            Payload::Configuration(members) => Some((entry.index, Arc::clone(members))),
            _ => None,
        });
        let (configuration_index, configuration) =
            named.unwrap_or_else(|| (first.configuration_index, Arc::clone(&first.configuration)));
        SnapshotMeta { last, configuration, configuration_index }
    }
}
