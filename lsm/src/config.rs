//! Every option and limit.
//!
//! There are few on purpose. Whoever runs a database knows how much memory and disk it may have and
//! how many threads; the sizes of memtables, tables and levels follow from that.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::compress::Compression;
use crate::error::{Error, Result};

/// Levels below level 0. The lowest of them holds most of the data.
pub(crate) const LEVELS: usize = 6;

/// Each level is this many times as large as the one above.
pub(crate) const FANOUT: u64 = 10;

/// Sub-levels of level 0 from which on a compaction is due.
pub(crate) const SUBLEVELS_DUE: usize = 4;

/// The most bytes of one batch; with a journal the record's limit is lower.
pub(crate) const BATCH_BYTES_MAX: usize = 2 << 30;

/// The most bytes of a batch that goes into the journal, as one record.
pub(crate) const RECORD_BYTES_MAX: usize = 512 << 20;

/// The most room that a memtable can have for one batch: places are 32 bits wide.
pub(crate) const ROOM_MAX: u64 = 3 << 30;

/// A batch that no memtable of the ordinary size has room for gets one of its own; this is what
/// that needs beside the batch.
const ROOM_SLACK: u64 = 4096;

/// The longest name of a keyspace.
pub(crate) const NAME_BYTES_MAX: usize = 255;

const MEMORY_BYTES_MIN: u64 = 64 << 10;

/// How to open a database.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: Option<u64>,
    pub(crate) threads: usize,
    pub(crate) journal: bool,
    pub(crate) room: Option<Arc<AtomicU64>>,
    pub(crate) seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            memory_bytes: 512 << 20,
            disk_bytes: None,
            threads: 2,
            journal: true,
            room: None,
            seed: None,
        }
    }
}

impl Options {
    /// Memory for the newest writes and for the block cache, half each. The indexes and filters of
    /// tables come on top: about 2 bytes for each key. Default: 512 MiB; at least 64 KiB.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Options {
        self.memory_bytes = bytes;
        self
    }

    /// Writes fail with [`NoSpace`](Error::NoSpace) once the tables take more than this on disk.
    /// Deletes among them: leave room. Default: no limit of ours.
    #[must_use]
    pub fn disk_bytes(mut self, bytes: u64) -> Options {
        self.disk_bytes = Some(bytes);
        self
    }

    /// Threads that flush and compact. With 0 there are none, and whoever owns the database calls
    /// [`Db::flush_once`](crate::Db::flush_once) and [`Db::compact_once`](crate::Db::compact_once);
    /// a write that finds no memory left then flushes by itself. Default: 2.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Options {
        self.threads = count;
        self
    }

    /// Whether writes go to a journal. Without one a write is durable only after
    /// [`Db::persist`](crate::Db::persist) (or a flush that came by itself), and what a crash
    /// leaves is some prefix of the writes: for whoever keeps a journal of their own. Default: yes.
    #[must_use]
    pub fn journal(mut self, yes: bool) -> Options {
        self.journal = yes;
        self
    }

    /// Bytes that there is room for on the disk, kept up to date by whoever knows. A compaction
    /// that needs more is not begun, and a lighter one may be: what is written until the disk is
    /// full, and thrown away, takes the room of what makes some. Default: any amount.
    #[must_use]
    pub fn room(mut self, bytes: Arc<AtomicU64>) -> Options {
        self.room = Some(bytes);
        self
    }

    /// Fixes all that is drawn at random, so that a simulation writes the same bytes in every run.
    /// Default: drawn anew.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Options {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return Err(Error::Options { option: "memory_bytes", rule: "must be at least 64 KiB" });
        }
        if self.threads > 64 {
            return Err(Error::Options { option: "threads", rule: "must be at most 64" });
        }
        Ok(())
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let memtable = (self.memory_bytes / 8).min(256 << 20);
        Sizes {
            memtable_bytes: memtable as u32,
            cache_bytes: self.memory_bytes / 2,
            table_bytes: (memtable / 2).clamp(2 << 10, 64 << 20),
            base_bytes: memtable * SUBLEVELS_DUE as u64,
        }
    }
}

/// About as many tables there may be before they become larger: each is an open file, of which
/// systems mostly grant a process 1024.
const TABLES_DUE: u64 = 400;
/// No table is made larger for that: a compaction needs room for its outputs.
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// What follows from the memory there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Capacity of one memtable.
    pub(crate) memtable_bytes: u32,
    pub(crate) cache_bytes: u64,
    /// A compaction begins another table at about this size.
    pub(crate) table_bytes: u64,
    /// A level of at most this size may be the one that level 0 is compacted into.
    pub(crate) base_bytes: u64,
}

