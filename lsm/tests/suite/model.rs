//! Random histories against sorted maps, with crashes, and with other options at every opening.
//!
//! Every verb of the database is a step. At each opening memory, journal, compression and policy
//! are drawn anew: whatever they are, the same history must give the same answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use drystone_lsm::{Commit, Db, Keyspace, Options, Snapshot};
use drystone_vfs::{SimClock, SimVfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::{self, NAMES, Op, Oracle, State};
use crate::support::{dir, keyspace_options, options, seeds, try_open, varied};

const STEPS: u32 = 500;

/// A random history in the course of being made.
pub(crate) struct History {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) oracle: Oracle,
    values: u32,
    /// Keys are drawn from this many.
    keys: u32,
}

impl History {
    pub(crate) fn new(seed: u64) -> History {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys = [8, 60, 400][rng.random_range(0..3)];
        History { rng, oracle: Oracle::default(), values: 0, keys }
    }

    pub(crate) fn key(&mut self) -> Vec<u8> {
        let n = self.rng.random_range(0..self.keys);
        match n % 4 {
            0 => format!("k{n:03}").into_bytes(),
            1 => format!("a-long-common-prefix/{n}").into_bytes(),
            2 => n.to_be_bytes().to_vec(),
            _ => vec![n as u8; (n % 7) as usize],
        }
    }

    fn value(&mut self) -> Vec<u8> {
        self.values += 1;
        let len = [0, 5, 30, 200, 1500][self.rng.random_range(0..5)];
        let mut value = vec![self.values as u8; self.rng.random_range(len / 2..=len)];
        let tag = self.values.to_le_bytes();
        let tagged = value.len().min(tag.len());
        value[..tagged].copy_from_slice(&tag[..tagged]);
        value
    }

    pub(crate) fn ops(&mut self) -> Vec<Op> {
        let count = [1, 1, 2, 3, 12][self.rng.random_range(0..5)];
        // Now and then as much as the journal packs.
        let count = if count == 12 && self.rng.random_bool(0.3) { 50 } else { count };
        (0..count)
            .map(|_| {
                // The last keyspace is idle most of the time.
                let space = [0, 0, 0, 0, 1, 1, 1, 1, 2][self.rng.random_range(0..9)];
                let key = self.key();
                match self.rng.random_range(0..20) {
                    0..11 => Op::Put(space, key, self.value()),
                    11..16 => Op::Delete(space, key),
                    16..18 => {
                        self.values += 1;
                        Op::Merge(space, key, format!("+{}", self.values).into_bytes())
                    }
                    _ => {
                        let other = self.key();
                        Op::DeleteRange(space, key.clone().min(other.clone()), key.max(other))
                    }
                }
            })
            .collect()
    }
}

impl History {
    /// What an ingest takes in: a keyspace, and records in the order of their keys.
    pub(crate) fn load(&mut self) -> (usize, BTreeMap<Vec<u8>, Vec<u8>>) {
        let space = self.rng.random_range(0..NAMES.len());
        let count = [1, 2, 5, 40][self.rng.random_range(0..4)];
        (space, (0..count).map(|_| (self.key(), self.value())).collect())
    }
}

/// From one opening to the next.
struct Life<'a> {
    history: &'a mut History,
    db: Db,
    spaces: Vec<Keyspace>,
    journal: bool,
    commits: Vec<(Commit, usize)>,
    snapshots: Vec<(Snapshot, State)>,
}

