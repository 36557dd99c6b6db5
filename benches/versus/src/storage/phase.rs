//! One kind of work, and what it has cost.

mod reads;
mod shrink;
mod writes;
mod ycsb;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::bench::Bench;

/// A slower operation than this is counted as this slow.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// What is asked of a store.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
pub enum Phase {
    /// All keys in hash order, in batches, not synced; then settled, which counts as well.
    Load,
    /// The same keys in their own order.
    SortedLoad,
    /// Values of keys that are there, chosen uniformly, all in the cache.
    Get,
    /// Values of keys that are not.
    Miss,
    /// Ten pairs from a key chosen uniformly.
    Scan10,
    /// A hundred pairs.
    Scan100,
    /// All pairs, again and again; an operation is a pair.
    FullScan,
    /// YCSB C: reads.
    YcsbC,
    /// YCSB B: 95 reads, 5 updates.
    YcsbB,
    /// YCSB A: 50 reads, 50 updates.
    YcsbA,
    /// YCSB E: 95 scans of up to 100 pairs, 5 inserts.
    YcsbE,
    /// Puts of new keys by one thread, each durable before the next.
    Durable1,
    /// The same by 16 threads, each waiting for its own.
    Durable16,
    /// Half of the keys, in batches.
    Remove,
    /// Gives space back while another thread writes and reads.
    Shrink,
    /// Puts of keys that are there, one by one, for a time; the latency is what matters.
    Overwrite,
    /// Fills the log, and leaves it so.
    FillLog,
    /// Checks that what `FillLog` has written is there.
    CheckLog,
}

impl Phase {
    /// What the tables call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Phase::Load => "random load, settled",
            Phase::SortedLoad => "sorted load, settled",
            Phase::Get => "random get",
            Phase::Miss => "missing get",
            Phase::Scan10 => "scan of 10",
            Phase::Scan100 => "scan of 100",
            Phase::FullScan => "full scan, a row",
            Phase::YcsbA => "YCSB A",
            Phase::YcsbB => "YCSB B",
            Phase::YcsbC => "YCSB C",
            Phase::YcsbE => "YCSB E, unsettled",
            Phase::Durable1 => "durable put, 1 thread",
            Phase::Durable16 => "durable put, 16 threads",
            Phase::Remove => "remove",
            Phase::Shrink => "shrink",
            Phase::Overwrite => "overwrite at 2x memory",
            Phase::FillLog => "fill the log",
            Phase::CheckLog => "check the log",
        }
    }

    /// Whether each operation waits for the disk.
    #[must_use]
    pub fn is_durable(self) -> bool {
        matches!(self, Phase::Durable1 | Phase::Durable16)
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Keys that are loaded.
    pub keys: u64,
    /// Puts or deletes in a batch.
    pub batch: u64,
    /// Single gets, hit or missing.
    pub gets: u64,
    /// Scans of ten pairs; of a hundred a quarter as many.
    pub scans: u64,
    /// Operations of YCSB A, B and C; scans of E are a tenth as many.
    pub ycsb: u64,
    /// Pairs read by the full scans together.
    pub rows: u64,
    /// How long durable puts go on, in milliseconds.
    pub durable_ms: u64,
    /// How long overwriting goes on, in milliseconds.
    pub overwrite_ms: u64,
    /// Bytes of keys and values that the log is filled with.
    pub log_bytes: u64,
}

impl Sizes {
    /// The sizes that the figures speak of, times `scale`.
    #[must_use]
    pub fn scaled(scale: f64) -> Sizes {
        let of = |n: f64| ((n * scale) as u64).max(1000);
        Sizes {
            keys: of(2e6),
            batch: 10_000,
            gets: of(1e6),
            scans: of(2e5),
            ycsb: of(4e5),
            rows: of(6e6),
            durable_ms: of(2500.0).max(200),
            overwrite_ms: of(60_000.0),
            log_bytes: (512.0 * f64::from(1 << 20) * scale) as u64,
        }
    }
}

/// What a phase has shown.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Operations.
    pub ops: u64,
    /// Time on the wall, in seconds.
    pub wall: f64,
    /// CPU time of the whole process, in seconds, the work that was put off included.
    pub cpu: f64,
    /// Bytes written to the disk, likewise.
    pub written: u64,
    /// Bytes of disk that are taken at the end.
    pub disk: u64,
    /// Most memory of the process since its start, in bytes.
    pub rss_peak: u64,
    /// Times of single operations, where they were taken.
    pub latency: Option<Latency>,
    /// Bytes of disk before the phase, and those that were in use after it.
    pub shrunk: Option<(u64, u64)>,
}

impl Sample {
    /// CPU time of an operation, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.ops as f64
    }

    /// Time of an operation, in microseconds.
    #[must_use]
    pub fn wall_us(&self) -> f64 {
        self.wall * 1e6 / self.ops as f64
    }

    /// Operations a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.ops as f64 / self.wall
    }
}

/// Times of single operations, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1000 took no longer.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
    /// The same without the time in which the thread was ready and the machine ran others, where
    /// that was asked.
    pub max_with_cpu: Option<f64>,
}

impl Latency {
    fn of(times: &Histogram<u64>) -> Latency {
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        let max = times.max() as f64 / 1e3;
        Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max, max_with_cpu: None }
    }
}

/// Of times in nanoseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)
        .expect("the bounds are in order")
}

/// Runs a phase on the store that is open.
///
/// # Errors
/// If the store fails, or gives a wrong answer.
pub fn run(bench: &mut Bench, phase: Phase) -> Result<Sample> {
    let sizes = bench.sizes;
    let sample = match phase {
        Phase::Load => writes::load(bench),
        Phase::SortedLoad => writes::sorted_load(bench),
        Phase::Get => reads::get(bench),
        Phase::Miss => reads::miss(bench),
        Phase::Scan10 => reads::scan(bench, sizes.scans, 10),
        Phase::Scan100 => reads::scan(bench, sizes.scans / 4, 100),
        Phase::FullScan => reads::full_scan(bench),
        Phase::YcsbA => ycsb::run(bench, ycsb::Mix::A, sizes.ycsb),
        Phase::YcsbB => ycsb::run(bench, ycsb::Mix::B, sizes.ycsb),
        Phase::YcsbC => ycsb::run(bench, ycsb::Mix::C, sizes.ycsb),
        Phase::YcsbE => ycsb::run(bench, ycsb::Mix::E, sizes.ycsb / 10),
        Phase::Durable1 => writes::durable(bench, 1),
        Phase::Durable16 => writes::durable(bench, 16),
        Phase::Remove => writes::remove(bench),
        Phase::Shrink => shrink::run(bench),
        Phase::Overwrite => writes::overwrite(bench),
        Phase::FillLog => writes::fill_log(bench),
        Phase::CheckLog => writes::check_log(bench),
    };
    sample.with_context(|| phase.title())
}