impl Sizes {
    /// The capacity of a memtable whose first batch needs `room`, at most [`ROOM_MAX`].
    pub(crate) fn capacity_for(&self, room: u64) -> u32 {
        let capacity = (room + ROOM_SLACK).max(u64::from(self.memtable_bytes));
        u32::try_from(capacity).expect("batches are bounded")
    }

    /// A compaction begins another table at about this size, if all of them have `bytes`.
    pub(crate) fn due_table_bytes(&self, bytes: u64) -> u64 {
        self.table_bytes.max((bytes / TABLES_DUE).min(TABLE_BYTES_MAX))
    }
}

/// Which tables are merged when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Policy {
    /// One sorted run for each level, ten times as large as the one above. Reads and space are
    /// cheap; a byte is rewritten some ten times.
    #[default]
    Leveled,
    /// Runs of similar size are merged into one. A byte is rewritten a few times; reads look in
    /// more places and old versions take space for longer.
    Tiered,
}

/// How to treat one keyspace.
#[derive(Clone, Default)]
pub struct KeyspaceOptions {
    pub(crate) compression: Compression,
    pub(crate) policy: Policy,
    pub(crate) ttl: Option<Duration>,
    pub(crate) merge: Option<Arc<dyn MergeOperator>>,
    pub(crate) filter: Option<Arc<dyn CompactionFilter>>,
}

impl fmt::Debug for KeyspaceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyspaceOptions")
            .field("compression", &self.compression)
            .field("policy", &self.policy)
            .field("ttl", &self.ttl)
            .field("merge", &self.merge.is_some())
            .field("filter", &self.filter.is_some())
            .finish()
    }
}

impl KeyspaceOptions {
    /// How blocks are packed from now on. Default: LZ4.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> KeyspaceOptions {
        self.compression = compression;
        self
    }

    /// Which tables are merged when. Default: leveled.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> KeyspaceOptions {
        self.policy = policy;
        self
    }

    /// An entry is gone this long after it was written, in wall time that never goes back. Whether
    /// a keyspace has a time to live is settled when it is made; how long may change, for what is
    /// written from then on. Default: for ever.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> KeyspaceOptions {
        self.ttl = Some(ttl);
        self
    }

    /// What [`Batch::merge`](crate::Batch::merge) means. Must be given at every opening, and must
    /// mean the same; until it is given, reads of merged keys fail. Default: none.
    #[must_use]
    pub fn merge(mut self, operator: Arc<dyn MergeOperator>) -> KeyspaceOptions {
        self.merge = Some(operator);
        self
    }

    /// What compactions drop. Default: nothing but what was deleted.
    #[must_use]
    pub fn filter(mut self, filter: Arc<dyn CompactionFilter>) -> KeyspaceOptions {
        self.filter = Some(filter);
        self
    }
}

/// Combines a value with operands written by [`Batch::merge`](crate::Batch::merge).
pub trait MergeOperator: Send + Sync + 'static {
    /// The value of `key` after `operands`, oldest first, have been applied to `base`, which is
    /// nothing if the key had no value. Must depend on nothing else.
    fn merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Vec<u8>;
}

/// Decides which values a compaction may drop.
///
/// It is asked about the newest version of a key that no snapshot holds back, at some time or
/// never: reads may go on seeing a value that it would drop.
pub trait CompactionFilter: Send + Sync + 'static {
    /// Whether to keep `value` under `key`. What is not kept is as if it had been deleted.
    fn keep(&self, key: &[u8], value: &[u8]) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each table is an open file: however much there is, there must not be too many of them.
    #[test]
    fn tables_grow_with_what_there_is() {
        let sizes = Options::default().sizes();
        let few = sizes.table_bytes * TABLES_DUE;
        assert_eq!(sizes.due_table_bytes(0), sizes.table_bytes);
        assert_eq!(sizes.due_table_bytes(few), sizes.table_bytes);
        assert_eq!(sizes.due_table_bytes(2 * few), 2 * sizes.table_bytes);
        // Of a table that is not finished yet there must be room for a copy.
        assert_eq!(sizes.due_table_bytes(u64::MAX), TABLE_BYTES_MAX);
        let mut before = 0;
        for gib in 0..200 {
            let due = sizes.due_table_bytes(gib << 30);
            assert!(before <= due && due <= TABLE_BYTES_MAX, "{gib} GiB: {due}");
            assert!(due == TABLE_BYTES_MAX || (gib << 30) / due <= TABLES_DUE + 1, "{gib} GiB");
            before = due;
        }
    }
}