impl Life<'_> {
    fn step(&mut self) {
        match self.history.rng.random_range(0..100) {
            0..44 => self.write(),
            44..45 => self.ingest_or_clear(),
            45..50 => self.wait(),
            50..58 => self.get(),
            58..66 => self.range(),
            66..70 => self.cursor(),
            70..74 => {
                let state = self.history.oracle.newest();
                self.snapshots.push((self.db.snapshot(), state));
            }
            74..78 => self.look_back(),
            78..82 => self.flush(),
            82..84 => drop(self.db.flush_once().unwrap()),
            84..92 => drop(self.db.compact_once().unwrap()),
            92..94 => drop(self.db.compact(std::time::Duration::MAX).unwrap()),
            94..96 => self.persist(),
            96..97 => self.drop_keyspace(),
            97..98 => self.db.verify().unwrap(),
            98..99 => self.ingest_or_clear(),
            _ => assert!(oracle::read(&self.db.snapshot(), &self.spaces) == self.newest()),
        }
    }

    fn newest(&self) -> State {
        self.history.oracle.newest()
    }

    fn write(&mut self) {
        let ops = self.history.ops();
        let batch = oracle::batch(&self.spaces, &ops);
        self.history.oracle.wrote(ops);
        let commit = self.db.write(batch).unwrap();
        self.commits.push((commit, self.history.oracle.count()));
    }

    fn wait(&mut self) {
        if !self.commits.is_empty() {
            let at = self.history.rng.random_range(0..self.commits.len());
            let (commit, count) = self.commits.swap_remove(at);
            commit.wait().unwrap();
            self.history.oracle.saved(count);
        }
    }

    fn persist(&mut self) {
        self.db.persist().unwrap();
        self.history.oracle.saved(self.history.oracle.count());
    }

    fn flush(&mut self) {
        self.db.flush().unwrap();
        self.history.oracle.saved(self.history.oracle.count());
    }

    fn ingest_or_clear(&mut self) {
        let (space, records) = self.history.load();
        if self.history.rng.random_bool(0.3) {
            self.history.oracle.wrote(vec![oracle::clear(space)]);
            self.db.clear(&self.spaces[space]).unwrap();
        } else {
            self.history.oracle.wrote(oracle::puts(space, &records));
            self.db.ingest(&self.spaces[space], records).unwrap();
        }
        self.history.oracle.saved(self.history.oracle.count());
    }

    fn space(&mut self) -> usize {
        self.history.rng.random_range(0..NAMES.len())
    }

    fn get(&mut self) {
        let (space, key) = (self.space(), self.history.key());
        let expected = self.newest()[space].get(&key).cloned();
        let found = self.db.get(&self.spaces[space], &key).unwrap();
        assert_eq!(found.map(|value| value.to_vec()), expected, "get {key:?}");
    }

    /// Reads a range from both ends in random turns; records are kept or lent.
    fn range(&mut self) {
        let (space, a, b) = (self.space(), self.history.key(), self.history.key());
        let (start, end) = (a.clone().min(b.clone()), a.max(b));
        let state = self.newest();
        let mut expected = state[space].range(start.clone()..end.clone());
        let mut range = self.db.range(&self.spaces[space], start..end);
        loop {
            let back = self.history.rng.random_bool(0.4);
            let expected = if back { expected.next_back() } else { expected.next() };
            let expected = expected.map(|(k, v)| (&k[..], &v[..]));
            if self.history.rng.random_bool(0.5) {
                let found = if back { range.next_back() } else { range.next() };
                let found = found.map(|record| record.unwrap());
                assert_eq!(found.as_ref().map(|(k, v)| (&**k, &**v)), expected);
            } else {
                let found = if back { range.lend_back() } else { range.lend() };
                assert_eq!(found.map(|record| record.unwrap()), expected);
            }
            if expected.is_none() {
                break;
            }
        }
    }

    /// Moves a cursor at random.
    fn cursor(&mut self) {
        let space = self.space();
        let state = self.newest();
        let records: Vec<_> = state[space].iter().collect();
        let mut cursor = self.db.snapshot().cursor(&self.spaces[space]);
        let mut at: Option<usize> = None;
        for _ in 0..12 {
            let key = self.history.key();
            at = match self.history.rng.random_range(0..8) {
                0 => {
                    cursor.seek(&key).unwrap();
                    records.iter().position(|(k, _)| **k >= key)
                }
                1 => {
                    cursor.seek_before(&key).unwrap();
                    records.iter().rposition(|(k, _)| **k < key)
                }
                2 => {
                    cursor.last().unwrap();
                    records.len().checked_sub(1)
                }
                3..6 => {
                    cursor.next().unwrap();
                    at.map(|at| at + 1).filter(|at| *at < records.len())
                }
                _ => {
                    cursor.prev().unwrap();
                    at.and_then(|at| at.checked_sub(1))
                }
            };
            let expected = at.map(|at| (&records[at].0[..], &records[at].1[..]));
            assert_eq!(cursor.record(), expected, "cursor");
        }
    }

    /// A snapshot shows what it showed, whatever has happened since.
    fn look_back(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        let at = self.history.rng.random_range(0..self.snapshots.len());
        let (snapshot, state) = &self.snapshots[at];
        assert!(oracle::read(snapshot, &self.spaces) == *state, "a snapshot has changed");
        let key = self.history.key();
        for (space, keyspace) in self.spaces.iter().enumerate() {
            let found = snapshot.get(keyspace, &key).unwrap().map(|value| value.to_vec());
            assert_eq!(found, state[space].get(&key).cloned(), "snapshot get {key:?}");
        }
        if self.history.rng.random_bool(0.5) {
            self.snapshots.swap_remove(at);
        }
    }

    fn drop_keyspace(&mut self) {
        let space = self.space();
        self.db.drop_keyspace(&self.spaces[space]).unwrap();
        self.history.oracle.drops(space);
        self.history.oracle.dropped(space);
        // The new one of that name is another: old snapshots know nothing of it.
        self.snapshots.clear();
        self.spaces[space] = self.db.keyspace(NAMES[space], keyspace_options()).unwrap();
    }
}

