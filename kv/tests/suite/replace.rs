//! A store whose content is replaced under its watchers, its readers and its sweep, as a follower's
//! is when it has fallen too far behind.

mod racing;
mod watching;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drystone_kv::checkpoint::load;
use drystone_kv::command::{Command, Put};
use drystone_kv::engine::{Batch, Engine, EngineError, EngineStats, Progress, Space};
use drystone_kv::engines::AnyEngine;
use drystone_kv::mem::{Mem, MemSnapshot};
use drystone_kv::watch::{StreamOptions, WatchMessage, WatchRequest};
use drystone_kv::{EngineKind, Error, KeyRange, Member, Store};

use crate::checkpoint::{Home, stream_of};
use crate::common::{Bench, compact, dump, grant, put, read};
use crate::running::watching::{events, said};

/// A fresh engine of a kind with the state that a store has.
fn copy_of<E: Engine>(kind: EngineKind, store: &Store<E>) -> AnyEngine {
    let engine = Home::new(kind).open();
    load(&engine, &mut &stream_of(store)[..]).expect("the stream is whole");
    engine
}

// What was shown is never taken back: a state from before it is not put in its place.
#[test]
fn an_older_state_is_refused_and_changes_nothing() {
    let leader = Bench::new();
    leader.ok(&put("k", "1"));
    let older = copy_of(EngineKind::Memory, &leader.store);
    leader.ok(&grant(7));
    let equal = copy_of(EngineKind::Memory, &leader.store);
    let follower = Store::open(copy_of(EngineKind::Btree, &leader.store)).expect("a state");
    follower.replace(equal).expect("the same state is no step back");
    assert_eq!(follower.leases().len(), 1);

    // Of the same revision, but the lease is not there yet.
    let refused = follower.replace(older);
    assert!(
        matches!(
            refused,
            Err(Error::Behind { revision: 2, applied: 2, found_revision: 2, found_applied: 1 })
        ),
        "{refused:?}"
    );
    let fresh = Home::new(EngineKind::Lsm).open();
    assert!(matches!(follower.replace(fresh), Err(Error::Behind { found_revision: 1, .. })));
    assert_eq!((follower.revision(), follower.leases().len()), (2, 1));

    // An engine that was not filled to its end is none to go on with.
    let half = Mem::volatile();
    let stream = stream_of(&leader.store);
    load(&half, &mut &stream[..stream.len() - 1]).expect_err("it is cut");
    let follower = Bench::new();
    assert!(matches!(follower.store.replace(half), Err(Error::BadRecord { .. })));
    assert_eq!(follower.store.revision(), 1);
}

// The engines may differ from one state to the next, members, leases and alarms come along, and
// commands go on from where the new state is.
#[test]
fn everything_is_that_of_the_new_state() {
    let leader = Bench::new();
    leader.ok(&Command::ClusterInit {
        cluster: 7,
        members: vec![Member { id: 1, ..Member::default() }],
    });
    let follower = Store::open(Home::new(EngineKind::Lsm).open()).expect("fresh");
    for kind in EngineKind::ALL {
        let name: &'static str = kind.name();
        for command in [grant(kind as i64 + 1), put("k", name)] {
            leader.ok(&command);
        }
        follower.replace(copy_of(kind, &leader.store)).expect("it is further on");
        assert_eq!(follower.engine().kind(), kind);
        assert_eq!(follower.hash(None).ok(), leader.store.hash(None).ok());
        assert_eq!(follower.leases(), leader.store.leases());
        assert_eq!(follower.cluster(), leader.store.cluster());
        let next = follower.status().applied + 1;
        let outcome = follower.apply([(next, &put("l", name))]).expect("in order").remove(0);
        assert_eq!(outcome, leader.apply(&put("l", name)));
    }
    assert_eq!(dump(&*follower.engine()), dump(&*leader.store.engine()));
}

// The sweep of the old state is in the midst of it; that of the new one begins at its beginning.
#[test]
fn a_sweep_begins_over_in_the_new_state() {
    let keys = 2_000_u64;
    let leader = Bench::new();
    let puts: Vec<_> =
        (0..3 * keys).map(|n| Command::Put(Put::new(format!("k{:05}", n % keys), "v"))).collect();
    leader.apply_all(&puts[..2 * keys as usize]);
    let follower = Store::open(copy_of(EngineKind::Btree, &leader.store)).expect("a state");
    follower.apply([(2 * keys + 1, &compact(2 * keys))]).expect("the disk is in order");
    leader.ok(&compact(2 * keys));
    for _ in 0..3 {
        assert_eq!(follower.sweep_step().expect("in order"), Progress::More);
    }
    leader.apply_all(&puts[2 * keys as usize..]);
    leader.ok(&compact(3 * keys + 1));
    let old = Arc::downgrade(&follower.engine());
    follower.replace(copy_of(EngineKind::Btree, &leader.store)).expect("it is further on");
    assert!(old.upgrade().is_none(), "nobody reads in the old engine any more");
    while follower.sweep_step().expect("in order") == Progress::More {}
    assert_eq!(follower.swept(), Some(3 * keys + 1));
    assert_eq!(follower.status().engine.records[Space::Record.index()], keys);
    leader.sweep();
    assert_eq!(dump(&*follower.engine()), dump(&*leader.store.engine()));
}

/// An engine whose disk fails when it is told to.
struct Failing {
    mem: Mem,
    fails: Arc<AtomicBool>,
}

impl Engine for Failing {
    type Snapshot = MemSnapshot;

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.mem.get(space, key)
    }

    fn snapshot(&self) -> MemSnapshot {
        self.mem.snapshot()
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(EngineError::NoSpace { file: "disk".into() });
        }
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

// A store whose engine has failed knows no longer what it holds. A whole new state is all it needs,
// and may stand where the store's memory had already left: nobody was shown that.
#[test]
fn a_store_that_has_given_up_goes_on_with_a_new_state() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = || Failing { mem: Mem::volatile(), fails: fails.clone() };
    let bench = Bench::over(failing());
    let leader = Bench::new();
    let (store, next) = (Arc::new(bench.store), put("k", "2"));
    let mut stream = store.watch(StreamOptions::default());
    stream.control().create(WatchRequest::new(KeyRange::all())).expect("a watcher");
    leader.ok(&put("k", "1"));
    store.apply([(1, &put("k", "1"))]).expect("the disk is in order");
    assert_eq!(events(&said(&mut stream)), ["+k=1@2"]);
    let before = stream_of(&leader.store);

    fails.store(true, Ordering::Relaxed);
    assert!(matches!(store.apply([(2, &next)]), Err(Error::Engine(_))));
    assert!(matches!(store.range(&read("k", "")), Err(Error::Stopped)));
    assert!(matches!(store.apply([(3, &next)]), Err(Error::Stopped)));
    assert!(matches!(store.sweep_step(), Err(Error::Stopped)));
    assert!(matches!(store.checkpoint(), Err(Error::Stopped)));
    fails.store(false, Ordering::Relaxed);

    let fresh = failing();
    load(&fresh, &mut &before[..]).expect("the stream is whole");
    store.replace(fresh).expect("it is where the watchers are");
    assert_eq!(store.range(&read("k", "")).expect("usable").kvs[0].value, "1");
    store.apply([(2, &next)]).expect("usable");
    let said = said(&mut stream);
    assert_eq!(events(&said), ["+k=2@3"]);
    assert!(!said.iter().any(|message| matches!(message, WatchMessage::Canceled { .. })));
    store.end_watches();
}
