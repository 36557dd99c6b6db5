//! What all handles on one open database share, and the life of a write.
//!
//! ```text
//!   write(batch)
//!     │  pack, if it is large                               packed.rs
//!     │  wait, if the tree is behind                        pace.rs
//!     │
//!     ├─ ordering lock ──────────────────────────────┐
//!     │    room in the memtable, or seal it          │
//!     │    numbers for the changes                   │      short: one copy of the batch
//!     │    copy into the journal's buffer            │
//!     │    enter the ratchet                         │
//!     ├──────────────────────────────────────────────┘
//!     │  insert into the memtable                           beside other writers, no lock
//!     │  report: visible                                    ratchet.rs
//!     ▼
//!   Commit ── wait() ──► durable                            one sync for all who came meanwhile
//! ```
//!
//! The locks, in the order in which they may be taken: `flushing`, `versions`, `order`, `state`;
//! and `keyspaces`, under which none of them is taken.
//! `order` and `state` are held for moments and never across a call to the disk, but for one case:
//! the journal's buffer is full, and an append writes it out itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use drystone_vfs::Vfs;
use drystone_wal::{Lsn, Wal};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::batch::{Batch, Record, time_record};
use crate::cache::BlockCache;
use crate::commit::{Commit, Way};
use crate::compact::Settled;
use crate::config::{LEVELS, Options, ROOM_MAX, Sizes};
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::manifest::{Change, Counters, Manifest};
use crate::memtable::{KeyspaceId, Memtable};
use crate::pace::{MEMORY_WAIT, Pace};
use crate::packed::Packed;
use crate::ratchet::Ratchet;
use crate::snapshot::Registry;
use crate::state::{Sealed, State};
use crate::stats::{KeyspaceStats, Stats, Tally};
use crate::table::TableId;
use crate::time::WallTime;
use crate::work::Work;

/// Sealed memtables beyond which writers wait a little, and beyond which they stop.
pub(crate) const SEALED_MAX: usize = 3;
const SEALED_STOP: usize = 6;

/// How often a writer that finds no memory waits for a flush that fails again and again.
const FAILING_WAITS_MAX: u32 = 10;

/// See the module.
pub(crate) struct Core {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) sizes: Sizes,
    pub(crate) salt: u64,
    /// Tells this opening from all others in the process.
    pub(crate) owner: u64,
    pub(crate) time: Arc<WallTime>,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) snapshots: Registry,
    pub(crate) ratchet: Ratchet,
    pub(crate) state: RwLock<Arc<State>>,
    pub(crate) order: Mutex<Order>,
    /// Held by the one who flushes.
    pub(crate) flushing: Mutex<()>,
    pub(crate) versions: Mutex<Versions>,
    pub(crate) next_table: AtomicU64,
    pub(crate) keyspaces: Mutex<BTreeMap<KeyspaceId, Arc<Shared>>>,
    /// Nothing without a journal, or read-only.
    pub(crate) journal: Option<Wal>,
    /// Where a journal ends that was found and is not written to; 0 if there is none.
    pub(crate) journal_end: Lsn,
    pub(crate) pace: Pace,
    pub(crate) work: Work,
    pub(crate) tally: Tally,
    pub(crate) read_only: bool,
    /// Bytes of all tables, as of the current version.
    pub(crate) table_bytes: AtomicU64,
    /// The last write whose tables were admitted, once they are in the state.
    pub(crate) admitted: AtomicU64,
    pub(crate) closed: AtomicBool,
}

/// What the ordering lock guards.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) last_seq: SeqNo,
    /// The memtable that the next batch goes into; the same as the state's.
    pub(crate) active: Arc<Memtable>,
    /// Sealed so far, for the seeds of memtables.
    pub(crate) seals: u64,
}