fn random_options(rng: &mut ChaCha8Rng) -> Options {
    let memory = [64, 64, 128, 1024][rng.random_range(0..4)] << 10;
    options().memory_bytes(memory).journal(rng.random_bool(0.6))
}

/// Opens with options drawn anew, judges, and lives for a while. Returns the disk of the next life.
fn life(history: &mut History, disk: &SimVfs, steps: &mut u32) -> SimVfs {
    let journal_off = history.rng.random_bool(0.4);
    let options = random_options(&mut history.rng).journal(!journal_off);
    let db = try_open(disk, options).unwrap();
    let spaces: Vec<Keyspace> = NAMES
        .iter()
        .map(|name| db.keyspace(name, varied(history.rng.random_range(0..6))).unwrap())
        .collect();
    let found = oracle::read(&db.snapshot(), &spaces);
    history.oracle.settle(&found, "reopened");
    let (commits, snapshots) = (Vec::new(), Vec::new());
    let mut life = Life { history, db, spaces, journal: !journal_off, commits, snapshots };
    let most = life.history.rng.random_range(1..150);
    for _ in 0..most {
        life.step();
        *steps += 1;
    }
    end(life, disk)
}

fn end(mut life: Life<'_>, disk: &SimVfs) -> SimVfs {
    match life.history.rng.random_range(0..4) {
        // Closed. Without a journal nothing is written for that.
        0 => {
            if life.journal {
                life.history.oracle.saved(life.history.oracle.count());
            }
            let Life { db, commits, snapshots, .. } = life;
            drop((commits, snapshots));
            db.close().unwrap();
            disk.clone()
        }
        // Killed: what was written is there, synced or not.
        1 => disk.kill_copy(),
        2 => disk.crash_copy(life.history.rng.random_range(0..1 << 40)),
        _ => {
            copy(&mut life, disk);
            disk.crash()
        }
    }
}

/// A copy opens as a database of its own, with all that was there; so does a view of the original.
fn copy(life: &mut Life<'_>, disk: &SimVfs) {
    let to = Path::new("copy").join(life.history.rng.random_range(0..1_u64 << 40).to_string());
    life.db.checkpoint(&to).unwrap();
    life.history.oracle.saved(life.history.oracle.count());
    let expected = life.history.oracle.newest();
    let after = disk.crash_copy(7);
    let clock = Arc::new(SimClock::new());
    for dir in [to, dir()] {
        let db =
            Db::open_read_only(Arc::new(after.clone()), clock.clone(), &dir, options()).unwrap();
        let before = after.files();
        let spaces = oracle::keyspaces(&db);
        assert!(oracle::read(&db.snapshot(), &spaces) == expected, "{}", dir.display());
        db.verify().unwrap();
        assert!(after.files() == before, "a view changes nothing");
    }
}

// The tree has many verbs and many shapes; any two of them may not get on.
#[test]
fn model_random_histories_match_sorted_maps() {
    for seed in seeds("model", 60) {
        let mut history = History::new(seed);
        let mut disk = SimVfs::new(seed);
        let mut steps = 0;
        while steps < STEPS {
            disk = life(&mut history, &disk, &mut steps);
        }
    }
}
