//! Reads that a compaction overtakes: what they still need stays until they are done.
//!
//! A read takes the store's lock in turns and loads records in between. The engine here does
//! something of its own in the midst of a read: it compacts the store that is being read, and
//! sweeps. That is the worst moment, in one thread, every time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drystone_kv::checkpoint::load;
use drystone_kv::command::{Command, Put, RangeRequest, Sort, SortBy, SortOrder, Txn, TxnOp};
use drystone_kv::engine::{
    Batch, Direction, Engine, EngineError, EngineStats, Progress, Records, Snapshot, Space,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::mem::{Mem, MemSnapshot};
use drystone_kv::watch::{History as _, ReadLimits};
use drystone_kv::{Error, Refusal, Store};
use parking_lot::Mutex;

use crate::checkpoint::stream_of;
use crate::common::{Bench, compact};

/// More than a read looks up in one turn of the lock.
const KEYS: u64 = 2_500;

type Interruption = Box<dyn FnOnce() + Send>;

/// What happens at a certain look at the engine.
#[derive(Default)]
struct Interrupter {
    looks_left: AtomicU64,
    interruption: Mutex<Option<Interruption>>,
}

impl Interrupter {
    fn after(&self, looks: u64, interruption: impl FnOnce() + Send + 'static) {
        self.looks_left.store(looks, Ordering::Relaxed);
        *self.interruption.lock() = Some(Box::new(interruption));
    }

    fn look(&self) {
        if self.looks_left.load(Ordering::Relaxed) == 0 {
            let interruption = self.interruption.lock().take();
            if let Some(interruption) = interruption {
                interruption();
            }
        } else {
            self.looks_left.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn has_happened(&self) -> bool {
        self.interruption.lock().is_none()
    }
}

struct Interrupted {
    mem: Mem,
    interrupter: Arc<Interrupter>,
}

struct InterruptedSnapshot {
    mem: MemSnapshot,
    interrupter: Arc<Interrupter>,
}

impl Engine for Interrupted {
    type Snapshot = InterruptedSnapshot;

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.interrupter.look();
        self.mem.get(space, key)
    }

    fn snapshot(&self) -> InterruptedSnapshot {
        InterruptedSnapshot { mem: self.mem.snapshot(), interrupter: self.interrupter.clone() }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        self.mem.write(batch)
    }

    fn persist(&self) -> Result<(), EngineError> {
        self.mem.persist()
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        self.mem.checkpoint(dir)
    }

    fn stats(&self) -> EngineStats {
        self.mem.stats()
    }

    fn maintain(&self, budget: Duration) -> Result<Progress, EngineError> {
        self.mem.maintain(budget)
    }
}

impl Snapshot for InterruptedSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.mem.get(space, key)
    }

    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_> {
        Box::new(self.mem.range(space, start, end, direction).inspect(|_| self.interrupter.look()))
    }
}

struct World {
    store: Arc<Store<Interrupted>>,
    interrupter: Arc<Interrupter>,
}

fn rewrite(value: &'static str) -> Command {
    let put = |n| TxnOp::Put(Put::new(format!("k/{n:05}"), value));
    Command::Txn(Txn { success: (0..KEYS).map(put).collect(), ..Txn::default() })
}

fn apply(store: &Store<Interrupted>, command: &Command) {
    let next = store.status().applied + 1;
    store.apply([(next, command)]).expect("memory does not fail").remove(0).expect("not refused");
}

/// A full rewrite, a compaction that leaves only it, and a sweep that goes as far as it may.
fn overtake(store: &Store<Interrupted>) {
    apply(store, &rewrite("new"));
    apply(store, &compact(store.revision()));
    while store.sweep_step().expect("memory does not fail") == Progress::More {}
}

impl World {
    /// Every key put at revision 2, and again at 3.
    fn new() -> World {
        let interrupter = Arc::new(Interrupter::default());
        let engine = Interrupted { mem: Mem::volatile(), interrupter: interrupter.clone() };
        let store = Arc::new(Store::open(engine).expect("an empty engine opens"));
        apply(&store, &rewrite("old"));
        apply(&store, &rewrite("middle"));
        World { store, interrupter }
    }

    /// Has the store overtaken in the midst of what comes.
    fn overtake_after(&self, looks: u64) {
        let store = self.store.clone();
        self.interrupter.after(looks, move || overtake(&store));
    }

