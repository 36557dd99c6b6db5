//! How good are our storage engines beside their peers?
//!
//!     cargo run --release --manifest-path benches/versus/Cargo.toml --bin storage -- --markdown
//!     cargo run --release ... --bin storage -- --scale 0.1 --rounds 1 --only mix
//!     cargo run --release ... --bin storage -- --only stall --stall-seconds 600 --rounds 1
//!
//! # Method
//! Each contender has a process of its own and keeps it through a course; phase by phase each has
//! its turn, in an order shuffled for every phase, while the others wait. Ratios are taken within
//! a round, and the median over the rounds is the figure.
//!
//! | course | what happens | goals |
//! |---|---|---|
//! | `mix` | 2 M keys are loaded, read, scanned, changed, removed, the space given back | most |
//! | `sorted` | the same keys are loaded in order | `btree` |
//! | `stall` | keys are overwritten for a time, with half the memory they need | `lsm` |
//! | `kill` | a log of 512 MiB is written, the process killed, the store opened again | `lsm` |
//!
//! # Prediction, from the back of an envelope
//! A get that finds all in memory walks log2(2 M) = 21 comparisons. Two cache lines a level of a
//! tree whose pages hold 25 pairs below and 150 children above (4 levels, of which two lie in the
//! processor's cache): 4 to 6 misses of 100 ns, **0.6 to 1 us**. A merge tree adds a filter for
//! each run (one miss each), a fence and a hash in the block: **1 to 1.5 us**. Of 100 rows of 174 B
//! in order every third cache line is fetched ahead by the processor: 25 to 40 ns a row, **4 us**
//! and the descent. A batch of 10,000 random puts changes 10,000 of 90,000 pages: each put is a
//! descent, a shift within a page, and a share of a page written: **2 to 4 us**; into a memtable
//! it is one descent of a skiplist of 400,000 nodes, 1 us, and two merges of 200 B at 1 GB/s each
//! thereafter, **2 to 2.5 us** in all.

mod course;
mod goals;
mod report;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use drystone_versus::machine::{Machine, ensure_disk};
use drystone_versus::storage;
use drystone_versus::storage::bench::Bench;
use drystone_versus::storage::child;
use drystone_versus::storage::phase::{Phase, Sizes};
use drystone_versus::storage::store::{Contender, Settings, Sync};

/// Our storage engines against their peers.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds that count; all of them do.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Factor to the number of keys, of operations, and to times.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only these courses, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Course>,
    /// Only these phases of the mix; the load is always one of them.
    #[arg(long, value_enum, value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Who takes part.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = EVERYONE)]
    contenders: Vec<Contender>,
    /// Memory for caches, in MiB.
    #[arg(long, default_value_t = 512)]
    memory_mib: u64,
    /// How long overwriting goes on, whatever the scale.
    #[arg(long)]
    stall_seconds: Option<u64>,
    /// Where the stores are put, on a real disk; a folder in it is made and removed again.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Order of the turns, and choice of keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Say where, when and how, too, for a README.
    #[arg(long)]
    markdown: bool,
    /// No comparison: let the contender load, and then do the phases that are named over and over,
    /// in this process, for a profiler.
    #[arg(long, value_enum)]
    profile: Option<Contender>,
    /// How often the profile does its phases.
    #[arg(long, default_value_t = 5)]
    times: usize,
    /// What this program asks of another process of itself.
    #[arg(long, hide = true, requires = "dir")]
    child: Option<String>,
}

/// Who takes part unless told otherwise.
const EVERYONE: [Contender; 7] = [
    Contender::Rocksdb,
    Contender::Fjall,
    Contender::Redb,
    Contender::Lmdb,
    Contender::Btree,
    Contender::Lsm,
    Contender::Raw,
];

/// What is done to a store from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Course {
    Mix,
    Sorted,
    Stall,
    Kill,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let (Some(sizes), Some(dir)) = (&options.child, &options.dir) {
        let sizes = serde_json::from_str(sizes).context("reading the sizes")?;
        return child::serve(dir, sizes, options.seed);
    }
    let parent = match &options.dir {
        Some(dir) => dir.clone(),
        None => {
            let program = std::env::current_exe().context("looking for this program")?;
            program.parent().context("a program lies in a folder")?.to_path_buf()
        }
    };
    fs::create_dir_all(&parent).with_context(|| format!("making {}", parent.display()))?;
    ensure_disk(&parent)?;
    let home = tempfile::Builder::new().prefix("versus-storage-").tempdir_in(&parent)?;
    let mut sizes = Sizes::scaled(options.scale);
    if let Some(seconds) = options.stall_seconds {
        sizes.overwrite_ms = seconds * 1000;
    }
    if let Some(contender) = options.profile {
        return profile(&options, contender, Bench::new(home.path().into(), sizes, options.seed));
    }
    if options.markdown {
        println!("{}\n", provenance(&options, &sizes, &Machine::here(&parent)));
    }
    let (samples, outcome) = course::run(&course::Plan {
        dir: home.path().to_path_buf(),
        sizes,
        memory_bytes: options.memory_mib << 20,
        rounds: options.rounds,
        seed: options.seed,
        courses: if options.only.is_empty() {
            Course::value_variants().to_vec()
        } else {
            options.only.clone()
        },
        phases: options.phases.clone(),
        contenders: options.contenders.clone(),
    });
    println!("{}", report::tables(&samples, &options.contenders));
    for verdict in goals::verdicts(&samples) {
        println!("* {verdict}");
    }
    println!("\nLoad average at the end: {}", load_average());
    outcome
}

/// Says when it begins with what, so that a profiler can be attached to the part of interest.
fn profile(options: &Options, contender: Contender, mut bench: Bench) -> Result<()> {
    let durable = options.phases.iter().any(|phase| phase.is_durable());
    bench.open(&Settings {
        contender,
        memory_bytes: course::memory_bytes(contender, options.memory_mib << 20),
        sync: if durable { Sync::Each } else { Sync::Later },
        log_bytes: None,
        store_bytes_max: course::store_bytes_max(&bench.sizes),
    })?;
    let again = options.phases.iter().cycle().take(options.times * options.phases.len());
    for phase in std::iter::once(&Phase::Load).chain(again) {
        println!("process {}: {}", std::process::id(), phase.title());
        let sample = storage::phase::run(&mut bench, *phase)?;
        println!("  CPU {:.3} us, wall {:.3} us", sample.cpu_us(), sample.wall_us());
    }
    bench.close()
}

/// Machine, date, method: without them a figure says nothing.
fn provenance(options: &Options, sizes: &Sizes, machine: &Machine) -> String {
    format!(
        "{}, commit {}; {}, {} cores, Linux {}, {}; load average {} at the start.\n\
         {} rounds, {} keys, {} MiB of memory, each contender in its own process, phases in turn \
         in shuffled order (seed {}); medians, ratios within a round.",
        machine.date,
        machine.commit,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.file_system,
        load_average(),
        options.rounds,
        sizes.keys,
        options.memory_mib,
        options.seed,
    )
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
