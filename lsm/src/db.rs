//! The handle users hold.

use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use drystone_vfs::{Clock, Lock, Vfs};
use parking_lot::{Mutex, RwLock};

use crate::batch::Batch;
use crate::checkpoint;
use crate::commit::Commit;
use crate::config::{KeyspaceOptions, NAME_BYTES_MAX, Options};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ingest::IngestWriter;
use crate::keyspace::{Keyspace, Shared, Traits};
use crate::manifest::{Change, Contents};
use crate::memtable::KeyspaceId;
use crate::open::{self, Place};
use crate::range::{self, Cursor, Range};
use crate::read;
use crate::slice::Slice;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::stats::Stats;
use crate::version::Tree;
use crate::work;

/// An open database. Clones share it; the last one dropped closes it. Snapshots may outlive it.
#[derive(Clone)]
pub struct Db {
    open: Arc<Open>,
}

struct Open {
    core: Arc<Core>,
    /// Taken when the database is closed.
    held: Mutex<Option<Held>>,
}

struct Held {
    threads: Vec<JoinHandle<()>>,
    _lock: Option<Lock>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({})", self.open.core.dir.display())
    }
}

/// Whether upkeep has more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left to do for now.
    Done,
    /// The budget ran out first.
    More,
}

impl Db {
    /// Opens the database in `dir`, making it if there is none, and recovers it: what was durable
    /// is there, batches whole, and nothing that was never written. If it fails with
    /// [`Error::Corrupt`] or [`Error::Unsupported`], no file has changed.
    ///
    /// # Errors
    /// [`Locked`](Error::Locked) if it is open already, here or in another process;
    /// [`Corrupt`](Error::Corrupt); [`Unsupported`](Error::Unsupported);
    /// [`Options`](Error::Options); [`Io`](Error::Io); [`NoSpace`](Error::NoSpace).
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: Options,
    ) -> Result<Db> {
        let place = Place { vfs, clock, dir: dir.to_path_buf(), options };
        let (core, lock) = open::open(place)?;
        let threads = work::start(&core)?;
        core.work.call();
        let held = Mutex::new(Some(Held { threads, _lock: Some(lock) }));
        Ok(Db { open: Arc::new(Open { core, held }) })
    }

    /// Opens the database in `dir` for reading alone, beside others who read it: recovers it in
    /// memory, and writes nothing at all, so that a read-only medium will do.
    ///
    /// # Errors
    /// Those of [`open`](Db::open), [`Locked`](Error::Locked) only if it is open for writing;
    /// [`NoDatabase`](Error::NoDatabase) if there is none.
    pub fn open_read_only(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: Options,
    ) -> Result<Db> {
        let place = Place { vfs, clock, dir: dir.to_path_buf(), options };
        let (core, lock) = open::open_read_only(place)?;
        let held = Mutex::new(Some(Held { threads: Vec::new(), _lock: lock }));
        Ok(Db { open: Arc::new(Open { core, held }) })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.open.core
    }

    /// The keyspace `name`, made if there is none, durably. The options given are those that count
    /// from now on, for all who hold the keyspace.
    ///
    /// # Errors
    /// [`Options`](Error::Options) if the name is too long, or if a time to live is given and the
    /// keyspace was made without one, or the other way round. [`NoKeyspace`](Error::NoKeyspace) if
    /// there is none and the database is read-only.
    pub fn keyspace(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        let core = self.core();
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::Options { option: "name", rule: "must be at most 255 bytes" });
        }
        let mut versions = core.versions.lock();
        let traits = Traits::of(&options);
        let known = core.keyspaces.lock().values().find(|known| known.name == name).cloned();
        if let Some(shared) = known {
            if shared.expires != traits.expires {
                let rule = "is settled when the keyspace is made";
                return Err(Error::Options { option: "ttl", rule });
            }
            let differs = Traits { expires: shared.expires, ..Traits::of(&shared.options()) };
            if differs != traits && !core.read_only {
                let change = Change::Make { id: shared.id, name: name.to_owned(), traits };
                core.commit_keyspaces(&mut versions, change, State::clone)?;
            }
            *shared.options.write() = Arc::new(options);
            return Ok(Keyspace { shared });
        }
        if core.read_only {
            return Err(Error::NoKeyspace { name: name.to_owned() });
        }
        core.check_open()?;
        let id = core.fresh_keyspace(&versions)?;
        let change = Change::Make { id, name: name.to_owned(), traits };
        let shared = Arc::new(Shared {
            id,
            name: name.to_owned(),
            owner: core.owner,
            expires: traits.expires,
            time: Arc::clone(&core.time),
            options: RwLock::new(Arc::new(options)),
            dropped: AtomicBool::new(false),
        });
        core.commit_keyspaces(&mut versions, change, |state| {
            let mut next = State::clone(state);
            next.version = Arc::new(state.version.with(Tree::empty(id)));
            next
        })?;
        core.keyspaces.lock().insert(id, Arc::clone(&shared));
        Ok(Keyspace { shared })
    }

    /// The names of all keyspaces, sorted.
    pub fn keyspaces(&self) -> Vec<String> {
        let keyspaces = self.core().keyspaces.lock();
        let mut names: Vec<String> = keyspaces.values().map(|shared| shared.name.clone()).collect();
        names.sort();
        names
    }

    /// Drops a keyspace and all that is in it, durably. Handles and snapshots find it empty from
    /// then on, and writes to it fail; a keyspace of the same name is another one.
    ///
    /// # Errors
    /// [`NoKeyspace`](Error::NoKeyspace) if it was dropped before.
    pub fn drop_keyspace(&self, keyspace: &Keyspace) -> Result<()> {
        let core = self.core();
        core.check_open()?;
        let shared = &keyspace.shared;
        assert!(shared.owner == core.owner, "a keyspace is used with its own database");
        let mut versions = core.versions.lock();
        if shared.is_dropped() {
            return Err(Error::NoKeyspace { name: shared.name.clone() });
        }
        let gone = core.state().version.tree(shared.id).cloned();
        core.commit_keyspaces(&mut versions, Change::Drop { id: shared.id }, |state| {
            let mut next = State::clone(state);
            next.version = Arc::new(state.version.without(shared.id));
            next
        })?;
        {
            // No batch is between its check and its record.
            let _order = core.order.lock();
            shared.dropped.store(true, Ordering::Release);
        }
        core.keyspaces.lock().remove(&shared.id);
        versions.settled.remove(&shared.id);
        for (_, table) in gone.iter().flat_map(|tree| tree.tables()) {
            table.set_obsolete();
        }
        Ok(())
    }

    /// Applies all changes of `batch`, or none. Visible to all who read after the return; durable
    /// when the [`Commit`] resolves.
    ///
    /// # Errors
    /// None of the batch is visible then, nor will be: [`TooLarge`](Error::TooLarge),
    /// [`NoKeyspace`](Error::NoKeyspace), [`Poisoned`](Error::Poisoned) and
    /// [`NoSpace`](Error::NoSpace) once the journal has failed, what flushes fail with once they
    /// have done so for a while and memory is full, [`ReadOnly`](Error::ReadOnly),
    /// [`Closed`](Error::Closed).
    pub fn write(&self, batch: Batch) -> Result<Commit> {
        self.core().write(batch)
    }

    /// Sets one key.
    ///
    /// # Errors
    /// Those of [`write`](Db::write).
    pub fn put(&self, keyspace: &Keyspace, key: &[u8], value: &[u8]) -> Result<Commit> {
        let mut batch = Batch::with_capacity(key.len() + value.len() + 32);
        batch.put(keyspace, key, value);
        self.write(batch)
    }

    /// Removes one key.
    ///
    /// # Errors
    /// Those of [`write`](Db::write).
    pub fn delete(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Commit> {
        let mut batch = Batch::with_capacity(key.len() + 32);
        batch.delete(keyspace, key);
        self.write(batch)
    }

    /// What is visible now, frozen.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.core())
    }

    /// The value of `key` now; cheaper than by way of a snapshot.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Slice>> {
        let core = self.core();
        assert!(keyspace.shared.owner == core.owner, "a keyspace is used with its own database");
        let (state, seq) = core.view();
        read::get(&state, &keyspace.shared, key, seq)
    }

    /// The records with keys in `bounds` now, from either end.
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, bounds: impl RangeBounds<K>) -> Range {
        let core = self.core();
        assert!(keyspace.shared.owner == core.owner, "a keyspace is used with its own database");
        // The state keeps all that the range needs.
        let (state, seq) = core.view();
        Range::new(state, Arc::clone(&keyspace.shared), seq, range::bounds(&bounds))
    }

    /// Every record now, from either end.
    pub fn iter(&self, keyspace: &Keyspace) -> Range {
        self.range::<&[u8]>(keyspace, ..)
    }

    /// A cursor over every record now, standing nowhere.
    pub fn cursor(&self, keyspace: &Keyspace) -> Cursor {
        let core = self.core();
        assert!(keyspace.shared.owner == core.owner, "a keyspace is used with its own database");
        let (state, seq) = core.view();
        Cursor::new(&state, Arc::clone(&keyspace.shared), seq)
    }

    /// Makes everything visible durable: by the journal, or without one by a flush.
    ///
    /// # Errors
    /// What was durable before still is, and without a journal the call may be made again.
    pub fn persist(&self) -> Result<()> {
        self.core().persist()
    }

    /// Writes everything visible into tables. Durable on return.
    ///
    /// # Errors
    /// As [`persist`](Db::persist).
    pub fn flush(&self) -> Result<()> {
        self.core().flush()
    }

    /// Flushes the oldest sealed memtable, if there is one; whether there was.
    ///
    /// # Errors
    /// Nothing is lost, and the call may be made again.
    pub fn flush_once(&self) -> Result<bool> {
        self.core().flush_once()
    }

    /// Does the most urgent compaction, if one is due; whether there was.
    ///
    /// # Errors
    /// The tables are as they were, and the call may be made again. A table that cannot be read is
    /// set aside.
    pub fn compact_once(&self) -> Result<bool> {
        self.core().compact_once()
    }

    /// Does what compactions are due for `budget`, and then merges whatever could give back space:
    /// deleted and overwritten records. One step may take longer than the budget. What a background
    /// thread is at just now is left to it, and not waited for.
    ///
    /// # Errors
    /// As [`compact_once`](Db::compact_once).
    pub fn compact(&self, budget: std::time::Duration) -> Result<Progress> {
        self.in_steps(budget, Core::settle_once)
    }

    /// The same in pieces, for a disk that is nearly full: deletes go down a level at a time, a
    /// table with what it overlaps, until what they hide is gone. What fits is
    /// done, the lightest first: one and a half times
    /// [`memory_bytes`](crate::Options::memory_bytes) of room are enough if compactions have kept
    /// up, where [`compact`](Db::compact) may take as much as there is. What was overwritten, and
    /// not deleted, may stay.
    ///
    /// # Errors
    /// As [`compact_once`](Db::compact_once).
    pub fn compact_deletes(&self, budget: std::time::Duration) -> Result<Progress> {
        self.in_steps(budget, Core::lighten_once)
    }

    fn in_steps(
        &self,
        budget: std::time::Duration,
        step: impl Fn(&Core) -> Result<bool>,
    ) -> Result<Progress> {
        let clock = self.core().time.clock();
        let start = clock.monotonic();
        while step(self.core())? {
            if clock.monotonic() - start >= budget {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    /// Takes in records that are sorted by key, each key once, as one write: all of them visible
    /// and durable on return, or none. They go past the journal and the memtables, at the cost of
    /// one copy.
    ///
    /// # Errors
    /// Those of [`IngestWriter::add`] and [`IngestWriter::finish`].
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        records: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let mut writer = self.ingest_writer(keyspace)?;
        for (key, value) in records {
            writer.add(key.as_ref(), value.as_ref())?;
        }
        writer.finish()
    }

    /// As [`ingest`](Db::ingest), record by record, or table by table.
    ///
    /// # Errors
    /// [`NoSpace`](Error::NoSpace) if there is more on disk than the options allow;
    /// [`ReadOnly`](Error::ReadOnly), [`Closed`](Error::Closed).
    pub fn ingest_writer(&self, keyspace: &Keyspace) -> Result<IngestWriter> {
        IngestWriter::new(self.core(), keyspace)
    }

    /// Deletes everything in a keyspace, as one write: visible and durable on return. Older
    /// snapshots see what they saw. Costs a flush, however much there is; compactions give back the
    /// space without reading it.
    ///
    /// # Errors
    /// Everything is still there, and the call may be made again. If the manifest could not be
    /// written, a crash before the next successful flush may find the keyspace empty.
    pub fn clear(&self, keyspace: &Keyspace) -> Result<()> {
        let core = self.core();
        assert!(keyspace.shared.owner == core.owner, "a keyspace is used with its own database");
        core.clear(&keyspace.shared)
    }

    /// Copies the database, as of one moment during the call, into `dir`, where it opens as a
    /// database of its own. Durable on return.
    ///
    /// # Errors
    /// [`NotEmpty`](Error::NotEmpty) if `dir` holds files. After an error it may hold a partial
    /// copy, which does not open, or nothing, which opens as an empty database.
    pub fn checkpoint(&self, dir: &Path) -> Result<()> {
        checkpoint::checkpoint(self.core(), dir)
    }

    /// Reads every table and checks it against everything else.
    ///
    /// # Errors
    /// The first damage found.
    pub fn verify(&self) -> Result<()> {
        let state = self.core().state();
        for tree in state.version.trees() {
            for (_, file) in tree.tables() {
                file.table.verify()?;
            }
        }
        Ok(())
    }

    /// Reads the table behind `after`, by their numbers, and checks it as [`Db::verify`] does;
    /// `None` is the first. Returns its number, or `None` if there is no more. Meanwhile `pace` is
    /// told now and then how many bytes were read since it was told last, and may take its time:
    /// nothing waits, and of tables that are merged meanwhile only this one stays. Once it says
    /// false, the rest is left out.
    ///
    /// # Errors
    /// The first damage found in it.
    pub fn verify_next(
        &self,
        after: Option<u64>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>> {
        let state = self.core().state();
        let tables =
            state.version.trees().iter().flat_map(|tree| tree.tables().map(|(_, file)| file));
        let behind = tables.filter(|file| after.is_none_or(|after| after < file.table.meta().id.0));
        let next = behind.min_by_key(|file| file.table.meta().id.0).map(Arc::clone);
        drop(state);
        let Some(file) = next else { return Ok(None) };
        file.table.verify_paced(pace)?;
        Ok(Some(file.table.meta().id.0))
    }

    /// Bytes on disk and in memtables: two numbers that are kept, no lock, no look around.
    pub fn bytes(&self) -> u64 {
        self.core().bytes()
    }

    /// How much there is, and how much was done.
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// Why background work does not get on, if so: what the last flush failed with, or the last
    /// compaction.
    pub fn background_error(&self) -> Option<Error> {
        self.core().work.flush_error().or_else(|| self.core().work.compact_error())
    }

    /// Stops background work, writes out the journal, and lets go of the directory. Other clones
    /// get [`Closed`](Error::Closed) from then on. Dropping the last clone does the same, but has
    /// nobody to tell if it fails.
    ///
    /// # Errors
    /// Those of the journal and the manifest.
    pub fn close(self) -> Result<()> {
        self.open.close()
    }
}

impl Open {
    fn close(&self) -> Result<()> {
        let Some(held) = self.held.lock().take() else { return Err(Error::Closed) };
        self.core.closed.store(true, Ordering::Release);
        self.core.work.stop();
        self.core.pace.wake();
        for thread in held.threads {
            // A panic there has told whoever waits for it.
            drop(thread.join());
        }
        let saved = self.core.save_time(self.core.time.latest());
        // Snapshots may live on, and must not keep the files from the next opener.
        self.core.versions.lock().manifest = None;
        if let Some(journal) = &self.core.journal {
            journal.clone().close()?;
        }
        saved
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure, and the database recovers from it.
        drop(self.close());
    }
}

impl Core {
    fn fresh_keyspace(&self, versions: &crate::core::Versions) -> Result<KeyspaceId> {
        let contents: &Contents = versions.manifest.as_ref().ok_or(Error::Closed)?.contents();
        let number = contents.counters.next_keyspace;
        let rule = "cannot be made any more: there are no numbers left";
        // The last one is never given, so that there is one after each.
        let left = number < u32::MAX;
        if left { Ok(KeyspaceId(number)) } else { Err(Error::Options { option: "keyspace", rule }) }
    }

    /// Commits the making or dropping of a keyspace.
    fn commit_keyspaces(
        &self,
        versions: &mut crate::core::Versions,
        change: Change,
        make: impl FnOnce(&State) -> State,
    ) -> Result<()> {
        let contents: &Contents = versions.manifest.as_ref().ok_or(Error::Closed)?.contents();
        let mut counters = contents.counters;
        if let Change::Make { id, .. } = &change {
            counters.next_keyspace = counters.next_keyspace.max(id.0 + 1);
        }
        self.commit(versions, counters, &[change], &[], make)
    }
}
