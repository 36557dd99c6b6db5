//! Every option and limit, validated once.

use std::sync::Arc;

use drystone_vfs::{Clock, OsClock};

use crate::error::{Error, Result};
use crate::types::TxnId;

/// When commits reach the disk: see [`Options::sync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Each commit is on its way at once; those that come while others are being flushed go
    /// together. The first failed flush ends the database for everyone: what was not durable by
    /// then is gone, and readers see the last durable state from then on.
    #[default]
    EveryCommit,
    /// Nothing is flushed before [`persist`](crate::Db::persist), somebody's
    /// [`wait`](crate::Commit::wait), or more unflushed bytes than
    /// [`unflushed_bytes`](Options::unflushed_bytes): for whoever keeps a journal above. A failed
    /// flush takes nothing from memory, and the next one tries everything again.
    OnRequest,
    /// Each commit's operations go to a log beside the file, `PATH.journal`, which is synced for
    /// all who wait: some hundred bytes where [`EveryCommit`](Sync::EveryCommit) writes a page of
    /// each level. Pages are written when more than [`unflushed_bytes`](Options::unflushed_bytes)
    /// of them wait, or of the log, and when the database is closed. Opening replays the log. A
    /// failed log ends the database as a failed flush does with `EveryCommit`; a failed flush does
    /// not, while the log has everything.
    Journal,
}

/// Who flushes: see [`Options::writer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writer {
    /// Whoever waits while nobody flushes, and else a thread of the database's own.
    #[default]
    Thread,
    /// Whoever waits for a [`Commit`](crate::Commit) first flushes for all. No threads, and thus
    /// one schedule for one sequence of calls: what a simulator needs. Awaiting blocks the poll.
    Caller,
}

impl Sync {
    /// Whether commits are flushed as pages without anybody asking.
    pub(crate) fn is_eager(self) -> bool {
        self == Sync::EveryCommit
    }
}

/// The default of [`Options::unflushed_bytes`].
const UNFLUSHED_BYTES: usize = 64 << 20;

/// How many bytes may wait to be flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of all pages.
    pub pages: u64,
    /// Of those that have no place in the mirror; and of the journal.
    pub held: u64,
}

/// How to open a database.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) page_bytes: usize,
    pub(crate) memory_bytes: usize,
    pub(crate) unflushed_bytes: Option<usize>,
    pub(crate) sync: Sync,
    pub(crate) writer: Writer,
    pub(crate) min_txn: TxnId,
    pub(crate) db_id: Option<u64>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            page_bytes: 4096,
            memory_bytes: 1 << 30,
            unflushed_bytes: None,
            sync: Sync::EveryCommit,
            writer: Writer::Thread,
            min_txn: TxnId(0),
            db_id: None,
            clock: Arc::new(OsClock::new()),
        }
    }
}

impl Options {
    /// Bytes in a page of a new database: 4096, 8192 or 16 384. One that is there keeps its own.
    /// Default: 4096.
    #[must_use]
    pub fn page_bytes(mut self, bytes: usize) -> Options {
        self.page_bytes = bytes;
        self
    }

    /// Memory for pages that have been read or written, at least 1 MiB; it is taken as it is used.
    /// Three quarters are the mirror's, which has the first pages of the file, the rest is a cache
    /// for all others. On top come: the pages of the write transaction; those commits that are not
    /// flushed and lie beyond the mirror, half as much again, 128 MiB at most, while the disk
    /// works and no reader holds them; eight bytes for each page of the mirror and some bits for
    /// each page of the file. [`Stats`](crate::Stats) counts them. Default: 1 GiB.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Options {
        self.memory_bytes = bytes;
        self
    }

    /// How many bytes of pages may wait to be flushed. Beyond it a commit waits for the flush; with
    /// [`Sync::OnRequest`] and [`Sync::Journal`] it has one started, and waits beyond twice as
    /// much. Default: 64 MiB, and a quarter of [`memory_bytes`](Options::memory_bytes) at most. If
    /// commits are not flushed unasked, that goes for the pages beyond the mirror, and for the
    /// journal; those in the mirror wait where they are anyway, all of them if need be, and a page
    /// that is changed a hundred times between two flushes is written once.
    #[must_use]
    pub fn unflushed_bytes(mut self, bytes: usize) -> Options {
        self.unflushed_bytes = Some(bytes);
        self
    }

    /// When commits reach the disk. Default: every commit.
    #[must_use]
    pub fn sync(mut self, sync: Sync) -> Options {
        self.sync = sync;
        self
    }

    /// Who flushes. Default: a thread.
    #[must_use]
    pub fn writer(mut self, writer: Writer) -> Options {
        self.writer = writer;
        self
    }

    /// The last transaction known, from elsewhere, to have been durable. A database that ends
    /// before it is refused as [`Corrupt`](Error::Corrupt): this is how a lying disk or an old copy
    /// of the file is noticed. Default: none.
    #[must_use]
    pub fn min_txn(mut self, txn: TxnId) -> Options {
        self.min_txn = txn;
        self
    }

    /// The identity of a new database. Default: random. Simulations set it, for the same bytes in
    /// every run.
    #[must_use]
    pub fn db_id(mut self, id: u64) -> Options {
        self.db_id = Some(id);
        self
    }

    /// Tells the ages of readers, and how long [`compact`](crate::Db::compact) has been at work.
    /// Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = clock;
        self
    }

    /// Bytes for the mirror; the rest is the cache's.
    pub(crate) fn mirror_bytes(&self) -> usize {
        self.memory_bytes / 4 * 3
    }

    /// What calls for a flush.
    pub(crate) fn unflushed_limits(&self) -> Limits {
        let held = self.unflushed_bytes.unwrap_or(UNFLUSHED_BYTES).min(self.memory_bytes / 4);
        let pages = match self.unflushed_bytes {
            None if !self.sync.is_eager() => self.mirror_bytes(),
            _ => held,
        };
        Limits { pages: pages as u64, held: held as u64 }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let check = |holds: bool, option: &'static str, rule: &'static str| {
            if holds { Ok(()) } else { Err(Error::Options { option, rule }) }
        };
        check(
            matches!(self.page_bytes, 4096 | 8192 | 16384),
            "page_bytes",
            "must be 4096, 8192 or 16384",
        )?;
        check(self.memory_bytes >= 1 << 20, "memory_bytes", "must be at least 1 MiB")
    }
}
