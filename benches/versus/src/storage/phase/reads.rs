//! Reading what is in the cache.

use anyhow::{Result, ensure};

use super::Sample;
use crate::storage::bench::{Bench, Meter, PutOff};
use crate::storage::data::{Key, belongs, rank, spread};
use crate::storage::zipf::below;

/// To have every block in the cache, every so many-th key is read: a block has more.
const WARM_STEP: usize = 4;

/// Keys that are there, chosen uniformly, before the clock starts.
fn choose(bench: &Bench, purpose: u64, count: u64) -> Vec<u32> {
    let mut random = bench.random(purpose);
    let end = bench.sizes.keys;
    (0..count).map(|_| below(&mut random, end) as u32).collect()
}

pub(super) fn get(bench: &Bench) -> Result<Sample> {
    let indices = choose(bench, 1, bench.sizes.gets);
    let mut reader = bench.store().reader()?;
    for index in (0..bench.sizes.keys).step_by(WARM_STEP) {
        reader.get(Key::of(index).as_bytes(), &mut |_| ())?;
    }
    let start = Meter::start()?;
    let mut right = 0;
    for index in &indices {
        let index = u64::from(*index);
        reader.get(Key::of(index).as_bytes(), &mut |value| {
            right += u64::from(belongs(value, spread(index)));
        })?;
    }
    let sample = start.stop(bench, indices.len() as u64, PutOff::None)?;
    ensure!(right == sample.ops, "{right} of {} values are right", sample.ops);
    Ok(sample)
}

pub(super) fn miss(bench: &Bench) -> Result<Sample> {
    let mut reader = bench.store().reader()?;
    for number in 0..bench.sizes.gets / 10 {
        reader.get(Key::missing(number).as_bytes(), &mut |_| ())?;
    }
    let start = Meter::start()?;
    let mut found = 0;
    for number in 0..bench.sizes.gets {
        let there = reader.get(Key::missing(number).as_bytes(), &mut |_| ())?;
        found += u64::from(there);
    }
    let sample = start.stop(bench, bench.sizes.gets, PutOff::None)?;
    ensure!(found == 0, "{found} keys are there that were never put");
    Ok(sample)
}

/// Counts the pairs of scans, and those that are wrong or out of order.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    last: u64,
    wrong: u64,
}

impl Pairs {
    /// A new scan begins.
    pub(super) fn begin(&mut self) {
        self.last = 0;
    }

    /// The next pair of a scan.
    pub(super) fn see(&mut self, key: &[u8], value: &[u8]) {
        // No key has rank 0: index 0 does not spread to it, nor does any other that is stored.
        let rank = rank(key).unwrap_or(0);
        self.wrong += u64::from(rank <= self.last || !belongs(value, rank));
        self.last = rank;
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.wrong == 0, "{} pairs are wrong or out of order", self.wrong);
        Ok(())
    }
}

/// Whether a scan from the key with this rank may end before its limit: close to the last key.
pub(super) fn may_end_early(bench: &Bench, rank: u64, limit: usize) -> bool {
    let gap = u64::MAX / bench.model.live().max(1);
    rank > u64::MAX - gap.saturating_mul(4 * limit as u64)
}

pub(super) fn scan(bench: &Bench, count: u64, limit: usize) -> Result<Sample> {
    let indices = choose(bench, 2, count);
    let mut reader = bench.store().reader()?;
    for index in indices.iter().take(indices.len() / 10) {
        reader.scan(Key::of(u64::from(*index)).as_bytes(), limit, &mut |_, _| ())?;
    }
    let mut pairs = Pairs::default();
    let mut short = 0;
    let start = Meter::start()?;
    for index in &indices {
        let index = u64::from(*index);
        pairs.begin();
        let seen = reader.scan(Key::of(index).as_bytes(), limit, &mut |key, value| {
            pairs.see(key, value);
        })?;
        if seen != limit {
            short += u64::from(!may_end_early(bench, spread(index), limit));
        }
    }
    let sample = start.stop(bench, count, PutOff::None)?;
    pairs.check()?;
    ensure!(short == 0, "{short} scans ended early");
    Ok(sample)
}

pub(super) fn full_scan(bench: &Bench) -> Result<Sample> {
    let mut reader = bench.store().reader()?;
    let mut pairs = Pairs::default();
    let mut rows = 0;
    let start = Meter::start()?;
    while rows < bench.sizes.rows {
        pairs.begin();
        let seen = reader.scan(&[], usize::MAX, &mut |key, value| pairs.see(key, value))? as u64;
        ensure!(seen == bench.model.live(), "{seen} pairs of {}", bench.model.live());
        rows += seen;
    }
    let sample = start.stop(bench, rows, PutOff::None)?;
    pairs.check()?;
    Ok(sample)
}
