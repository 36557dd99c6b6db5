//! The definition of right: ordered maps from the standard library, and a random walk beside them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use drystone_vfs::SimVfs;

use super::{
    APPLIED, Open, Random, applied, assert_equal, assert_snapshot, dyn_vfs, open_sound, scan, seeds,
};
use crate::engine::{Batch, Change, Direction, Engine, Space};

type Map = BTreeMap<Vec<u8>, Bytes>;

/// What an engine should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    spaces: [Map; Space::COUNT],
}

impl Model {
    pub(super) fn space(&self, space: Space) -> &Map {
        &self.spaces[space.index()]
    }

    pub(super) fn apply(&mut self, batch: &Batch) {
        for change in batch {
            match change {
                Change::Put { space, key, value } => {
                    self.spaces[space.index()].insert(key.to_vec(), value.clone());
                }
                Change::Delete { space, key } => {
                    self.spaces[space.index()].remove(key.as_slice());
                }
            }
        }
    }
}

/// A workload: random batches, and the state after each of them.
pub(super) struct Work {
    random: Random,
    /// `states[n]` is the state after `n` batches.
    states: Vec<Model>,
    revision: u64,
}

impl Work {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random(seed), states: vec![Model::default()], revision: 0 }
    }

    /// How many batches there were.
    pub(super) fn len(&self) -> usize {
        self.states.len() - 1
    }

    /// The state after `count` batches.
    pub(super) fn state(&self, count: usize) -> &Model {
        &self.states[count]
    }

    /// The state after all batches.
    pub(super) fn last(&self) -> &Model {
        self.state(self.len())
    }

    /// Forgets the batches after the first `count`: the engine lost them.
    fn rewind(&mut self, count: usize) {
        self.states.truncate(count + 1);
    }

    /// A next batch, much as a store writes them: growing revisions, some compaction, leases that
    /// come, change and go, and the number of the batch.
    pub(super) fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        let random = &mut self.random;
        let puts = if random.once_in(20) { 300 } else { random.below(6) };
        for sub in 0..u32::try_from(puts).expect("a few") {
            if random.once_in(4) {
                self.revision += 1;
            }
            let mut key = self.revision.to_be_bytes().to_vec();
            key.extend(sub.to_be_bytes());
            let len = if random.once_in(50) { 20_000 } else { random.below(300) };
            batch.put(Space::Record, &key, Bytes::from(vec![random.next() as u8; len]));
        }
        self.revision += 1;
        if random.once_in(5) {
            let records = self.states[self.states.len() - 1].space(Space::Record);
            for key in records.keys().take(random.below(100)) {
                if !random.once_in(10) {
                    batch.delete(Space::Record, key);
                }
            }
        }
        for _ in 0..random.below(4) {
            let lease = random.below(40).to_be_bytes();
            if random.once_in(3) {
                batch.delete(Space::Lease, &lease);
            } else {
                batch.put(Space::Lease, &lease, Bytes::from(random.next().to_be_bytes().to_vec()));
            }
        }
        if random.once_in(10) {
            batch.put(Space::Alarm, &[b'a'; 30][..random.below(30)], Bytes::new());
        }
        let number = self.states.len() as u64;
        batch.put(Space::Meta, APPLIED, Bytes::copy_from_slice(&number.to_be_bytes()));
        let mut state = self.last().clone();
        state.apply(&batch);
        self.states.push(state);
        batch
    }

    /// Asserts that `engine` shows a prefix of the batches, none of the first `at_least` missing;
    /// returns how long a prefix.
    pub(super) fn assert_prefix<E: Engine>(&self, engine: &E, at_least: usize) -> usize {
        let count = applied(engine);
        assert!(at_least <= count, "{at_least} batches were durable, {count} are there");
        assert!(count <= self.len(), "batch {count} was never written");
        assert_equal(engine, self.state(count));
        count
    }
}

