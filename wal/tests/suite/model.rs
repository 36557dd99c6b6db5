//! Random operations against a dumb model, with crashes at any call, on the hostile disk.
//!
//! Every run prints its seed; to replay one: `SEED=n cargo test -p drystone-wal model`. `SLOW=1`
//! runs a hundred times as many.

use drystone_vfs::SimVfs;
use drystone_wal::{Commit, Lsn, Options, Wal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{drain, options, try_open};

const SEEDS: u64 = 400;

/// What the log should hold.
///
/// Invariants:
/// * `records[i]` is record `i + 1`; all below `first` may be gone.
/// * Records up to `durable` were acknowledged; the log ends there or at a later group end.
#[derive(Debug, Default)]
struct Model {
    records: Vec<Vec<u8>>,
    group_ends: Vec<u64>,
    first: u64,
    durable: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.records.len() as u64
    }

    fn append(&mut self, group: &[Vec<u8>]) {
        self.records.extend_from_slice(group);
        self.group_ends.push(self.last());
    }

    fn cut(&mut self, last: u64) {
        self.records.truncate(last as usize);
        self.group_ends.retain(|end| *end <= last);
        self.group_ends.push(last);
        self.durable = self.durable.min(last);
    }

    /// Compares, then takes over what survived.
    fn settle(&mut self, found: &[(u64, Vec<u8>)], next: Lsn) {
        let end = next.0 - 1;
        assert!(end >= self.durable, "ends at {end}, but {} was acknowledged", self.durable);
        assert!(end <= self.last(), "ends at {end}, but only {} were appended", self.last());
        let whole = end == 0 || self.group_ends.contains(&end);
        assert!(whole, "ends at {end}, within a group: {:?}", self.group_ends);
        let start = found.first().map_or(end + 1, |(lsn, _)| *lsn);
        assert!(start <= self.first.max(1) || found.is_empty(), "starts at {start}");
        for ((lsn, bytes), expected) in found.iter().zip(start..) {
            assert_eq!(*lsn, expected, "gap");
            assert!(*bytes == self.records[*lsn as usize - 1], "record {lsn} differs");
        }
        assert_eq!(start + found.len() as u64, end + 1, "reaches its end");
        self.cut(end);
        self.durable = end;
    }
}

struct Run {
    rng: ChaCha8Rng,
    disk: SimVfs,
    model: Model,
    pending: Vec<Commit>,
}

impl Run {
    fn options(&mut self) -> Options {
        let segment = self.rng.random_range(16..64) << 10;
        let buffer = self.rng.random_range(1..32) << 10;
        let options = options().lean(self.rng.random_bool(0.5));
        options.segment_bytes(segment).buffer_bytes_max(buffer).min_lsn(Lsn(self.model.durable))
    }

    /// Opens until it works; the power may fail within.
    fn open(&mut self) -> Wal {
        loop {
            if self.rng.random_bool(0.15) {
                self.disk.power_cut_after(self.rng.random_range(0..12));
            }
            let options = self.options();
            match try_open(&self.disk, options) {
                Ok((wal, recovered)) => {
                    let next = wal.next_lsn();
                    self.model.settle(&drain(recovered), next);
                    return wal;
                }
                Err(error) => {
                    assert!(error.to_string().contains("cannot") || is_power(&error), "{error}");
                    self.disk = self.disk.crash();
                }
            }
        }
    }

    fn group(&mut self) -> Vec<Vec<u8>> {
        let count = [1, 1, 1, 2, 5, 20][self.rng.random_range(0..6)];
        (0..count)
            .map(|_| {
                let len = [0, 9, 100, 700, 3000][self.rng.random_range(0..5)];
                let mut record = vec![0; self.rng.random_range(0..=len)];
                // Zeros and repeats are what confuses a reader of torn bytes.
                if self.rng.random_bool(0.7) {
                    self.rng.fill(&mut record[..]);
                }
                record
            })
            .collect()
    }

    /// One operation; `Err` once the power is gone.
    fn step(&mut self, wal: &Wal) -> drystone_wal::Result<()> {
        match self.rng.random_range(0..100) {
            0..55 => {
                let group = self.group();
                let refs: Vec<&[u8]> = group.iter().map(|record| &record[..]).collect();
                self.model.append(&group);
                let commit = wal.append(&refs)?;
                assert_eq!(commit.lsn().0, self.model.last());
                self.pending.push(commit);
            }
            55..85 => {
                if !self.pending.is_empty() {
                    let at = self.rng.random_range(0..self.pending.len());
                    let commit = self.pending.swap_remove(at);
                    let durable = commit.wait()?;
                    assert!(durable >= commit.lsn());
                    self.model.durable = self.model.durable.max(commit.lsn().0);
                }
            }
            85..90 => {
                let lsn = self.rng.random_range(0..=self.model.last() + 1);
                self.model.first = self.model.first.max(lsn);
                wal.truncate_prefix(Lsn(lsn))?;
                assert!(wal.first_lsn().0 <= self.model.first.max(1));
            }
            90..94 => {
                let low = wal.first_lsn().0.max(self.model.first) - 1;
                if low < self.model.last() {
                    let last = self.rng.random_range(low..=self.model.last());
                    self.pending.clear();
                    self.model.durable = self.model.durable.min(last);
                    // If the power fails within, the cut has happened or it has not.
                    self.model.group_ends.push(last);
                    wal.truncate_suffix(Lsn(last))?;
                    self.model.cut(last);
                    self.model.durable = last;
                    assert_eq!(wal.next_lsn().0, last + 1);
                }
            }
            _ => self.read(wal),
        }
        Ok(())
    }

    fn read(&mut self, wal: &Wal) {
        let from = self.rng.random_range(0..=self.model.last() + 1).max(wal.first_lsn().0);
        for (next, record) in (from..).zip(wal.iter(Lsn(from)).take(30)) {
            // The power may be gone by now.
            let Ok((lsn, bytes)) = record else { return };
            assert_eq!(lsn.0, next);
            assert!(bytes == self.model.records[next as usize - 1][..]);
        }
    }

    fn life(&mut self) {
        let wal = self.open();
        if self.rng.random_bool(0.7) {
            self.disk.power_cut_after(self.rng.random_range(0..80));
        }
        let steps = self.rng.random_range(0..60);
        let lost = (0..steps).any(|_| self.step(&wal).is_err());
        self.pending.clear();
        if lost || self.rng.random_bool(0.6) {
            self.disk = self.disk.crash();
            return;
        }
        let last = self.model.last();
        if wal.close().is_ok() {
            self.model.durable = last;
        } else {
            self.disk = self.disk.crash();
        }
    }
}

fn is_power(error: &drystone_wal::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.to_string().contains("the power failed") {
            return true;
        }
        source = cause.source();
    }
    false
}

fn run(seed: u64) {
    println!("replay: SEED={seed} cargo test -p drystone-wal model");
    let mut run = Run {
        rng: ChaCha8Rng::seed_from_u64(seed),
        disk: SimVfs::new(seed),
        model: Model { group_ends: vec![0], ..Model::default() },
        pending: Vec::new(),
    };
    for _ in 0..12 {
        run.life();
    }
    drop(run.open());
    drop(run.open());
}

// Invariants I1 to I4 and I6 under everything at once.
#[test]
fn a_log_that_crashes_at_random_agrees_with_its_model() {
    let seeds = match (std::env::var("SEED"), std::env::var("SLOW")) {
        (Ok(seed), _) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        (_, Ok(_)) => 0..SEEDS * 100,
        _ => 0..SEEDS,
    };
    seeds.for_each(run);
}
