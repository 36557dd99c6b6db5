//! The mixes of YCSB: reads, updates, inserts and scans, most of a few records.
//!
//! Every operation is a transaction of its own, not synced, as a client's request would be. What
//! to do is drawn before the clock starts.

use anyhow::{Result, ensure};

use super::Sample;
use super::reads::{Pairs, may_end_early};
use crate::storage::bench::{Bench, Meter, PutOff};
use crate::storage::data::{Key, VALUE_BYTES, belongs, fill_value, spread};
use crate::storage::store::Batch;
use crate::storage::zipf::{Zipf, below};

/// Pairs of the longest scan.
const SCAN_MAX: u64 = 100;

/// Which share of what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mix {
    A,
    B,
    C,
    E,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Read(u32),
    Update(u32),
    Insert,
    Scan(u32, u8),
}

fn draw(bench: &Bench, mix: Mix, count: u64) -> Vec<Request> {
    let zipf = Zipf::new(bench.sizes.keys);
    let mut random = bench.random(10 + mix as u64);
    let mut request = || {
        let index = zipf.draw(&mut random) as u32;
        let percent = below(&mut random, 100);
        match mix {
            Mix::A if percent < 50 => Request::Update(index),
            Mix::B if percent < 5 => Request::Update(index),
            Mix::A | Mix::B | Mix::C => Request::Read(index),
            Mix::E if percent < 5 => Request::Insert,
            Mix::E => Request::Scan(index, 1 + below(&mut random, SCAN_MAX) as u8),
        }
    };
    (0..count).map(|_| request()).collect()
}

pub(super) fn run(bench: &mut Bench, mix: Mix, count: u64) -> Result<Sample> {
    let requests = draw(bench, mix, count);
    let (first_version, first_insert) = (bench.version, bench.model.end());
    let start = Meter::start()?;
    serve(bench, &requests)?;
    let sample = start.stop(bench, count, PutOff::Paid)?;
    let (mut version, mut insert) = (first_version, first_insert);
    for request in &requests {
        match request {
            Request::Update(index) => {
                bench.model.put(u64::from(*index), version);
                version += 1;
            }
            Request::Insert => {
                bench.model.put(insert, 0);
                insert += 1;
            }
            Request::Read(_) | Request::Scan(..) => {}
        }
    }
    bench.version = version;
    if version != first_version || insert != first_insert {
        bench.verify()?;
    }
    Ok(sample)
}

/// What is timed.
fn serve(bench: &Bench, requests: &[Request]) -> Result<()> {
    let store = bench.store();
    let (mut version, mut insert) = (bench.version, bench.model.end());
    let mut batch = Batch::default();
    let mut value = [0; VALUE_BYTES];
    let mut put = |index: u64, version: u32| {
        fill_value(&mut value, index, version);
        batch.clear();
        batch.put(Key::of(index).as_bytes(), &value);
        store.write(&batch)
    };
    let (mut reads, mut right, mut short) = (0, 0, 0);
    let mut pairs = Pairs::default();
    for request in requests {
        match *request {
            Request::Read(index) => {
                let index = u64::from(index);
                reads += 1;
                store.reader()?.get(Key::of(index).as_bytes(), &mut |value| {
                    right += u64::from(belongs(value, spread(index)));
                })?;
            }
            Request::Update(index) => {
                put(u64::from(index), version)?;
                version += 1;
            }
            Request::Insert => {
                put(insert, 0)?;
                insert += 1;
            }
            Request::Scan(index, limit) => {
                let (key, limit) = (Key::of(u64::from(index)), usize::from(limit));
                pairs.begin();
                let seen = store.reader()?.scan(key.as_bytes(), limit, &mut |key, value| {
                    pairs.see(key, value);
                })?;
                if seen != limit && !may_end_early(bench, spread(u64::from(index)), limit) {
                    short += 1;
                }
            }
        }
    }
    pairs.check()?;
    ensure!(reads == right, "{right} of {reads} values are right");
    ensure!(short == 0, "{short} scans ended early");
    Ok(())
}
