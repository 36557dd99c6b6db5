//! Every point of a workload as the last one. Small random workloads, each derived from a seed; the
//! power fails before call N, for every N; for each a number of crash seeds says what the disk made
//! of it; and for each of those the power fails once more, somewhere in the reopening.
//!
//! ```text
//!     seed ─► workload of up to 120 calls ─┬─► power cut before call N ─► crash ─┬─► open, judge
//!                                          │                                     └─► cut again
//!                                          └─► killed before call N ─┬─► open, judge
//!                                                                    └─► power cut in recovery
//! ```
//!
//! A workload puts and deletes in several trees, holds several commits that are not durable yet,
//! and readers of old states, which it checks at every step; compacts, closes and reopens. A point
//! is one such way through. What is found must be the state after one of the transactions, and at
//! least as new as the last one acknowledged; and writing on from it, with another crash, must do
//! as well. `CRASH_POINTS=1000000 cargo test -p drystone-btree enumerate` takes a million points; a
//! failure prints the command that replays its point alone.

use std::fmt;
use std::time::Duration;

use drystone_btree::{Commit, Db, Options, Progress, ReadTxn, Result, Sync, TxnId};
use drystone_vfs::SimVfs;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::{Oracle, State, whole};
use crate::support::{options, try_open};

/// Points taken when nobody asks for more.
const POINTS: u64 = 12_000;
/// A workload ends when it has made this many calls.
const CALLS: u64 = 90;
const CALLS_MAX: u64 = 160;
const CRASHES_PER_CUT: u64 = 3;
const TREES: [&str; 3] = ["a", "b", "c"];

/// One way for the power to fail.
#[derive(Debug, Clone, Copy)]
struct Point {
    seed: u64,
    /// Changing calls let through.
    cut: u64,
    crash: u64,
    /// The process is killed there, and the power stays on until the recovery.
    killed: bool,
    /// Changing calls of the reopened database let through, if the power fails again there.
    second: Option<u64>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.killed { "kill" } else { "cut" };
        write!(f, "{}:{}:{}:{how}", self.seed, self.cut, self.crash)?;
        self.second.map_or(Ok(()), |second| write!(f, ":{second}"))
    }
}

/// Says how to come back here if a check fails.
struct Replay(Point);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("replay: POINT={} cargo test -p drystone-btree enumerate", self.0);
        }
    }
}

/// A workload in the course of being run.
struct Workload {
    rng: ChaCha8Rng,
    disk: SimVfs,
    /// Calls made on the disks of processes that were killed.
    spent: u64,
    cut: Option<u64>,
    oracle: Oracle,
    pending: Vec<Commit>,
    /// Old states that are being read.
    readers: Vec<(ReadTxn, State)>,
    options: Options,
    stamp: u32,
}

impl Workload {
    fn new(seed: u64, cut: Option<u64>) -> Workload {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sync = match rng.random_range(0..10) {
            0..5 => Sync::EveryCommit,
            5..7 => Sync::OnRequest,
            _ => Sync::Journal,
        };
        // Half of the workloads have most of their pages beyond the mirror.
        let memory = [1 << 20, 4 << 20][rng.random_range(0..2)];
        let options = options().sync(sync).memory_bytes(memory);
        let disk = SimVfs::new(seed);
        let mut workload = Workload {
            rng,
            disk: disk.clone(),
            spent: 0,
            cut,
            oracle: Oracle::default(),
            pending: Vec::new(),
            readers: Vec::new(),
            options,
            stamp: 0,
        };
        workload.move_to(disk);
        workload
    }

    /// Goes on with another view of the disk; the cut stays where it is.
    fn move_to(&mut self, disk: SimVfs) {
        self.disk = disk;
        if let Some(cut) = self.cut {
            self.disk.power_cut_after(cut - self.spent);
        }
    }

    fn calls(&self) -> u64 {
        self.spent + self.disk.counts().changes()
    }

    /// Runs until enough calls were made or the power fails. Returns how many calls there were.
    fn run(&mut self) -> u64 {
        while self.calls() < CALLS && self.life().is_ok() {}
        self.calls()
    }

