//! Every point of a workload as the last one. Small random workloads, each derived from a seed; the
//! power fails before call N, for every N; for each a number of crash seeds says what the disk made
//! of it; and for each of those the power fails once more, somewhere in the recovery.
//!
//! ```text
//!     seed ─► workload of up to 200 calls ─┬─► power cut before call N ─► crash ─┬─► open, judge
//!                                          │                                     └─► cut again
//!                                          └─► killed before call N ─┬─► open, judge
//!                                                                    └─► power cut in recovery
//! ```
//!
//! A point is one such way through. A killed process leaves the page cache behind: the recovery
//! then sees bytes and names that are not on the disk, and a power cut may take them from under it.
//! `CRASH_POINTS=1000000 cargo test -p drystone-wal enumerate` takes a million points; a failure
//! prints the command that replays its point alone.

use std::fmt;

use drystone_vfs::SimVfs;
use drystone_wal::{Commit, Lsn, Options, Result, Wal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::Oracle;
use crate::support::{drain, options, put, try_open};

/// Points taken when nobody asks for more.
const POINTS: u64 = 40_000;
/// A workload ends when it has made this many calls.
const CALLS: u64 = 160;
const CALLS_MAX: u64 = 200;
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
            println!("replay: POINT={} cargo test -p drystone-wal enumerate", self.0);
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
    options: Options,
    texts: u32,
    /// How often the log began anew.
    anew: u64,
}

