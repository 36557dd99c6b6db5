//! The median of one append: what does writing over zeros save, and is anyone closer to the disk?
//!
//! At one thread everyone waits for the disk nearly all the time, and turns of whole tenths of a
//! second tell more about the disk's mood than about the contenders. So here they alternate append
//! by append.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use drystone_versus::figures::{Goal, Verdict};
use drystone_versus::log::{Log, OkayWal, Ours, RaftEngine, Raw, Shape};
use drystone_versus::slice::Record;
use drystone_versus::spread::Spread;
use drystone_versus::table::table;
use drystone_wal::Writer as Mode;

use crate::threads::RECORD_BYTES;
use crate::{Arena, Findings, settle};

/// Bytes of a record, and the most that our median may be, in medians of a growing file.
const GOALS: [(usize, f64); 2] = [(180, 0.72), (4096, 0.65)];

/// Single appends of each contender in a round.
const OPS: usize = 400;

type Logs = [Box<dyn Log>; 4];

pub(crate) fn run(arena: &Arena) -> Result<Findings> {
    let mut findings = Findings {
        title: "Single appends in turn, one thread".to_owned(),
        tables: String::new(),
        verdicts: Vec::new(),
    };
    for (len, goal) in GOALS {
        let dir = arena.dir.join(format!("latency-{len}"));
        let ratio = compare(arena, len, &beside_the_disk(&dir)?, &mut findings)?;
        let what = format!("1 thread, {len} B, median latency to a growing file");
        findings.verdicts.push(Verdict { what, figure: ratio[1], goal: Goal::AtMost(goal) });
    }
    let peers = beside_peers(&arena.dir.join("latency-peers"))?;
    compare(arena, RECORD_BYTES, &peers, &mut findings)?;
    Ok(findings)
}

fn beside_the_disk(dir: &Path) -> Result<Logs> {
    std::fs::create_dir_all(dir)?;
    Ok([
        Box::new(Ours::open(&dir.join("ours"), Mode::Thread)?),
        Box::new(Raw::growing(&dir.join("growing"))?),
        Box::new(Raw::zeroed(&dir.join("zeroed"))?),
        Box::new(Raw::direct(&dir.join("direct"))?),
    ])
}

fn beside_peers(dir: &Path) -> Result<Logs> {
    std::fs::create_dir_all(dir)?;
    Ok([
        Box::new(Ours::open(&dir.join("ours"), Mode::Thread)?),
        Box::new(OkayWal::with_defaults(&dir.join("okay"))?),
        Box::new(OkayWal::with_large_files(&dir.join("okay-large"))?),
        Box::new(RaftEngine::open(&dir.join("raft"), Shape::EntryInOwnRegion)?),
    ])
}

/// Adds a table; returns the median ratio of our median to each one's.
fn compare(arena: &Arena, len: usize, logs: &Logs, findings: &mut Findings) -> Result<Vec<f64>> {
    settle(arena)?;
    let mut medians = Vec::new();
    for round in 0..=arena.rounds {
        eprintln!("latency, {len} B: round {round} of {}", arena.rounds);
        let of_round = round_of(logs, len)?;
        if round > 0 {
            medians.push(of_round);
        }
    }
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for (i, log) in logs.iter().enumerate() {
        let us = |at: usize| move |round: &[Duration; 4]| round[at].as_secs_f64() * 1e6;
        let ratio = Spread::of(medians.iter().map(|round| us(0)(round) / us(i)(round)));
        rows.push(vec![
            format!("{}, {len} B", log.name()),
            format!("{:.1}", Spread::of(medians.iter().map(us(i))).median),
            format!("{:.2}x", ratio.median),
            ratio.to_string(),
        ]);
        ratios.push(ratio.median);
    }
    findings.tables += &table(&["contender", "p50 us", "ours/this", "min..max"], &rows);
    findings.tables += "\n";
    Ok(ratios)
}

/// The median of each, their single appends alternating; who follows whom changes all the time.
fn round_of(logs: &Logs, len: usize) -> Result<[Duration; 4]> {
    let mut record = Record::new(len, 4);
    let mut times: [Vec<Duration>; 4] = std::array::from_fn(|_| Vec::with_capacity(OPS));
    let mut writers = Vec::new();
    for log in logs {
        writers.push(log.writer(0)?);
    }
    for op in 0..OPS {
        for turn in 0..logs.len() {
            // Steps of 1 and of 3 go round the four in both directions.
            let step = 1 + 2 * (op % 2);
            let i = (op / 2 + turn * step) % logs.len();
            let bytes = record.next_bytes();
            let start = Instant::now();
            writers[i](bytes)?;
            times[i].push(start.elapsed());
        }
    }
    drop(writers);
    for log in logs {
        log.tidy()?;
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    }))
}