/// What the lock of the versions guards: who changes which tables there are.
#[derive(Debug)]
pub(crate) struct Versions {
    /// Nothing if read-only, or closed.
    pub(crate) manifest: Option<Manifest>,
    /// Key ranges that compactions under way write into, with keyspace and level.
    pub(crate) running: Vec<Running>,
    /// How all tables of a keyspace were left when they were last merged.
    pub(crate) settled: BTreeMap<KeyspaceId, Settled>,
}

/// Where a compaction under way writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) space: KeyspaceId,
    pub(crate) level: usize,
    pub(crate) smallest: Vec<u8>,
    pub(crate) largest: Vec<u8>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Core({})", self.dir.display())
    }
}

impl Core {
    /// The places to look in. Taken before the number to read at: see [`State`].
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    /// The places to look in and the number to read at, for what is visible now.
    pub(crate) fn view(&self) -> (Arc<State>, SeqNo) {
        loop {
            // In this order: see `State`.
            let state = self.state();
            let seq = self.ratchet.visible();
            // A state that lacks tables of a write up to `seq` would show what came after them, and
            // not them. Relaxed: came with the number.
            if self.admitted.load(Ordering::Relaxed) <= state.admitted.0 {
                return (state, seq);
            }
        }
    }

    /// Replaces the state by what `make` makes of it.
    pub(crate) fn replace_state(&self, make: impl FnOnce(&State) -> State) {
        let mut state = self.state.write();
        let next = Arc::new(make(&state));
        self.table_bytes.store(next.version.bytes(), Ordering::Relaxed);
        self.pace.set(next.sealed.len(), SEALED_MAX, &next.version);
        let old = std::mem::replace(&mut *state, next);
        drop(state);
        // Outside the lock: memory may be given back, and files removed.
        drop(old);
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.read_only {
            Err(Error::ReadOnly)
        } else if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Applies a batch: see the module.
    pub(crate) fn write(self: &Arc<Core>, mut batch: Batch) -> Result<Commit> {
        self.check_open()?;
        batch.check()?;
        for keyspace in &batch.keyspaces {
            assert!(keyspace.owner == self.owner, "a keyspace is used with its own database");
        }
        let room = batch.room();
        if room > ROOM_MAX {
            return Err(Error::TooLarge { bytes: room, bytes_max: ROOM_MAX });
        }
        self.check_disk()?;
        let mut packed = self.journal.as_ref().and_then(|_| Packed::of(batch.record()));
        let mut waits = Waits::default();
        if self.options.threads > 0 {
            waits.slow(self, room);
        }
        let (memtable, ticket, commit) = loop {
            let mut order = self.order.lock();
            if let Some(gone) = batch.keyspaces.iter().find(|keyspace| keyspace.is_dropped()) {
                return Err(Error::NoKeyspace { name: gone.name.clone() });
            }
            if batch.is_empty() {
                let way = self.way(&batch, None)?;
                return Ok(Commit { seq: order.last_seq, way });
            }
            if !order.active.reserve(room) {
                let most = if waits.count == 0 { SEALED_MAX } else { SEALED_STOP };
                if self.state.read().sealed.len() >= most {
                    drop(order);
                    waits.for_memory(self)?;
                    continue;
                }
                self.seal(&mut order, room);
                assert!(order.active.reserve(room), "a fresh memtable has the room asked for");
            }
            let first = SeqNo(order.last_seq.0 + 1);
            batch.number(first);
            let last = SeqNo(order.last_seq.0 + batch.len() as u64);
            let way = self.way(&batch, packed.as_mut())?;
            order.last_seq = last;
            let ticket = self.ratchet.enter(last);
            break (Arc::clone(&order.active), ticket, Commit { seq: last, way });
        };
        let record = Record::decode(batch.record()).expect("a batch is well-formed");
        record.insert_into(&memtable, |_| true).expect("a batch is well-formed");
        self.ratchet.report(ticket);
        waits.end(self);
        self.tally.wrote(batch.len() as u64, batch.record().len() as u64);
        Ok(commit)
    }

    /// Hands the batch to the journal, if there is one and it is not empty.
    fn way(self: &Arc<Core>, batch: &Batch, packed: Option<&mut Packed>) -> Result<Way> {
        let Some(journal) = &self.journal else { return Ok(Way::Flush(Arc::clone(self))) };
        let plain = batch.record();
        let record = packed.map_or(plain, |packed| packed.record(plain));
        let record = (!batch.is_empty()).then_some(record);
        Ok(Way::Journal(self.append(journal, record)?))
    }

    /// Appends to the journal; before it the time, if somebody may know that something has expired
    /// and the journal does not.
    fn append(&self, journal: &Wal, batch: Option<&[u8]>) -> Result<drystone_wal::Commit> {
        let Some(time) = self.time.to_journal() else {
            return Ok(journal.append(batch.as_slice())?);
        };
        let record = time_record(time);
        let records: SmallVec<[&[u8]; 2]> = [&record[..]].into_iter().chain(batch).collect();
        let commit = journal.append(&records)?;
        self.time.set_journaled(time);
        Ok(commit)
    }

    pub(crate) fn check_disk(&self) -> Result<()> {
        match self.options.disk_bytes {
            Some(max) if self.table_bytes.load(Ordering::Relaxed) > max => {
                let cause = Arc::new(std::io::ErrorKind::QuotaExceeded.into());
                Err(Error::NoSpace { file: self.dir.clone(), cause })
            }
            _ => Ok(()),
        }
    }

    /// Puts another memtable in the place of the active one, with at least `room`.
    pub(crate) fn seal(&self, order: &mut Order, room: u64) {
        let capacity = self.sizes.capacity_for(room);
        order.seals += 1;
        let fresh = Arc::new(Memtable::new(capacity, self.memtable_seed(order.seals)));
        let sealed = Sealed {
            memtable: std::mem::replace(&mut order.active, Arc::clone(&fresh)),
            last_seq: order.last_seq,
            next_lsn: self.journal.as_ref().map_or(self.journal_end, Wal::next_lsn),
        };
        self.replace_state(|state| {
            let mut next = State::clone(state);
            // One that was too small for the first batch holds nothing.
            if sealed.memtable.is_reserved() {
                next.sealed.push(sealed);
            }
            next.active = fresh;
            next
        });
        self.work.call();
    }

    pub(crate) fn memtable_seed(&self, seals: u64) -> u64 {
        self.salt.wrapping_add(seals)
    }

    /// Makes everything visible durable.
    pub(crate) fn persist(&self) -> Result<()> {
        self.check_open()?;
        match &self.journal {
            Some(journal) => Ok(self.append(journal, None)?.wait().map(drop)?),
            None => self.flush().and_then(|()| self.save_time(self.time.acted())),
        }
    }

    /// Writes everything visible into tables.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_open()?;
        let target = {
            let mut order = self.order.lock();
            // What was reserved is inserted before the flush, which waits for the last number.
            if order.active.is_reserved() {
                self.seal(&mut order, 0);
            }
            order.last_seq
        };
        while self.state().sealed.first().is_some_and(|sealed| sealed.last_seq <= target) {
            self.flush_once()?;
        }
        Ok(())
    }

