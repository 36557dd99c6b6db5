//! Long lives of a database beside sorted maps. Whatever happens to it (crashes, kills, failed
//! flushes, readers of many ages, commits in flight, compactions) it answers as the maps do.
//!
//! ```text
//!   MODEL=n cargo test -p drystone-btree model            replays one life, with SLOW=1 a long one
//!   SLOW=1 cargo test -p drystone-btree model             more of them, and longer
//! ```

use std::ops::Bound;
use std::time::Duration;

use drystone_btree::{
    Commit, Db, Error, Options, ReadTxn, Result, Sync, TreeId, TxnId, WriteTxn, Writer,
};
use drystone_vfs::{Fault, Harm, Op, SimVfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::{Oracle, State, whole};
use crate::support::{options, try_open};

const LIVES: u64 = 24;
const STEPS: u64 = 260;
const TREES: [&str; 3] = ["a", "bb", "ccc"];

type Records = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

/// Says how to come back here if a check fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let slow = std::env::var_os("SLOW").map_or("", |_| "SLOW=1 ");
            println!("replay: {slow}MODEL={} cargo test -p drystone-btree model", self.0);
        }
    }
}

/// What has happened, to see that all of it does.
#[derive(Debug, Default)]
struct Tally {
    crashes: u32,
    kills: u32,
    closes: u32,
    failures: u32,
    compactions: u32,
    queries: u32,
}

struct Life {
    rng: ChaCha8Rng,
    disk: SimVfs,
    options: Options,
    sync: Sync,
    db: Db,
    oracle: Oracle,
    pending: Vec<Commit>,
    readers: Vec<(ReadTxn, State)>,
    stamp: u32,
    tally: Tally,
}

/// A key: few of them, of all lengths, often with a long beginning in common.
fn some_key(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let number = rng.random_range(0..120_u32);
    match number % 12 {
        0 => number.to_be_bytes()[3..].to_vec(),
        1 => vec![b'x'; number as usize * 5],
        2 if number < 30 => Vec::new(),
        _ => format!("a beginning that is shared {number:04}").into_bytes(),
    }
}

fn some_bounds(rng: &mut ChaCha8Rng) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut bound = || match rng.random_range(0..4) {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(some_key(rng)),
        _ => Bound::Included(some_key(rng)),
    };
    (bound(), bound())
}

