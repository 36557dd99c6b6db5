//! The multi-version store: applies commands, answers reads, feeds watches.
//!
//! ```text
//!    apply (one caller) ───► State ◄─── reads (many)
//!            │                 │            │
//!            │ records         │ revisions  │ records by revision
//!            ▼                 ▼            ▼
//!          Engine            Index        Engine
//!            │
//!            └── then the watch hub is told what changed
//! ```
//!
//! One lock guards the state. Applying a group of commands takes it for writing once; a read takes
//! it for reading, finds the revisions it needs, and loads the records after letting go. A read of
//! many keys does so in turns of `TURN_KEYS_MAX` keys at one pinned revision, so that neither a
//! full scan nor a count ever keeps a write waiting.
//!
//! The store knows nothing of journals or quorums: [`Store::apply`] is told what is committed.
//!
//! Locks are taken in this order: the writer's turn, the sweep, what is held, the engine's handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::apply::{Applier, Outcome, batch_record, live_of, read_txn_path};
use crate::auth::{Auth, Caller};
use crate::command::{Command, Compare, RangeRequest, Txn, TxnOp};
use crate::engine::{Batch, Engine, EngineStats, Progress};
use crate::error::{Error, Refusal};
use crate::held::Held;
use crate::lease::Lease;
use crate::members::{Cluster, Member};
use crate::range::Plan;
use crate::record::{decode, load_put};
use crate::reply::{Alarm, RangeReply, TxnOpReply, TxnReply};
use crate::scan::{TURN_KEYS_MAX, Walk};
use crate::state::State;
use crate::sweep::Sweep;
use crate::trail::BlockHash;
use crate::txn::{self, Lookup};
use crate::types::{KeyValue, LeaseId, Revision};
use crate::watch::{Backlog, Change, History, Hub, StreamOptions, WatchStream};

/// A batch of at least so many bytes takes no more commands: a thousand large ones in one would be
/// in memory twice, and keep readers waiting.
const BATCH_BYTES_FULL: usize = 8 << 20;

/// A multi-version store over an engine.
pub struct Store<E: Engine> {
    pub(crate) held: RwLock<Held<E>>,
    /// The engine in `held` once more: whoever asks how large it is, as a proposer does for every
    /// put, must not wait while a group is applied.
    pub(crate) engine: RwLock<Arc<E>>,
    pub(crate) hub: Hub,
    pub(crate) sweep: Mutex<Sweep>,
    /// Whose turn it is to move the store on, from the change until the watchers know.
    pub(crate) writer: Mutex<()>,
    /// Set when the engine failed in the middle of a group: memory and engine may differ.
    pub(crate) broken: AtomicBool,
    /// [`Auth::epoch`]: every call looks at it, and must not wait for a group either.
    pub(crate) auth_epoch: AtomicU64,
    /// The member of the group that this is the store of; 0 if it is of none.
    own: AtomicU64,
}

/// Where a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest main revision.
    pub revision: u64,
    /// The oldest readable main revision; `None` until the first compaction.
    pub compacted: Option<u64>,
    /// The newest compaction whose garbage is all gone.
    pub swept: Option<u64>,
    /// Journal position of the newest command applied.
    pub applied: u64,
    /// Keys that are alive.
    pub keys: u64,
    /// Leases that stand.
    pub leases: usize,
    /// Alarms that stand, sorted.
    pub alarms: Vec<Alarm>,
    /// What the engine holds.
    pub engine: EngineStats,
}

impl<E: Engine> Store<E> {
    /// The store that `engine` holds; an empty engine holds a fresh one.
    pub fn open(engine: E) -> Result<Store<E>, Error> {
        let state = State::load(&engine)?;
        let engine = Arc::new(engine);
        Ok(Store {
            hub: Hub::new(state.revision),
            auth_epoch: AtomicU64::new(state.auth.epoch()),
            held: RwLock::new(Held::new(state, Arc::clone(&engine))),
            engine: RwLock::new(engine),
            sweep: Mutex::default(),
            writer: Mutex::default(),
            broken: AtomicBool::new(false),
            own: AtomicU64::new(0),
        })
    }

