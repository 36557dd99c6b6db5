//! What a database may hold: every batch in order, and how many of them are known to be durable.
//!
//! After a crash a database holds the effect of some prefix of the batches, no shorter than what
//! was acknowledged as durable, each batch whole over all keyspaces.

use std::collections::BTreeMap;

use drystone_lsm::{Batch, Db, Keyspace, Snapshot};

use crate::support::{concat, keyspace};

/// The keyspaces that workloads use.
pub(crate) const NAMES: [&str; 3] = ["left", "right", "idle"];

pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// The contents of every keyspace.
pub(crate) type State = [Map; 3];

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    DeleteRange(usize, Vec<u8>, Vec<u8>),
    Merge(usize, Vec<u8>, Vec<u8>),
}

impl Op {
    fn space(&self) -> usize {
        match self {
            Op::Put(space, ..) | Op::Delete(space, _) => *space,
            Op::DeleteRange(space, ..) | Op::Merge(space, ..) => *space,
        }
    }

    fn apply(&self, state: &mut State) {
        match self {
            Op::Put(space, key, value) => drop(state[*space].insert(key.clone(), value.clone())),
            Op::Delete(space, key) => drop(state[*space].remove(key)),
            Op::DeleteRange(space, start, end) => {
                state[*space].retain(|key, _| !(start <= key && key < end));
            }
            Op::Merge(space, key, operand) => {
                let map = &mut state[*space];
                let merged = concat(map.get(key).map(|v| &v[..]), &[operand]);
                map.insert(key.clone(), merged);
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    batches: Vec<Vec<Op>>,
    /// Batches known to be durable.
    durable: usize,
    /// Batches before this one do not count for a keyspace: it was dropped.
    dropped: [usize; 3],
    /// A drop of this keyspace was under way when the power failed.
    dropping: Option<usize>,
}

pub(crate) fn batch(spaces: &[Keyspace], ops: &[Op]) -> Batch {
    let mut batch = Batch::new();
    for op in ops {
        match op {
            Op::Put(space, key, value) => batch.put(&spaces[*space], key, value),
            Op::Delete(space, key) => batch.delete(&spaces[*space], key),
            Op::DeleteRange(space, start, end) => batch.delete_range(&spaces[*space], start, end),
            Op::Merge(space, key, operand) => batch.merge(&spaces[*space], key, operand),
        }
    }
    batch
}

pub(crate) fn keyspaces(db: &Db) -> Vec<Keyspace> {
    NAMES.iter().map(|name| keyspace(db, name)).collect()
}

/// What a snapshot sees, read forwards.
pub(crate) fn read(snapshot: &Snapshot, spaces: &[Keyspace]) -> State {
    std::array::from_fn(|space| {
        let records = snapshot.iter(&spaces[space]);
        records.map(|record| record.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
    })
}

impl Oracle {
    /// A batch is about to be written.
    pub(crate) fn wrote(&mut self, ops: Vec<Op>) {
        self.batches.push(ops);
    }

    /// Batches so far.
    pub(crate) fn count(&self) -> usize {
        self.batches.len()
    }

    /// The first `count` batches are durable.
    pub(crate) fn saved(&mut self, count: usize) {
        self.durable = self.durable.max(count);
    }

    pub(crate) fn drops(&mut self, space: usize) {
        self.dropping = Some(space);
    }

    pub(crate) fn dropped(&mut self, space: usize) {
        self.dropped[space] = self.batches.len();
        self.dropping = None;
    }

    /// The state after the first `count` batches.
    pub(crate) fn state(&self, count: usize) -> State {
        let mut state = State::default();
        for (i, ops) in self.batches[..count].iter().enumerate() {
            self.apply(i, ops, &mut state);
        }
        state
    }

    fn apply(&self, number: usize, ops: &[Op], state: &mut State) {
        for op in ops.iter().filter(|op| number >= self.dropped[op.space()]) {
            op.apply(state);
        }
    }

    pub(crate) fn newest(&self) -> State {
        self.state(self.batches.len())
    }

    /// Whether `found` may be what a crash left, and after how many batches.
    pub(crate) fn accepts(&self, found: &State) -> Option<usize> {
        let plain = self.accepts_as_is(found);
        let Some(space) = self.dropping.filter(|_| plain.is_none()) else { return plain };
        let mut dropped = self.clone();
        dropped.dropped[space] = self.batches.len();
        dropped.accepts_as_is(found)
    }

    fn accepts_as_is(&self, found: &State) -> Option<usize> {
        let mut state = self.state(self.durable);
        for count in self.durable..=self.batches.len() {
            if state == *found {
                return Some(count);
            }
            if let Some(ops) = self.batches.get(count) {
                self.apply(count, ops, &mut state);
            }
        }
        None
    }

    /// Judges what a reopened database holds, and goes on from there.
    #[track_caller]
    pub(crate) fn settle(&mut self, found: &State, what: &str) {
        let Some(count) = self.accepts(found) else {
            let durable = self.state(self.durable);
            for (space, name) in NAMES.iter().enumerate() {
                for (key, value) in &durable[space] {
                    if found[space].get(key) != Some(value) {
                        println!("{name} {key:?}: {value:?}, found {:?}", found[space].get(key));
                    }
                }
                for key in found[space].keys().filter(|key| !durable[space].contains_key(*key)) {
                    println!("{name} {key:?}: nothing, found {:?}", found[space].get(key));
                }
            }
            panic!("{what}: no prefix from {} to {}", self.durable, self.batches.len());
        };
        if let Some(space) = self.dropping.take() {
            // Whichever it was, it is settled now.
            if found[space].is_empty() {
                self.dropped[space] = self.batches.len();
            }
        }
        self.batches.truncate(count);
        for dropped in &mut self.dropped {
            *dropped = (*dropped).min(count);
        }
        self.durable = count;
    }
}