    /// Has the store's content replaced in the midst of what comes: by what a leader has that went
    /// on, and compacted at `compacted`, and swept that.
    fn replace_after(&self, looks: u64, compacted: Option<u64>) {
        let leader = Bench::over(load_of(&self.store));
        leader.ok(&rewrite("new"));
        if let Some(revision) = compacted {
            leader.ok(&compact(revision));
        }
        leader.sweep();
        let store = self.store.clone();
        self.interrupter.after(looks, move || {
            let mem = load_of(&leader.store);
            let engine = Interrupted { mem, interrupter: Arc::default() };
            store.replace(engine).expect("it is further on");
            // Nothing that was being read in the old state holds the sweep back in the new one.
            if store.status().compacted != Some(4) {
                apply(&store, &compact(4));
            }
            while store.sweep_step().expect("memory does not fail") == Progress::More {}
            let swept = store.status();
            assert_eq!((swept.swept, swept.engine.records[Space::Record.index()]), (Some(4), KEYS));
        });
    }

    /// Asserts that it came to that, and that the sweep has left nothing behind once the read is
    /// over.
    fn check_swept_in_the_end(&self) {
        assert!(self.interrupter.has_happened(), "the read was long enough to be overtaken");
        let status = self.store.status();
        assert_eq!((status.revision, status.compacted), (4, Some(4)));
        while self.store.sweep_step().expect("memory does not fail") == Progress::More {}
        let status = self.store.status();
        assert_eq!(status.swept, Some(4));
        assert_eq!(status.engine.records[Space::Record.index()], KEYS);
    }
}

/// An engine with the state that a store has.
fn load_of<E: Engine>(store: &Store<E>) -> Mem {
    let engine = Mem::volatile();
    load(&engine, &mut &stream_of(store)[..]).expect("the stream is whole");
    engine
}

fn all_at(revision: u64) -> RangeRequest {
    let range = KeyRange::prefix("k/");
    RangeRequest { revision: Some(revision), ..RangeRequest::new(range) }
}

// A read of many keys has looked up some and is loading them when their records are compacted away.
#[test]
fn a_scan_goes_on_at_its_revision() {
    for (revision, value) in [(2, "old"), (3, "middle")] {
        for order in [SortOrder::Ascend, SortOrder::Descend] {
            for looks in [0, 1, 1000, 1024, 1025, KEYS - 1] {
                let world = World::new();
                world.overtake_after(looks);
                let sort = Some(Sort { by: SortBy::Key, order });
                let request = RangeRequest { sort, ..all_at(revision) };
                let reply = world.store.range(&request).expect("it was readable when it began");
                assert_eq!((reply.count, reply.kvs.len() as u64), (KEYS, KEYS));
                assert!(reply.kvs.iter().all(|kv| kv.value == value));
                assert_eq!(reply.revision, 3, "the newest when it began");
                world.check_swept_in_the_end();
                assert!(world.store.range(&request).is_err(), "it no longer is");
            }
        }
    }
}

// One key is looked up in one turn, and its record loaded after.
#[test]
fn a_read_of_one_key_finds_its_record() {
    let world = World::new();
    world.overtake_after(0);
    let request = RangeRequest { range: KeyRange::single("k/00007"), ..all_at(2) };
    assert_eq!(world.store.range(&request).expect("readable").kvs[0].value, "old");
    world.check_swept_in_the_end();
}

// A hash decides record by record whether a compaction keeps it: by the one it began with.
#[test]
fn a_hash_is_of_what_stood_when_it_began() {
    for compacted in [None, Some(2), Some(3)] {
        let world = World::new();
        if let Some(revision) = compacted {
            apply(&world.store, &compact(revision));
        }
        let expected = world.store.hash(Some(3)).expect("readable");
        for looks in [0, 1, 1023, 1024, 2048, 4000] {
            let world = World::new();
            if let Some(revision) = compacted {
                apply(&world.store, &compact(revision));
            }
            world.overtake_after(looks);
            assert_eq!(world.store.hash(Some(3)).expect("readable"), expected, "{looks} looks");
            world.check_swept_in_the_end();
        }
    }
}

// A watch catches up, reads the previous value, reads one key's past: all while it is swept.
#[test]
fn a_watch_reads_on_in_what_it_had_begun() {
    let limits = ReadLimits { revisions_max: 100, bytes_max: usize::MAX };
    let world = World::new();
    world.overtake_after(5);
    let mut changes = Vec::new();
    let next = world.store.changes(2, limits, &|_| true, &mut changes).expect("readable");
    assert_eq!((next, changes.len() as u64), (4, 2 * KEYS));
    world.check_swept_in_the_end();

    let world = World::new();
    world.overtake_after(1);
    let mut changes = Vec::new();
    let next = world.store.key_changes(b"k/00007", 2, limits, &mut changes).expect("readable");
    assert_eq!((next, changes.len()), (4, 2));
    world.check_swept_in_the_end();

    let world = World::new();
    world.overtake_after(0);
    let before = world.store.before(b"k/00007", 3).expect("readable");
    assert_eq!(before.expect("it stood").value, "old");
    world.check_swept_in_the_end();
}