    /// Applies committed commands, each with its journal position, in order; one outcome each.
    ///
    /// The positions must ascend from beyond [`Status::applied`]. There is one caller at a time:
    /// the order of commands is the caller's to know.
    ///
    /// # Errors
    ///
    /// Only when the engine fails. The store then refuses everything from there on.
    pub fn apply<'c>(
        &self,
        commands: impl IntoIterator<Item = (u64, &'c Command)>,
    ) -> Result<Vec<Outcome>, Error> {
        let commands = commands.into_iter();
        self.apply_as(commands.map(|(index, command)| (index, &Caller::System, command)))
    }

    /// The same, each for somebody: what he may not have done is refused.
    ///
    /// # Errors
    ///
    /// As [`Store::apply`].
    pub fn apply_as<'c>(
        &self,
        commands: impl IntoIterator<Item = (u64, &'c Caller, &'c Command)>,
    ) -> Result<Vec<Outcome>, Error> {
        let _turn = self.writer.lock();
        self.check_usable()?;
        self.apply_group(commands)
    }

    fn apply_group<'c>(
        &self,
        commands: impl IntoIterator<Item = (u64, &'c Caller, &'c Command)>,
    ) -> Result<Vec<Outcome>, Error> {
        let mut commands = commands.into_iter().peekable();
        let mut outcomes = Vec::new();
        loop {
            // A fresh store writes down where it stands though there is no command.
            self.apply_batch(&mut commands, &mut outcomes)?;
            if commands.peek().is_none() {
                return Ok(outcomes);
            }
        }
    }

    /// Applies commands until their batch is large, and writes it.
    fn apply_batch<'c>(
        &self,
        commands: &mut impl Iterator<Item = (u64, &'c Caller, &'c Command)>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Error> {
        let mut held = self.held.write();
        let written = self.write_batch(&mut held, commands, outcomes);
        if written.is_err() {
            // Before readers get in: memory is ahead of the engine.
            self.broken.store(true, Ordering::Release);
        }
        let changes = written?;
        let revision = held.state.revision;
        drop(held);
        match changes {
            Some(changes) => self.hub.notify(&changes),
            None => self.hub.pass(revision),
        }
        Ok(())
    }

    /// Applies and writes; returns what watchers are to hear of, unless nobody listens.
    fn write_batch<'c>(
        &self,
        held: &mut Held<E>,
        commands: &mut impl Iterator<Item = (u64, &'c Caller, &'c Command)>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Option<Vec<Change>>, Error> {
        let mut applier = Applier::new(&mut held.state, &*held.engine);
        for (index, caller, command) in commands {
            outcomes.push(applier.apply(index, caller, command)?);
            if applier.batch_bytes() >= BATCH_BYTES_FULL {
                break;
            }
        }
        let (batch, written) = applier.finish();
        self.auth_epoch.store(held.state.auth.epoch(), Ordering::Release);
        // A watcher that comes right after this look reads the changes from the past.
        let watched = !self.hub.is_idle();
        let changes = if watched { Some(changes(&batch, &written)?) } else { None };
        held.engine.write(batch)?;
        Ok(changes)
    }

    /// Refuses everything from here on: what is in memory may be half of a change.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        if self.broken.load(Ordering::Acquire) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// The lock for reading, if what it guards can be trusted.
    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, Held<E>>, Error> {
        let held = self.held.read();
        self.check_usable()?;
        Ok(held)
    }

    /// Reads a range, without going through the journal.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeReply, Error> {
        let held = self.read()?;
        let state = &held.state;
        state.refuse_if_corrupt_at(self.own())?;
        let plan = Plan::new(request, state, state.revision)?;
        if let Some(key) = request.range.as_single() {
            let found = state.index.at(key, plan.at);
            let grip = held.grip(plan.at);
            drop(held);
            let fetched = found.filter(|_| plan.fetch_max > 0);
            let kvs = fetched.map(|revision| load_put(grip.engine(), revision)).transpose()?;
            let count = u64::from(found.is_some());
            return Ok(plan.finish(request, kvs.into_iter().collect(), count));
        }
        let count = state.index.count(&request.range, plan.at);
        let grip = held.grip(plan.at);
        drop(held);
        let fetch_max = plan.fetch_max.min(usize::try_from(count).unwrap_or(usize::MAX));
        let mut walk = Walk::new(request.range.clone(), &plan, fetch_max, grip);
        let mut kvs = Vec::new();
        while !walk.is_done() {
            kvs.append(&mut walk.turn(&self.held, TURN_KEYS_MAX)?);
        }
        Ok(plan.finish(request, kvs, count))
    }

    /// Runs a transaction that only reads, at one revision, without going through the journal.
    ///
    /// # Panics
    ///
    /// If the transaction could write: such a one has to be journaled.
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnReply, Error> {
        assert!(txn.is_read_only(), "a transaction that writes is a command");
        let held = self.read()?;
        let state = &held.state;
        state.refuse_if_corrupt_at(self.own())?;
        let lookup = Live { state, engine: &*held.engine };
        let path = read_txn_path(txn, &lookup, state)?;
        let succeeded = path[0];
        let mut replies = Vec::new();
        for op in txn::branch(txn, succeeded) {
            let TxnOp::Range(request) = op else { unreachable!("checked to be read-only") };
            replies.push(TxnOpReply::Range(lookup.range(request)?));
        }
        Ok(TxnReply { revision: state.revision, succeeded, replies })
    }

    /// Opens a stream of watches. It keeps the store alive: whoever stops a store
    /// [ends](Store::end_watches) its streams.
    pub fn watch(self: &Arc<Self>, options: StreamOptions) -> WatchStream {
        self.hub.stream(Arc::clone(self) as Arc<dyn History>, options)
    }

    /// How far behind the consumers of all streams of watches are, together.
    pub fn watch_backlog(&self) -> Backlog {
        self.hub.backlog()
    }

    /// Ends all streams of watches, for good: their readers read what waits, then the end.
    pub fn end_watches(&self) {
        self.hub.end();
    }

    /// Where the store stands.
    pub fn status(&self) -> Status {
        let engine = self.engine().stats();
        let state = &self.held.read().state;
        Status {
            revision: state.revision,
            compacted: state.compacted,
            swept: state.swept,
            applied: state.applied,
            keys: state.index.live(),
            leases: state.leases.len(),
            alarms: state.alarms.iter().copied().collect(),
            engine,
        }
    }

    /// Journal position of the newest command applied.
    pub fn applied(&self) -> u64 {
        self.held.read().state.applied
    }

    /// The newest main revision.
    pub fn revision(&self) -> u64 {
        self.held.read().state.revision
    }

    /// The newest compaction whose garbage is all gone.
    pub fn swept(&self) -> Option<u64> {
        self.held.read().state.swept
    }

    /// A lease, if it stands.
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.held.read().state.leases.get(id).cloned()
    }

    /// Every lease that stands, with its time to live in seconds.
    pub fn leases(&self) -> Vec<(LeaseId, i64)> {
        self.held.read().state.leases.iter().map(|(id, lease)| (id, lease.ttl)).collect()
    }

    /// The members of the group, by id.
    pub fn members(&self) -> Vec<Member> {
        self.cluster().members.clone()
    }

    /// The group: its id, its members, and who was removed. Costs one reference.
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.held.read().state.cluster)
    }

    /// Users and roles. Costs one reference.
    pub fn auth(&self) -> Arc<Auth> {
        Arc::clone(&self.held.read().state.auth)
    }

    /// [`Auth::epoch`], without waiting for anything.
    pub fn auth_epoch(&self) -> u64 {
        self.auth_epoch.load(Ordering::Acquire)
    }

    /// Whether the store refuses what needs space, or everything.
    pub fn refuses(&self, needs_space: bool) -> Option<Refusal> {
        let state = &self.held.read().state;
        if let Err(refusal) = state.refuse_if_corrupt() {
            Some(refusal)
        } else if needs_space && state.lacks_space() {
            Some(Refusal::NoSpace)
        } else {
            None
        }
    }

    /// Says which member of the group this is the store of.
    #[cfg(feature = "runtime")]
    pub(crate) fn belongs_to(&self, own: u64) {
        self.own.store(own, Ordering::Release);
    }

    pub(crate) fn own(&self) -> u64 {
        self.own.load(Ordering::Acquire)
    }

    /// Whether what this store has is known to be wrong, or may be.
    pub fn is_corrupt(&self) -> bool {
        self.held.read().state.refuse_if_corrupt_at(self.own()).is_err()
    }

    /// What commands have done since the store was opened: finished blocks from number `first` on,
    /// the oldest first, at most `max`.
    pub fn trail(&self, first: u64, max: usize) -> Vec<BlockHash> {
        self.held.read().state.trail.blocks(first, max)
    }

    /// The newest finished block of them.
    pub fn trail_newest(&self) -> Option<BlockHash> {
        self.held.read().state.trail.newest()
    }

    /// Makes everything applied so far durable in the engine; returns the journal position up to
    /// which the journal is no longer needed. Runs beside reads and writes.
    ///
    /// # Errors
    ///
    /// When the engine fails. Once applying has failed memory may be ahead of the engine, and
    /// nothing is persisted any more: the journal must be kept for what the engine lacks.
    pub fn persist(&self) -> Result<u64, Error> {
        let held = self.read()?;
        let (applied, engine) = (held.state.applied, Arc::clone(&held.engine));
        drop(held);
        engine.persist()?;
        Ok(applied)
    }

    /// Takes the garbage of a few keys out of the index and the engine.
    pub fn sweep_step(&self) -> Result<Progress, Error> {
        self.sweep_step_noting(|_| ())
    }

    /// The same; `ended` is told the revision of a compaction whose garbage is all gone with it.
    pub(crate) fn sweep_step_noting(&self, ended: impl FnOnce(u64)) -> Result<Progress, Error> {
        let mut sweep = self.sweep.lock();
        let mut held = self.held.write();
        self.check_usable()?;
        let Held { state, engine, pins } = &mut *held;
        let Some(step) = sweep.step(state, pins) else { return Ok(Progress::Done) };
        let engine = Arc::clone(engine);
        drop(held);
        engine.write(step.batch).inspect_err(|_| self.broken.store(true, Ordering::Release))?;
        if let Some(revision) = step.ends {
            ended(revision);
        }
        Ok(Progress::More)
    }

    /// Does a step of the engine's upkeep of roughly `budget`, beside reads and writes.
    pub fn maintain(&self, budget: Duration) -> Result<Progress, Error> {
        self.check_usable()?;
        Ok(self.engine().maintain(budget)?)
    }

    /// The same with hardly any room for what is new beside what is old.
    pub(crate) fn lighten(&self, budget: Duration) -> Result<Progress, Error> {
        self.check_usable()?;
        Ok(self.engine().lighten(budget)?)
    }

    /// The engine underneath, as of now.
    pub fn engine(&self) -> Arc<E> {
        Arc::clone(&self.engine.read())
    }
}

