//! How much there is, and how much was done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::CacheStats;

/// Counters that writers and background work add to. Relaxed: they guard nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    changes: AtomicU64,
    batch_bytes: AtomicU64,
    flushes: AtomicU64,
    flushed_bytes: AtomicU64,
    compactions: AtomicU64,
    moves: AtomicU64,
    compacted_bytes: AtomicU64,
}

impl Tally {
    pub(crate) fn wrote(&self, changes: u64, bytes: u64) {
        self.changes.fetch_add(changes, Ordering::Relaxed);
        self.batch_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self, bytes: u64) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flushed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn compacted(&self, bytes: u64) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
        self.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fill(&self, stats: &mut Stats) {
        stats.changes = self.changes.load(Ordering::Relaxed);
        stats.batch_bytes = self.batch_bytes.load(Ordering::Relaxed);
        stats.flushes = self.flushes.load(Ordering::Relaxed);
        stats.flushed_bytes = self.flushed_bytes.load(Ordering::Relaxed);
        stats.compactions = self.compactions.load(Ordering::Relaxed);
        stats.moves = self.moves.load(Ordering::Relaxed);
        stats.compacted_bytes = self.compacted_bytes.load(Ordering::Relaxed);
    }
}

/// How much a database holds, and what was done since it was opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of all tables on disk.
    pub table_bytes: u64,
    /// Tables.
    pub tables: u64,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// Bytes of the manifest's files.
    pub manifest_bytes: u64,
    /// Bytes in use in memtables.
    pub memtable_bytes: u64,
    /// Memtables waiting to be flushed.
    pub sealed: usize,
    /// Compactions under way.
    pub compacting: usize,
    /// Snapshots that live.
    pub snapshots: usize,
    /// The age of the oldest of them.
    pub oldest_snapshot: Option<Duration>,
    /// How far the tree is behind its shape, from 0 to 1; writers wait from there on.
    pub debt: f64,
    /// The keyspaces, by name.
    pub keyspaces: Vec<KeyspaceStats>,
    /// The block cache.
    pub cache: CacheStats,
    /// Changes written.
    pub changes: u64,
    /// Bytes of the batches written.
    pub batch_bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Bytes of the tables they wrote.
    pub flushed_bytes: u64,
    /// Compactions.
    pub compactions: u64,
    /// Tables that went down a level without being written anew.
    pub moves: u64,
    /// Bytes of the tables that compactions wrote.
    pub compacted_bytes: u64,
}

/// One keyspace.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct KeyspaceStats {
    /// Its name.
    pub name: String,
    /// The sub-levels of level 0, from the oldest.
    pub sublevels: Vec<LevelStats>,
    /// Levels 1 and on.
    pub levels: Vec<LevelStats>,
}

/// One level, or one sub-level of level 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// Tables.
    pub tables: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries in them, old versions included.
    pub entries: u64,
    /// Of these, deletes.
    pub deletes: u64,
    /// Range deletes in them.
    pub range_deletes: u64,
}
