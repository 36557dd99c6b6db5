//! One turn of one contender.
//!
//! ```text
//!   threads     open their side ─┐ ready        ┌─ append, wait, append, wait ... ─┐ done
//!   this one                     └─ read meters ┘                                  └─ read meters
//! ```
//!
//! Starting the threads and opening their sides is not measured. The load itself costs about
//! 0.1 us an append: a clock is read and a histogram counts.

use std::cell::RefCell;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use drystone_wal::Wal;
use futures_executor::LocalPool;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::cost::{Cost, Meters};
use crate::log::Log;

/// A slower append than this is counted as this slow.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// What one turn has shown.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Durable appends.
    pub ops: u64,
    /// What they cost, all in all.
    pub cost: Cost,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Sample {
    fn new(cost: Cost, latencies: &Histogram<u32>) -> Sample {
        let at = |quantile| Duration::from_nanos(latencies.value_at_quantile(quantile));
        Sample { ops: latencies.len(), cost, p50: at(0.5), p99: at(0.99) }
    }

    /// Appends a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.ops as f64 / self.cost.wall.as_secs_f64()
    }

    /// CPU time of an append, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.cost.cpu().as_secs_f64() * 1e6 / self.ops as f64
    }

    /// Times that threads went to sleep for an append.
    #[must_use]
    pub fn switches(&self) -> f64 {
        self.cost.switches as f64 / self.ops as f64
    }

    /// Appends that shared a sync.
    #[must_use]
    pub fn ops_per_sync(&self) -> f64 {
        self.ops as f64 / self.cost.syncs as f64
    }

    /// Allocations of an append.
    #[must_use]
    pub fn allocations(&self) -> f64 {
        self.cost.allocations as f64 / self.ops as f64
    }
}

/// A record as a program would write it: a counter, then bytes that do not compress.
#[derive(Debug)]
pub struct Record {
    bytes: Vec<u8>,
    count: u64,
}

impl Record {
    /// Of `len` bytes, 8 or more.
    #[must_use]
    pub fn new(len: usize, seed: u64) -> Record {
        let mut bytes = vec![0; len];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
        Record { bytes, count: 0 }
    }

    /// The next one.
    pub fn next_bytes(&mut self) -> &[u8] {
        self.count += 1;
        self.bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        &self.bytes
    }
}

/// Lets `threads` threads append records of `len` bytes for `time`, each waiting until its record
/// is durable before the next. Then the log is tidied.
///
/// # Errors
/// If the log refuses.
pub fn slice(log: &dyn Log, threads: usize, len: usize, time: Duration) -> Result<Sample> {
    let gate = Barrier::new(threads + 1);
    let (cost, latencies) = thread::scope(|scope| {
        let worker = |thread| {
            let gate = &gate;
            move || append(log, thread, len, time, gate)
        };
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(worker(thread))).collect();
        gate.wait();
        let before = Meters::read();
        gate.wait();
        gate.wait();
        let cost = before.and_then(|before| before.spent());
        let mut latencies = histogram();
        for worker in workers {
            let of_thread = worker.join().expect("a worker hands its errors on")?;
            latencies.add(of_thread).context("adding up latencies")?;
        }
        anyhow::Ok((cost?, latencies))
    })?;
    log.tidy()?;
    Ok(Sample::new(cost, &latencies))
}

/// One thread of a slice. Whatever happens, it comes to the gate three times.
fn append(
    log: &dyn Log,
    thread: usize,
    len: usize,
    time: Duration,
    gate: &Barrier,
) -> Result<Histogram<u32>> {
    let mut record = Record::new(len, thread as u64);
    let mut latencies = histogram();
    let writer = log.writer(thread);
    gate.wait();
    gate.wait();
    let outcome = writer.and_then(|mut write| {
        let mut last = Instant::now();
        let end = last + time;
        while last < end {
            write(record.next_bytes())?;
            let now = Instant::now();
            count(&mut latencies, now - last);
            last = now;
        }
        Ok(())
    });
    gate.wait();
    outcome.map(|()| latencies)
}

/// Lets `tasks` tasks on this one thread append to our log for `time`, each awaiting its commit
/// before the next append.
///
/// # Errors
/// If the log refuses.
pub fn slice_of_tasks(
    log: &dyn Log,
    wal: &Wal,
    tasks: usize,
    len: usize,
    time: Duration,
) -> Result<Sample> {
    let latencies = RefCell::new(histogram());
    let end = RefCell::new(Instant::now());
    let task = |seed| {
        let (latencies, end) = (&latencies, &end);
        async move {
            let mut record = Record::new(len, seed);
            let end = *end.borrow();
            let mut last = Instant::now();
            while last < end {
                wal.append(&[record.next_bytes()])?.await?;
                let now = Instant::now();
                count(&mut latencies.borrow_mut(), now - last);
                last = now;
            }
            anyhow::Ok(())
        }
    };
    let all = join_all((0..tasks as u64).map(task));
    let before = Meters::read()?;
    *end.borrow_mut() = Instant::now() + time;
    let outcomes = LocalPool::new().run_until(all);
    let cost = before.spent()?;
    outcomes.into_iter().collect::<Result<Vec<()>>>()?;
    log.tidy()?;
    Ok(Sample::new(cost, &latencies.borrow()))
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)
        .expect("the bounds are in order")
}

fn count(latencies: &mut Histogram<u32>, time: Duration) {
    latencies.saturating_record(time.as_nanos() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Ours, Raw};
    use drystone_wal::Writer;

    /// The smallest turn of each kind must count something, and fail when the log does.
    #[test]
    fn a_turn_counts_what_it_appends() {
        let dir = tempfile::tempdir().unwrap();
        let time = Duration::from_millis(20);
        let raw = Raw::growing(&dir.path().join("raw")).unwrap();
        let sample = slice(&raw, 1, 180, time).unwrap();
        assert!(sample.ops > 0 && sample.cost.wall >= time && sample.p50 <= sample.p99);
        assert!(slice(&raw, 2, 180, time).is_err(), "a raw loop has one thread");
        let ours = Ours::open(&dir.path().join("ours"), Writer::Thread).unwrap();
        let tasks = slice_of_tasks(&ours, ours.wal(), 8, 180, time).unwrap();
        assert!(tasks.ops >= 8);
    }
}
