//! The handle to a member of a replicated store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drystone_raft::runtime::{Group, Link, Node, NodeConfig, Rank, Status as GroupStatus};
use drystone_raft::store::Store as GroupStore;
use drystone_raft::{NodeId, Role, Term};
use drystone_vfs::{Clock, Vfs};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::auth::{Auth, Caller};
use crate::checkpoint::Checkpoint;
use crate::command::{Command, RangeRequest, Txn};
use crate::data_dir;
use crate::engine::{Engine, EngineError, Progress};
use crate::engines::{AnyEngine, EngineKind};
use crate::error::Error;
use crate::hash::HashReply;
use crate::members::Cluster;
use crate::part::{Part, PartReply};
use crate::reply::{RangeReply, TxnReply};
use crate::runtime::alone;
use crate::runtime::disk::Disk;
use crate::runtime::duties::Duties;
use crate::runtime::envelope;
use crate::runtime::folder::{Folder, LOG};
use crate::runtime::house::House;
use crate::runtime::lessor::Lessor;
use crate::runtime::machine::Machine;
use crate::runtime::options::ReplicaOptions;
use crate::runtime::peers::Peers;
use crate::runtime::pending::Pending;
use crate::runtime::tokens::{TokenHash, Tokens};
use crate::scan::Scan;
use crate::store::{Status, Store};
use crate::trail::BlockHash;
use crate::types::LeaseId;
use crate::watch::{Backlog, StreamOptions, WatchStream};

/// What a put takes beside its key and its value, at most.
const PUT_HEAD_BYTES: usize = 32;
/// After this a defragmentation ends, whatever is left.
const DEFRAGMENT_MAX: Duration = Duration::from_secs(60);

/// A member of a replicated store. Clones are the same member. It runs until
/// [`Replica::shutdown`], or until the last clone is dropped.
#[derive(Clone)]
pub struct Replica {
    running: Arc<Running>,
}

struct Running {
    core: Arc<Core>,
    group: Group<Machine>,
    peers: Arc<dyn Peers>,
    node: Mutex<Option<Node<Machine>>>,
    duties: Mutex<Vec<JoinHandle<()>>>,
}

/// What the state machine, the tasks and the handles share.
pub(crate) struct Core {
    pub(crate) store: Arc<Store<AnyEngine>>,
    pub(crate) folder: Folder,
    pub(crate) options: ReplicaOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lessor: Lessor,
    pub(crate) pending: Pending,
    pub(crate) tokens: Tokens,
    pub(crate) house: House,
    /// When the sweep that is under way began.
    sweep_began: Mutex<Option<Duration>>,
    /// A command may have changed the members.
    pub(crate) roster_changed: Arc<Notify>,
    /// The term in which it has led with all of its log applied; 0 at first.
    caught_up: AtomicU64,
    /// Why the last attempt to save the engine failed, if it did.
    save_error: Mutex<Option<Error>>,
    /// Why the replica has ended by itself, if it has.
    failure: Mutex<Option<Error>>,
}

impl Core {
    /// Where the consensus log is, for whoever has to name it.
    pub(crate) fn log(&self) -> PathBuf {
        self.options.log_dir.clone().unwrap_or_else(|| self.folder.log())
    }

    /// Ends the replica: nothing is acknowledged any more.
    pub(crate) fn fail(&self, error: &Error) {
        self.store.give_up();
        self.failure.lock().get_or_insert_with(|| error.clone());
        self.lessor.bell.ring();
    }

    /// Whether everything that was committed before this term has been applied.
    pub(crate) fn caught_up_in(&self, term: Term) -> bool {
        self.caught_up.load(Ordering::Acquire) == term.0
    }

    pub(crate) fn note_caught_up(&self, term: Term) {
        self.caught_up.store(term.0, Ordering::Release);
    }

