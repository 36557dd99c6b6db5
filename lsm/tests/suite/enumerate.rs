//! Every point of a workload as the last one. Small random workloads, each derived from a seed; the
//! power fails before call N, for every N; for each a number of crash seeds says what the disk made
//! of it; and for each of those the power fails once more, somewhere in the recovery.
//!
//! ```text
//!     seed ─► workload of some 200 calls ─┬─► power cut before call N ─► crash ─┬─► open, judge
//!                                         │                                     └─► cut again
//!                                         └─► killed before call N ─┬─► open, judge
//!                                                                   └─► power cut in recovery
//! ```
//!
//! A workload writes over several keyspaces, flushes, compacts, ingests, clears and drops a
//! keyspace, makes copies, is closed and killed, so that every call of each of these is the last
//! one somewhere. A point is one such way through. `CRASH_POINTS=1000000 cargo test -p drystone-lsm
//! enumerate` takes a million points; a failure prints the command that replays its point alone.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use drystone_lsm::{Db, Error, Keyspace, Options, Result};
use drystone_vfs::{SimClock, SimVfs};
use rand::RngExt;

use crate::model::History;
use crate::oracle::{self, NAMES, Oracle};
use crate::support::{keyspace_options, options, try_open, varied};

/// Points taken when nobody asks for more.
const POINTS: u64 = 10_000;
/// A workload ends when it has made this many calls.
const CALLS: u64 = 160;
const CRASHES_PER_CUT: u64 = 3;

/// One way for the power to fail.
#[derive(Debug, Clone, Copy)]
struct Point {
    seed: u64,
    /// Changing calls let through.
    cut: u64,
    crash: u64,
    /// The process is killed there, and the power stays on until the recovery.
    killed: bool,
    /// Changing calls of the recovery let through, if the power fails again there.
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
            println!("replay: POINT={} cargo test -p drystone-lsm enumerate", self.0);
        }
    }
}

/// A workload in the course of being run.
struct Workload {
    history: History,
    disk: SimVfs,
    /// Calls made on the disks of processes that were killed.
    spent: u64,
    cut: Option<u64>,
    options: Options,
    copies: u64,
}

impl Workload {
    fn new(seed: u64, cut: Option<u64>) -> Workload {
        let mut history = History::new(seed);
        let journal = history.rng.random_bool(0.6);
        let options = options().journal(journal);
        let disk = SimVfs::new(seed);
        let mut workload =
            Workload { history, disk: disk.clone(), spent: 0, cut, options, copies: 0 };
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
        let mut spaces = Vec::new();
        for name in NAMES {
            let choice = self.history.rng.random_range(0..6);
            spaces.push(db.keyspace(name, varied(choice))?);
        }
        let found = oracle::read(&db.snapshot(), &spaces);
        self.history.oracle.settle(&found, "reopened by the workload");
        for _ in 0..self.history.rng.random_range(4..60) {
            if self.calls() >= CALLS {
                break;
            }
            self.step(&db, &mut spaces)?;
        }
        if self.history.rng.random_bool(0.5) {
            drop(spaces);
            db.close()?;
            if self.options_journal() {
                self.history.oracle.saved(self.history.oracle.count());
            }
            return Ok(());
        }
        // Killed: what was not written is gone, what was written is in the page cache.
        self.spent = self.calls();
        let after = self.disk.kill_copy();
        drop(db);
        self.move_to(after);
        Ok(())
    }

    fn options_journal(&self) -> bool {
        format!("{:?}", self.options).contains("journal: true")
    }

    fn step(&mut self, db: &Db, spaces: &mut [Keyspace]) -> Result<()> {
        let oracle = |workload: &Workload| workload.history.oracle.count();
        match self.history.rng.random_range(0..100) {
            0..53 => {
                let ops = self.history.ops();
                let batch = oracle::batch(spaces, &ops);
                self.history.oracle.wrote(ops);
                drop(db.write(batch)?);
            }
            53..66 => {
                db.persist()?;
                let count = oracle(self);
                self.history.oracle.saved(count);
            }
            66..77 => {
                db.flush()?;
                let count = oracle(self);
                self.history.oracle.saved(count);
            }
            77..87 => drop(db.compact_once()?),
            87..90 => drop(db.compact(std::time::Duration::MAX)?),
            90..92 => {
                self.copies += 1;
                db.checkpoint(&Path::new("copy").join(self.copies.to_string()))?;
                let count = oracle(self);
                self.history.oracle.saved(count);
            }
            92..96 => {
                let (space, records) = self.history.load();
                self.history.oracle.wrote(oracle::puts(space, &records));
                db.ingest(&spaces[space], records)?;
                let count = oracle(self);
                self.history.oracle.saved(count);
            }
            96..98 => {
                let space = self.history.rng.random_range(0..NAMES.len());
                self.history.oracle.wrote(vec![oracle::clear(space)]);
                db.clear(&spaces[space])?;
                let count = oracle(self);
                self.history.oracle.saved(count);
            }
            _ => {
                let space = self.history.rng.random_range(0..NAMES.len());
                self.history.oracle.drops(space);
                db.drop_keyspace(&spaces[space])?;
                self.history.oracle.dropped(space);
                spaces[space] = db.keyspace(NAMES[space], keyspace_options())?;
            }
        }
        Ok(())
    }
}

