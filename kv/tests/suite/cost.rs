//! What requests cost: a page costs what it holds and a count next to nothing, however many keys
//! there are, however many were deleted in front of them, now and in the past.
//!
//! An engine that counts shows how many records a request loads; that must be the same in a small
//! store and in a large one. What the index does in between is counted by its own tests; here the
//! clock shows, coarsely, that nothing else grows along.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drystone_kv::command::{
    Command, Compare, CompareTarget, DeleteRange, Put, RangeRequest, Relation, Sort, SortBy,
    SortOrder, Txn, TxnOp,
};
use drystone_kv::engine::{
    Batch, Direction, Engine, EngineError, EngineStats, Progress, Records, Snapshot, Space,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::mem::{Mem, MemSnapshot};

use crate::common::{Bench, keys};

const SMALL: u64 = 1_000;
const LARGE: u64 = 200_000;
const GROUP: usize = 5_000;

/// What was asked of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Records looked up by key.
    gets: u64,
    /// Records that a scan has gone over.
    scanned: u64,
}

#[derive(Debug, Default)]
struct Counter {
    gets: AtomicU64,
    scanned: AtomicU64,
    /// Bytes of the largest batch that was written.
    batch_bytes_max: AtomicU64,
}

/// A memory engine that counts what is asked of it.
struct Counting {
    mem: Mem,
    counter: Arc<Counter>,
}

struct CountingSnapshot {
    mem: MemSnapshot,
    counter: Arc<Counter>,
}

impl Counting {
    fn asked(&self) -> Asked {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Asked { gets: load(&self.counter.gets), scanned: load(&self.counter.scanned) }
    }
}

impl Engine for Counting {
    type Snapshot = CountingSnapshot;

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.counter.gets.fetch_add(1, Ordering::Relaxed);
        self.mem.get(space, key)
    }

    fn snapshot(&self) -> CountingSnapshot {
        CountingSnapshot { mem: self.mem.snapshot(), counter: self.counter.clone() }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        self.counter.batch_bytes_max.fetch_max(batch.bytes() as u64, Ordering::Relaxed);
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

impl Snapshot for CountingSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.counter.gets.fetch_add(1, Ordering::Relaxed);
        self.mem.get(space, key)
    }

    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_> {
        let counter = self.counter.clone();
        let count = move |_: &_| {
            counter.scanned.fetch_add(1, Ordering::Relaxed);
        };
        Box::new(self.mem.range(space, start, end, direction).inspect(count))
    }
}

fn key(n: u64) -> Bytes {
    format!("k/{n:07}").into()
}

fn below(n: u64) -> KeyRange {
    KeyRange { start: key(0), end: Some(key(n)) }
}

/// Sorts before every key that is asked for.
fn grave(n: u64) -> Bytes {
    format!("g/{n:07}").into()
}

fn store() -> Bench<Counting> {
    Bench::over(Counting { mem: Mem::volatile(), counter: Arc::default() })
}

fn apply_in_groups(bench: &Bench<Counting>, commands: impl Iterator<Item = Command>) {
    let mut commands = commands.peekable();
    while commands.peek().is_some() {
        let group: Vec<_> = commands.by_ref().take(GROUP).collect();
        bench.apply_all(&group);
    }
}

/// A store of `count` keys.
fn store_of(count: u64) -> Bench<Counting> {
    let bench = store();
    apply_in_groups(&bench, (0..count).map(|n| Command::Put(Put::new(key(n), "v"))));
    bench
}

/// A store of `count` keys, with as many that have been deleted in front of them.
fn store_with_graves(count: u64) -> Bench<Counting> {
    let bench = store();
    apply_in_groups(&bench, (0..count).map(|n| Command::Put(Put::new(grave(n), "v"))));
    let all = DeleteRange { range: KeyRange::prefix("g/"), prev_kv: false };
    bench.ok(&Command::DeleteRange(all));
    apply_in_groups(&bench, (0..count).map(|n| Command::Put(Put::new(key(n), "v"))));
    bench
}

/// What a read asks of the engine.
fn cost(bench: &Bench<Counting>, request: &RangeRequest) -> Asked {
    let before = bench.store.engine().asked();
    bench.range(request).expect("readable");
    let after = bench.store.engine().asked();
    Asked { gets: after.gets - before.gets, scanned: after.scanned - before.scanned }
}

fn page(range: KeyRange) -> RangeRequest {
    RangeRequest { limit: 10, ..RangeRequest::new(range) }
}