    /// Why it has ended, if it has.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Has the engine saved, if the disk has room for that.
    pub(crate) fn persist(&self) -> Result<u64, Error> {
        if self.store.engine().stats().growth_bytes > self.options.disk.room_bytes() {
            return Err(EngineError::NoSpace { file: self.folder.engine_dir() }.into());
        }
        self.store.persist()
    }

    pub(crate) fn note_persist(&self, error: Option<Error>) {
        *self.save_error.lock() = error;
    }

    /// A command's bytes, as this member proposes them for `caller`.
    pub(crate) fn encode(&self, caller: &Caller, command: &Command) -> Bytes {
        let room = match command {
            Command::Put(put) => put.key.len() + put.value.as_ref().map_or(0, Bytes::len),
            // Grows as it must.
            _ => 0,
        };
        let room = room + PUT_HEAD_BYTES + envelope::caller_bytes(caller);
        let mut bytes = Vec::with_capacity(room);
        envelope::put_caller(&mut bytes, caller);
        command.encode(&mut bytes);
        bytes.into()
    }

    pub(crate) fn sweep_step(&self) -> Result<Progress, Error> {
        let mut sweep_began = self.sweep_began.lock();
        let began = *sweep_began.get_or_insert_with(|| self.clock.monotonic());
        let mut ended = None;
        let progress = self.store.sweep_step_noting(|revision| ended = Some(revision))?;
        if let Some(revision) = ended {
            let took = self.clock.monotonic().saturating_sub(began);
            self.options.observer.swept(revision, took);
        }
        if progress == Progress::Done {
            self.lessor.bell.ring();
        }
        if ended.is_some() || progress == Progress::Done {
            *sweep_began = None;
        }
        Ok(progress)
    }
}

