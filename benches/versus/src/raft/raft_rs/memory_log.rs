//! A log in memory, for raft-rs.

use std::collections::VecDeque;

use ::raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use ::raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

/// Entries, and what comes before them.
pub(super) struct MemoryLog {
    pub(super) hard_state: HardState,
    voters: ConfState,
    /// Index and term of the entry before the first.
    before: (u64, u64),
    entries: VecDeque<Entry>,
}

impl MemoryLog {
    /// An empty one.
    pub(super) fn new(voters: ConfState) -> MemoryLog {
        MemoryLog {
            hard_state: HardState::default(),
            voters,
            before: (0, 0),
            entries: VecDeque::new(),
        }
    }

    /// Appends, in place of what is there from the first of them on.
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(self.before.0 < first.index, "what was compacted is committed");
        self.entries.truncate(self.place(first.index));
        self.entries.extend(entries);
    }

    /// Forgets entries up to this one.
    pub(super) fn compact(&mut self, through: u64) {
        while let Some(entry) = self.entries.front().filter(|entry| entry.index <= through) {
            self.before = (entry.index, entry.term);
            self.entries.pop_front();
        }
    }

    /// Gives back memory held for growth.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Where an index after what was compacted is, or would be.
    fn place(&self, index: u64) -> usize {
        usize::try_from(index - self.before.0 - 1).expect("a log in memory")
    }

    fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.voters.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let mut entries: Vec<Entry> =
            self.entries.range(self.place(low)..self.place(high)).cloned().collect();
        ::raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get(self.place(index));
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// Nobody here is so far behind that it would need one.
    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
