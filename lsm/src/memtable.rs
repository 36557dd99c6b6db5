//! The newest writes, in memory: one sorted list for all keyspaces, and the range deletes.
//!
//! A memtable lives through three ages. It is *active* while writers insert into it; *sealed* once
//! it is full and another has taken its place; and gone when its entries are in tables and the
//! manifest says so. All keyspaces share one memtable, and are therefore flushed together: a batch
//! over two keyspaces is in the tables of both or of neither, and a keyspace that nobody writes to
//! any more keeps no part of the journal from being let go.
//!
//! ```text
//!   reserve ──► insert, insert ...      any number of threads, no lock
//!      │
//!      └─ no: seal this one, make the next
//! ```
//!
//! Room is reserved before a batch gets its numbers, so that an insertion cannot fail.

mod arena;
mod bulk;
#[cfg(all(loom, test))]
mod model;
mod ranges;
mod skiplist;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

pub(crate) use self::bulk::Bulk;
use self::ranges::Ranges;
use self::skiplist::{Node, OVERHEAD_MAX, SkipList};
use crate::cursor::{Cursor, Entry};
use crate::error::Result;
use crate::key::{Kind, SeqNo};
use crate::range_del::RangeDelete;
use crate::sync::{AtomicU64, Mutex};

pub(crate) use self::ranges::Tiers;

/// The number of a keyspace. Never used twice in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyspaceId(pub(crate) u32);

/// See the module.
#[derive(Debug)]
pub(crate) struct Memtable {
    list: SkipList,
    /// No more is promised once this much is in use.
    bytes_max: u64,
    /// Bytes promised to batches, counted as if every tower were as tall as can be.
    reserved: AtomicU64,
    /// Whether `ranges` holds any, for those who would rather not lock.
    has_ranges: AtomicBool,
    ranges: Mutex<BTreeMap<KeyspaceId, Ranges>>,
}

impl Memtable {
    /// A memtable of `capacity` bytes. `seed` is for the towers of the list.
    pub(crate) fn new(capacity: u32, seed: u64) -> Memtable {
        // Promises are for the tallest towers, and most are low: the arena is larger than what will
        // be used of it. What is not used takes no memory.
        Memtable {
            list: SkipList::new(capacity.saturating_mul(2), seed),
            bytes_max: u64::from(capacity),
            reserved: AtomicU64::new(0),
            has_ranges: AtomicBool::new(false),
            ranges: Mutex::new(BTreeMap::new()),
        }
    }

    /// The room that a batch of `count` entries with `bytes` bytes of keys and values may need.
    pub(crate) fn room(count: u64, bytes: u64) -> u64 {
        bytes + count * u64::from(OVERHEAD_MAX)
    }

    /// Promises `room`, if there is any. Called by one thread at a time.
    pub(crate) fn reserve(&self, room: u64) -> bool {
        let reserved = self.reserved.load(Ordering::Relaxed) + room;
        let full = self.list.used() >= self.bytes_max && self.is_reserved();
        // The list's first node takes some of it.
        if full || reserved + 512 > u64::from(self.list.capacity()) {
            return false;
        }
        self.reserved.store(reserved, Ordering::Relaxed);
        true
    }

    /// Whether any batch was promised room.
    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved.load(Ordering::Relaxed) > 0
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> u64 {
        self.list.used()
    }

    /// Whether nothing was written to it. Meaningful once it is sealed.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.first() == Node::NONE && !self.has_ranges.load(Ordering::Acquire)
    }

    /// Inserts an entry for which room was reserved.
    pub(crate) fn insert(
        &self,
        space: KeyspaceId,
        key: &[u8],
        seq: SeqNo,
        kind: Kind,
        value: &[u8],
    ) {
        self.list.insert(space.0, key, seq, kind, value);
    }

    /// Adds a range delete.
    pub(crate) fn delete_range(&self, space: KeyspaceId, start: &[u8], end: &[u8], seq: SeqNo) {
        if start >= end {
            return;
        }
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        let mut ranges = self.ranges.lock();
        ranges.entry(space).or_default().add(RangeDelete { start, end, seq });
        // Release, under the lock: who sees the flag finds the list.
        self.has_ranges.store(true, Ordering::Release);
    }

    /// The range deletes of a keyspace, or nothing if there are none.
    pub(crate) fn range_dels(&self, space: KeyspaceId) -> Option<Tiers> {
        // A delete that this load misses is not visible to the caller's snapshot: it is published
        // only after the flag is set.
        if !self.has_ranges.load(Ordering::Acquire) {
            return None;
        }
        self.ranges.lock().get_mut(&space).map(Ranges::show)
    }

    /// The newest entry of `key` up to `seq`.
    pub(crate) fn get(&self, space: KeyspaceId, key: &[u8], seq: SeqNo) -> Option<Entry<'_>> {
        let node = self.list.seek(space.0, key, seq);
        if node == Node::NONE || self.list.space(node) != space.0 {
            return None;
        }
        let entry = self.list.entry(node);
        (entry.key == key).then_some(entry)
    }

    /// The keyspaces that have entries or range deletes here, in order. A walk along the list by
    /// seeks: for the flush.
    pub(crate) fn keyspaces(&self) -> Vec<KeyspaceId> {
        let mut found: Vec<KeyspaceId> = self.ranges.lock().keys().copied().collect();
        let mut node = self.list.first();
        while node != Node::NONE {
            let space = self.list.space(node);
            found.push(KeyspaceId(space));
            let last = self.list.last_of(space);
            node = if last == Node::NONE { last } else { self.list.next(last) };
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// A cursor over the entries of one keyspace in a memtable. Writers may insert meanwhile.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    space: KeyspaceId,
    at: Node,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: Arc<Memtable>, space: KeyspaceId) -> MemtableCursor {
        MemtableCursor { memtable, space, at: Node::NONE }
    }

    /// Stands on `node` if it is an entry of the keyspace, and nowhere otherwise.
    fn stand(&mut self, node: Node) -> Result<()> {
        let ours = node != Node::NONE && self.memtable.list.space(node) == self.space.0;
        self.at = if ours { node } else { Node::NONE };
        Ok(())
    }
}

impl Cursor for MemtableCursor {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.stand(self.memtable.list.seek(self.space.0, user_key, seq))
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.stand(self.memtable.list.seek_back(self.space.0, user_key, seq))
    }

    fn first(&mut self) -> Result<()> {
        self.stand(self.memtable.list.seek(self.space.0, &[], SeqNo::MAX))
    }

    fn last(&mut self) -> Result<()> {
        self.stand(self.memtable.list.last_of(self.space.0))
    }

    fn next(&mut self) -> Result<()> {
        match self.at {
            Node::NONE => Ok(()),
            at => self.stand(self.memtable.list.next(at)),
        }
    }

    fn prev(&mut self) -> Result<()> {
        match self.at {
            Node::NONE => Ok(()),
            at => self.stand(self.memtable.list.prev(at)),
        }
    }

    fn entry(&self) -> Option<Entry<'_>> {
        (self.at != Node::NONE).then(|| self.memtable.list.entry(self.at))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
