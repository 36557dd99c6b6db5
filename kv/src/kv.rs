//! A store that runs: commands are journaled, made durable, applied and answered, in that order.
//!
//! ```text
//!  caller ── propose ──► check, encode ──► journal.append ──► queue        (caller's thread)
//!                                              │ one sync for all that came meanwhile
//!                                              ▼
//!                                           durable               (journal's or apply thread)
//!                                              │
//!             answer ◄── apply ◄── take from the queue up to there         (apply thread)
//! ```
//!
//! Nothing is applied before it is durable, so nothing that a reader has seen can be lost, and
//! every write that was answered is visible to every read that starts after: reads are
//! linearizable without touching the journal.
//!
//! The journal is the only thing synced for a write. Now and then the engine is persisted, and the
//! journal before that point dropped; a restart loads the engine and replays the rest.
//!
//! This room drives a single member. Where it says "durable", a quorum will say "committed".

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drystone_vfs::{Clock, Vfs};
use drystone_wal::{Commit, Lsn, Wal};
use parking_lot::{Condvar, Mutex};

use crate::bell::Bell;
use crate::command::{AlarmChange, AlarmKind, Command, LeaseRevoke, RangeRequest, Txn};
use crate::data_dir::{ALONE, DataDir};
use crate::engine::{Engine, Progress};
use crate::engines::{AnyEngine, EngineConfig, EngineKind};
use crate::error::{Error, Refusal};
use crate::expiry::{Expiry, Renewal};
use crate::hash::HashReply;
use crate::members::Cluster;
use crate::options::Options;
use crate::proposal::{Answer, Proposal, block_on, proposal};
use crate::reply::{RangeReply, TxnReply};
use crate::store::{Status, Store};
use crate::threads::Threads;
use crate::types::LeaseId;
use crate::watch::{StreamOptions, WatchStream};

/// How many leases one call of [`Kv::expire_leases`] revokes; called twice a second, that is
/// etcd's bound of 1,000 a second, which keeps a storm of expiries from crowding out clients.
const EXPIRIES_MAX: usize = 500;
/// After this a defragmentation ends, whatever is left.
const DEFRAGMENT_MAX: Duration = Duration::from_secs(60);

/// A running store. Cheap to clone; the last clone to go stops it.
pub struct Kv<E: Engine = AnyEngine> {
    running: Arc<Running<E>>,
}

impl<E: Engine> Clone for Kv<E> {
    fn clone(&self) -> Kv<E> {
        Kv { running: self.running.clone() }
    }
}

/// Stops the threads when the last handle goes. The threads themselves hold only `shared`.
struct Running<E: Engine> {
    shared: Arc<Shared<E>>,
    threads: Threads,
}

pub(crate) struct Shared<E: Engine> {
    pub(crate) store: Arc<Store<E>>,
    pub(crate) journal: Wal,
    pub(crate) queue: Mutex<Queue>,
    /// Rung when the queue gets its first proposal, or closes.
    pub(crate) arrived: Condvar,
    pub(crate) expiry: Mutex<Expiry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    /// Encoded bytes journaled since the engine was last persisted.
    pub(crate) journaled: AtomicU64,
    /// Rung when leases went, a sweep ended, or the store stopped.
    pub(crate) bell: Bell,
    /// Held while the engine is persisted.
    persisting: Mutex<()>,
    /// Why the last attempt to persist failed, if it did.
    persist_error: Mutex<Option<Error>>,
    /// Why the store has ended by itself, if it has.
    pub(crate) failure: Mutex<Option<Error>>,
    dir: DataDir,
}

/// Commands that are journaled and not yet answered, oldest first.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) proposals: VecDeque<Queued>,
    pub(crate) bytes: usize,
    /// No more come in; what is there is still answered.
    pub(crate) closed: bool,
    pub(crate) applier: Applier,
}

/// What the apply thread is doing. While it has nothing to apply it writes the journal itself (see
/// [`Commit::wait`]), which saves two context switches for a lone proposal; while it applies, the
/// journal's own thread writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Applier {
    /// It applies.
    #[default]
    Busy,
    /// It sleeps until a proposal comes.
    Sleeps,
    /// It has been woken, and is waiting for the journal or about to.
    Comes,
}

pub(crate) struct Queued {
    pub(crate) index: u64,
    pub(crate) bytes: usize,
    pub(crate) command: Command,
    pub(crate) answer: Answer,
    /// Kept while the apply thread is coming to wait for it.
    pub(crate) commit: Option<Commit>,
}