    /// From one open to the next.
    fn life(&mut self) -> Result<()> {
        let db = try_open(&self.disk, self.options.clone())?;
        self.oracle.settle(&db, "reopened by the workload");
        let mut outcome = Ok(());
        for _ in 0..self.rng.random_range(6..40) {
            if self.calls() >= CALLS || outcome.is_err() {
                break;
            }
            outcome = self.step(&db);
            self.check_readers();
        }
        self.readers.clear();
        if outcome.is_err() || self.rng.random_bool(0.5) {
            self.pending.clear();
            outcome?;
            let last = db.read().txn();
            let eager = db.durable() == last;
            db.close()?;
            if eager {
                self.oracle.acknowledged(last);
            }
            return Ok(());
        }
        // Killed: what was not written is gone, what was written is in the page cache.
        self.spent = self.calls();
        let after = self.disk.kill_copy();
        self.pending.clear();
        drop(db);
        self.move_to(after);
        Ok(())
    }

    /// A state that is being read does not change, whatever happens.
    fn check_readers(&mut self) {
        for (r, state) in &self.readers {
            for (tree, name) in r.trees() {
                let mut expected = state[name].iter();
                for item in r.iter(tree) {
                    let (key, value) = item.unwrap();
                    let (k, v) = expected.next().unwrap();
                    let same = key == *k && value == *v;
                    assert!(same, "a reader of {} sees another state", r.txn());
                }
                assert!(expected.next().is_none(), "a reader of {} misses records", r.txn());
            }
        }
    }

    fn step(&mut self, db: &Db) -> Result<()> {
        match self.rng.random_range(0..100) {
            0..50 => {
                let commit = self.transaction(db)?;
                self.pending.push(commit);
            }
            50..70 => {
                if !self.pending.is_empty() {
                    let at = self.rng.random_range(0..self.pending.len());
                    let txn = self.pending.swap_remove(at).wait()?;
                    self.oracle.acknowledged(txn);
                }
            }
            70..80 => {
                let txn = db.persist()?;
                self.oracle.acknowledged(txn);
            }
            80..88 => {
                let state = self.oracle.last().clone();
                self.readers.push((db.read(), state));
            }
            88..94 => {
                if !self.readers.is_empty() {
                    let at = self.rng.random_range(0..self.readers.len());
                    self.readers.swap_remove(at);
                }
            }
            _ => self.compact(db)?,
        }
        Ok(())
    }

    /// Moves pages and cuts the file; its transactions change no record.
    fn compact(&mut self, db: &Db) -> Result<()> {
        let before = db.read().txn().0;
        // However many there are, a crash may come after each.
        (1..=40).for_each(|i| self.oracle.same(TxnId(before + i)));
        while db.compact(Duration::from_secs(1))? == Progress::More {}
        let after = db.read().txn();
        assert!(after.0 <= before + 40, "a small database is compacted in a few steps");
        self.oracle.forget_after(after);
        self.oracle.acknowledged(TxnId(before));
        Ok(())
    }

    /// A few changes, in memory and in the database alike.
    fn transaction(&mut self, db: &Db) -> Result<Commit> {
        let mut state = self.oracle.last().clone();
        let mut w = db.write()?;
        for _ in 0..[1, 1, 2, 30][self.rng.random_range(0..4)] {
            let name = TREES[self.rng.random_range(0..TREES.len())];
            let tree = w.create_tree(name)?;
            let records = state.entry(name.to_owned()).or_default();
            self.stamp += 1;
            let low = self.rng.random_range(0..60_u32);
            let key = format!("key number {low:04}").into_bytes();
            match self.rng.random_range(0..20) {
                0..13 => {
                    let len = [3, 40, 300, 900, 6000][self.rng.random_range(0..5)];
                    let mut value = vec![low as u8; len];
                    value[..3].copy_from_slice(&self.stamp.to_le_bytes()[..3]);
                    w.put(tree, &key, &value)?;
                    records.insert(key, value);
                }
                13..18 => {
                    w.delete(tree, &key)?;
                    records.remove(&key);
                }
                18 => {
                    let end = format!("key number {:04}", low + 20).into_bytes();
                    w.delete_range(tree, key.clone()..end.clone())?;
                    records.retain(|k, _| *k < key || end <= *k);
                }
                _ => {
                    w.drop_tree(tree)?;
                    state.remove(name);
                }
            }
        }
        self.oracle.commit(w, state)
    }
}