/// Pages of ten of every kind that need not look at more.
fn pages(newest: u64) -> Vec<RangeRequest> {
    let all = KeyRange { start: Bytes::from_static(b"\0"), end: None };
    let backwards = Some(Sort { by: SortBy::Key, order: SortOrder::Descend });
    let loose = Some(Sort { by: SortBy::Mod, order: SortOrder::AscendAfterLimit });
    vec![
        page(all.clone()),
        page(KeyRange { start: key(500), end: None }),
        RangeRequest { sort: backwards, ..page(all.clone()) },
        RangeRequest { sort: loose, ..page(all.clone()) },
        RangeRequest { keys_only: true, ..page(all.clone()) },
        RangeRequest { revision: Some(newest - 300), ..page(all.clone()) },
        RangeRequest { revision: Some(newest - 300), sort: backwards, ..page(all) },
    ]
}

/// Counts of every kind.
fn counts(newest: u64) -> Vec<RangeRequest> {
    let all = KeyRange { start: Bytes::from_static(b"\0"), end: None };
    let count = |range| RangeRequest { count_only: true, ..RangeRequest::new(range) };
    vec![
        count(all.clone()),
        count(KeyRange { start: key(100), end: Some(key(900)) }),
        RangeRequest { limit: 10, ..count(all.clone()) },
        RangeRequest { revision: Some(newest - 300), ..count(all) },
    ]
}

// A pager over a large store pays for its page: ten records, and the eleventh that says "more".
#[test]
fn a_page_loads_its_records_and_one_more_whatever_surrounds_it() {
    for bench in [store_of(SMALL), store_of(LARGE), store_with_graves(LARGE)] {
        for request in pages(bench.store.revision()) {
            let cost = cost(&bench, &request);
            assert_eq!(cost, Asked { gets: 0, scanned: 11 }, "{request:?}");
        }
    }
}

// The graves lie in front of every key, unswept: they are walked over by nobody.
#[test]
fn a_page_behind_many_deleted_keys_is_the_right_page() {
    let bench = store_with_graves(LARGE);
    let first = bench.range(&page(KeyRange::prefix(""))).expect("readable");
    assert_eq!((first.count, first.more, first.kvs.len()), (LARGE, true, 10));
    assert_eq!(first.kvs[0].key, key(0));
    let of_graves = bench.range(&page(KeyRange::prefix("g/"))).expect("readable");
    assert_eq!((of_graves.count, keys(&of_graves).len()), (0, 0));
    let before = RangeRequest { revision: Some(LARGE + 1), ..page(KeyRange::prefix("")) };
    assert_eq!(bench.range(&before).expect("readable").kvs[0].key, grave(0));
}

// "How many?" is asked with every page and by every dashboard.
#[test]
fn a_count_loads_nothing() {
    for bench in [store_of(SMALL), store_of(LARGE), store_with_graves(LARGE)] {
        for request in counts(bench.store.revision()) {
            assert_eq!(cost(&bench, &request), Asked::default(), "{request:?}");
        }
    }
}

// Any other order has to see the whole range, and says so in its documentation.
#[test]
fn a_sort_by_value_loads_the_range() {
    let bench = store_of(SMALL);
    let sort = Some(Sort { by: SortBy::Value, order: SortOrder::Ascend });
    let cost = cost(&bench, &RangeRequest { sort, ..page(below(300)) });
    assert_eq!(cost, Asked { gets: 0, scanned: 300 });
}

/// A store of 100 keys, between any two of which `others` other records were written: each by a
/// command of its own, or all by one.
fn store_with_gaps(others: u64, in_one: bool) -> Bench<Counting> {
    let bench = store();
    for n in 0..100 {
        bench.ok(&Command::Put(Put::new(key(n), "v")));
        let puts = (0..others).map(|n| Put::new(grave(n), "v"));
        if in_one {
            let success = puts.map(TxnOp::Put).collect();
            bench.ok(&Command::Txn(Txn { compares: vec![], success, failure: vec![] }));
        } else {
            puts.for_each(|put| drop(bench.ok(&Command::Put(put))));
        }
    }
    bench
}

// Records that lie close to each other are walked over, and what lies between them has a bound: a
// page never costs more than some records for each of its own, however its keys were written.
#[test]
fn a_page_walks_where_its_records_are_near_and_searches_where_they_are_not() {
    let read = RangeRequest::new(below(100));
    let near = cost(&store_with_gaps(3, false), &read);
    assert_eq!(near, Asked { gets: 0, scanned: 99 * 4 + 1 });
    let far = cost(&store_with_gaps(20, false), &read);
    assert_eq!(far, Asked { gets: 100, scanned: 0 });
    // Near by their main revisions, and far by what lies in between.
    let misleading = cost(&store_with_gaps(40, true), &read);
    assert!(misleading.gets + misleading.scanned <= 10 * 100, "{misleading:?}");
    let few = cost(&store_with_gaps(0, false), &RangeRequest::new(below(7)));
    assert_eq!(few, Asked { gets: 7, scanned: 0 });
}

