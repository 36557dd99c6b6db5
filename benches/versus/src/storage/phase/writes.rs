//! Writing: loads, removals, durable puts, and overwriting for a time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use super::{Latency, Sample, histogram};
use crate::storage::bench::{Bench, Meter, PutOff};
use crate::storage::data::{Key, VALUE_BYTES, fill_value, raw_bytes, spread};
use crate::storage::process::{wait_until_quiet, waited_for_cpu};
use crate::storage::store::{Batch, Store};
use crate::storage::zipf::below;

/// Durable puts before the clock starts.
const DURABLE_WARM_UP: u64 = 200;

type Write = fn(&dyn Store, &Batch) -> Result<()>;

/// Writes version 0 of these indices, in batches.
fn put_all(bench: &Bench, indices: impl Iterator<Item = u64>, write: Write) -> Result<u64> {
    let mut batch = Batch::default();
    let mut value = [0; VALUE_BYTES];
    let mut count = 0;
    for index in indices {
        fill_value(&mut value, index, 0);
        batch.put(Key::of(index).as_bytes(), &value);
        count += 1;
        if batch.len() as u64 == bench.sizes.batch {
            write(bench.store(), &batch)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        write(bench.store(), &batch)?;
    }
    Ok(count)
}

fn all_keys(bench: &mut Bench) {
    for index in 0..bench.sizes.keys {
        bench.model.put(index, 0);
    }
}

pub(super) fn load(bench: &mut Bench) -> Result<Sample> {
    let start = Meter::start()?;
    let count = put_all(bench, 0..bench.sizes.keys, |store, batch| store.write(batch))?;
    bench.store().settle()?;
    let sample = start.stop(bench, count, PutOff::Paid)?;
    all_keys(bench);
    bench.verify()?;
    Ok(sample)
}

pub(super) fn sorted_load(bench: &mut Bench) -> Result<Sample> {
    let mut indices: Vec<u64> = (0..bench.sizes.keys).collect();
    indices.sort_unstable_by_key(|index| spread(*index));
    let start = Meter::start()?;
    let count = put_all(bench, indices.into_iter(), |store, batch| store.append(batch))?;
    bench.store().settle()?;
    let sample = start.stop(bench, count, PutOff::Paid)?;
    all_keys(bench);
    bench.verify()?;
    Ok(sample)
}

/// Every second index: they lie scattered among the keys.
pub(super) fn remove(bench: &mut Bench) -> Result<Sample> {
    let indices = || (0..bench.sizes.keys).step_by(2);
    let mut batch = Batch::default();
    let start = Meter::start()?;
    let mut count = 0;
    for index in indices() {
        batch.delete(Key::of(index).as_bytes());
        count += 1;
        if batch.len() as u64 == bench.sizes.batch {
            bench.store().write(&batch)?;
            batch.clear();
        }
    }
    bench.store().write(&batch)?;
    bench.store().persist()?;
    let sample = start.stop(bench, count, PutOff::Paid)?;
    for index in (0..bench.sizes.keys).step_by(2) {
        bench.model.delete(index);
    }
    bench.verify()?;
    Ok(sample)
}

/// New keys; thread `t` of `n` has the indices that leave `t` when divided by `n`.
pub(super) fn durable(bench: &mut Bench, threads: u64) -> Result<Sample> {
    // The store was opened anew just now: what it reads for the first time is not what is asked.
    bench.verify()?;
    let base = bench.model.end();
    for index in base..base + DURABLE_WARM_UP {
        put_durable(bench.store(), index)?;
        bench.model.put(index, 0);
    }
    // Files that are made ahead are made by now.
    wait_until_quiet()?;
    let base = bench.model.end();
    let time = Duration::from_millis(bench.sizes.durable_ms);
    let gate = Barrier::new(threads as usize + 1);
    let counts: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(0)).collect();
    let (meter, times) = thread::scope(|scope| {
        let worker = |thread: u64| {
            let (store, gate, counts) = (bench.store(), &gate, &counts);
            move || {
                gate.wait();
                let mut times = histogram();
                let mut last = Instant::now();
                let end = last + time;
                let mut count = 0;
                while last < end {
                    put_durable(store, base + thread + threads * count)?;
                    count += 1;
                    let now = Instant::now();
                    times.saturating_record((now - last).as_nanos() as u64);
                    last = now;
                }
                counts[thread as usize].store(count, Ordering::Relaxed);
                anyhow::Ok(times)
            }
        };
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(worker(thread))).collect();
        let meter = Meter::start()?;
        gate.wait();
        let mut times = histogram();
        for worker in workers {
            let of_thread = worker.join().expect("a worker hands its errors on")?;
            times.add(of_thread).context("adding up latencies")?;
        }
        anyhow::Ok((meter, times))
    })?;
    let mut sample = meter.stop(bench, times.len(), PutOff::None)?;
    sample.latency = Some(Latency::of(&times));
    for (thread, count) in (0..).zip(&counts) {
        for i in 0..count.load(Ordering::Relaxed) {
            bench.model.put(base + thread + threads * i, 0);
        }
    }
    bench.verify()?;
    Ok(sample)
}

