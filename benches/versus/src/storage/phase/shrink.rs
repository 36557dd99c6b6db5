//! Giving space back to the file system while others work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::writes::record;
use super::{Latency, Sample, histogram};
use crate::storage::bench::{Bench, Meter, PutOff};
use crate::storage::data::{Key, VALUE_BYTES, belongs, fill_value, spread};
use crate::storage::process::disk_bytes;
use crate::storage::store::Batch;
use crate::storage::zipf::below;

/// What a step may take.
const BUDGET: Duration = Duration::from_millis(5);

/// After this time it is as it is: the other thread makes work for ever.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The latency is that of another thread, which puts and gets all the while: how long is it kept
/// waiting? No operation counts where the store cannot shrink.
pub(super) fn run(bench: &mut Bench) -> Result<Sample> {
    let before = disk_bytes(&bench.dir)?;
    let done = AtomicBool::new(false);
    let first_version = bench.version;
    let meter = Meter::start()?;
    let (shrunk, others) = thread::scope(|scope| {
        let other = scope.spawn(|| work(bench, &done));
        let shrunk = shrink(bench);
        done.store(true, Ordering::Relaxed);
        (shrunk, other.join().expect("the other thread hands its errors on"))
    });
    let (times, changed) = others?;
    let steps = shrunk?;
    bench.store().persist()?;
    let ops = steps.map_or(0, |(steps, _)| steps);
    let mut sample = meter.stop(bench, ops, PutOff::None)?;
    for (version, index) in (first_version..).zip(changed) {
        bench.model.put(index, version);
        bench.version = version + 1;
    }
    sample.shrunk = steps.map(|(_, used)| (before, used));
    sample.latency = steps.map(|_| Latency::of(&times));
    bench.verify()?;
    Ok(sample)
}

/// Steps that were taken, and the bytes that are in use then.
fn shrink(bench: &Bench) -> Result<Option<(u64, u64)>> {
    let start = Instant::now();
    for step in 1.. {
        let Some(shrunk) = bench.store().shrink(BUDGET)? else {
            return Ok(None);
        };
        if shrunk.done || start.elapsed() > TIME_MAX {
            return Ok(Some((step, shrunk.used_bytes)));
        }
    }
    unreachable!("steps are never used up")
}

/// Changes values and reads them, until told to stop; the times, and what was changed.
fn work(bench: &Bench, done: &AtomicBool) -> Result<(hdrhistogram::Histogram<u64>, Vec<u64>)> {
    let mut random = bench.random(4);
    let mut times = histogram();
    let (mut changed, mut version) = (Vec::new(), bench.version);
    let mut value = [0; VALUE_BYTES];
    let mut batch = Batch::default();
    while !done.load(Ordering::Relaxed) {
        let index = below(&mut random, bench.model.end());
        if bench.model.version(index).is_none() {
            continue;
        }
        fill_value(&mut value, index, version);
        batch.clear();
        batch.put(Key::of(index).as_bytes(), &value);
        let start = Instant::now();
        bench.store().write(&batch)?;
        let mut right = false;
        bench.store().reader()?.get(Key::of(index).as_bytes(), &mut |value| {
            right = belongs(value, spread(index));
        })?;
        record(&mut times, start.elapsed());
        ensure!(right, "index {index} has a wrong value, or none");
        changed.push(index);
        version += 1;
    }
    Ok((times, changed))
}
