//! How good is our write-ahead log beside the bare disk and beside its peers?
//!
//!     cargo run --release --manifest-path benches/versus/Cargo.toml --bin wal -- --markdown
//!
//! # Method
//! One process, one disk. Every contender is open all the time, in its steady state; turns of
//! 0.15 s go round in shuffled order, and ratios are taken within a round. The parts:
//!
//! | part | question | goal |
//! |---|---|---|
//! | `durable` | 1 thread, 180 B: how close to a bare write-and-sync loop? | 0.90 of it |
//! | `threads` | 1, 16, 64 threads, 174 B: faster than the better peer? | 1.0, 1.1, 1.0 of it |
//! | | CPU of an append at 16 and 64 threads | 10 and 6 us |
//! | | 16 threads against 1 | 8 times |
//! | | 256 tasks on one thread | to know |
//! | `latency` | median at 180 B and 4 KiB, beside a growing file | 0.72 and 0.65 of it |
//! | `recovery` | opening 1 GiB that is in the page cache | 1 GB/s, bounded memory |
//!
//! The program `wal-allocations` counts allocations; to count while measuring time would slow down
//! those who allocate.
//!
//! # Prediction, from the back of an envelope
//! A sync of this disk takes about 200 us, overwritten or not, and a grown file one journal commit
//! more, 1.4 times as much. At one thread our work beside the sync is a lock, a copy and a checksum
//! of 200 bytes, below 1 us: **0.98 of the raw loop if the waiter writes itself**. A second thread
//! that writes costs two wake-ups, 5 to 50 us each on a virtual machine: 0.7 to 0.95.
//!
//! At 16 threads all 16 should share a sync, which is 16 / 230 us = **70 k/s**, as long as two
//! cores can put to sleep and wake 16 threads in that time: a sleep and a wake-up cost about 4 us,
//! so **5 us CPU an append**, of which the sync's own 20 us are a sixteenth. At 64 threads the
//! cores, not the disk, are the limit: 2 cores / 5 us = 400 k/s at most, 64 / 300 us = **200 k/s**
//! if the disk has the last word.
//!
//! Recovery is a checksum (18 GB/s) and a read (5 GB/s or more from cache): **2 to 4 GB/s**.

mod durable;
mod latency;
mod recovery;
mod threads;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use drystone_versus::figures::{Figures, Verdict, contenders};
use drystone_versus::log::{Log, OkayWal, Ours, RaftEngine, Shape};
use drystone_versus::machine::{Machine, ensure_disk};
use drystone_versus::slice::slice;
use drystone_wal::Writer as Mode;
use rustix::fs::syncfs;

/// Our write-ahead log against the bare disk and its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds that count.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Length of a turn, in milliseconds.
    #[arg(long, default_value_t = 150)]
    slice_ms: u64,
    /// Only these parts, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the logs are put, on a real disk; a folder in it is made and removed again.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Bytes of records for the recovery, in MiB.
    #[arg(long, default_value_t = 1024)]
    recovery_mib: u64,
    /// Order of the turns.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Say where, when and how, too, for a README.
    #[arg(long)]
    markdown: bool,
    /// No comparison: let one contender run alone, for a profiler.
    #[arg(long, value_enum)]
    profile: Option<Contender>,
    /// What this program asks of a second process of itself: open the log that lies in `--dir`.
    #[arg(long, value_enum, requires = "dir", hide = true)]
    recover: Option<recovery::Peer>,
    /// Threads of the one that is profiled.
    #[arg(long, default_value_t = 16)]
    threads: usize,
    /// Seconds that the profile takes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Durable,
    Threads,
    Latency,
    Recovery,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Contender {
    Ours,
    Caller,
    Okaywal,
    RaftEngine,
}

type Run = fn(&Arena) -> Result<Findings>;

/// What all parts need to know.
struct Arena {
    dir: PathBuf,
    rounds: usize,
    slice: Duration,
    seed: u64,
    recovery_bytes: u64,
}

/// What a part has found.
struct Findings {
    title: String,
    tables: String,
    verdicts: Vec<Verdict>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let (Some(peer), Some(dir)) = (options.recover, &options.dir) {
        return recovery::recover(peer, dir);
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
    let home = tempfile::Builder::new().prefix("versus-wal-").tempdir_in(&parent)?;
    let arena = Arena {
        dir: home.path().to_path_buf(),
        rounds: options.rounds,
        slice: Duration::from_millis(options.slice_ms),
        seed: options.seed,
        recovery_bytes: options.recovery_mib << 20,
    };
    if let Some(contender) = options.profile {
        return profile(&arena, contender, &options);
    }
    if options.markdown {
        println!("{}\n", provenance(&arena, &Machine::here(&parent)));
    }
    let runs: [(Part, Run); 4] = [
        (Part::Durable, durable::run),
        (Part::Threads, threads::run),
        (Part::Latency, latency::run),
        (Part::Recovery, recovery::run),
    ];
    let mut verdicts = Vec::new();
    for (part, run) in runs {
        if options.only.is_empty() || options.only.contains(&part) {
            let findings = run(&arena)?;
            println!("**{}**\n\n{}", findings.title, findings.tables);
            verdicts.extend(findings.verdicts);
        }
    }
    for verdict in &verdicts {
        println!("* {verdict}");
    }
    println!("\nLoad average at the end: {}", load_average());
    Ok(())
}

/// Machine, date, method: without them a figure says nothing.
fn provenance(arena: &Arena, machine: &Machine) -> String {
    format!(
        "{}, commit {}; {}, {} cores, Linux {}, {}; load average {} at the start.\n\
         {} rounds of {} ms a turn in shuffled order (seed {}); medians, ratios within a round.",
        machine.date,
        machine.commit,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.file_system,
        load_average(),
        arena.rounds,
        arena.slice.as_millis(),
        arena.seed,
    )
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Writes everything dirty back, so that nobody pays for what came before.
fn settle(arena: &Arena) -> Result<()> {
    syncfs(fs::File::open(&arena.dir)?).context("syncing the file system")
}

fn profile(arena: &Arena, contender: Contender, options: &Options) -> Result<()> {
    let dir = arena.dir.join("profile");
    let log: Box<dyn Log> = match contender {
        Contender::Ours => Box::new(Ours::open(&dir, Mode::Thread)?),
        Contender::Caller => Box::new(Ours::open(&dir, Mode::Caller)?),
        Contender::Okaywal => Box::new(OkayWal::with_large_files(&dir)?),
        Contender::RaftEngine => Box::new(RaftEngine::open(&dir, Shape::EntryInOwnRegion)?),
    };
    settle(arena)?;
    let time = Duration::from_secs(options.seconds);
    let sample = slice(&*log, options.threads, threads::RECORD_BYTES, time)?;
    let name = format!("{}, {} threads", log.name(), options.threads);
    println!("{}", contenders(&[Figures { name: &name, samples: &[sample] }]));
    Ok(())
}
