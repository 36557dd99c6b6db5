//! Figures about an open database.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::readers::Reader;
use crate::space::Space;
use crate::types::TxnId;

/// Sizes that are asked for often: reading them takes no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// The file's length.
    pub file_bytes: u64,
    /// Pages of the newest state, and of the free map.
    pub used_bytes: u64,
    /// Pages that are committed and not flushed.
    pub unflushed_bytes: u64,
    /// By how much the next flush makes the file longer, at most what it writes: the rest goes over
    /// pages that are free.
    pub growth_bytes: u64,
}

/// What a database is made of and busy with, at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats {
    /// As [`Db::sizes`](crate::Db::sizes) has them.
    pub sizes: Sizes,
    /// The last transaction that is seen.
    pub newest: TxnId,
    /// The last transaction that is on disk.
    pub durable: TxnId,
    /// Bytes in a page.
    pub page_bytes: usize,
    /// Pages of the file, the meta pages included.
    pub pages: u64,
    /// Pages that a commit can take.
    pub pages_free: u64,
    /// Pages that will be free when the disk, or a reader, is done with them.
    pub pages_pending: u64,
    /// Everyone who reads, the one that came first first. A reader that was leaked stays here.
    pub readers: Vec<Reader>,
    /// Pages of the file that have a place in the mirror.
    pub mirror_pages: u64,
    /// Bytes of pages in the cache.
    pub cache_bytes: usize,
    /// Bytes of pages that are neither in the mirror nor in the cache: commits that no flush has
    /// written, and what readers hold of those.
    pub held_bytes: usize,
    /// Bytes of the mirror's stamps and of the maps of free pages.
    pub map_bytes: usize,
    /// Flushes since the database was opened.
    pub flushes: u64,
    /// Pages they wrote.
    pub pages_written: u64,
}

/// The numbers behind [`Sizes`].
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    file_bytes: AtomicU64,
    used_pages: AtomicU64,
    unflushed_pages: AtomicU64,
    /// Pages that a flush has to write, and the first one behind the file as it will be.
    backlog_pages: AtomicU64,
    end: AtomicU64,
}

impl Gauges {
    pub(crate) fn set_file_bytes(&self, bytes: u64) {
        self.file_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Called by whoever changed `space`, before letting it go.
    pub(crate) fn set_space(&self, space: &Space) {
        self.used_pages.store(space.used_count(), Ordering::Relaxed);
        self.unflushed_pages.store(space.unflushed_pages(), Ordering::Relaxed);
        self.backlog_pages.store(space.backlog_pages(), Ordering::Relaxed);
        self.end.store(u64::from(space.end()), Ordering::Relaxed);
    }

    pub(crate) fn sizes(&self, page_bytes: usize) -> Sizes {
        let pages = |count: &AtomicU64| count.load(Ordering::Relaxed) * page_bytes as u64;
        let file_bytes = self.file_bytes.load(Ordering::Relaxed);
        Sizes {
            growth_bytes: pages(&self.end)
                .saturating_sub(file_bytes)
                .min(pages(&self.backlog_pages)),
            file_bytes,
            used_bytes: pages(&self.used_pages),
            unflushed_bytes: pages(&self.unflushed_pages),
        }
    }
}
