//! Opening a log of a gibibyte that lies in the page cache.
//!
//! The same records for all, in groups of [`GROUP`]: in our log a group, in okaywal an entry of so
//! many chunks, in raft-engine a batch for one region. They differ in what opening means:
//!
//! * Ours verifies the checksum of every frame, then hands out records (verifying them again).
//! * okaywal hands out the records while it opens; a checksum is verified if the caller asks, and
//!   here it does.
//! * raft-engine reads the index of each batch, on up to four threads, and not the records; these
//!   are verified and decoded as they are read.
//!
//! So what compares like with like is the time to open and have read every record.
//!
//! Each is opened in a process of its own, so that the memory it takes is seen: here, it would find
//! the memory that others have used and freed.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use drystone_versus::cost;
use drystone_versus::figures::{Goal, Verdict};
use drystone_versus::log::{Entry, IndexOfEntry};
use drystone_versus::rounds::{Unit, rounds};
use drystone_versus::slice::Record;
use drystone_versus::spread::Spread;
use drystone_versus::table::table;
use drystone_vfs::OsVfs;
use drystone_wal::{Options, Wal};
use okaywal::{LogManager, ReadChunkResult};
use raft_engine::{Config, Engine, LogBatch, ReadableSize};

use crate::threads::RECORD_BYTES;
use crate::{Arena, Findings, settle};

/// Records appended at a time.
const GROUP: u64 = 1000;

/// The most memory that opening may take, whatever the log's size.
const RSS_MIB_MAX: f64 = 64.0;

/// Who is opened.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Peer {
    Ours,
    Okaywal,
    RaftEngine,
}

const PEERS: [(Peer, &str); 3] =
    [(Peer::Ours, "ours"), (Peer::Okaywal, "okaywal"), (Peer::RaftEngine, "raft-engine")];

/// How one contender was opened once.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Opened {
    open: Duration,
    /// From before opening until after the last record.
    all: Duration,
    open_rss_bytes: u64,
    all_rss_bytes: u64,
    records: u64,
}

pub(crate) fn run(arena: &Arena) -> Result<Findings> {
    let dir = arena.dir.join("recovery");
    std::fs::create_dir_all(&dir)?;
    let groups = (arena.recovery_bytes / RECORD_BYTES as u64).div_ceil(GROUP);
    eprintln!("recovery: writing {} records for each", groups * GROUP);
    let mut units = Vec::new();
    for (peer, name) in PEERS {
        let dir = dir.join(name);
        match peer {
            Peer::Ours => write_ours(&dir, groups)?,
            Peer::Okaywal => write_okay(&dir, groups)?,
            Peer::RaftEngine => write_raft(&dir, groups)?,
        }
        units.push(Unit {
            name: name.to_owned(),
            run: Box::new(move || {
                let opened = open_apart(name, &dir)?;
                ensure!(opened.records == groups * GROUP, "{name} found {opened:?}");
                Ok(opened)
            }),
        });
    }
    settle(arena)?;
    let samples = rounds("recovery", &mut units, arena.rounds.div_ceil(2), arena.seed)?;
    let bytes = (groups * GROUP) as f64 * RECORD_BYTES as f64;
    Ok(findings(&samples, bytes))
}

/// Opens a log in another process, which is this program again.
fn open_apart(name: &str, dir: &Path) -> Result<Opened> {
    let program = std::env::current_exe().context("looking for this program")?;
    let output = Command::new(program)
        .args(["--recover", name, "--dir"])
        .arg(dir)
        .stderr(Stdio::inherit())
        .output()
        .context("starting this program again")?;
    ensure!(output.status.success(), "opening apart ended: {}", output.status);
    Opened::parse(&String::from_utf8(output.stdout)?).context("it says something else")
}

/// The other process: opens the log and says on standard output what it took.
pub(crate) fn recover(peer: Peer, dir: &Path) -> Result<()> {
    let opened = match peer {
        Peer::Ours => open_ours(dir)?,
        Peer::Okaywal => open_okay(dir)?,
        Peer::RaftEngine => open_raft(dir)?,
    };
    println!("{}", opened.line());
    Ok(())
}