/// The database opens with what the oracle allows; closed and opened again it is the same, and so
/// it is after one more batch and another crash.
#[track_caller]
fn check(disk: &SimVfs, oracle: &Oracle, options: &Options, what: &str) {
    let reopen = |disk: &SimVfs| match try_open(disk, options.clone()) {
        Ok(db) => db,
        Err(error) => panic!("{what}: {error}"),
    };
    let db = reopen(disk);
    let spaces = oracle::keyspaces(&db);
    let mut found = oracle::read(&db.snapshot(), &spaces);
    assert!(oracle.accepts(&found).is_some() || explain(oracle, &found), "{what}: no prefix");
    db.verify().unwrap();
    let commit = db.put(&spaces[1], b"afterwards", b"one more").unwrap();
    commit.wait().unwrap();
    found[1].insert(b"afterwards".to_vec(), b"one more".to_vec());
    let db = reopen(&disk.crash_copy(11));
    let spaces = oracle::keyspaces(&db);
    let again = oracle::read(&db.snapshot(), &spaces);
    assert!(found == again, "{what}: a second crash changed the database");
}

fn explain(oracle: &Oracle, found: &oracle::State) -> bool {
    oracle.clone().settle(found, "explained");
    true
}

/// Takes one point of a workload that has been cut.
fn take(point: Point, workload: &Workload) {
    let _replay = Replay(point);
    let what = point.to_string();
    let (disk, oracle) = (&workload.disk, &workload.history.oracle);
    let after = if point.killed { disk.kill_copy() } else { disk.crash_copy(point.crash) };
    let after = if let Some(second) = point.second {
        after.power_cut_after(second);
        if let Ok(db) = try_open(&after, workload.options.clone()) {
            // What recovery puts off is done now, as far as the power lasts.
            drop(db.flush());
            drop(db.compact_once());
        }
        after.crash_copy(point.crash)
    } else {
        after
    };
    check(&after, oracle, &workload.options, &what);
    copies(&after, workload, &what);
}

/// A copy opens whole, or it is no database: a part of one never passes for it.
fn copies(disk: &SimVfs, workload: &Workload, what: &str) {
    for copy in 1..=workload.copies {
        let dir = Path::new("copy").join(copy.to_string());
        let clock = Arc::new(SimClock::new());
        let opened = Db::open_read_only(Arc::new(disk.clone()), clock, &dir, options());
        match opened {
            Ok(db) => db.verify().unwrap_or_else(|error| panic!("{what}: copy {copy}: {error}")),
            Err(Error::NoDatabase { .. } | Error::Corrupt { .. }) => {
                assert!(copy == workload.copies, "{what}: copy {copy} was finished");
            }
            Err(error) => panic!("{what}: copy {copy}: {error}"),
        }
    }
}

/// How many records of the journal are packed: see `packed.rs`.
fn packed(disk: &SimVfs) -> u64 {
    let vfs = Arc::new(disk.kill_copy());
    let journal = crate::support::dir().join("journal");
    let options = drystone_wal::Options::default();
    let Ok(view) = drystone_wal::Wal::open_read_only(vfs, &journal, &options) else { return 0 };
    let is_packed = |record: &[u8]| record[7] == 0x80;
    view.records().filter(|record| record.as_ref().is_ok_and(|(_, r)| is_packed(r))).count() as u64
}

/// Every cut of one workload. Returns how many points that were, and how many packed records the
/// journals of those held that were cut.
fn enumerate(seed: u64) -> (u64, u64) {
    let calls = Workload::new(seed, None).run();
    let (mut points, mut met) = (0, 0);
    for cut in 0..=calls {
        let mut workload = Workload::new(seed, Some(cut));
        // The workload itself judges what it finds when it reopens the database.
        let replay = Replay(Point { seed, cut, crash: 0, killed: false, second: None });
        workload.run();
        met += packed(&workload.disk);
        drop(replay);
        for crash in 0..CRASHES_PER_CUT {
            let second = workload.history.rng.random_range(0..14);
            for (killed, second) in [
                (false, None),
                (false, Some(second)),
                (true, Some(second)),
                (true, (crash > 0).then_some((second + 7) % 14)),
            ] {
                take(Point { seed, cut, crash, killed, second }, &workload);
                points += 1;
            }
        }
    }
    (points, met)
}

/// Takes the point that `POINT=seed:cut:crash:how[:second]` names.
fn replay(text: &str) {
    let fields: Vec<&str> = text.split(':').collect();
    let number = |i: usize| fields[i].parse::<u64>().unwrap();
    let (seed, cut, crash, killed) = (number(0), number(1), number(2), fields[3] == "kill");
    let second = fields.get(4).map(|_| number(4));
    let mut workload = Workload::new(seed, Some(cut));
    workload.run();
    take(Point { seed, cut, crash, killed, second }, &workload);
}

// Scenarios 24, 27, 29, 30, 33, 35, 36 and 45 at every step, over workloads that nobody thought of.
#[test]
fn enumerate_every_call_of_random_workloads_as_the_last() {
    if let Ok(text) = std::env::var("POINT") {
        return replay(&text);
    }
    let wanted: u64 = std::env::var("CRASH_POINTS").map_or(POINTS, |n| n.parse().unwrap());
    let (mut points, mut workloads, mut met) = (0, 0, 0);
    while points < wanted {
        let (more, packed) = enumerate(workloads);
        (points, met) = (points + more, met + packed);
        workloads += 1;
    }
    println!("{points} crash points of {workloads} workloads; {met} packed records met");
    assert!(met * 20 > points / 12, "{met} packed records at {points} points");
    assert!(points >= wanted && workloads >= 4);
}