/// A lease and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its name.
    pub id: LeaseId,
    /// Time to live as granted, seconds.
    pub granted: i64,
    /// Time left, seconds; 0 or negative when it is overdue.
    pub remaining: i64,
    /// The keys that hang on it, sorted; empty unless asked for.
    pub keys: Vec<bytes::Bytes>,
}

impl Kv {
    /// Opens the store in `dir` with the engine of [`Options::engine`], creating it where there is
    /// none.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Foreign`], [`Error::Unsupported`], [`Error::WrongEngine`] or
    /// [`Error::Damaged`] for a folder that cannot be used; [`Error::Engine`] or
    /// [`Error::Journal`] for damaged data, with the file. In all these cases nothing that was
    /// there is changed; an engine that is not there may have been made, empty.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: Options,
    ) -> Result<Kv, Error> {
        options.check().map_err(Error::Options)?;
        let data_dir = DataDir::open(&vfs, dir, ALONE, options.engine)?;
        crate::replay::check_engine(&*vfs, &data_dir)?;
        let config = EngineConfig {
            kind: data_dir.kind(),
            background: options.background,
            memory_bytes: options.engine_memory_bytes,
            room: None,
        };
        let engine = AnyEngine::open(vfs.clone(), clock.clone(), &data_dir.engine(), &config)?;
        Kv::start(vfs, clock, data_dir, engine, options)
    }
}

impl<E: Engine> Kv<E> {
    /// Replays the journal over the engine, and starts.
    fn start(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: DataDir,
        engine: E,
        options: Options,
    ) -> Result<Kv<E>, Error> {
        let store = Arc::new(Store::open(engine)?);
        let (journal, replayed) = crate::replay::replay(vfs, &dir, &store, &options)?;
        let mut expiry = Expiry::default();
        let now = clock.monotonic();
        for (id, ttl) in store.leases() {
            expiry.grant(id, ttl, now);
        }
        let shared = Arc::new(Shared {
            store,
            journal,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            expiry: Mutex::new(expiry),
            clock,
            options,
            journaled: AtomicU64::new(replayed),
            bell: Bell::default(),
            persisting: Mutex::default(),
            persist_error: Mutex::default(),
            failure: Mutex::default(),
            dir,
        });
        let threads = Threads::start(&shared);
        Ok(Kv { running: Arc::new(Running { shared, threads }) })
    }

    fn shared(&self) -> &Arc<Shared<E>> {
        &self.running.shared
    }

    /// Journals a command; the answer comes once it is durable and applied.
    pub fn propose(&self, command: Command) -> Proposal {
        match self.shared().propose(command) {
            Ok(proposal) => proposal,
            Err(error) => Proposal::answered(Err(error)),
        }
    }

