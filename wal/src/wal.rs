//! The handle users hold.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use drystone_vfs::{Lock, Vfs};

use crate::catalog::Catalog;
use crate::commit::Commit;
use crate::config::{Options, Writer as Mode};
use crate::core::{Core, Step as _};
use crate::error::{Error, Result};
use crate::found::Found;
use crate::queue::{Queue, Ticket};
use crate::reader::{Iter, Recovered};
use crate::recovery::Verified;
use crate::salvage::Salvage;
use crate::spare::Spares;
use crate::sync::Mutex;
use crate::types::Lsn;
use crate::view::View;
use crate::writer::Writer;

/// An open write-ahead log. Clones share it; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Wal {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    core: Arc<Core<Writer>>,
    catalog: Arc<Catalog>,
    spares: Arc<Spares>,
    /// Taken when the log is closed.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    threads: Vec<JoinHandle<()>>,
    _lock: Lock,
}

impl Wal {
    /// Opens the log in `dir`, making it if there is none, and recovers it: verifies every frame,
    /// then cuts a torn tail. If it fails with [`Error::Corrupt`] or [`Error::Unsupported`], no
    /// byte of the log has changed.
    ///
    /// The records found come as an iterator of bounded memory; it need not be drained, and the log
    /// can be appended to at once.
    ///
    /// # Errors
    /// [`Locked`](Error::Locked) if the log is open already, here or in another process;
    /// [`Corrupt`](Error::Corrupt) if promised bytes are damaged, or the log ends before
    /// [`Options::min_lsn`]; [`Unsupported`](Error::Unsupported); [`Options`](Error::Options);
    /// [`Io`](Error::Io); [`NoSpace`](Error::NoSpace) for a fresh log on a full disk.
    pub fn open(vfs: Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<(Wal, Recovered)> {
        Wal::find(vfs, dir, options)?.open()
    }

    /// The first half of [`open`](Wal::open): locks and verifies the log in `dir`, and changes
    /// nothing. Whoever finds that the records are not what they should be lets go of it, and the
    /// log is as it was.
    ///
    /// # Errors
    /// Those of [`open`](Wal::open).
    pub fn find(vfs: Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<Found> {
        Found::find(vfs, dir, options)
    }

    /// Opens the log in `dir` for reading alone, beside others who read it: verifies it as
    /// [`open`](Wal::open) does, passes over a torn tail, and writes nothing at all, so that a
    /// read-only medium will do.
    ///
    /// # Errors
    /// Those of [`open`](Wal::open), [`Locked`](Error::Locked) only if the log is open for writing;
    /// [`NoLog`](Error::NoLog) if there is none.
    pub fn open_read_only(vfs: Arc<dyn Vfs>, dir: &Path, options: &Options) -> Result<View> {
        View::open(vfs, dir, options)
    }

    /// Reads what is left of the log in `dir`, whatever its state, and writes nothing.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if the directory cannot be listed; [`Locked`](Error::Locked) if the log is
    /// open for writing; [`NoLog`](Error::NoLog) if there are no segment files;
    /// [`Unsupported`](Error::Unsupported) if another version of this crate wrote one. Damage is
    /// not an error here.
    pub fn salvage(vfs: &dyn Vfs, dir: &Path) -> Result<Salvage> {
        Salvage::of(vfs, dir)
    }

    /// Takes over a log that has been repaired.
    pub(crate) fn resume(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: &Options,
        lock: Lock,
        found: Verified,
    ) -> Result<(Wal, Recovered)> {
        let catalog =
            Catalog::new(Arc::clone(&vfs), dir.to_path_buf(), found.segments.clone(), found.last);
        let catalog = Arc::new(catalog);
        let threaded = options.writer == Mode::Thread;
        let spares = Arc::new(Spares::new(vfs, dir, threaded));
        let writer = Writer::resume(Arc::clone(&catalog), Arc::clone(&spares), &found, options)?;
        let core = Arc::new(Core {
            queue: Queue::new(found.last, options, threaded),
            writer: Mutex::new(writer),
            mode: options.writer,
        });
        let threads = if threaded { start_threads(&core, &spares, dir)? } else { Vec::new() };
        let held = Mutex::new(Some(Held { threads, _lock: lock }));
        let open = Open { core, catalog: Arc::clone(&catalog), spares, held };
        let wal = Wal { open: Arc::new(open) };
        Ok((wal, Recovered::new(catalog, found.report)))
    }

    /// Appends `records` as one atomic group: after a crash all of them are there, or none. Returns
    /// as soon as they are in memory, ordered behind everything appended before; blocks only while
    /// the buffer is full. An empty group appends nothing, and resolves when everything before is
    /// durable.
    ///
    /// They are written when somebody waits for the commit, and at once when it is polled, tried or
    /// dropped; if it is only held, within some 10 ms (with
    /// [`Writer::Caller`](crate::Writer::Caller), by the next who waits).
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge) for a record above [`Options::record_bytes_max`] or a group
    /// above 1 GiB; [`Poisoned`](Error::Poisoned) or [`NoSpace`](Error::NoSpace) once any write has
    /// failed; [`Closed`](Error::Closed).
    pub fn append(&self, records: &[&[u8]]) -> Result<Commit> {
        let core = &self.open.core;
        let ticket = core.append(records)?;
        Ok(Commit::new(Arc::clone(core), ticket))
    }

    /// The last durable record.
    pub fn durable(&self) -> Lsn {
        self.open.catalog.durable()
    }

    /// Blocks until record `lsn` is durable and returns the last durable record. `lsn` may be one
    /// that has not been appended yet: this is how a reader follows the log.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<Lsn> {
        loop {
            let durable = self.open.core.wait(self.ticket(lsn))?;
            // A suffix cut also ends the wait; then the record is waited for under its new meaning.
            if durable >= lsn {
                return Ok(durable);
            }
        }
    }