fn put_durable(store: &dyn Store, index: u64) -> Result<()> {
    let mut value = [0; VALUE_BYTES];
    fill_value(&mut value, index, 0);
    store.put_durable(Key::of(index).as_bytes(), &value)
}

/// A put that takes longer is asked how long it had no processor.
const SLOW_PUT: Duration = Duration::from_millis(2);

/// So often the others are, for the time before a slow one.
const PUTS_BETWEEN: u64 = 1000;

/// Single puts as fast as they are taken, timed one by one.
pub(super) fn overwrite(bench: &mut Bench) -> Result<Sample> {
    let mut random = bench.random(3);
    let time = Duration::from_millis(bench.sizes.overwrite_ms);
    let mut times = histogram();
    let mut batch = Batch::default();
    let mut value = [0; VALUE_BYTES];
    let mut longest = Duration::ZERO;
    let meter = Meter::start()?;
    let mut waited = waited_for_cpu()?;
    let end = Instant::now() + time;
    loop {
        let index = below(&mut random, bench.sizes.keys);
        fill_value(&mut value, index, bench.version);
        batch.clear();
        batch.put(Key::of(index).as_bytes(), &value);
        let start = Instant::now();
        bench.store().write(&batch)?;
        let now = Instant::now();
        record(&mut times, now - start);
        bench.model.put(index, bench.version);
        bench.version += 1;
        if now - start > SLOW_PUT {
            let before = std::mem::replace(&mut waited, waited_for_cpu()?);
            longest = longest.max((now - start).saturating_sub(waited - before));
        } else if times.len().is_multiple_of(PUTS_BETWEEN) {
            waited = waited_for_cpu()?;
        }
        if now >= end {
            break;
        }
    }
    let mut sample = meter.stop(bench, times.len(), PutOff::Paid)?;
    let mut latency = Latency::of(&times);
    latency.max_with_cpu = Some(longest.as_nanos() as f64 / 1e3);
    sample.latency = Some(latency);
    bench.verify()?;
    Ok(sample)
}

pub(super) fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(time.as_nanos() as u64);
}

/// How many keys fill the log.
fn keys_of_log(bench: &Bench) -> u64 {
    let each = raw_bytes(0..1000) as f64 / 1000.0;
    (bench.sizes.log_bytes as f64 / each) as u64
}

pub(super) fn fill_log(bench: &mut Bench) -> Result<Sample> {
    let start = Meter::start()?;
    let count = put_all(bench, 0..keys_of_log(bench), |store, batch| store.write(batch))?;
    bench.store().persist()?;
    start.stop(bench, count, PutOff::None)
}

/// All is there after a kill: the store had made it durable.
pub(super) fn check_log(bench: &mut Bench) -> Result<Sample> {
    let start = Meter::start()?;
    for index in 0..keys_of_log(bench) {
        bench.model.put(index, 0);
    }
    bench.verify()?;
    ensure!(bench.model.live() > 0, "the log was not empty");
    start.stop(bench, bench.model.live(), PutOff::None)
}
