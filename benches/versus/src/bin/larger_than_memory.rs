//! Does a store that is far larger than its memory keep to it?
//!
//!     cargo run --release --bin larger-than-memory -- --contender lsm
//!     cargo run --release --bin larger-than-memory -- --contender btree --gib 2 --memory-mib 64
//!
//! 20 GiB are loaded with 256 MiB of memory, settled, read at random, changed at random, and read
//! from end to end, each value compared. All the while the memory of the process is sampled. It
//! must stay below a bound, and must not grow with the data: what the second half of the load
//! takes may exceed what its second quarter took by a tenth.
//!
//! # Prediction
//! A merge tree writes every byte 1 + 1 + 2 to 4 times (log, table, levels): 100 GiB at 0.5 to
//! 1 GB/s, **two to four minutes** if the processor keeps up, and it does at 1 KiB a value. A tree
//! that copies pages is loaded in order (`--order sorted`, its default here): 20 GiB once, **one
//! minute**. In hash order each put of 1 KiB would read a page and write one, at random places,
//! 20 million times; `--order hash` shows that, with patience.
//!
//! What memory beyond the budget is for: a merge tree's fences and filters (20 million keys with
//! 10 bits each are 25 MiB), a tree's map of free pages (a bit a page, 1 MiB), batches in flight.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use drystone_versus::cost::rss_bytes;
use drystone_versus::machine::ensure_disk;
use drystone_versus::storage::data::{gather, spread};
use drystone_versus::storage::process::disk_bytes;
use drystone_versus::storage::store::{self, Batch, Contender, Settings, Store, Sync};
use drystone_versus::storage::zipf::below;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Puts in a batch.
const BATCH: u64 = 1000;

const KEY_BYTES: usize = 16;

/// A store that is far larger than its memory.
#[derive(Debug, Parser)]
struct Options {
    /// Which store.
    #[arg(long, value_enum)]
    contender: Contender,
    /// Keys and values to load, in GiB.
    #[arg(long, default_value_t = 20.0)]
    gib: f64,
    /// Memory the store may use, in MiB.
    #[arg(long, default_value_t = 256)]
    memory_mib: u64,
    /// Memory the process may use, in MiB; half as much again as the store, and 128, if not given.
    #[arg(long)]
    rss_mib_max: Option<u64>,
    /// Bytes of a value, 16 or more.
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Order of the keys while loading; trees have them sorted if it is not given.
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Values changed at random afterwards.
    #[arg(long, default_value_t = 200_000)]
    changes: u64,
    /// Values read at random.
    #[arg(long, default_value_t = 200_000)]
    reads: u64,
    /// Where the store is put, on a real disk; a folder in it is made and removed again.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Hash,
    Sorted,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.value_bytes >= 16, "a value has 16 bytes or more");
    let parent = match &options.dir {
        Some(dir) => dir.clone(),
        None => std::env::current_exe()?.parent().context("a program has a folder")?.to_path_buf(),
    };
    std::fs::create_dir_all(&parent)?;
    ensure_disk(&parent)?;
    let home = tempfile::Builder::new().prefix("larger-").tempdir_in(&parent)?;
    let bytes = (options.gib * f64::from(1 << 30)) as u64;
    let settings = Settings {
        contender: options.contender,
        memory_bytes: options.memory_mib << 20,
        sync: Sync::Later,
        log_bytes: None,
        store_bytes_max: (bytes * 8).next_multiple_of(1 << 20),
    };
    let tree = !matches!(options.contender, Contender::Lsm | Contender::Fjall | Contender::Rocksdb);
    let order = options.order.unwrap_or(if tree { Order::Sorted } else { Order::Hash });
    let run = Run {
        keys: bytes / (KEY_BYTES + options.value_bytes) as u64,
        order,
        value_bytes: options.value_bytes,
        store: store::open(home.path(), &settings)?,
        memory: Memory::default(),
    };
    let outcome = thread::scope(|scope| {
        scope.spawn(|| run.memory.watch());
        let outcome = run.all(&options, home.path());
        run.memory.stop.store(true, Ordering::Relaxed);
        outcome
    });
    let limit = options.rss_mib_max.unwrap_or(options.memory_mib * 3 / 2 + 128) << 20;
    let peaks = outcome?;
    run.store.close()?;
    judge(&peaks, limit)
}

/// The most memory of the process since it was last asked.
#[derive(Debug, Default)]
struct Memory {
    peak: AtomicU64,
    stop: AtomicBool,
}

impl Memory {
    fn watch(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.look();
            thread::sleep(SAMPLE_EVERY);
        }
    }

    fn look(&self) {
        self.peak.fetch_max(rss_bytes().expect("the kernel tells"), Ordering::Relaxed);
    }

    fn take(&self) -> u64 {
        self.look();
        self.peak.swap(0, Ordering::Relaxed)
    }
}

struct Run {
    keys: u64,
    order: Order,
    value_bytes: usize,
    store: Box<dyn Store>,
    memory: Memory,
}