impl Workload {
    fn new(seed: u64, cut: Option<u64>) -> Workload {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let segment = [16, 16, 20, 32][rng.random_range(0..4)] << 10;
        let buffer = rng.random_range(1..16) << 10;
        let options = options().segment_bytes(segment).buffer_bytes_max(buffer);
        // Half of the logs make holes, and give all back when no record is left.
        let options = options.lean(seed % 2 == 1);
        let disk = SimVfs::new(seed);
        let mut workload = Workload {
            rng,
            disk: disk.clone(),
            spent: 0,
            cut,
            oracle: Oracle::default(),
            pending: Vec::new(),
            options,
            texts: 0,
            anew: 0,
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
        let (wal, recovered) = try_open(&self.disk, self.options.clone())?;
        self.oracle.settle(&wal, &drain(recovered), "reopened by the workload");
        for _ in 0..self.rng.random_range(4..40) {
            if self.calls() >= CALLS {
                break;
            }
            self.step(&wal)?;
        }
        self.pending.clear();
        if self.rng.random_bool(0.5) {
            return self.oracle.close(wal);
        }
        // Killed: what was not written is gone, what was written is in the page cache.
        self.spent = self.calls();
        let after = self.disk.kill_copy();
        drop(wal);
        self.move_to(after);
        Ok(())
    }

    fn step(&mut self, wal: &Wal) -> Result<()> {
        match self.rng.random_range(0..100) {
            0..50 => {
                let group = self.group();
                let commit = self.oracle.append(wal, &group)?;
                self.pending.push(commit);
            }
            50..86 => {
                if !self.pending.is_empty() {
                    let at = self.rng.random_range(0..self.pending.len());
                    let commit = self.pending.swap_remove(at);
                    self.oracle.wait(&commit)?;
                }
            }
            86..93 => {
                let most = self.oracle.durable() + 1;
                let lsn = self.rng.random_range(most / 2..=most);
                if self.rng.random_bool(0.5) {
                    return self.let_go_of_all(wal);
                }
                self.oracle.cut_prefix(wal, lsn)?;
            }
            _ => {
                let low = wal.first_lsn().0 - 1;
                let last =
                    self.rng.random_range(low.max(self.oracle.last() / 2)..=self.oracle.last());
                self.pending.clear();
                self.oracle.cut_suffix(wal, last)?;
            }
        }
        Ok(())
    }

    fn let_go_of_all(&mut self, wal: &Wal) -> Result<()> {
        for commit in self.pending.drain(..) {
            self.oracle.wait(&commit)?;
        }
        let before = wal.bytes();
        self.oracle.cut_prefix(wal, self.oracle.last() + 1)?;
        self.anew += u64::from(wal.bytes() < before && wal.first_lsn() == wal.next_lsn());
        Ok(())
    }

    /// Records that tell every edition of an LSN from every other.
    fn group(&mut self) -> Vec<Vec<u8>> {
        let count = [1, 1, 1, 2, 5][self.rng.random_range(0..5)];
        let mut record = |len: usize| {
            self.texts += 1;
            let mut record = vec![self.texts as u8; len];
            let tag = self.texts.to_le_bytes();
            let tagged = len.min(tag.len());
            record[..tagged].copy_from_slice(&tag[..tagged]);
            record
        };
        (0..count)
            .map(|_| {
                let len = [4, 9, 100, 700, 3000][self.rng.random_range(0..5)];
                record(self.rng.random_range(len / 2..=len))
            })
            .collect()
    }
}

/// The log opens with what the oracle allows, and then: closed and opened again it is the same; or
/// with one more record, after another crash, it is the same and that record. If records were lost,
/// the new one is as long as the first of them: what lies behind it on the disk may then fit.
#[track_caller]
pub(crate) fn check(disk: &SimVfs, oracle: &Oracle, what: &str) {
    let options = options().lean(oracle.last() % 2 == 1);
    let reopen = |disk: &SimVfs| match try_open(disk, options.clone()) {
        Ok((wal, recovered)) => (wal, drain(recovered)),
        Err(error) => panic!("{what}: {error}"),
    };
    let (wal, mut found) = reopen(disk);
    oracle.judge(&wal, &found, what);
    let lost = oracle.record(wal.next_lsn().0);
    if lost.is_none() && found.len() % 2 == 0 {
        drop(wal);
        let (_wal, again) = reopen(disk);
        assert!(found == again, "{what}: reopening changed the log");
    } else {
        let record = vec![0xaf; lost.map_or(10, <[u8]>::len)];
        let lsn = put(&wal, &record);
        found.push((lsn.0, record));
        let (_wal, again) = reopen(&disk.crash_copy(lsn.0));
        assert!(found == again, "{what}: a second crash changed the log");
    }
}

/// Takes one point of a workload that has been cut.
fn take(point: Point, disk: &SimVfs, oracle: &Oracle) {
    let _replay = Replay(point);
    let what = point.to_string();
    let after = if point.killed { disk.kill_copy() } else { disk.crash_copy(point.crash) };
    if let Some(second) = point.second {
        after.power_cut_after(second);
        drop(try_open(&after, options()));
        check(&after.crash_copy(point.crash), oracle, &what);
    } else {
        check(&after, oracle, &what);
    }
}

/// Every cut of one workload. Returns how many points that were, and how often the log began anew.
fn enumerate(seed: u64) -> (u64, u64) {
    let mut whole = Workload::new(seed, None);
    let calls = whole.run();
    assert!(calls <= CALLS_MAX, "seed {seed}: a small workload, of {calls} calls");
    let mut points = 0;
    for cut in 0..=calls {
        let mut workload = Workload::new(seed, Some(cut));
        // The workload itself judges what it finds when it reopens the log.
        let replay = Replay(Point { seed, cut, crash: 0, killed: false, second: None });
        workload.run();
        drop(replay);
        for crash in 0..CRASHES_PER_CUT {
            let second = workload.rng.random_range(0..8);
            for (killed, second) in [
                (false, None),
                (false, Some(second)),
                (true, Some(second)),
                (true, (crash > 0).then_some((second + 4) % 8)),
            ] {
                let point = Point { seed, cut, crash, killed, second };
                take(point, &workload.disk, &workload.oracle);
                points += 1;
            }
        }
    }
    (points, whole.anew)
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

// I1 to I4 and I6 at every step (scenarios 12 to 15, 24 and 45), over workloads that nobody thought
// of.
#[test]
fn enumerate_every_call_of_random_workloads_as_the_last() {
    if let Ok(text) = std::env::var("POINT") {
        return replay(&text);
    }
    let wanted: u64 = std::env::var("CRASH_POINTS").map_or(POINTS, |n| n.parse().unwrap());
    let (mut points, mut workloads, mut anew) = (0, 0, 0);
    while points < wanted {
        let (more, times) = enumerate(workloads);
        points += more;
        anew += times;
        workloads += 1;
    }
    println!("{points} crash points of {workloads} workloads; logs began anew {anew} times");
    assert!(
        anew * 5 >= workloads,
        "{anew} of {workloads}: a lean log begins anew when it is empty"
    );
    assert!(points >= wanted && workloads >= 10);
}

/// Opens, appends over several segments, cuts both ends, appends, closes. Returns what was
/// acknowledged, and whether anything failed.
pub(crate) fn workload(disk: &SimVfs) -> (Oracle, bool) {
    let mut oracle = Oracle::default();
    let failed = fixed(disk, &mut oracle).is_err();
    (oracle, failed)
}

fn fixed(disk: &SimVfs, oracle: &mut Oracle) -> Result<()> {
    let (wal, _) = try_open(disk, options())?;
    let text = |i: u64| vec![i as u8; 700 + 300 * (i as usize % 5)];
    let write = |oracle: &mut Oracle, group: &[Vec<u8>]| {
        let commit = oracle.append(&wal, group)?;
        oracle.wait(&commit)
    };
    for i in 0..14 {
        write(oracle, &[text(i), text(i + 100)])?;
    }
    oracle.cut_suffix(&wal, 11)?;
    for i in 14..28 {
        write(oracle, &[text(i)])?;
    }
    oracle.cut_prefix(&wal, 16)?;
    for i in 28..50 {
        write(oracle, &[text(i)])?;
    }
    oracle.cut_suffix(&wal, 24)?;
    write(oracle, &[b"last".to_vec()])?;
    oracle.close(wal)
}

// The same for one long workload that goes through every verb for certain, with more crashes.
#[test]
fn enumerate_every_call_of_a_workload_with_every_verb() {
    let whole = SimVfs::new(0);
    assert!(!workload(&whole).1, "the workload runs on a healthy disk");
    let calls = whole.counts().changes();
    assert!(calls > 100);
    for cut in 0..=calls {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let (oracle, _) = workload(&disk);
        for seed in 0..12 {
            let what = format!("power cut before call {cut} of {calls}, seed {seed}");
            check(&disk.crash_copy(seed), &oracle, &what);
            let once = disk.crash_copy(seed);
            once.power_cut_after(cut % 12);
            drop(try_open(&once, options()));
            check(&once.crash_copy(seed + 7), &oracle, &format!("{what}, again in recovery"));
        }
    }
}

// A judge that acquits everyone proves nothing.
#[test]
fn the_oracle_sees_what_is_wrong() {
    let disk = SimVfs::new(1);
    let (oracle, _) = workload(&disk);
    let (wal, found) = crate::support::open(&disk);
    oracle.judge(&wal, &found, "as it is");
    let condemns = |found: &[(u64, Vec<u8>)]| {
        let judge = || oracle.judge(&wal, found, "forged");
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(judge)).is_err()
    };
    assert!(condemns(&found[1..]), "a lost record");
    assert!(condemns(&found[..found.len() - 1]), "a lost tail");
    let mut forged = found.clone();
    forged[3].1[0] ^= 1;
    assert!(condemns(&forged), "a changed record");
    forged = found.clone();
    forged.swap(1, 2);
    assert!(condemns(&forged), "another order");
    wal.append(&[b"unknown"]).unwrap().wait().unwrap();
    let more: Vec<_> = wal.iter(wal.first_lsn()).map(|r| r.unwrap()).collect();
    let more: Vec<_> = more.into_iter().map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect();
    assert!(condemns(&more) && more.last().unwrap().0 > Lsn(1).0, "an invented record");
}
