//! The handle users hold.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use drystone_vfs::{Lock, Vfs};

use crate::config::{Options, Writer};
use crate::core::Step as _;
use crate::error::{Error, Result};
use crate::inspect::inspect;
use crate::read::ReadTxn;
use crate::recovery::{self, Opened};
use crate::snapshot::Snapshot;
use crate::stats::{Sizes, Stats};
use crate::store::Store;
use crate::sync::Mutex;
use crate::types::{Extent, PageId, TreeId, TxnId};
use crate::write::WriteTxn;

/// An open database. Clones share it; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Db {
    pub(crate) open: Arc<Open>,
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) store: Arc<Store>,
    /// Taken when the database is closed.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    thread: Option<JoinHandle<()>>,
    _lock: Option<Lock>,
}

impl Db {
    /// Opens the database file at `path`, making it if there is none, and finds its last durable
    /// state. An open that finds damage has changed no byte; one that succeeds has not either, but
    /// for making a new file, which is called `path.half-made` until it is complete, and for what a
    /// journal asks for: it is begun with [`Journal`](crate::Sync::Journal), and replayed; without,
    /// it is replayed and given up.
    ///
    /// # Errors
    /// [`Locked`](Error::Locked) if it is open already, here or in another process;
    /// [`Corrupt`](Error::Corrupt) if promised bytes are damaged, or the database ends before
    /// [`Options::min_txn`]; [`Unsupported`](Error::Unsupported); [`Options`](Error::Options);
    /// [`Io`](Error::Io); [`NoSpace`](Error::NoSpace) for a new file on a full disk.
    pub fn open(vfs: Arc<dyn Vfs>, path: &Path, options: Options) -> Result<Db> {
        Db::start(recovery::open(vfs, path, options, false)?)
    }

    /// Opens the database file at `path` for reading alone, beside others who do; writes nothing at
    /// all, so that a read-only medium will do.
    ///
    /// # Errors
    /// Those of [`open`](Db::open); [`Io`](Error::Io) with `NotFound` if there is no file.
    pub fn open_read_only(vfs: Arc<dyn Vfs>, path: &Path, options: Options) -> Result<Db> {
        Db::start(recovery::open(vfs, path, options, true)?)
    }

    fn start(opened: Opened) -> Result<Db> {
        let Opened { store, lock, plan, db_id } = opened;
        let store = Arc::new(store);
        let for_thread = Arc::clone(&store);
        let spawn = || {
            thread::Builder::new()
                .name("btree-scribe".into())
                .spawn(move || for_thread.core.run())
                .map_err(|e| Error::io("start a thread for", &store.body.path, e))
        };
        let threaded = store.core.mode == Writer::Thread;
        let thread = if threaded { Some(spawn()?) } else { None };
        let held = Mutex::new(Some(Held { thread, _lock: lock }));
        let db = Db { open: Arc::new(Open { store, held }) };
        plan.carry_out(db.store(), db_id)?;
        Ok(db)
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.open.store
    }

    /// Begins to read the newest state. Never waits for a writer or the disk.
    pub fn read(&self) -> ReadTxn {
        let store = self.store();
        ReadTxn::new(Snapshot::newest(&store.body), Arc::clone(store))
    }

    /// As [`read`](Db::read), but of the newest state that is on disk: what is seen here is not
    /// taken back by any crash.
    pub fn read_durable(&self) -> ReadTxn {
        let store = self.store();
        if let Some(journal) = store.body.journal.get() {
            journal.advance(&store.body.readers);
        }
        ReadTxn::new(Snapshot::durable(&store.body), Arc::clone(store))
    }

    /// Begins to write; waits while somebody else does: for ever, if that transaction was forgotten
    /// (`mem::forget`), as with any guard. [`try_write`](Db::try_write) does not wait.
    ///
    /// # Errors
    /// [`ReadOnly`](Error::ReadOnly); [`Closed`](Error::Closed); [`Poisoned`](Error::Poisoned) or
    /// [`NoSpace`](Error::NoSpace) if a flush has failed.
    pub fn write(&self) -> Result<WriteTxn> {
        self.check_writable()?;
        let w = WriteTxn::begin(self.store());
        self.check_current().map(|()| w)
    }

    /// As [`write`](Db::write); `None` if somebody else is writing.
    ///
    /// # Errors
    /// As [`write`](Db::write).
    pub fn try_write(&self) -> Result<Option<WriteTxn>> {
        self.check_writable()?;
        let w = WriteTxn::try_begin(self.store());
        self.check_current().map(|()| w)
    }

    /// A flush may have failed just now, and whoever has begun to write since then writes on from a
    /// state without what was lost. The failure is to be heard first.
    fn check_current(&self) -> Result<()> {
        // Taking readers back and saying why are done under this lock.
        drop(self.store().body.space.lock());
        self.check_writable()
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.store().read_only {
            return Err(Error::ReadOnly);
        }
        self.store().core.queue.failed().map_or(Ok(()), Err)
    }