impl Opened {
    fn line(&self) -> String {
        let times = [self.open, self.all].map(|time| time.as_nanos() as u64);
        let figures = [times[0], times[1], self.open_rss_bytes, self.all_rss_bytes, self.records];
        figures.map(|figure| figure.to_string()).join(" ")
    }

    fn parse(line: &str) -> Option<Opened> {
        let figures: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [open, all, open_rss_bytes, all_rss_bytes, records] = figures[..] else { return None };
        let [open, all] = [open, all].map(Duration::from_nanos);
        Some(Opened { open, all, open_rss_bytes, all_rss_bytes, records })
    }
}

fn findings(samples: &[Vec<Opened>], bytes: f64) -> Findings {
    let median =
        |i: usize, of: &dyn Fn(&Opened) -> f64| Spread::of(samples[i].iter().map(of)).median;
    let open = |it: &Opened| bytes / it.open.as_secs_f64() / 1e9;
    let all = |it: &Opened| bytes / it.all.as_secs_f64() / 1e9;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut rows = Vec::new();
    for (i, (_, name)) in PEERS.iter().enumerate() {
        let pairs = samples[0].iter().zip(&samples[i]);
        let ratio = Spread::of(pairs.map(|(ours, it)| all(ours) / all(it)));
        rows.push(vec![
            (*name).to_owned(),
            format!("{:.2}", median(i, &open)),
            format!("{:.0}", median(i, &|it| mib(it.open_rss_bytes))),
            format!("{:.2}", median(i, &all)),
            format!("{:.0}", median(i, &|it| mib(it.all_rss_bytes))),
            format!("{:.2}x", ratio.median),
            ratio.to_string(),
        ]);
    }
    let heads =
        ["contender", "open GB/s", "RSS MiB", "read all GB/s", "RSS MiB", "ours/this", "min..max"];
    let verdicts = vec![
        Verdict {
            what: "recovery, GB of records a second, from cache".to_owned(),
            figure: median(0, &open),
            goal: Goal::AtLeast(1.0),
        },
        Verdict {
            what: "recovery, MiB of memory".to_owned(),
            figure: median(0, &|it| mib(it.open_rss_bytes)),
            goal: Goal::AtMost(RSS_MIB_MAX),
        },
    ];
    let gib = bytes / f64::from(1 << 30);
    Findings {
        title: format!("Opening {gib:.1} GiB of records of {RECORD_BYTES} B from the page cache"),
        tables: table(&heads, &rows),
        verdicts,
    }
}

/// Measures `open`, which returns what keeps the log open, and then `read`, which counts records.
fn measure<L>(
    open: impl FnOnce() -> Result<L>,
    read: impl FnOnce(L) -> Result<u64>,
) -> Result<Opened> {
    cost::forget_rss_peak()?;
    let before = cost::rss_bytes()?;
    let start = Instant::now();
    let log = open()?;
    let time_open = start.elapsed();
    let open_rss_bytes = cost::rss_peak_bytes()?.saturating_sub(before);
    let start_reading = Instant::now();
    let records = read(log)?;
    let all = time_open + start_reading.elapsed();
    let all_rss_bytes = cost::rss_peak_bytes()?.saturating_sub(before);
    Ok(Opened { open: time_open, all, open_rss_bytes, all_rss_bytes, records })
}

fn write_ours(dir: &Path, groups: u64) -> Result<()> {
    let (wal, _) = Wal::open(Arc::new(OsVfs::new()), dir, Options::default())?;
    let mut record = Record::new(RECORD_BYTES, 5);
    let mut last = None;
    for _ in 0..groups {
        let records: Vec<Vec<u8>> = (0..GROUP).map(|_| record.next_bytes().to_vec()).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        last = Some(wal.append(&records)?);
    }
    if let Some(commit) = last {
        commit.wait()?;
    }
    Ok(wal.close()?)
}

fn open_ours(dir: &Path) -> Result<Opened> {
    let open = || Ok(Wal::open(Arc::new(OsVfs::new()), dir, Options::default())?);
    measure(open, |(_wal, recovered)| {
        let mut count = 0;
        for record in recovered {
            let (_, bytes) = record?;
            ensure!(bytes.len() == RECORD_BYTES, "a record has another length");
            count += 1;
        }
        Ok(count)
    })
}