    fn ticket(&self, lsn: Lsn) -> Ticket {
        self.open.core.queue.ticket(lsn)
    }

    /// The position that the next record appended will get.
    pub fn next_lsn(&self) -> Lsn {
        self.open.core.queue.next_lsn()
    }

    /// The first record still in the log; one past the last if it is empty.
    pub fn first_lsn(&self) -> Lsn {
        self.open.catalog.first_lsn()
    }

    /// The durable records from `from` on. See [`Iter`] on following the log.
    pub fn iter(&self, from: Lsn) -> Iter {
        Iter::new(Arc::clone(&self.open.catalog), from)
    }

    /// One durable record.
    ///
    /// # Errors
    /// [`Missing`](Error::Missing) if it was cut away or is not durable yet.
    pub fn read(&self, lsn: Lsn) -> Result<Bytes> {
        self.iter(lsn).read_one(lsn)
    }

    /// Lets go of every segment that holds only records before `lsn`. Records before `lsn` may
    /// stay, as long as their segment is needed; if none is needed any more, a
    /// [lean](crate::Options::lean) log gives that one back as well.
    pub fn truncate_prefix(&self, lsn: Lsn) -> Result<()> {
        let core = &self.open.core;
        core.writer.lock().truncate_prefix(&core.queue, lsn)
    }

    /// Drops every record after `last`; the next one appended follows it. Durable on return; a
    /// crash meanwhile leaves the log as it was, or cut.
    ///
    /// # Errors
    /// [`Missing`](Error::Missing) if `last` lies before the record before the first.
    pub fn truncate_suffix(&self, last: Lsn) -> Result<()> {
        let core = &self.open.core;
        core.writer.lock().truncate_suffix(&core.queue, last)
    }

    /// From now on, or no more, the log takes no room ahead: it prepares no segment, keeps none
    /// that it has let go of, and its next segments take what is written to them. For a disk that
    /// is nearly full; writes cost more syncs meanwhile. What is prepared already stays until
    /// [`drop_spare`](Wal::drop_spare).
    pub fn be_thrifty(&self, yes: bool) {
        self.open.spares.be_thrifty(yes);
    }

    /// Removes the segment that was prepared, if there is one. Blocks while one is being made.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if the file cannot be removed; the log goes on.
    pub fn drop_spare(&self) -> Result<()> {
        let spares = &self.open.spares;
        spares.discard().map_err(|e| Error::io("remove", &spares.path, e))
    }

    /// Bytes the log takes on disk, prepared segments included.
    pub fn bytes(&self) -> u64 {
        self.open.catalog.bytes() + self.open.spares.bytes()
    }

    /// Writes everything appended, marks the end as meant, and lets go of the directory. Other
    /// clones get [`Closed`](Error::Closed) from then on. Dropping the last clone does the same,
    /// but has nobody to tell if it fails.
    pub fn close(self) -> Result<()> {
        self.open.close()
    }
}

impl Open {
    fn close(&self) -> Result<()> {
        let Some(held) = self.held.lock().take() else {
            return Err(Error::Closed);
        };
        let core = &self.core;
        core.queue.stop();
        self.spares.stop();
        for thread in held.threads {
            // A waker run by the writer may have dropped the last handle: a thread cannot join
            // itself, and ends soon.
            if thread.thread().id() != thread::current().id() {
                // A panic in the thread has failed the queue; that is reported below.
                drop(thread.join());
            }
        }
        let mut writer = core.writer.lock();
        while let Some(settled) = writer.step(&core.queue) {
            core.queue.tell(settled);
        }
        let outcome = core.queue.failed().map_or_else(|| writer.close(), Err);
        core.queue.fail(Error::Closed);
        outcome
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure, and the log recovers from it.
        drop(self.close());
    }
}

fn start_threads(
    core: &Arc<Core<Writer>>,
    spares: &Arc<Spares>,
    dir: &Path,
) -> Result<Vec<JoinHandle<()>>> {
    let failed = |e| Error::io("start a thread for", dir, e);
    let spares_for_thread = Arc::clone(spares);
    let core_for_thread = Arc::clone(core);
    let prepare = thread::Builder::new()
        .name("wal-prepare".into())
        .spawn(move || spares_for_thread.prepare())
        .map_err(failed)?;
    let write =
        thread::Builder::new().name("wal-scribe".into()).spawn(move || core_for_thread.run());
    match write {
        Ok(write) => Ok(vec![write, prepare]),
        Err(e) => {
            spares.stop();
            drop(prepare.join());
            Err(failed(e))
        }
    }
}