    /// The tree of that name; made, in a transaction of its own, if there is none.
    ///
    /// # Errors
    /// Those of [`write`](Db::write) and [`create_tree`](WriteTxn::create_tree).
    pub fn tree(&self, name: &str) -> Result<TreeId> {
        if let Some(tree) = self.read().tree(name) {
            return Ok(tree);
        }
        let mut w = self.write()?;
        let tree = w.create_tree(name)?;
        // Whoever puts something into it waits for more than this.
        drop(w.commit()?);
        Ok(tree)
    }

    /// The value of one key in the newest state.
    ///
    /// # Errors
    /// Those of [`ReadTxn::get`].
    pub fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.read().get(tree, key)?.map(|value| value.to_bytes()))
    }

    /// Makes everything committed so far durable. Touches no file if it is. If it fails with
    /// [`OnRequest`](crate::Sync::OnRequest), memory is as before, and another call tries
    /// everything again.
    ///
    /// # Errors
    /// [`Poisoned`](Error::Poisoned); [`NoSpace`](Error::NoSpace).
    pub fn persist(&self) -> Result<TxnId> {
        let store = self.store();
        match store.body.journal.get() {
            Some(_) => store.logged().and_then(|commit| store.wait_logged(&commit)),
            None => store.flush_pages(),
        }
    }

    /// The last durable transaction.
    pub fn durable(&self) -> TxnId {
        let store = self.store();
        match store.body.journal.get() {
            Some(journal) => journal.advance(&store.body.readers),
            // What was replayed for a reader is in the log.
            None if store.read_only => store.body.readers.durable().txn,
            None => store.core.queue.durable(),
        }
    }

    /// How large the file is, and what of it is in use. Takes no lock.
    pub fn sizes(&self) -> Sizes {
        self.store().body.gauges.sizes(self.store().body.page_bytes)
    }

    /// Everything worth knowing about the database's state.
    pub fn stats(&self) -> Stats {
        let store = self.store();
        let body = &store.body;
        let flusher = store.core.flusher.lock();
        let (flushes, pages_written) = flusher.counts();
        let map_bytes = flusher.map().bytes() + body.mirror.stamp_bytes();
        drop(flusher);
        let space = body.space.lock();
        let (pages, free, pending) = (space.end(), space.free_count(), space.pending_count());
        let map_bytes = map_bytes + space.map_bytes();
        drop(space);
        Stats {
            sizes: self.sizes(),
            newest: body.readers.newest().txn,
            durable: self.durable(),
            page_bytes: body.page_bytes,
            pages: u64::from(pages),
            pages_free: free,
            pages_pending: pending,
            readers: body.readers.list(body.clock.monotonic()),
            mirror_pages: u64::from(body.mirror.pages()),
            cache_bytes: body.cache.bytes(),
            held_bytes: body.cache.held_bytes(),
            map_bytes,
            flushes,
            pages_written,
        }
    }

    /// One page of the file in words, as it is on disk now: for people who look for what is wrong.
    /// Damage is not an error here, but a part of the text.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if it cannot be read; [`Corrupt`](Error::Corrupt) if the file ends before
    /// it.
    pub fn inspect(&self, page: PageId) -> Result<String> {
        let body = &self.store().body;
        Ok(inspect(&body.read(Extent { first: page, pages: 1 })?))
    }

    /// Ends the database's life: with [`EveryCommit`](crate::Sync::EveryCommit) everything
    /// committed becomes durable and is marked as such; with [`Journal`](crate::Sync::Journal) all
    /// of it is in the file then, and the journal is gone; with
    /// [`OnRequest`](crate::Sync::OnRequest) what was not persisted is lost. Other clones get
    /// [`Closed`](Error::Closed) when they write from then on; readers go on reading. Dropping the
    /// last clone does the same, but has nobody to tell if it fails.
    ///
    /// # Errors
    /// Those of [`persist`](Db::persist); [`Closed`](Error::Closed).
    pub fn close(self) -> Result<()> {
        self.open.close()
    }
}

impl Open {
    fn close(&self) -> Result<()> {
        let Some(held) = self.held.lock().take() else {
            return Err(Error::Closed);
        };
        let core = &self.store.core;
        core.queue.stop();
        if let Some(thread) = held.thread {
            // A waker run by the thread may have dropped the last handle: a thread cannot join
            // itself, and ends soon.
            if thread.thread().id() != thread::current().id() {
                // A panic in the thread has failed the queue; that is reported below.
                drop(thread.join());
            }
        }
        let mut flusher = core.flusher.lock();
        if self.store.read_only {
            core.queue.fail(Error::Closed);
            return Ok(());
        }
        if self.store.options.sync.is_eager() || self.store.body.journal.get().is_some() {
            while let Some(settled) = flusher.step(&core.queue) {
                core.queue.tell(settled);
            }
        }
        let outcome = core.queue.failed().map_or_else(|| flusher.finish(), Err);
        core.queue.fail(Error::Closed);
        outcome
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure, and the database recovers from it.
        drop(self.close());
    }
}