/// The database opens with what the oracle allows, and then: opened again it is the same; or with
/// one more transaction, after another crash, it is the same and that transaction.
#[track_caller]
pub(crate) fn check(disk: &SimVfs, oracle: &Oracle, what: &str) {
    let reopen = |disk: &SimVfs| match try_open(disk, options()) {
        Ok(db) => db,
        Err(error) => panic!("{what}: {error}"),
    };
    let db = reopen(disk);
    oracle.judge(&db, what);
    let mut found = whole(&db);
    let txn = db.read().txn();
    if txn.0 % 2 == 0 {
        drop(db);
        assert!(found == whole(&reopen(disk)), "{what}: reopening changed the database");
        return;
    }
    for round in 0..3_u8 {
        let tree = db.tree("afterwards").unwrap();
        let mut w = db.write().unwrap();
        let value = vec![round; 5000];
        w.put(tree, &[round], &value).unwrap();
        w.commit().unwrap().wait().unwrap();
        found.entry("afterwards".to_owned()).or_default().insert(vec![round], value);
    }
    let again = reopen(&disk.crash_copy(txn.0));
    assert!(found == whole(&again), "{what}: a second crash changed the database");
}

/// Takes one point of a workload that has been cut.
fn take(point: Point, disk: &SimVfs, oracle: &Oracle) {
    let _replay = Replay(point);
    let what = point.to_string();
    let after = if point.killed { disk.kill_copy() } else { disk.crash_copy(point.crash) };
    let Some(second) = point.second else {
        return check(&after, oracle, &what);
    };
    // Reopened, written to, and cut again.
    after.power_cut_after(second);
    let mut oracle = oracle.clone();
    if let Ok(db) = try_open(&after, options()) {
        oracle.settle(&db, &what);
        let _cut = (0..3_u8).try_for_each(|round| {
            let mut w = db.write()?;
            let mut state = oracle.last().clone();
            let tree = w.create_tree("a")?;
            let key = format!("key number {:04}", point.crash + 7 * u64::from(round));
            w.put(tree, key.as_bytes(), &[round; 1500])?;
            let records = state.entry("a".to_owned()).or_default();
            records.insert(key.into_bytes(), vec![round; 1500]);
            let txn = oracle.commit(w, state)?.wait()?;
            oracle.acknowledged(txn);
            Ok::<(), drystone_btree::Error>(())
        });
    }
    check(&after.crash_copy(point.crash), &oracle, &what);
}

/// Every cut of one workload. Returns how many points that were.
fn enumerate(seed: u64) -> u64 {
    let calls = Workload::new(seed, None).run();
    assert!(calls <= CALLS_MAX, "seed {seed}: a small workload, of {calls} calls");
    let mut points = 0;
    for cut in 0..=calls {
        let mut workload = Workload::new(seed, Some(cut));
        // The workload itself judges what it finds when it reopens the database.
        let replay = Replay(Point { seed, cut, crash: 0, killed: false, second: None });
        workload.run();
        drop(replay);
        for crash in 0..CRASHES_PER_CUT {
            let second = workload.rng.random_range(0..14);
            for (killed, second) in [
                (false, None),
                (false, Some(second)),
                (true, Some(second)),
                (true, (crash > 0).then_some((second + 5) % 14)),
            ] {
                let point = Point { seed, cut, crash, killed, second };
                take(point, &workload.disk, &workload.oracle);
                points += 1;
            }
        }
    }
    points
}

/// Takes the point that `POINT=seed:cut:crash:how[:second]` names.
fn replay(text: &str) {
    let fields: Vec<&str> = text.split(':').collect();
    let number = |i: usize| fields[i].parse::<u64>().unwrap();
    let (seed, cut, crash, killed) = (number(0), number(1), number(2), fields[3] == "kill");
    let second = fields.get(4).map(|_| number(4));
    let point = Point { seed, cut, crash, killed, second };
    let mut workload = Workload::new(seed, Some(cut));
    workload.run();
    take(point, &workload.disk, &workload.oracle);
}

// Scenarios 38 to 41 and 45, and I1 to I4 and I6 at every step, over workloads that nobody thought
// of.
#[test]
fn enumerate_every_call_of_random_workloads_as_the_last() {
    if let Ok(text) = std::env::var("POINT") {
        return replay(&text);
    }
    let wanted: u64 = std::env::var("CRASH_POINTS").map_or(POINTS, |n| n.parse().unwrap());
    let (mut points, mut workloads) = (0, 0);
    while points < wanted {
        points += enumerate(workloads);
        workloads += 1;
    }
    println!("{points} crash points of {workloads} workloads");
    assert!(points >= wanted && workloads >= 5);
}