fn is_in(key: &[u8], bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    let above = match &bounds.0 {
        Bound::Included(low) => key >= &low[..],
        Bound::Excluded(low) => key > &low[..],
        Bound::Unbounded => true,
    };
    above
        && match &bounds.1 {
            Bound::Included(high) => key <= &high[..],
            Bound::Excluded(high) => key < &high[..],
            Bound::Unbounded => true,
        }
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sync = match rng.random_range(0..10) {
            0..4 => Sync::EveryCommit,
            4..6 => Sync::OnRequest,
            _ => Sync::Journal,
        };
        let options = options()
            .sync(sync)
            .page_bytes([4096, 4096, 8192, 16384][rng.random_range(0..4)])
            .memory_bytes([1 << 20, 16 << 20][rng.random_range(0..2)])
            .unflushed_bytes([20_000, 1 << 20, 64 << 20][rng.random_range(0..3)]);
        let disk = SimVfs::new(seed);
        let db = try_open(&disk, options.clone()).unwrap();
        Life {
            rng,
            disk,
            options,
            sync,
            db,
            oracle: Oracle::default(),
            pending: Vec::new(),
            readers: Vec::new(),
            stamp: 0,
            tally: Tally::default(),
        }
    }

    fn step(&mut self) {
        // A flush that nobody waited for may have failed.
        if let Err(error) = self.db.try_write().map(drop) {
            return self.survive(&error);
        }
        let outcome = match self.rng.random_range(0..100) {
            0..40 => self.transaction(),
            40..58 => {
                self.query();
                Ok(())
            }
            58..68 => self.wait(),
            68..74 => self.db.persist().map(|txn| self.oracle.acknowledged(txn)),
            74..80 => {
                let state = self.oracle.last().clone();
                self.readers.push((self.db.read(), state));
                Ok(())
            }
            80..84 => {
                let at = self.rng.random_range(0..self.readers.len().max(1));
                if at < self.readers.len() {
                    self.readers.swap_remove(at);
                }
                Ok(())
            }
            84..89 => self.compact(),
            89..93 => {
                self.order_a_failure();
                Ok(())
            }
            _ => {
                self.next_life();
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.survive(&error);
        }
    }

    /// A failed flush ends this opening, or, on request, only that attempt.
    fn survive(&mut self, error: &Error) {
        assert!(matches!(error, Error::Poisoned { .. } | Error::NoSpace { .. }), "{error}");
        self.tally.failures += 1;
        self.disk.heal();
        // With a journal, pages can be flushed later, if it is sound.
        let survived = self.sync == Sync::Journal && self.db.try_write().is_ok();
        if self.sync == Sync::OnRequest || survived {
            let found = whole(&self.db);
            assert!(found == *self.oracle.last(), "a failed flush has changed what is in memory");
            return;
        }
        let durable = self.db.durable();
        assert_eq!(self.db.read().txn(), durable, "readers are back at the durable state");
        self.query();
        self.reopen(self.disk.kill_copy());
    }

    fn order_a_failure(&mut self) {
        let op = [Op::Sync, Op::Write][self.rng.random_range(0..2)];
        let harms = [Harm::Error, Harm::Drops, Harm::Forgets, Harm::Torn, Harm::NoSpace];
        let harm = harms[self.rng.random_range(0..5)];
        self.disk.fail(Fault::new(op, harm).after(self.rng.random_range(0..6)));
    }

    /// Dies in one way or another, and is opened again. Readers outlive the database that they came
    /// from, but not the disk.
    fn next_life(&mut self) {
        self.disk.heal();
        let disk = match self.rng.random_range(0..3) {
            0 => {
                self.tally.crashes += 1;
                self.query();
                self.disk.crash()
            }
            1 => {
                self.tally.kills += 1;
                self.query();
                self.disk.kill_copy()
            }
            _ => {
                self.tally.closes += 1;
                let (last, durable) = (self.db.read().txn(), self.db.durable());
                match self.db.clone().close() {
                    Ok(()) => {
                        let kept = if self.sync == Sync::OnRequest { durable } else { last };
                        self.oracle.acknowledged(kept);
                        self.query();
                        self.disk.clone()
                    }
                    // The journal has failed, and nobody has committed since.
                    Err(error) => {
                        assert!(matches!(error, Error::Poisoned { .. } | Error::NoSpace { .. }));
                        self.disk.kill_copy()
                    }
                }
            }
        };
        self.reopen(disk);
    }

    fn reopen(&mut self, disk: SimVfs) {
        self.pending.clear();
        self.readers.clear();
        let old = std::mem::replace(&mut self.disk, disk);
        let closed = try_open(&SimVfs::new(0), options()).unwrap();
        drop(std::mem::replace(&mut self.db, closed));
        drop(old);
        self.db = try_open(&self.disk, self.options.clone()).unwrap();
        self.oracle.settle(&self.db, "reopened");
        self.db.verify().unwrap();
    }

    fn wait(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.pending.len());
        let txn = self.pending.swap_remove(at).wait()?;
        self.oracle.acknowledged(txn);
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        self.tally.compactions += 1;
        let before = self.db.read().txn().0;
        let outcome = self.db.compact(Duration::ZERO).map(drop);
        // It has committed a few times, and has changed no record. If it failed, or the flush of
        // what it committed did, nobody knows how far it came.
        let is_sound = outcome.is_ok() && self.db.try_write().is_ok();
        let after = if is_sound { self.db.read().txn().0 } else { before + 8 };
        (before + 1..=after).for_each(|txn| self.oracle.same(TxnId(txn)));
        outcome
    }

    /// A few changes, with savepoints; what the transaction sees of itself is right at every step.
    fn transaction(&mut self) -> Result<()> {
        let mut state = self.oracle.last().clone();
        let mut w = self.db.write()?;
        let mut savepoints = Vec::new();
        for _ in 0..[1, 2, 5, 40][self.rng.random_range(0..4)] {
            match self.rng.random_range(0..24) {
                0 => savepoints.push((w.savepoint(), state.clone())),
                1 => {
                    if let Some((savepoint, saved)) = savepoints.pop() {
                        w.rollback_to(savepoint)?;
                        state = saved;
                    }
                }
                2 => self.look_at(&w, &state),
                _ => self.change(&mut w, &mut state)?,
            }
        }
        if self.rng.random_bool(0.1) {
            return Ok(());
        }
        self.look_at(&w, &state);
        if state == *self.oracle.last() {
            // What was changed and changed back is a transaction all the same.
            self.oracle.same(w.txn());
        }
        let commit = self.oracle.commit(w, state)?;
        self.pending.push(commit);
        Ok(())
    }

    fn change(&mut self, w: &mut WriteTxn, state: &mut State) -> Result<()> {
        let rng = &mut self.rng;
        let name = TREES[rng.random_range(0..TREES.len())];
        let tree = w.create_tree(name)?;
        let records = state.entry(name.to_owned()).or_default();
        let key = some_key(rng);
        match rng.random_range(0..20) {
            0..12 => {
                self.stamp += 1;
                let len = [0, 5, 60, 400, 1000, 7000][rng.random_range(0..6)];
                let mut value = self.stamp.to_le_bytes().repeat(len / 4 + 1);
                value.truncate(len);
                let was_there = w.put(tree, &key, &value)?;
                assert_eq!(was_there, records.insert(key, value).is_some());
            }
            12..17 => {
                let was_there = w.delete(tree, &key)?;
                assert_eq!(was_there, records.remove(&key).is_some());
            }
            17..19 => {
                let bounds = some_bounds(rng);
                let before = records.len();
                records.retain(|key, _| !is_in(key, &bounds));
                let count = w.delete_range(tree, bounds)?;
                assert_eq!(count, (before - records.len()) as u64);
            }
            _ => {
                assert!(w.drop_tree(tree)?);
                state.remove(name);
            }
        }
        Ok(())
    }

    /// What a transaction sees is what it has made.
    fn look_at(&mut self, w: &WriteTxn, state: &State) {
        for (name, records) in state {
            let tree = w.tree(name).unwrap();
            assert_eq!(w.len(tree).unwrap(), records.len() as u64);
            let bounds = some_bounds(&mut self.rng);
            let expected = records.iter().filter(|(key, _)| is_in(key, &bounds));
            let found = w.range(tree, bounds.clone()).map(|item| item.unwrap());
            assert!(found.map(|(k, v)| (k.to_vec(), v.to_vec())).eq(expected.map(owned)));
            let key = some_key(&mut self.rng);
            let got = w.get(tree, &key).unwrap().map(|value| value.to_vec());
            assert_eq!(got.as_ref(), records.get(&key));
        }
    }

    /// Asks every reader, old and new, something.
    fn query(&mut self) {
        self.tally.queries += 1;
        let mut readers = std::mem::take(&mut self.readers);
        readers.push((self.db.read(), State::new()));
        let newest = readers.len() - 1;
        for (i, (r, state)) in readers.iter().enumerate() {
            // The newest is asked only for what a failure cannot have taken back.
            if i == newest && self.db.read().txn() != r.txn() {
                continue;
            }
            let state = if i == newest { &whole_of(r) } else { state };
            for (name, records) in state {
                let tree = r.tree(name).unwrap();
                self.ask(r, tree, records);
            }
        }
        readers.pop();
        self.readers = readers;
    }

    fn ask(&mut self, r: &ReadTxn, tree: TreeId, records: &Records) {
        let rng = &mut self.rng;
        assert_eq!(r.len(tree).unwrap(), records.len() as u64);
        for _ in 0..4 {
            let key = some_key(rng);
            let got = r.get(tree, &key).unwrap().map(|value| value.to_vec());
            assert_eq!(got.as_ref(), records.get(&key));
        }
        // From both ends, in turns.
        let bounds = some_bounds(rng);
        let mut expected = records.iter().filter(|(key, _)| is_in(key, &bounds));
        let mut found = r.range(tree, bounds.clone());
        loop {
            let back = rng.random_bool(0.5);
            let (expected, found) = if back {
                (expected.next_back(), found.next_back())
            } else {
                (expected.next(), found.next())
            };
            let found = found.map(|item| item.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec()));
            assert_eq!(found.is_some(), expected.is_some(), "{bounds:?}");
            assert!(found == expected.map(owned), "{bounds:?}");
            if found.is_none() {
                break;
            }
        }
        let mut cursor = r.cursor(tree).unwrap();
        for _ in 0..6 {
            let key = some_key(rng);
            let at = if rng.random_bool(0.5) {
                cursor.seek(&key).unwrap();
                records.range(key..).next()
            } else {
                cursor.seek_before(&key).unwrap();
                records.range(..key).next_back()
            };
            assert_eq!(cursor.key(), at.map(|(key, _)| &key[..]));
            let Some((key, value)) = at else { continue };
            assert_eq!(cursor.value().unwrap().unwrap(), value[..]);
            cursor.next().unwrap();
            let after = records.range((Bound::Excluded(key.clone()), Bound::Unbounded)).next();
            assert_eq!(cursor.key(), after.map(|(key, _)| &key[..]));
        }
    }
}