/// Name of a stage, and its greatest memory.
type Peaks = Vec<(&'static str, u64)>;

/// The quarters of the load, by name.
const QUARTERS: [&str; 4] = ["load, 1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];

impl Run {
    fn all(&self, options: &Options, dir: &std::path::Path) -> Result<Peaks> {
        let mut peaks = Peaks::new();
        let mut stage = |name: &'static str, work: &mut dyn FnMut() -> Result<u64>| {
            let start = Instant::now();
            let ops = work()?;
            let (seconds, peak) = (start.elapsed().as_secs_f64(), self.memory.take());
            println!(
                "{name:20} {seconds:8.1} s  {:9.0}/s  peak RSS {:5} MiB  disk {:6} MiB",
                ops as f64 / seconds,
                peak >> 20,
                disk_bytes(dir)? >> 20
            );
            peaks.push((name, peak));
            anyhow::Ok(())
        };
        for (quarter, name) in (0..).zip(QUARTERS) {
            let part = self.keys * quarter / 4..self.keys * (quarter + 1) / 4;
            stage(name, &mut || self.load(part.clone()))?;
        }
        stage("settle", &mut || self.store.settle().map(|()| 1))?;
        stage("reads", &mut || self.read(options.reads))?;
        stage("changes", &mut || self.change(options.changes))?;
        stage("settle again", &mut || self.store.settle().map(|()| 1))?;
        stage("full scan", &mut || self.scan())?;
        Ok(peaks)
    }

    fn key(&self, index: u64) -> [u8; KEY_BYTES] {
        let first = match self.order {
            Order::Hash => spread(index),
            Order::Sorted => index,
        };
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&first.to_be_bytes());
        key[8..].copy_from_slice(&spread(!index).to_be_bytes());
        key
    }

    fn index(&self, key: &[u8]) -> Option<u64> {
        let first = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
        let index = match self.order {
            Order::Hash => gather(first),
            Order::Sorted => first,
        };
        (index < self.keys && self.key(index) == key).then_some(index)
    }

    /// Half random, half dots, and all of it following from the index.
    fn fill(&self, value: &mut Vec<u8>, index: u64) {
        value.clear();
        value.extend_from_slice(&index.to_le_bytes());
        let mut state = spread(index);
        while value.len() < self.value_bytes / 2 {
            state = spread(state);
            value.extend_from_slice(&state.to_le_bytes());
        }
        value.resize(self.value_bytes, b'.');
    }

    fn load(&self, indices: std::ops::Range<u64>) -> Result<u64> {
        let bar = bar(indices.end - indices.start);
        let (mut batch, mut value) = (Batch::default(), Vec::new());
        let count = indices.end - indices.start;
        for index in indices {
            self.fill(&mut value, index);
            batch.put(&self.key(index), &value);
            if batch.len() as u64 == BATCH {
                match self.order {
                    Order::Hash => self.store.write(&batch)?,
                    Order::Sorted => self.store.append(&batch)?,
                }
                batch.clear();
                bar.inc(BATCH);
            }
        }
        self.store.write(&batch)?;
        Ok(count)
    }

    fn read(&self, count: u64) -> Result<u64> {
        let bar = bar(count);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut expected = Vec::new();
        for _ in 0..count {
            let index = below(&mut random, self.keys);
            self.fill(&mut expected, index);
            let mut right = false;
            self.store.reader()?.get(&self.key(index), &mut |value| right = value == expected)?;
            ensure!(right, "index {index} has another value, or none");
            bar.inc(1);
        }
        Ok(count)
    }

    /// Writes the same values again: what is in the store is known without having to be kept.
    fn change(&self, count: u64) -> Result<u64> {
        let bar = bar(count);
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let (mut batch, mut value) = (Batch::default(), Vec::new());
        for done in 1..=count {
            let index = below(&mut random, self.keys);
            self.fill(&mut value, index);
            batch.put(&self.key(index), &value);
            if batch.len() as u64 == BATCH || done == count {
                self.store.write(&batch)?;
                batch.clear();
            }
            bar.inc(1);
        }
        Ok(count)
    }

    fn scan(&self) -> Result<u64> {
        let bar = bar(self.keys);
        let (mut count, mut wrong, mut sum) = (0, 0u64, 0u64);
        let mut expected = Vec::new();
        let mut last = [0; KEY_BYTES];
        self.store.reader()?.scan(&[], usize::MAX, &mut |key, value| {
            let right = self.index(key).is_some_and(|index| {
                sum = sum.wrapping_add(spread(index));
                self.fill(&mut expected, index);
                value == expected && (count == 0 || *key > last[..])
            });
            if right {
                last.copy_from_slice(key);
            }
            wrong += u64::from(!right);
            count += 1;
            bar.inc(1);
        })?;
        ensure!(wrong == 0, "{wrong} pairs are wrong or out of order");
        ensure!(count == self.keys, "{count} pairs of {} are there", self.keys);
        let all = (0..self.keys).fold(0u64, |sum, index| sum.wrapping_add(spread(index)));
        ensure!(sum == all, "some pairs are there twice, and others not at all");
        Ok(count)
    }
}

fn judge(peaks: &Peaks, limit: u64) -> Result<()> {
    let peak = |name: &str| peaks.iter().find(|(of, _)| *of == name).map_or(0, |(_, bytes)| *bytes);
    let most = peaks.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let late = peak(QUARTERS[2]).max(peak(QUARTERS[3]));
    let early = peak(QUARTERS[1]);
    println!("peak RSS {} MiB, at most {} wanted", most >> 20, limit >> 20);
    ensure!(most <= limit, "the process took more memory than it may");
    println!("second half of the load {} MiB, second quarter {} MiB", late >> 20, early >> 20);
    ensure!(late <= early / 10 * 11, "memory grows with the data");
    println!("PASS");
    Ok(())
}

fn bar(count: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}")
        .expect("the template is well-formed");
    ProgressBar::with_draw_target(Some(count), target).with_style(style)
}