/// The records of a batch as watchers hear of them; they share the batch's memory.
fn changes(batch: &Batch, written: &[(Revision, usize)]) -> Result<Vec<Change>, Error> {
    let change = |&(revision, at): &(Revision, usize)| {
        let record = decode(revision, batch_record(batch, at))?;
        Ok(Change { revision, record })
    };
    written.iter().map(change).collect()
}

/// A state that nobody is changing, and the records under it.
struct Live<'a, E> {
    state: &'a State,
    engine: &'a E,
}

impl<E: Engine> Live<'_, E> {
    fn range(&self, request: &RangeRequest) -> Result<RangeReply, Error> {
        let plan = Plan::new(request, self.state, self.state.revision)?;
        let mut kvs = Vec::new();
        let mut revisions = Vec::new();
        let visit = |_: &[u8], revision| revisions.push(revision);
        let index = &self.state.index;
        index.range(&request.range, plan.at, plan.direction, plan.fetch_max, visit);
        for revision in revisions {
            kvs.push(load_put(self.engine, revision)?);
        }
        Ok(plan.finish(request, kvs, index.count(&request.range, plan.at)))
    }
}

impl<E: Engine> Lookup for Live<'_, E> {
    fn live(&self, compare: &Compare, values: bool) -> Result<Vec<KeyValue>, Error> {
        live_of(&self.state.index, &compare.range, self.state.revision, values, |revision| {
            load_put(self.engine, revision)
        })
    }
}