    /// Reads a range; sees every write that was answered before the call.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeReply, Error> {
        self.shared().options.limits.check_range(request)?;
        self.shared().store.range(request)
    }

    /// Runs a transaction that only reads; see [`Txn::is_read_only`].
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnReply, Error> {
        self.shared().options.limits.check_txn(txn)?;
        self.shared().store.read_txn(txn)
    }

    /// Hashes the history up to `revision`; `None` is the newest.
    pub fn hash(&self, revision: Option<u64>) -> Result<HashReply, Error> {
        self.shared().store.hash(revision)
    }

    /// Opens a stream of watches.
    pub fn watch(&self, options: StreamOptions) -> WatchStream {
        self.shared().store.watch(options)
    }

    /// Which engine holds the records.
    pub fn engine_kind(&self) -> EngineKind {
        self.shared().dir.kind()
    }

    /// Where the store stands.
    pub fn status(&self) -> Status {
        self.shared().store.status()
    }

    /// The group that keeps copies of the store, as its commands have made it.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.shared().store.cluster()
    }

    /// The newest main revision.
    pub fn revision(&self) -> u64 {
        self.shared().store.revision()
    }

    /// Commands that are journaled and not yet answered.
    pub fn proposals_pending(&self) -> usize {
        self.shared().queue.lock().proposals.len()
    }

    /// Renews a lease: its full time to live in seconds, or `None` when there is no such lease. A
    /// lease that is due cannot be renewed any more; the answer then comes once it is gone.
    pub fn keep_alive(&self, id: LeaseId) -> impl Future<Output = Option<i64>> + Send + use<E> {
        let shared = self.shared().clone();
        async move {
            let renew = || {
                let now = shared.clock.monotonic();
                match shared.expiry.lock().renew(id, now) {
                    Renewal::Renewed(ttl) => Some(Some(ttl)),
                    Renewal::Missing => Some(None),
                    Renewal::Dying => shared.is_closed().then_some(None),
                }
            };
            shared.bell.until(renew).await
        }
    }

    /// A lease and its time, if it stands.
    pub fn lease(&self, id: LeaseId, with_keys: bool) -> Option<LeaseInfo> {
        let lease = self.shared().store.lease(id)?;
        let now = self.shared().clock.monotonic();
        let remaining = self.shared().expiry.lock().remaining(id, now)?;
        let keys = if with_keys { lease.keys.into_iter().collect() } else { Vec::new() };
        Some(LeaseInfo { id, granted: lease.ttl, remaining, keys })
    }

    /// All leases, the one that expires first in front.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.shared().expiry.lock().by_deadline()
    }

    /// Resolves once the garbage of a compaction at `revision` is gone from the engine.
    pub fn swept(&self, revision: u64) -> impl Future<Output = ()> + Send + use<E> {
        let shared = self.shared().clone();
        async move {
            let condition = || {
                let swept = shared.store.swept() >= Some(revision);
                (swept || shared.is_closed()).then_some(())
            };
            shared.bell.until(condition).await;
        }
    }

    /// Revokes leases that are due. The background threads call it twice a second.
    pub fn expire_leases(&self) {
        let _ = self.shared().expire_leases();
    }

    /// Does a small step of removing garbage. The background threads call it until it is done.
    pub fn sweep_step(&self) -> Result<Progress, Error> {
        self.shared().sweep_step()
    }

    /// Makes the engine durable and drops the journal that it covers.
    pub fn persist(&self) -> Result<(), Error> {
        self.shared().persist()
    }

    /// Gives back what space the engine can spare, and drops the journal that it covers. Runs
    /// beside reads and writes; stops after a minute if writes always leave more to do.
    ///
    /// # Errors
    ///
    /// When the engine fails. Nothing is lost by it: the journal stays.
    pub fn defragment(&self) -> Result<(), Error> {
        self.shared().defragment()
    }

    /// Why the background threads could not persist the engine the last time they tried. Nothing is
    /// lost by it, but the journal grows until it succeeds.
    pub fn persist_error(&self) -> Option<Error> {
        self.shared().persist_error.lock().clone()
    }

    /// Resolves with the reason when the store ends by itself: its journal or engine failed, or one
    /// of its threads panicked ([`Error::Stopped`]). Nothing is acknowledged any more, and the
    /// process should end, so that a restart reads back what the disk really holds. Never resolves
    /// otherwise, not even after a shutdown.
    pub fn failed(&self) -> impl Future<Output = Error> + Send + use<E> {
        let shared = self.shared().clone();
        async move { shared.bell.until(|| shared.failure.lock().clone()).await }
    }

    /// Takes no more commands, answers those under way, and closes the journal cleanly. Every
    /// later proposal gets [`Error::Stopped`].
    pub fn shutdown(&self) {
        self.running.stop();
    }
}

impl<E: Engine> Running<E> {
    fn stop(&self) {
        self.shared.close();
        self.threads.join();
        // The journal may be poisoned, and have told everyone: what it could keep, it has kept.
        let _ = self.shared.journal.clone().close();
        self.shared.store.end_watches();
        self.shared.bell.ring();
    }
}

impl<E: Engine> Drop for Running<E> {
    fn drop(&mut self) {
        self.stop();
    }
}

