//! How often does one durable append allocate?
//!
//!     cargo run --release --manifest-path benches/versus/Cargo.toml --bin wal-allocations
//!
//! # Method
//! The allocator of this program counts, over all threads. Every contender takes a turn to warm up
//! and a second one that counts, alone; there is nothing to interleave, for a count does not depend
//! on how busy the machine is. Time is not looked at: counting slows down those who allocate.
//!
//! # Prediction
//! Ours copies a record into a buffer that is kept, and waits without making anything: **0**. What
//! remains is rare: a new segment, an entry in its index for every 64 KiB or so. okaywal fills a
//! buffer too, and duplicates a file handle for a sync, which is no memory: **0**. raft-engine
//! makes an index for each batch: **2 to 6**.

use std::alloc::System;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_versus::cost::count_allocations_by;
use drystone_versus::log::{Log, OkayWal, Ours, RaftEngine, Shape};
use drystone_versus::machine::ensure_disk;
use drystone_versus::slice::{Sample, slice, slice_of_tasks};
use drystone_versus::table::table;
use drystone_wal::Writer as Mode;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORD_BYTES: usize = 174;
const TURN: Duration = Duration::from_secs(1);
const THREADS: [usize; 3] = [1, 16, 64];
const TASKS: usize = 256;

fn main() -> Result<()> {
    count_allocations_by(|| {
        let stats = ALLOCATOR.stats();
        (stats.allocations + stats.reallocations) as u64
    });
    let program = std::env::current_exe().context("looking for this program")?;
    let parent = program.parent().context("a program lies in a folder")?;
    ensure_disk(parent)?;
    let home = tempfile::Builder::new().prefix("versus-wal-").tempdir_in(parent)?;
    let dir = |name: &str| home.path().join(name);

    let ours = Ours::open(&dir("ours"), Mode::Thread)?;
    let okay = OkayWal::with_large_files(&dir("okay"))?;
    let raft = RaftEngine::open(&dir("raft"), Shape::EntryInOwnRegion)?;
    let mut rows = Vec::new();
    for log in [&ours as &dyn Log, &okay, &raft] {
        for threads in THREADS {
            slice(log, threads, RECORD_BYTES, TURN)?;
            let sample = slice(log, threads, RECORD_BYTES, TURN)?;
            rows.push(row(format!("{}, {threads} threads", log.name()), &sample));
        }
    }
    slice_of_tasks(&ours, ours.wal(), TASKS, RECORD_BYTES, TURN)?;
    let sample = slice_of_tasks(&ours, ours.wal(), TASKS, RECORD_BYTES, TURN)?;
    rows.push(row(format!("ours, {TASKS} tasks"), &sample));
    println!("{}", table(&["contender", "appends", "allocations", "per append"], &rows));
    Ok(())
}

fn row(name: String, sample: &Sample) -> Vec<String> {
    vec![
        name,
        sample.ops.to_string(),
        sample.cost.allocations.to_string(),
        format!("{:.4}", sample.allocations()),
    ]
}