    /// Takes the number of a table that is to be written.
    pub(crate) fn next_table(&self) -> TableId {
        TableId(self.next_table.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes an edit durable and shows its outcome to readers.
    pub(crate) fn commit(
        &self,
        versions: &mut Versions,
        mut counters: Counters,
        changes: &[Change],
        outputs: &[PathBuf],
        make: impl FnOnce(&State) -> State,
    ) -> Result<()> {
        let manifest = versions.manifest.as_mut().ok_or(Error::Closed)?;
        counters.next_table = self.next_table.load(Ordering::Relaxed);
        counters.time_floor = self.time.now();
        if let Some(journal) = &self.journal {
            counters.journal_durable = counters.journal_durable.max(journal.durable());
        }
        manifest.commit(counters, changes, outputs)?;
        self.replace_state(make);
        Ok(())
    }

    /// Saves that it was seen to be this late: what a reader saw gone must not come back because
    /// somebody has set the date back meanwhile.
    pub(crate) fn save_time(&self, latest: u64) -> Result<()> {
        if !self.keyspaces.lock().values().any(|keyspace| keyspace.expires) {
            return Ok(());
        }
        let mut versions = self.versions.lock();
        let Some(manifest) = &versions.manifest else { return Ok(()) };
        let counters = manifest.contents().counters;
        if latest <= counters.time_floor {
            return Ok(());
        }
        self.commit(&mut versions, counters, &[], &[], State::clone)
    }

    pub(crate) fn keyspace_of(&self, id: KeyspaceId) -> Option<Arc<Shared>> {
        self.keyspaces.lock().get(&id).cloned()
    }

    pub(crate) fn bytes(&self) -> u64 {
        let memtables: u64 = self.state.read().memtables().map(|memtable| memtable.bytes()).sum();
        self.table_bytes.load(Ordering::Relaxed) + memtables
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state();
        let (snapshots, oldest) = self.snapshots.stats();
        let now = self.time.clock().monotonic();
        let (manifest_bytes, compacting) = {
            let versions = self.versions.lock();
            (versions.manifest.as_ref().map_or(0, Manifest::bytes), versions.running.len())
        };
        let mut stats = Stats {
            manifest_bytes,
            compacting,
            table_bytes: state.version.bytes(),
            tables: state.version.trees().iter().map(|tree| tree.tables().count() as u64).sum(),
            journal_bytes: self.journal.as_ref().map_or(0, Wal::bytes),
            memtable_bytes: state.memtables().map(|memtable| memtable.bytes()).sum(),
            sealed: state.sealed.len(),
            snapshots,
            oldest_snapshot: oldest.map(|since| now.saturating_sub(since)),
            debt: self.pace.debt(),
            cache: self.cache.stats(),
            ..Stats::default()
        };
        self.tally.fill(&mut stats);
        let keyspaces = self.keyspaces.lock();
        for tree in state.version.trees() {
            let name = keyspaces.get(&tree.id).map_or_else(String::new, |k| k.name.clone());
            stats.keyspaces.push(KeyspaceStats {
                name,
                sublevels: tree.sublevels.iter().map(|run| run.stats()).collect(),
                levels: (1..=LEVELS).map(|level| tree.level(level).stats()).collect(),
            });
        }
        stats
    }
}

/// How one batch was held up.
#[derive(Debug, Default)]
struct Waits {
    /// For memory.
    count: u32,
    /// For flushes that failed meanwhile.
    failing: u32,
    held: Duration,
}

impl Waits {
    /// Before a batch that will need `room`.
    fn slow(&mut self, core: &Core, room: u64) {
        self.time(core, || core.pace.slow(room));
    }

    /// All memtables are full.
    fn for_memory(&mut self, core: &Core) -> Result<()> {
        if core.options.threads == 0 {
            return core.flush_once().map(drop);
        }
        core.check_open()?;
        core.work.call();
        self.time(core, || {
            core.pace.wait(MEMORY_WAIT);
            true
        });
        self.count += 1;
        if let Some(error) = core.work.flush_error() {
            self.failing += 1;
            if self.failing > FAILING_WAITS_MAX {
                return Err(error);
            }
        }
        Ok(())
    }

    fn time(&mut self, core: &Core, wait: impl FnOnce() -> bool) {
        if !core.pace.is_behind() {
            return;
        }
        let clock = core.time.clock();
        let start = clock.monotonic();
        if wait() {
            self.held += clock.monotonic().saturating_sub(start);
        }
    }

    fn end(self, core: &Core) {
        if self.held > Duration::ZERO {
            core.tally.held(self.held);
        }
    }
}
