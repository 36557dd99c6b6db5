//! Writes that the log has no room for yet.
//!
//! **The problem.** A disk that does not keep up is given no more than [`FLYING_BYTES_MAX`] at a
//! time: beyond, the log's buffers are full, and handing on blocks. But a follower that took in
//! nothing meanwhile would not hear its leader, nor a leader its followers: a disk that answers
//! nobody for a second would cost the leader, and every read that has to be confirmed.
//!
//! **The idea.** All is taken in, and what has to be written waits here, in order:
//!
//! ```text
//!     step ──► Write ──┬─ room, and nobody waits ──────────► batch ──► log
//!                      └─► [ oldest … newest ] ── room ────► batch ──► log
//! ```
//!
//! The core does not notice: a write that waits is a write that takes long, and nothing is promised
//! on the strength of it. Commands of this node's own callers are not taken in while anything
//! waits; a leader sends a follower no more than a window that is not accepted; and beyond
//! [`WAITING_BYTES_MAX`] nothing at all is taken in, as the last resort.
//!
//! A snapshot that takes the log's place, and entries that are mended, do not wait: what is before
//! them is handed on with them, however much that is. Both are rare.

use std::collections::VecDeque;

use crate::effect::Write;
use crate::entry::Entry;
use crate::runtime::applier::Job;
use crate::runtime::machine::StateMachine;
use crate::runtime::shard::{FLYING_BYTES_MAX, Shard};
use crate::store::{Batch, GroupId, Store};
use crate::types::{Index, WriteId};

/// Bytes of entries that may wait here: twice what a leader sends without being answered.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Writes that the log has no room for yet.
///
/// * `bytes` is the sum over the queue.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queue: VecDeque<Waiting>,
    bytes: usize,
}

/// What waits, of the group in a slot.
#[derive(Debug)]
enum Waiting {
    Write {
        slot: u32,
        write: Box<Write>,
        entries: Vec<Entry>,
        /// What was known to be committed then.
        commit: Index,
    },
    Compact {
        slot: u32,
        through: Index,
    },
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Waiting::Write { entries, .. } => entries.iter().map(Entry::bytes).sum(),
            Waiting::Compact { .. } => 0,
        }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether more may be taken in that has to be written.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < WAITING_BYTES_MAX
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.queue.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.bytes -= waiting.bytes();
        Some(waiting)
    }

    /// Nothing will be written any more.
    pub(super) fn clear(&mut self) {
        *self = Backlog::default();
    }
}

/// What is handed to the log in one round.
pub(super) struct Page<'a> {
    store: &'a Store,
    pub(super) batch: Option<Batch<'a>>,
    pub(super) writes: Vec<(u32, WriteId)>,
}

impl<'a> Page<'a> {
    pub(super) fn of(store: &'a Store) -> Page<'a> {
        Page { store, batch: None, writes: Vec::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::bytes)
    }

    fn batch(&mut self) -> &mut Batch<'a> {
        let store = self.store;
        self.batch.get_or_insert_with(|| store.batch())
    }

    fn put<'e>(
        &mut self,
        (slot, group): (u32, GroupId),
        write: &Write,
        commit: Index,
        entries: impl IntoIterator<Item = &'e Entry, IntoIter: Clone>,
    ) {
        let batch = self.batch();
        batch.note_commit(group, commit);
        batch.put(group, write, entries).expect("a group that is in a shard is in the store");
        self.writes.push((slot, write.id));
    }
}

impl<M: StateMachine> Shard<M> {
    fn log_has_room(&self, page: &Page<'_>) -> bool {
        self.flying + page.bytes() < FLYING_BYTES_MAX
    }

    /// Hands on what waits, as far as there is room.
    pub(super) fn write_backlog(&mut self, page: &mut Page<'_>) {
        while self.log_has_room(page)
            && let Some(waiting) = self.backlog.pop()
        {
            self.write_waiting(waiting, page);
        }
    }

    /// Hands on all that waits.
    pub(super) fn write_whole_backlog(&mut self, page: &mut Page<'_>) {
        while let Some(waiting) = self.backlog.pop() {
            self.write_waiting(waiting, page);
        }
    }

    fn write_waiting(&mut self, waiting: Waiting, page: &mut Page<'_>) {
        match waiting {
            Waiting::Write { slot, write, entries, commit } => {
                let group = self.seats[slot as usize].group;
                page.put((slot, group), &write, commit, &entries);
            }
            Waiting::Compact { slot, through } => self.shorten_now(slot, through, page),
        }
    }

    /// Writes, or lets it wait for its turn.
    pub(super) fn write(&mut self, slot: u32, write: Write, page: &mut Page<'_>) {
        if write.snapshot.is_some() || !write.mended.is_empty() {
            self.write_whole_backlog(page);
        } else if !self.backlog.is_empty() || !self.log_has_room(page) {
            let raft = &self.seats[slot as usize].raft;
            let entries = raft.entries(write.append.clone()).expect(IN_MEMORY);
            let (entries, commit) = (entries.cloned().collect(), raft.commit());
            let write = Box::new(write);
            return self.backlog.push(Waiting::Write { slot, write, entries, commit });
        }
        let seat = &mut self.seats[slot as usize];
        let entries = seat.raft.entries(write.append.clone()).expect(IN_MEMORY);
        page.put((slot, seat.group), &write, seat.raft.commit(), entries);
        if !write.mended.is_empty() {
            self.mended.push((slot, write.mended));
        }
        if let Some(meta) = write.snapshot {
            seat.handed = seat.handed.max(meta.last.index);
            self.compacted.push((seat.group, meta.last.index));
            self.jobs.push(Job::Restore { slot, meta: *meta });
        }
    }

    /// Shortens a group's log, or lets that wait for its turn.
    pub(super) fn shorten_log(&mut self, slot: u32, through: Index, page: &mut Page<'_>) {
        if self.backlog.is_empty() {
            self.shorten_now(slot, through, page);
        } else {
            self.backlog.push(Waiting::Compact { slot, through });
        }
    }

    fn shorten_now(&mut self, slot: u32, through: Index, page: &mut Page<'_>) {
        let group = self.seats[slot as usize].group;
        // Only a group that is not here could fail.
        let _ = page.batch().compact(group, through);
        self.compacted.push((group, through));
    }
}

const IN_MEMORY: &str = "entries of a write of the last step are in memory";