/// Any run of writes, reads, snapshots, persists, power cuts and checkpoints leaves the engine
/// and every snapshot of it equal to ordered maps that did the same.
///
/// # Panics
///
/// If the claim does not hold.
pub fn random_work_matches_the_model<E: Engine>(open: &Open<E>) {
    for seed in seeds(20, "random_work_matches_the_model") {
        println!("seed {seed}");
        Walk::new(open, seed).run(250);
    }
}

/// A random walk of one engine and its model.
struct Walk<'a, E: Engine> {
    open: &'a Open<E>,
    disk: SimVfs,
    /// `None` between a power cut and reopening.
    engine: Option<E>,
    work: Work,
    random: Random,
    /// Batches that are surely durable.
    durable: usize,
    held: Vec<(E::Snapshot, usize)>,
}

impl<'a, E: Engine> Walk<'a, E> {
    fn new(open: &'a Open<E>, seed: u64) -> Self {
        let disk = SimVfs::new(seed);
        let engine = Some(open_sound(open, &disk));
        let (work, random) = (Work::new(seed), Random(seed ^ 0xface));
        Self { open, disk, engine, work, random, durable: 0, held: Vec::new() }
    }

    fn engine(&self) -> &E {
        self.engine.as_ref().expect("the engine is open between steps")
    }

    fn run(mut self, steps: usize) {
        for step in 0..steps {
            match self.random.below(40) {
                0..20 => {
                    let batch = self.work.batch();
                    self.engine().write(batch).expect("the disk is in order");
                }
                20..26 => self.check_range(),
                26..30 => self.held.push((self.engine().snapshot(), self.work.len())),
                30..33 if !self.held.is_empty() => {
                    let at = self.random.below(self.held.len());
                    let (snapshot, count) = self.held.swap_remove(at);
                    assert_snapshot(&snapshot, self.work.state(count));
                }
                33..36 => {
                    self.engine().persist().expect("the disk is in order");
                    self.durable = self.work.len();
                }
                36 => {
                    self.engine().maintain(Duration::from_millis(1)).expect("the disk is in order");
                }
                37 => self.check_checkpoint(step),
                38 => self.cut_power(),
                _ => assert_equal(self.engine(), self.work.last()),
            }
        }
        self.cut_power();
    }

    fn check_range(&mut self) {
        let space = Space::ALL[self.random.below(Space::COUNT)];
        let records = self.work.last().space(space);
        let mut bound = || match records.keys().nth(self.random.below(records.len() + 1)) {
            Some(key) if self.random.once_in(2) => key.clone(),
            Some(key) => key[..self.random.below(key.len() + 1)].to_vec(),
            None => Vec::new(),
        };
        let (start, end) = (bound(), Some(bound()).filter(|end| !end.is_empty()));
        let end = end.as_deref();
        let inside = |key: &[u8]| &start[..] <= key && end.is_none_or(|end| key < end);
        let mut expected: Vec<_> = records.iter().filter(|(key, _)| inside(key)).collect();
        let snapshot = self.engine().snapshot();
        for direction in [Direction::Forward, Direction::Backward] {
            let found = scan(&snapshot, space, &start, end, direction);
            assert!(found.iter().map(|(key, value)| (key, value)).eq(expected.iter().copied()));
            expected.reverse();
        }
    }

    fn check_checkpoint(&self, step: usize) {
        let dir = PathBuf::from(format!("copies/{step}"));
        self.engine().checkpoint(&dir).expect("the disk is in order");
        let copy = (self.open)(dyn_vfs(&self.disk), &dir).expect("the copy opens");
        assert_equal(&copy, self.work.last());
    }

    fn cut_power(&mut self) {
        for (snapshot, count) in self.held.drain(..) {
            assert_snapshot(&snapshot, self.work.state(count));
        }
        self.disk = self.disk.crash();
        self.engine = None;
        let engine = open_sound(self.open, &self.disk);
        let count = self.work.assert_prefix(&engine, self.durable);
        self.work.rewind(count);
        self.durable = count;
        self.engine = Some(engine);
    }
}
