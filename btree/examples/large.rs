//! Does a database that is larger than its memory keep to it, and can it be compacted in passing?
//!
//! Records are loaded in the order of their keys, then half of them are removed, then the file is
//! compacted while one thread writes and one reads. All the while the process's memory is sampled.
//! A sketch says: memory is the budget, once more as much for what waits to be flushed, and a
//! few MiB; a step of a compaction visits 64 pages, some 5 ms if they have to be read.
//!
//! `cargo run --release -p drystone-btree --example large [directory [MiB of data [MiB of
//! memory]]]`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use drystone_btree::{Db, Options, Progress, Result, Sync, TreeId};
use drystone_vfs::{Clock, OpenMode, OsClock, OsVfs, Vfs};

const VALUE_BYTES: usize = 1000;
const BATCH: u64 = 1000;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "large-data".to_owned()));
    let data: u64 = args.next().map_or(Ok(1024), |n| n.parse())?;
    let memory: usize = args.next().map_or(Ok(64), |n| n.parse())?;
    let vfs = Arc::new(OsVfs::new());
    vfs.create_dir_all(&dir)?;
    drop(vfs.remove(&dir.join("db")));
    let options = Options::default().memory_bytes(memory << 20).sync(Sync::OnRequest);
    let db = Db::open(vfs.clone(), &dir.join("db"), options)?;
    let tree = db.tree("t")?;
    let count = (data << 20) / VALUE_BYTES as u64;
    let report = Report { db: &db, vfs: &*vfs, clock: OsClock::new() };
    report.line("opened")?;
    let mut peak = 0;
    for first in (0..count).step_by(BATCH as usize) {
        let mut w = db.write()?;
        for i in first..(first + BATCH).min(count) {
            w.put(tree, &i.to_be_bytes(), &[i as u8; VALUE_BYTES])?;
        }
        drop(w.commit()?);
        peak = peak.max(report.memory()?);
        if (first / BATCH).is_multiple_of(count / BATCH / 8 + 1) {
            report.line("loading")?;
        }
    }
    db.persist()?;
    report.line("loaded")?;
    println!("most memory while loading: {} MiB", peak >> 20);
    for first in (0..count).step_by(2 * BATCH as usize) {
        let mut w = db.write()?;
        for i in (first..(first + 2 * BATCH).min(count)).filter(|i| i / 100 % 2 == 0) {
            w.delete(tree, &i.to_be_bytes())?;
        }
        drop(w.commit()?);
        peak = peak.max(report.memory()?);
    }
    db.persist()?;
    report.line("half removed")?;
    compact(&db, tree, count, &report)?;
    println!("most memory in all: {} MiB", peak.max(report.memory()?) >> 20);
    Ok(())
}

/// Compacts beside a writer and a reader, and prints how long these had to wait at most.
fn compact(db: &Db, tree: TreeId, count: u64, report: &Report<'_>) -> Result<()> {
    let stop = AtomicBool::new(false);
    let clock = OsClock::new();
    let timed = |pauses: &Pauses, mut call: Box<dyn FnMut(u64) -> Result<()>>| -> Result<()> {
        let mut i = 0;
        while !stop.load(Ordering::Relaxed) {
            let start = clock.monotonic();
            call(i * 7919 % count)?;
            pauses.add(clock.monotonic().saturating_sub(start));
            i += 1;
        }
        Ok(())
    };
    let (writes, reads) = (Pauses::default(), Pauses::default());
    // What a write is made of.
    let (turns, puts, commits) = (Pauses::default(), Pauses::default(), Pauses::default());
    let start = clock.monotonic();
    thread::scope(|scope| {
        let (for_writes, for_reads) = (db.clone(), db.clone());
        let timed = &timed;
        let (writes, reads) = (&writes, &reads);
        let (turns, puts, commits) = (&turns, &puts, &commits);
        scope.spawn(move || {
            let clock = OsClock::new();
            let call = move |i: u64| {
                let start = clock.monotonic();
                let mut w = for_writes.write()?;
                let began = clock.monotonic();
                w.put(tree, &(i / 200 * 200 + 150).to_be_bytes(), &[9; VALUE_BYTES])?;
                let put = clock.monotonic();
                drop(w.commit()?);
                turns.add(began.saturating_sub(start));
                puts.add(put.saturating_sub(began));
                commits.add(clock.monotonic().saturating_sub(put));
                Ok(())
            };
            timed(writes, Box::new(call)).expect("a disk that works");
        });
        scope.spawn(move || {
            let call = move |i: u64| for_reads.get(tree, &i.to_be_bytes()).map(drop);
            timed(reads, Box::new(call)).expect("a disk that works");
        });
        let mut calls = 0;
        let outcome = loop {
            calls += 1;
            match db.compact(Duration::from_millis(10)) {
                Ok(Progress::More) if calls < 100_000 => {}
                outcome => break outcome,
            }
        };
        stop.store(true, Ordering::Relaxed);
        println!("{calls} calls, {outcome:?}, {:?}", clock.monotonic().saturating_sub(start));
    });
    report.line("compacted")?;
    println!("writer: {writes}");
    println!("    its turn: {turns}");
    println!("    put: {puts}");
    println!("    commit: {commits}");
    println!("reader: {reads}");
    Ok(())
}

/// How long calls took, by powers of two of microseconds.
#[derive(Debug, Default)]
struct Pauses {
    by_power: [AtomicU64; 32],
    most: AtomicU64,
}

impl Pauses {
    fn add(&self, pause: Duration) {
        let us = pause.as_micros() as u64;
        self.by_power[(us + 1).ilog2() as usize % 32].fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(us, Ordering::Relaxed);
    }
}

impl std::fmt::Display for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |power: usize| self.by_power[power].load(Ordering::Relaxed);
        let all: u64 = (0..32).map(count).sum();
        let above: u64 = (14..32).map(count).sum();
        let most = Duration::from_micros(self.most.load(Ordering::Relaxed));
        write!(f, "{all} calls, {above} above 16 ms, longest {most:?}")
    }
}

struct Report<'a> {
    db: &'a Db,
    vfs: &'a dyn Vfs,
    clock: OsClock,
}

impl Report<'_> {
    /// Bytes of memory that the process has, without pages of files.
    fn memory(&self) -> Result<u64> {
        let mut bytes = [0; 4096];
        let read = |bytes: &mut [u8]| {
            let file = self.vfs.open("/proc/self/status".as_ref(), OpenMode::Read)?;
            file.read_at(bytes, 0)
        };
        let len = read(&mut bytes).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..len]);
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.unwrap_or(0) << 10)
    }

    fn line(&self, what: &str) -> Result<()> {
        let sizes = self.db.sizes();
        println!(
            "{:>7.1} s  {what:<14} memory {:>5} MiB  file {:>6}  used {:>6}  waiting {:>4}",
            self.clock.monotonic().as_secs_f64(),
            self.memory()? >> 20,
            sizes.file_bytes >> 20,
            sizes.used_bytes >> 20,
            sizes.unflushed_bytes >> 20,
        );
        Ok(())
    }
}
