//! What handles, transactions and the flusher share: the file, its pages in memory, who reads them.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use drystone_vfs::{Clock, File, Vfs};
use drystone_wal::Lsn;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cache::Cache;
use crate::compact::Compaction;
use crate::config::{Options, Writer};
use crate::core::Core;
use crate::desk::Desk;
use crate::draft::{Buffer, Sealed, SealedPage, SealedRun};
use crate::error::{Damage, Error, Result};
use crate::flush::Flusher;
use crate::journal::Journal;
use crate::mirror::{Mirror, Stamp};
use crate::queue::{Queue, Ticket};
use crate::readers::Readers;
use crate::root::Root;
use crate::space::{Change, Space, States};
use crate::stats::Gauges;
use crate::taking::Taking;
use crate::types::{Extent, PageId, TxnId};

/// Freed extents that one looks at before others are let in: some 0.1 ms.
const RECLAIMED_AT_ONCE: usize = 1024;

/// How long a commit waits for the disk while the file is to get shorter.
const CROWDED_WAIT: Duration = Duration::from_millis(2);

/// The pages of one file, and who reads them.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) path: Arc<Path>,
    pub(crate) file: Arc<dyn File>,
    pub(crate) page_bytes: usize,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) space: Mutex<Space>,
    /// Told of each flush that has come to its end.
    pub(crate) settled: Condvar,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gauges: Gauges,
    /// The log beside the file, if commits go there.
    pub(crate) journal: OnceLock<Journal>,
}

/// An open database without its thread and its lock.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) body: Arc<Body>,
    pub(crate) core: Core<Flusher>,
    pub(crate) desk: Desk<Tools>,
    pub(crate) options: Options,
    /// Nothing may be written.
    pub(crate) read_only: bool,
    /// How far [`compact`](crate::Db::compact) has come.
    pub(crate) compaction: Mutex<Compaction>,
}

/// What only one can use at a time: whoever has it is the writer.
#[derive(Debug)]
pub(crate) struct Tools {
    /// What the next transaction is called.
    pub(crate) txn: TxnId,
    pub(crate) taking: Arc<Taking>,
    /// A buffer for what the next transaction does.
    pub(crate) ops: Vec<u8>,
}