impl Replica {
    /// Opens the replica in `dir`, creating it where there is none, and starts it: it replays what
    /// the log holds beyond the engine, and takes its part in the group. Must be called within a
    /// tokio runtime, which then drives it; a runtime of its own with two threads serves it best.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Foreign`], [`Error::Unsupported`], [`Error::WrongEngine`] or
    /// [`Error::Damaged`] for a folder that cannot be used; [`Error::Engine`] or [`Error::Log`] for
    /// damaged data, with the file, or for a log that is not where it was asked for. Alone,
    /// [`Error::Irreparable`], [`Error::JournalGap`] or [`Error::JournalEndsEarly`] for what other
    /// members would send it.
    pub async fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        link: Link,
        peers: Arc<dyn Peers>,
        options: ReplicaOptions,
    ) -> Result<Replica, Error> {
        options.check().map_err(Error::Options)?;
        if options.returns && data_dir::is_new(&*vfs, dir)? {
            let reason = "the member's store is missing";
            return Err(Error::Damaged { file: dir.to_path_buf(), reason });
        }
        // Before an engine is opened, which may write.
        GroupStore::check_log_dir(&*vfs, &dir.join(LOG), options.log_dir.as_deref())
            .map_err(log_failed)?;
        let (folder, engine) = Folder::open(
            vfs.clone(),
            clock.clone(),
            dir,
            &options.store,
            Some(options.disk.room()),
        )?;
        let store = Arc::new(Store::open(engine)?);
        store.belongs_to(options.id);
        let (node, log) = (options.node(), folder.log());
        alone::check(&vfs, &log, &store, &options, &node.store)?;
        folder.tidy()?;
        let store_options = &options.store;
        let pending = Pending::new(store_options.proposals_max, store_options.proposals_bytes_max);
        let background = store_options.background;
        let core = Arc::new(Core {
            store,
            folder,
            lessor: Lessor::new(clock.clone()),
            tokens: Tokens::new(clock.clone(), options.token_ttl),
            clock,
            pending,
            options,
            house: House::default(),
            sweep_began: Mutex::default(),
            roster_changed: Arc::default(),
            caught_up: AtomicU64::new(0),
            save_error: Mutex::default(),
            failure: Mutex::default(),
        });
        if core.options.alone.is_some() {
            force(&vfs, &log, &core.options, &node)?;
        }
        let node = Node::spawn(node, vfs, &log, link, Machine::new(core.clone())).await?;
        let group = node.group().clone();
        let status = group.status().await.map_err(|_| Error::Stopped)?;
        core.tokens.begin_after(status.last.index.0);
        if status.members.sole_voter() == Some(core.options.id) {
            // There is nobody to wait for.
            group.campaign().await.map_err(|_| Error::Stopped)?;
        }
        let mut duties = vec![tokio::spawn(Duties::new(&core, group.clone()).roster())];
        if background {
            House::start(&core);
            duties.push(tokio::spawn(Duties::new(&core, group.clone()).leases()));
        }
        let (node, duties) = (Mutex::new(Some(node)), Mutex::new(duties));
        Ok(Replica { running: Arc::new(Running { core, group, peers, node, duties }) })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.running.core
    }

    pub(crate) fn group(&self) -> &Group<Machine> {
        &self.running.group
    }

    pub(crate) fn peers(&self) -> &dyn Peers {
        &*self.running.peers
    }

    fn store(&self) -> &Store<AnyEngine> {
        &self.running.core.store
    }

    /// Who this is.
    pub fn id(&self) -> NodeId {
        self.core().options.id
    }

    /// Where it stands in the group, at once.
    pub fn rank(&self) -> Rank {
        self.group().rank()
    }

    /// The same, to be told when it changes. It closes when the member stops.
    pub fn watch_rank(&self) -> tokio::sync::watch::Receiver<Rank> {
        self.group().watch()
    }

    /// What can be seen of the group.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn group_status(&self) -> Result<GroupStatus, Error> {
        self.group().status().await.map_err(|_| Error::Stopped)
    }

    /// The members, and the name of their group, as far as this one has applied what was said.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.store().cluster()
    }

    /// Users and roles, as far as this member has applied what was said.
    pub fn auth(&self) -> Arc<Auth> {
        self.store().auth()
    }

    /// [`Auth::epoch`] here: whether callers are checked, and whether who may do what has changed
    /// since it was looked at last. Costs nothing.
    pub fn auth_epoch(&self) -> u64 {
        self.store().auth_epoch()
    }

    /// Whose token has this SHA-256, if this member knows it. It lives its full time again.
    pub fn user_of(&self, token: &TokenHash) -> Option<Arc<str>> {
        self.core().tokens.find(token)
    }

    /// The keys that hang on a lease here, sorted; none if there is no such lease.
    pub fn attached(&self, lease: LeaseId) -> Vec<Bytes> {
        self.store().lease(lease).map_or(Vec::new(), |lease| lease.keys.into_iter().collect())
    }

    /// Reads a range as it stands here: after [`Replica::linearize`], every write that was
    /// acknowledged before; without, perhaps less.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Engine`].
    pub fn range(&self, request: &RangeRequest) -> Result<RangeReply, Error> {
        self.core().options.store.limits.check_range(request)?;
        self.store().range(request)
    }

    /// Reads a range as [`Replica::range`] does, in turns: however large it is, what is held of it
    /// is small. See [`Store::scan`] for what may be asked.
    ///
    /// # Errors
    /// As there.
    pub fn scan(&self, request: &RangeRequest) -> Result<Scan<AnyEngine>, Error> {
        self.core().options.store.limits.check_range(request)?;
        self.core().store.scan(request)
    }

    /// Runs a transaction that only reads, as [`Replica::range`] does.
    ///
    /// # Errors
    /// As there.
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnReply, Error> {
        self.core().options.store.limits.check_txn(txn)?;
        self.store().read_txn(txn)
    }

    /// Hashes the history up to `revision`; `None` is the newest here. Equal on all members.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Engine`].
    pub fn hash(&self, revision: Option<u64>) -> Result<HashReply, Error> {
        self.store().hash(revision)
    }

    /// Hashes a part of the history, to be compared with the same part of another member's.
    ///
    /// # Errors
    /// [`Error::Engine`] if a record cannot be read, [`Error::BadRecord`] if it is none.
    pub fn hash_part(&self, part: Part) -> Result<PartReply, Error> {
        self.store().hash_part(part)
    }

    /// What commands have done here: finished blocks from number `first` on, at most `max`. Equal
    /// on all members that know a block.
    pub fn trail(&self, first: u64, max: usize) -> Vec<BlockHash> {
        self.store().trail(first, max)
    }

    /// The newest finished block of them.
    pub fn trail_newest(&self) -> Option<BlockHash> {
        self.store().trail_newest()
    }

    /// Whether what this member has is known to be wrong, or may be: an alarm says so.
    pub fn is_corrupt(&self) -> bool {
        self.store().is_corrupt()
    }

    /// Reads the next piece of what the engine has on disk, and verifies it, whatever is in memory:
    /// see [`Engine::verify_next`].
    ///
    /// # Errors
    /// [`Error::Engine`] with the first damage found.
    pub fn verify_next(
        &self,
        after: Option<u64>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>, Error> {
        Ok(self.store().engine().verify_next(after, pace)?)
    }

    /// Opens a stream of watches on this member. It goes on over whatever happens to the group, and
    /// can be opened again on another member from where it was.
    pub fn watch(&self, options: StreamOptions) -> WatchStream {
        self.core().store.watch(options)
    }

    /// How far behind the consumers of all streams of watches are, together.
    pub fn watch_backlog(&self) -> Backlog {
        self.core().store.watch_backlog()
    }

    /// All of the state as it stands here, frozen: to be written to a file, and
    /// [restored](super::restore) from it.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn checkpoint(&self) -> Result<Checkpoint<AnyEngine>, Error> {
        self.store().checkpoint()
    }

    /// Which engine holds the records.
    pub fn engine_kind(&self) -> EngineKind {
        self.core().folder.kind()
    }

    /// Where the store stands.
    pub fn status(&self) -> Status {
        self.store().status()
    }

    /// Position in the log of the newest command applied here.
    pub fn applied(&self) -> u64 {
        self.store().applied()
    }

    /// The newest main revision here.
    pub fn revision(&self) -> u64 {
        self.store().revision()
    }

    /// Commands that were proposed here and are not yet answered.
    pub fn proposals_pending(&self) -> usize {
        self.core().pending.count()
    }

    /// Resolves once the garbage of a compaction at `revision` is gone from the engine here.
    pub async fn swept(&self, revision: u64) {
        let core = self.core();
        let condition = || {
            let swept = core.store.swept() >= Some(revision);
            (swept || core.failure.lock().is_some()).then_some(())
        };
        core.lessor.bell.until(condition).await;
    }

    /// Does a small step of removing garbage. The background threads call it until it is done.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn sweep_step(&self) -> Result<Progress, Error> {
        self.core().sweep_step()
    }

    /// Whether the engine takes far more than it needs. It then gives that back, bit by bit, as far
    /// as nobody reads what was deleted.
    pub fn has_slack(&self) -> bool {
        crate::upkeep::has_slack(self.store(), self.core().options.disk.free_bytes())
    }

    /// Gives back what space the engine can spare. Runs beside reads and writes; stops after a
    /// minute if writes always leave more to do.
    ///
    /// # Errors
    /// When the engine fails. Nothing is lost by it: the log stays.
    pub fn defragment(&self) -> Result<(), Error> {
        let core = self.core();
        core.persist()?;
        let deadline = core.clock.monotonic() + DEFRAGMENT_MAX;
        let goes_on = || core.clock.monotonic() < deadline;
        if crate::upkeep::all(&core.store, core.options.disk.free_bytes(), goes_on)? {
            core.persist()?;
        }
        Ok(())
    }

    /// Makes durable in the engine all that was applied here: a restart then has nothing to replay.
    /// Returns the position of the last command of it. It is done now and then anyway; this is for
    /// whoever is about to stop, after [`Replica::shutdown`]. Blocks for as long as the engine
    /// takes; nothing is lost if the process ends meanwhile.
    ///
    /// # Errors
    /// When the engine fails, or has failed. Nothing is lost by it: the log stays.
    pub fn save(&self) -> Result<u64, Error> {
        let saved = self.core().persist();
        self.core().note_persist(saved.as_ref().err().cloned());
        saved
    }

    /// The disk that it lies on, as far as anybody has said.
    pub fn disk(&self) -> &Disk {
        &self.core().options.disk
    }

    /// From now on, or no more, the log keeps no more than members in touch still need: for a disk
    /// that is nearly full. Said with `true` again, it is shortened once more.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn be_frugal(&self, yes: bool) -> Result<(), Error> {
        self.group().be_frugal(yes).await.map_err(|_| Error::Stopped)
    }

    /// Why the engine could not be saved the last time. Nothing is lost by it, but the log grows
    /// until it can be.
    pub fn save_error(&self) -> Option<Error> {
        self.core().save_error.lock().clone()
    }

    /// Resolves with the reason when the member ends by itself: its engine or log failed, or a
    /// thread panicked. The process should end, so that a restart reads back what the disk really
    /// holds. Never resolves otherwise.
    pub async fn failed(&self) -> Error {
        let core = self.core();
        let mut rank = self.group().watch();
        loop {
            if let Some(error) = core.failure.lock().clone() {
                return error;
            }
            if rank.borrow_and_update().role == Role::Stopped {
                let node = self.running.node.lock();
                let log = node.as_ref().and_then(|node| node.store().failure());
                return log.map_or(Error::Stopped, log_failed);
            }
            let told = core.lessor.bell.until(|| core.failure.lock().as_ref().map(|_| ()));
            tokio::select! {
                () = told => {}
                changed = rank.changed() => if changed.is_err() {
                    // The node is gone. If nobody has taken it to shut it down, it ended by itself:
                    // a thread of it panicked.
                    if self.running.node.lock().is_some() {
                        return core.failure.lock().clone().unwrap_or(Error::Stopped);
                    }
                    return std::future::pending().await;
                },
            }
        }
    }

    /// Hands over the leadership if it has it, answers everyone, and closes the log. Every later
    /// call gets [`Error::Stopped`]. The folder is free when the last clone and the last stream of
    /// watches are dropped.
    ///
    /// # Errors
    /// [`Error::Log`] if what was not durable could not be made so.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let node = self.running.node.lock().take();
        let closed = match node {
            Some(node) => node.shutdown().await,
            None => Ok(()),
        };
        self.end().await;
        Ok(closed?)
    }

    /// Stops at once, as if the process had been killed. For tests.
    #[doc(hidden)]
    pub async fn kill(&self) {
        let node = self.running.node.lock().take();
        if let Some(node) = node {
            node.kill().await;
        }
        self.end().await;
    }

    async fn end(&self) {
        let duties = std::mem::take(&mut *self.running.duties.lock());
        for duty in duties {
            duty.abort();
            // Aborted, or ended.
            drop(duty.await);
        }
        let core = self.core();
        core.house.stop();
        core.store.end_watches();
        core.lessor.bell.ring();
    }
}

/// Makes this member the only one of its group, by decree.
fn force(
    vfs: &Arc<dyn Vfs>,
    log: &Path,
    options: &ReplicaOptions,
    node: &NodeConfig,
) -> Result<(), Error> {
    let store = GroupStore::open(vfs.clone(), log, node.store.clone()).map_err(log_failed)?;
    if store.groups().contains(&Node::<Machine>::GROUP) {
        store.force(Node::<Machine>::GROUP, &[options.id]).map_err(log_failed)?;
    }
    store.close().map_err(log_failed)
}

/// The consensus log's failure as the replica's.
pub(crate) fn log_failed(error: drystone_raft::store::Error) -> Error {
    Error::Log(drystone_raft::runtime::Error::Store(error))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.duties.lock().iter().for_each(JoinHandle::abort);
        self.core.house.stop();
        self.core.store.end_watches();
    }
}