/// One file that holds everything: a second one would have the first checkpointed, and forgotten.
fn okay_config(dir: &Path) -> okaywal::Configuration {
    okaywal::Configuration::default_for(dir)
        .preallocate_bytes(1 << 31)
        .checkpoint_after_bytes(u64::MAX)
        // Tried: more makes neither writing nor recovery faster.
        .buffer_bytes(16 << 10)
}

fn write_okay(dir: &Path, groups: u64) -> Result<()> {
    let wal = okay_config(dir).open(okaywal::LogVoid)?;
    let mut record = Record::new(RECORD_BYTES, 5);
    for _ in 0..groups {
        let mut entry = wal.begin_entry()?;
        for _ in 0..GROUP {
            entry.write_chunk(record.next_bytes())?;
        }
        entry.commit()?;
    }
    Ok(wal.shutdown()?)
}

/// Counts records as they are recovered, their checksums verified.
#[derive(Debug)]
struct Counter {
    records: Arc<AtomicU64>,
    buf: Mutex<Vec<u8>>,
}

impl LogManager for Counter {
    fn recover(&mut self, entry: &mut okaywal::Entry<'_>) -> std::io::Result<()> {
        let buf = self.buf.get_mut().expect("no one panicked");
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            buf.resize(chunk.bytes_remaining() as usize, 0);
            chunk.read_exact(buf)?;
            if !chunk.check_crc()? || buf.len() != RECORD_BYTES {
                return Err(std::io::Error::other("a record is damaged"));
            }
            self.records.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: okaywal::EntryId,
        _entries: &mut okaywal::SegmentReader,
        _wal: &okaywal::WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

fn open_okay(dir: &Path) -> Result<Opened> {
    let records = Arc::new(AtomicU64::new(0));
    let counter = Counter { records: Arc::clone(&records), buf: Mutex::new(Vec::new()) };
    measure(
        || Ok(okay_config(dir).open(counter)?),
        |wal| {
            wal.shutdown()?;
            Ok(records.load(Ordering::Relaxed))
        },
    )
}

fn raft_config(dir: &Path) -> Config {
    Config {
        dir: dir.display().to_string(),
        target_file_size: ReadableSize::mb(64),
        // Compressing what does not compress would only cost it time.
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    }
}

fn write_raft(dir: &Path, groups: u64) -> Result<()> {
    let engine = Engine::open(raft_config(dir))?;
    let mut record = Record::new(RECORD_BYTES, 5);
    let mut batch = LogBatch::with_capacity(1);
    let mut index = 0;
    for _ in 0..groups {
        let entry = |_| {
            index += 1;
            Entry::new(index, record.next_bytes())
        };
        let entries: Vec<Entry> = (0..GROUP).map(entry).collect();
        batch.add_entries::<IndexOfEntry>(1, &entries)?;
        engine.write(&mut batch, false)?;
    }
    Ok(engine.sync()?)
}

fn open_raft(dir: &Path) -> Result<Opened> {
    measure(
        || Ok(Engine::open(raft_config(dir))?),
        |engine| {
            let records = engine.last_index(1).context("the region is there")?;
            let mut entries: Vec<Entry> = Vec::new();
            let mut count = 0;
            for first in (1..=records).step_by(GROUP as usize) {
                entries.clear();
                let end = (first + GROUP).min(records + 1);
                engine.fetch_entries_to::<IndexOfEntry>(1, first, end, None, &mut entries)?;
                ensure!(entries.iter().all(|e| e.data.len() == RECORD_BYTES), "another length");
                count += entries.len() as u64;
            }
            Ok(count)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two processes must understand each other.
    #[test]
    fn what_one_process_says_the_other_reads() {
        let opened = Opened {
            open: Duration::from_millis(7),
            all: Duration::from_secs(2),
            open_rss_bytes: 1 << 40,
            all_rss_bytes: 3,
            records: 0,
        };
        assert_eq!(Opened::parse(&opened.line()), Some(opened));
        for wrong in ["", "1 2 3 4", "1 2 3 4 5 6", "1 2 3 4 x"] {
            assert_eq!(Opened::parse(wrong), None, "{wrong}");
        }
    }
}