impl Body {
    /// The bytes of pages as the file has them.
    pub(crate) fn read(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut bytes = vec![0; extent.pages as usize * self.page_bytes];
        let read = self.file.read_at(&mut bytes, extent.first.offset(self.page_bytes));
        match read {
            Ok(len) if len == bytes.len() => Ok(bytes),
            Ok(_) => Err(self.corrupt(extent.first, Damage::FileEnds)),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    pub(crate) fn unreadable(&self, error: io::Error) -> Error {
        Error::io("read", &self.path, error)
    }

    pub(crate) fn corrupt(&self, page: PageId, what: Damage) -> Error {
        let offset = page.offset(self.page_bytes);
        Error::Corrupt { file: Arc::clone(&self.path), offset, what }
    }

    /// Nothing that is not known to be durable now ever will be: it is taken back, and nothing is
    /// committed any more.
    pub(crate) fn retreat(&self, queue: &Queue, error: &Error) {
        // Under the lock of `space`: a commit comes before or after, and not between.
        let _space = self.space.lock();
        if let Some(journal) = self.journal.get() {
            journal.advance(&self.readers);
        }
        // Whoever hears of the failure finds readers back at the durable state.
        self.readers.retreat();
        queue.fail(error.clone());
    }

    /// Shows a commit's page to those who will have a pointer to it. Returns memory that is not
    /// needed any more.
    fn place_page(&self, page: SealedPage) -> Option<Box<[u8]>> {
        let SealedPage { ptr, bytes } = page;
        let (extent, stamp) = (Extent { first: ptr.id, pages: 1 }, Stamp::page(ptr));
        let bytes = match bytes {
            Buffer::Place(place) => match place.publish(stamp) {
                Ok(()) => return None,
                Err(place) => Box::from(&*place),
            },
            Buffer::Loose(_, bytes) => bytes,
        };
        if self.mirror.takes(extent, stamp) {
            self.mirror.write(extent, stamp, &bytes);
            return Some(bytes);
        }
        self.cache.hold(ptr.id, stamp, Bytes::from(bytes));
        None
    }

    fn place_run(&self, run: SealedRun) {
        let SealedRun { ptr, bytes } = run;
        let (extent, stamp) = (ptr.extent(self.page_bytes), Stamp::run(ptr));
        if self.mirror.takes(extent, stamp) {
            self.mirror.write(extent, stamp, &bytes[..ptr.bytes as usize]);
            return;
        }
        let mut bytes = bytes.into_vec();
        bytes.resize(extent.pages as usize * self.page_bytes, 0);
        self.cache.hold(ptr.id, stamp, Bytes::from(bytes));
    }
}

impl Store {
    pub(crate) fn new(
        body: Arc<Body>,
        core: Core<Flusher>,
        txn: TxnId,
        options: Options,
        read_only: bool,
    ) -> Store {
        let tools = Tools { txn, taking: Arc::new(Taking::new(&body)), ops: Vec::new() };
        let desk = Desk::new(tools);
        Store { body, core, desk, options, read_only, compaction: Mutex::default() }
    }

    /// Has the ticket's commit flushed, if commits are flushed unasked.
    pub(crate) fn call(&self, ticket: Ticket) {
        if self.options.sync.is_eager() {
            self.core.queue.call(ticket);
        }
    }

    /// Makes everything committed so far durable as pages.
    pub(crate) fn flush_pages(&self) -> Result<TxnId> {
        self.core.wait(self.core.queue.ticket())
    }

    /// A promise that everything in the journal so far is durable.
    pub(crate) fn logged(&self) -> Result<drystone_wal::Commit> {
        let journal = self.body.journal.get().expect("the caller knows of a journal");
        journal.everything().inspect_err(|error| self.abort(error))
    }

    /// Blocks until a record is durable. Returns the last transaction that is.
    pub(crate) fn wait_logged(&self, logged: &drystone_wal::Commit) -> Result<TxnId> {
        self.settle_logged(logged.wait())
    }

    /// Draws the conclusions from what became of a record.
    pub(crate) fn settle_logged(&self, outcome: drystone_wal::Result<Lsn>) -> Result<TxnId> {
        let journal = self.body.journal.get().expect("a record is in a journal");
        match journal.checked(outcome) {
            Ok(_) => Ok(journal.advance(&self.body.readers)),
            Err(error) => {
                self.abort(&error);
                Err(error)
            }
        }
    }

    /// The log has failed: what is not known to be durable is taken back, and nothing is committed
    /// any more.
    pub(crate) fn abort(&self, error: &Error) {
        if matches!(error, Error::Closed) {
            return;
        }
        self.body.retreat(&self.core.queue, error);
    }

    /// Looks which pages can be used again: at some of those that are free, and at more than the
    /// last commit has left, so that they do not pile up.
    pub(crate) fn reclaim(&self) {
        let mut space = self.body.space.lock();
        let extents_max = RECLAIMED_AT_ONCE + 2 * space.freed_last();
        self.reclaim_some(&mut space, extents_max);
    }

    /// Looks at all of them, and lets others in again and again.
    pub(crate) fn reclaim_all(&self) {
        if let Some(journal) = self.body.journal.get() {
            // What is known to be durable needs nothing of the states before.
            journal.advance(&self.body.readers);
        }
        while self.reclaim_some(&mut self.body.space.lock(), RECLAIMED_AT_ONCE) {}
    }

    fn reclaim_some(&self, space: &mut Space, extents_max: usize) -> bool {
        let readers = &self.body.readers;
        let newest = readers.newest().txn;
        let durable = self.core.queue.durable();
        let states = || {
            // In this order: who reads a state that is no longer kept is seen as a reader.
            let kept = self.body.journal.get().map_or_else(Vec::new, Journal::kept);
            States::new(kept, readers.states())
        };
        space.reclaim(durable, newest, extents_max, &states)
    }

    /// Takes note of what a commit frees: of a sound file, pages that were in use.
    pub(crate) fn claim(&self, freed: &[Extent]) -> Result<()> {
        let claimed = self.body.space.lock().claim(freed);
        claimed.map_err(|page| self.body.corrupt(page, Damage::Twice))
    }

    /// Publishes what a write transaction has made, up to record `lsn` of the journal: from here on
    /// it is seen. What it frees was claimed.
    pub(crate) fn publish(
        &self,
        txn: TxnId,
        lsn: Lsn,
        sealed: Sealed,
        taking: &Taking,
    ) -> Result<Ticket> {
        let Sealed { forest, pages, runs, freed, spare } = sealed;
        for page in pages {
            if let Some(memory) = self.body.place_page(page) {
                taking.keep(memory);
            }
        }
        runs.into_iter().for_each(|run| self.body.place_run(run));
        let taken = taking.settle(spare);
        let mut space = self.body.space.lock();
        // Under the lock of `space`, so that a failed flush comes before or after, and not between.
        let ticket = match self.core.queue.push(txn) {
            Ok(ticket) => ticket,
            Err(error) => {
                space.disclaim(&freed);
                taken.give_back_all(&mut space);
                return Err(error);
            }
        };
        taken.give_back_unused(&mut space);
        let root = Root { txn, forest, pages_end: space.end(), lsn };
        space.commit(Change { root: root.clone(), used: taken.used, freed });
        self.body.gauges.set_space(&space);
        self.body.readers.publish(&root);
        Ok(ticket)
    }

    /// Keeps what waits to be flushed within its limits: a writer that is faster than the disk
    /// would fill the memory. With a journal, here or above, it is held up at twice the limit only,
    /// and what a flush is writing just now counts as well.
    pub(crate) fn relieve(&self, ticket: Ticket) {
        if self.read_only {
            return;
        }
        let page_bytes = self.body.page_bytes as u64;
        let (unflushed, backlog) = {
            let mut space = self.body.space.lock();
            self.make_way(&mut space, ticket);
            (space.unflushed_pages() * page_bytes, space.backlog_pages() * page_bytes)
        };
        let held = self.body.cache.held_bytes() as u64;
        let logged = self.body.journal.get().map_or(0, Journal::pending_bytes);
        let limits = self.options.unflushed_limits();
        let waits = [(backlog, limits.pages), (held, limits.held), (logged, limits.held)];
        let exceed = |times: u64| waits.iter().any(|(bytes, limit)| *bytes > times * limit);
        if !exceed(1) {
            return;
        }
        let has_thread = self.core.mode == Writer::Thread;
        if self.options.sync.is_eager() || !has_thread || exceed(2) {
            // The outcome is the commit's to tell.
            drop(self.core.wait(ticket));
        } else if unflushed > limits.pages || held.max(logged) > limits.held {
            self.core.queue.call(ticket);
        }
    }

    /// While the file is to get shorter, the pages that a fast writer leaves behind, and that wait
    /// for the disk, take the room below the ceiling. They get there sooner, and it slower.
    fn make_way(&self, space: &mut MutexGuard<'_, Space>, ticket: Ticket) {
        let Some(limit) = space.waiting_limit() else { return };
        if space.waiting_count() > limit {
            self.core.queue.call(ticket);
        }
        if space.waiting_count() > 2 * limit && self.core.mode == Writer::Thread {
            self.body.settled.wait_for(space, CROWDED_WAIT);
        }
    }
}