thread_local! {
    /// Where a command is encoded before the queue is locked.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that grew beyond this for one large command is given back.
const ENCODED_BYTES_KEPT: usize = 64 * 1024;

impl<E: Engine> Shared<E> {
    pub(crate) fn propose(&self, command: Command) -> Result<Proposal, Error> {
        self.options.limits.check(&command)?;
        self.check_quota(&command)?;
        ENCODED.with_borrow_mut(|encoded| {
            encoded.clear();
            command.encode(encoded);
            let proposed = self.enqueue(command, encoded);
            encoded.shrink_to(ENCODED_BYTES_KEPT);
            proposed
        })
    }

    /// Appends to the journal and the queue as one step, so that both have the same order.
    fn enqueue(&self, command: Command, encoded: &[u8]) -> Result<Proposal, Error> {
        self.options.limits.check_bytes(encoded.len())?;
        let (proposal, answer) = proposal();
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(Error::Stopped);
        }
        let full = queue.proposals.len() >= self.options.proposals_max
            || queue.bytes + encoded.len() > self.options.proposals_bytes_max;
        if full {
            return Err(Error::Busy);
        }
        let commit = self.journal.append(&[encoded])?;
        let index = commit.lsn().0;
        let sleeps = queue.applier == Applier::Sleeps;
        if sleeps {
            queue.applier = Applier::Comes;
        }
        // A commit that is let go is written by the journal's thread at once.
        let commit = (queue.applier == Applier::Comes).then_some(commit);
        queue.bytes += encoded.len();
        let bytes = encoded.len();
        queue.proposals.push_back(Queued { index, bytes, command, answer, commit });
        drop(queue);
        if sleeps {
            self.arrived.notify_all();
        }
        self.journaled.fetch_add(encoded.len() as u64, Ordering::Relaxed);
        Ok(proposal)
    }

    /// Refuses what would outgrow the quota, and raises the alarm that then stands until an
    /// operator clears it.
    fn check_quota(&self, command: &Command) -> Result<(), Error> {
        let Some(quota) = self.options.quota_bytes else { return Ok(()) };
        let cost = crate::quota::cost(command);
        if cost == 0 || self.store.engine().stats().bytes_in_use + cost <= quota {
            return Ok(());
        }
        if self.store.refuses(true).is_none() {
            let kind = AlarmKind::NoSpace;
            let change = AlarmChange { raise: true, member: self.options.member, kind };
            // Nobody waits for the alarm; the client is refused whether or not it came through.
            drop(self.propose(Command::Alarm(change))?);
        }
        Err(Refusal::NoSpace.into())
    }

    /// Refuses further proposals and wakes the threads.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.arrived.notify_all();
        self.bell.ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Revokes leases that are due, [`EXPIRIES_MAX`] at most; says whether some may be left.
    pub(crate) fn expire_leases(&self) -> Progress {
        // A store that is marked corrupt refuses to revoke: to try would only fill the journal.
        if self.store.refuses(false).is_some() {
            return Progress::More;
        }
        let now = self.clock.monotonic();
        let due = self.expiry.lock().take_due(now, EXPIRIES_MAX);
        let mut progress = if due.len() == EXPIRIES_MAX { Progress::More } else { Progress::Done };
        let revoke = |id| self.propose(Command::LeaseRevoke(LeaseRevoke { id }));
        let revocations: Vec<_> = due.into_iter().map(|id| (id, revoke(id))).collect();
        for (id, proposed) in revocations {
            let gone = match proposed.and_then(block_on) {
                Ok(_) | Err(Error::Refused(Refusal::LeaseNotFound)) => true,
                Err(_) => false,
            };
            if !gone {
                self.expiry.lock().retry(id);
                progress = Progress::More;
            }
        }
        progress
    }

    pub(crate) fn sweep_step(&self) -> Result<Progress, Error> {
        let progress = self.store.sweep_step()?;
        if progress == Progress::Done {
            self.bell.ring();
        }
        Ok(progress)
    }

    /// Whether enough was journaled since the engine was last durable.
    pub(crate) fn persist_is_due(&self) -> bool {
        let cost = self.store.engine().stats().persist_bytes;
        let threshold = self.options.persist_bytes_min.max(cost / self.options.persist_fraction);
        self.journaled.load(Ordering::Relaxed) >= threshold
    }

    pub(crate) fn persist(&self) -> Result<(), Error> {
        // One at a time: what one of two took off the count, the other would take off again.
        let _alone = self.persisting.lock();
        let journaled = self.journaled.load(Ordering::Relaxed);
        let applied = self.store.persist()?;
        self.journal.truncate_prefix(Lsn(applied + 1))?;
        self.journaled.fetch_sub(journaled, Ordering::Relaxed);
        Ok(())
    }

    fn defragment(&self) -> Result<(), Error> {
        self.persist()?;
        let deadline = self.clock.monotonic() + DEFRAGMENT_MAX;
        let goes_on = || !self.is_closed() && self.clock.monotonic() < deadline;
        if crate::upkeep::all(&self.store, u64::MAX, goes_on)? { self.persist() } else { Ok(()) }
    }

    pub(crate) fn note_persist(&self, result: Result<(), Error>) {
        *self.persist_error.lock() = result.err();
    }

    /// Time until the next lease is due.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        let deadline = self.expiry.lock().next_deadline()?;
        Some(deadline.saturating_sub(self.clock.monotonic()))
    }
}