// The state is replaced while some keys are looked up and others not. What was looked up is loaded
// where it was; the rest is found in the new state, at the same revision, or the read is refused as
// one that comes too late. It is never refused, or answered, for any other reason.
#[test]
fn a_scan_whose_store_is_replaced_is_right_or_refused() {
    for looks in [0, 1, 1000, 1024, 1025, KEYS - 1] {
        for order in [SortOrder::Ascend, SortOrder::Descend] {
            let world = World::new();
            world.replace_after(looks, Some(4));
            let sort = Some(Sort { by: SortBy::Key, order });
            let read = world.store.range(&RangeRequest { sort, ..all_at(3) });
            assert!(world.interrupter.has_happened(), "the read was long enough");
            // The last turn's keys have all been looked up by then.
            if looks < 2 * 1024 {
                let refusal = Refusal::Compacted { compacted: 4 };
                assert!(matches!(read, Err(Error::Refused(found)) if found == refusal), "{looks}");
            } else {
                let kvs = read.expect("nothing was left to look up").kvs;
                assert!(kvs.len() as u64 == KEYS && kvs.iter().all(|kv| kv.value == "middle"));
            }
        }
    }
}

// The same, where the new state still knows the revision: the answer is what it would have been.
#[test]
fn a_scan_goes_on_in_the_state_that_replaced_its_own() {
    for compacted in [None, Some(2), Some(3)] {
        for looks in [0, 1, 1000, 1024, 1025, KEYS - 1] {
            let world = World::new();
            let leader = Bench::over(load_of(&world.store));
            leader.ok(&rewrite("new"));
            compacted.map(|revision| leader.ok(&compact(revision)));
            leader.sweep();
            let store = world.store.clone();
            world.interrupter.after(looks, move || {
                let engine =
                    Interrupted { mem: load_of(&leader.store), interrupter: Arc::default() };
                store.replace(engine).expect("it is further on");
            });
            let reply = world.store.range(&all_at(3)).expect("readable in both");
            assert!(world.interrupter.has_happened(), "the read was long enough");
            assert_eq!((reply.count, reply.kvs.len() as u64, reply.revision), (KEYS, KEYS, 3));
            assert!(reply.kvs.iter().all(|kv| kv.value == "middle"));
        }
    }
}

// One key, one key's past and a slice of history are read in one turn each: in what they began on.
#[test]
fn what_is_read_in_one_turn_does_not_notice_a_replacement() {
    let limits = ReadLimits { revisions_max: 100, bytes_max: usize::MAX };
    let world = World::new();
    world.replace_after(0, Some(4));
    let request = RangeRequest { range: KeyRange::single("k/00007"), ..all_at(2) };
    assert_eq!(world.store.range(&request).expect("readable").kvs[0].value, "old");
    assert!(world.interrupter.has_happened());

    let world = World::new();
    world.replace_after(5, Some(4));
    let mut changes = Vec::new();
    let next = world.store.changes(2, limits, &|_| true, &mut changes).expect("readable");
    assert_eq!((next, changes.len() as u64), (4, 2 * KEYS));
    assert_eq!(world.store.compacted(), 4, "whoever has read it looks at this next");

    let world = World::new();
    world.replace_after(1, Some(4));
    let mut changes = Vec::new();
    let next = world.store.key_changes(b"k/00007", 2, limits, &mut changes).expect("readable");
    assert_eq!((next, changes.len()), (4, 2));

    let world = World::new();
    world.replace_after(0, Some(4));
    let before = world.store.before(b"k/00007", 3).expect("readable");
    assert_eq!(before.expect("it stood").value, "old");
}

// A hash is judged record by record by the index, which is gone: it begins over, at its revision.
#[test]
fn a_hash_begins_over_when_its_store_is_replaced() {
    let expected = World::new().store.hash(Some(3)).expect("readable").hash;
    for looks in [0, 1, 1023, 1024, 2048, 4000] {
        let world = World::new();
        world.replace_after(looks, None);
        let hash = world.store.hash(Some(3));
        assert!(world.interrupter.has_happened());
        let refusal = Refusal::Compacted { compacted: 4 };
        assert!(matches!(hash, Err(Error::Refused(found)) if found == refusal), "{looks} looks");
    }
    for looks in [0, 1, 1023, 1024, 2048, 4000] {
        let world = World::new();
        let leader = Bench::over(load_of(&world.store));
        leader.ok(&rewrite("new"));
        let store = world.store.clone();
        world.interrupter.after(looks, move || {
            let engine = Interrupted { mem: load_of(&leader.store), interrupter: Arc::default() };
            store.replace(engine).expect("it is further on");
        });
        let hash = world.store.hash(Some(3)).expect("readable in both");
        assert_eq!((hash.hash, hash.revision), (expected, 4));
    }
}