// Most writes of a coordinator are puts and compares of revisions: neither reads the disk.
#[test]
fn a_write_loads_only_what_its_answer_shows() {
    let bench = store_of(SMALL);
    let cost = |command: &Command| {
        let before = bench.store.engine().asked();
        bench.ok(command);
        let after = bench.store.engine().asked();
        assert_eq!(after.scanned, before.scanned, "{command:?}");
        after.gets - before.gets
    };
    let again = || Put::new(key(1), "w");
    assert_eq!(cost(&Command::Put(again())), 0);
    assert_eq!(cost(&Command::Put(Put { prev_kv: true, ..again() })), 1);
    assert_eq!(cost(&Command::Put(Put { value: None, ..again() })), 1);
    assert_eq!(cost(&Command::Put(Put { lease: None, ..again() })), 0);
    let compare = |target| {
        Command::Txn(Txn {
            compares: vec![Compare {
                range: KeyRange::single(key(2)),
                relation: Relation::Equal,
                target,
            }],
            ..Txn::default()
        })
    };
    assert_eq!(cost(&compare(CompareTarget::Mod(4))), 0);
    assert_eq!(cost(&compare(CompareTarget::Value("v".into()))), 1);
    let delete = |prev_kv| Command::DeleteRange(DeleteRange { range: below(20), prev_kv });
    assert_eq!(cost(&delete(true)), 20);
    let rest = DeleteRange { range: below(100), prev_kv: false };
    assert_eq!(cost(&Command::DeleteRange(rest)), 0);
}

// A restart replays a thousand commands at a time, and each may be a megabyte and a half.
#[test]
fn a_group_of_large_commands_is_written_in_pieces() {
    let bench = store();
    let group: Vec<_> =
        (0..100).map(|n| Command::Put(Put::new(key(n), vec![7; 1 << 20]))).collect();
    let outcomes = bench.apply_all(&group);
    assert_eq!(outcomes.len(), 100);
    assert!(outcomes.iter().all(Result::is_ok));
    let largest = bench.store.engine().counter.batch_bytes_max.load(Ordering::Relaxed);
    assert!(largest < 10 << 20, "a batch of {largest} bytes");
    assert_eq!(bench.range(&page(below(200))).expect("readable").count, 100);
}

/// Notes how large the pieces are in which a stream is written.
#[derive(Default)]
struct Pieces {
    largest: usize,
    stream: Vec<u8>,
}

impl std::io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.largest = self.largest.max(bytes.len());
        self.stream.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// A state is larger than what either side has memory to spare: it goes in pieces all the way.
#[test]
fn a_checkpoint_is_written_and_loaded_in_pieces() {
    let large = store();
    let puts = (0..64).map(|n| Command::Put(Put::new(key(n), vec![7; 1 << 20])));
    apply_in_groups(&large, puts);
    let small = store_of(LARGE);
    for (bench, piece) in [(large, 1 << 20), (small, 64 << 10)] {
        let mut pieces = Pieces::default();
        let checkpoint = bench.store.checkpoint().expect("memory does not fail");
        checkpoint.write(&mut pieces).expect("memory takes everything");
        assert!(pieces.largest <= piece + 100, "a piece of {} bytes", pieces.largest);
        let engine = Counting { mem: Mem::volatile(), counter: Arc::default() };
        drystone_kv::checkpoint::load(&engine, &mut &pieces.stream[..]).expect("it is whole");
        let largest = engine.counter.batch_bytes_max.load(Ordering::Relaxed);
        assert!(largest < (4 << 20) + piece as u64 + 100, "a batch of {largest} bytes");
        let follower = Bench::over(engine);
        assert_eq!(follower.store.hash(None).ok(), bench.store.hash(None).ok());
    }
}

/// The shortest of many times that a read took.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the real clock")]
fn shortest(bench: &Bench<Counting>, request: &RangeRequest) -> Duration {
    let time = || {
        let start = std::time::Instant::now();
        for _ in 0..16 {
            bench.range(request).expect("readable");
        }
        start.elapsed()
    };
    (0..64).map(|_| time()).min().expect("there were many")
}

// Two hundred times the keys must not be two hundred times the work. The bound is so wide that a
// busy machine stays within it and a walk over the keys does not.
#[test]
fn pages_and_counts_hardly_grow_with_the_store() {
    let (small, large) = (store_of(SMALL), store_with_graves(LARGE));
    let of = |bench: &Bench<Counting>| {
        let newest = bench.store.revision();
        [pages(newest), counts(newest)].concat()
    };
    for (in_small, in_large) in of(&small).iter().zip(&of(&large)) {
        let (short, long) = (shortest(&small, in_small), shortest(&large, in_large));
        println!("{short:?} among {SMALL}, {long:?} among {LARGE}: {in_large:?}");
        assert!(long <= short * 20 + Duration::from_micros(100), "{short:?} {long:?} {in_large:?}");
    }
}