fn owned((key, value): (&Vec<u8>, &Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (key.clone(), value.clone())
}

/// Everything that a reader sees.
fn whole_of(r: &ReadTxn) -> State {
    let records = |tree: TreeId| {
        let items = r.iter(tree).map(|item| item.unwrap());
        items.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    r.trees().map(|(tree, name)| (name.to_owned(), records(tree))).collect()
}

fn live(seed: u64, steps: u64) -> Tally {
    let replay = Replay(seed);
    let mut life = Life::new(seed);
    for _ in 0..steps {
        life.step();
    }
    drop(replay);
    life.tally
}

// I1 to I4 over long lives, and that answers are right in between.
#[test]
fn a_database_answers_as_sorted_maps_do() {
    let slow = std::env::var_os("SLOW").is_some();
    let steps = if slow { 2000 } else { STEPS };
    if let Ok(seed) = std::env::var("MODEL") {
        println!("{:?}", live(seed.parse().unwrap(), steps));
        return;
    }
    let mut sum = Tally::default();
    for seed in 0..if slow { 500 } else { LIVES } {
        let tally = live(seed, steps);
        sum.crashes += tally.crashes;
        sum.kills += tally.kills;
        sum.closes += tally.closes;
        sum.failures += tally.failures;
        sum.compactions += tally.compactions;
        sum.queries += tally.queries;
    }
    println!("{sum:?}");
    let Tally { crashes, kills, closes, failures, compactions, queries } = sum;
    assert!(crashes > 50 && kills > 50 && closes > 50 && failures > 20);
    assert!(compactions > 50 && queries > 500);
}

/// One history under some options: a digest of all answers.
fn answers(history: u64, options: &Options, variant: u64) -> u32 {
    let mut rng = ChaCha8Rng::seed_from_u64(history);
    // What the history does not decide: when the disk is waited for, when space is given back.
    let mut whim = ChaCha8Rng::seed_from_u64(variant);
    let disk = SimVfs::new(variant);
    let mut db = try_open(&disk, options.clone()).unwrap();
    let mut digest = crc32fast::Hasher::new();
    let mut readers: Vec<ReadTxn> = Vec::new();
    for turn in 0..90_u32 {
        let mut w = db.write().unwrap();
        for _ in 0..rng.random_range(1..25) {
            let tree = w.create_tree(TREES[rng.random_range(0..TREES.len())]).unwrap();
            let key = some_key(&mut rng);
            let answer = match rng.random_range(0..12) {
                0..8 => {
                    let len = [3, 80, 700, 9000][rng.random_range(0..4)];
                    u64::from(w.put(tree, &key, &turn.to_le_bytes().repeat(len / 4)).unwrap())
                }
                8..10 => u64::from(w.delete(tree, &key).unwrap()),
                10 => w.delete_range(tree, some_bounds(&mut rng)).unwrap(),
                _ => u64::from(w.drop_tree(tree).unwrap()),
            };
            digest.update(&answer.to_le_bytes());
        }
        let commit = w.commit().unwrap();
        if whim.random_bool(0.3) {
            commit.wait().unwrap();
        }
        if whim.random_bool(0.2) {
            db.compact(Duration::ZERO).map(drop).unwrap();
        }
        if rng.random_bool(0.2) {
            readers.push(db.read());
        }
        if readers.len() > 4 {
            digest_of(&readers.remove(0), &mut digest);
        }
        if turn % 30 == 29 {
            // Whoever opens the file next may write over what nobody there reads.
            readers.drain(..).for_each(|r| digest_of(&r, &mut digest));
            if whim.random_bool(0.5) {
                db.persist().unwrap();
                db.close().unwrap();
                db = try_open(&disk, options.clone()).unwrap();
            }
        }
    }
    readers.iter().for_each(|r| digest_of(r, &mut digest));
    digest_of(&db.read(), &mut digest);
    assert_eq!(db.verify().unwrap().lost_pages, 0);
    digest.finalize()
}

fn digest_of(r: &ReadTxn, digest: &mut crc32fast::Hasher) {
    for (name, records) in whole_of(r) {
        digest.update(name.as_bytes());
        for (key, value) in records {
            digest.update(&key);
            digest.update(&value);
        }
    }
}

// No option changes an answer: not the size of pages, nor memory, nor who flushes and when, nor a
// compaction or a new opening in between.
#[test]
fn one_history_has_the_same_answers_under_all_options() {
    let histories = if std::env::var_os("SLOW").is_some() { 100 } else { 5 };
    for history in 0..histories {
        let mut first = None;
        for variant in 0..8 {
            let mut rng = ChaCha8Rng::seed_from_u64(1000 * history + variant);
            let options = options()
                .page_bytes([4096, 8192, 16384][rng.random_range(0..3)])
                .memory_bytes([1 << 20, 1 << 30][rng.random_range(0..2)])
                .unflushed_bytes([0, 30_000, 1 << 30][rng.random_range(0..3)])
                .sync([Sync::EveryCommit, Sync::OnRequest, Sync::Journal][rng.random_range(0..3)])
                .writer([Writer::Caller, Writer::Thread][rng.random_range(0..2)]);
            println!("history {history}, variant {variant}: {options:?}");
            let answers = answers(history, &options, variant);
            assert_eq!(*first.get_or_insert(answers), answers, "history {history}");
        }
    }
}
