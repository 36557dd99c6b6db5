//! Watches the levels while a load runs: what compactions do, one frame after the other.
//!
//! ```sh
//! cargo run --release -p drystone-lsm --example levels                     # leveled
//! cargo run --release -p drystone-lsm --example levels -- tiered
//! cargo run --release -p drystone-lsm --example levels -- --svg levels.svg # a film strip
//! cargo run --release -p drystone-lsm --example levels -- --frames 40 --records 200000
//! ```
//!
//! ```text
//!   frame 7: 35000 written, 4 flushes, 3 compactions, 1.9 bytes written to tables for each
//!     level 0    2 sub-levels     96 KiB  ███
//!     level 5                    412 KiB  ███████████████
//!     level 6                   2.1 MiB   ██████████████████████████████████████ ...
//! ```
//!
//! **What to look for.** *Leveled*: sub-levels of level 0 pile up to four and are merged into the
//! base; the base moves up (6, 5, 4) as the data grows, and each level stays at a tenth of the one
//! below. *Tiered*: everything is on level 0, runs of similar size become one, and a byte is
//! rewritten two or three times instead of ten. The keys are uniformly random, half of the writes
//! overwrite; memory is small, so that a laptop sees in seconds what a server does in hours.
//!
//! The database runs without threads of its own: one compaction between two frames at most is what
//! makes the steps visible.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use drystone_lsm::{Db, KeyspaceOptions, LevelStats, Options, Policy, Stats};
use drystone_vfs::{MemVfs, OpenMode, OsVfs, SimClock, Vfs};

const VALUE_BYTES: usize = 100;
const MEMORY_BYTES: u64 = 512 << 10;

struct Arguments {
    policy: Policy,
    svg: Option<PathBuf>,
    frames: usize,
    records: u64,
}

impl Arguments {
    fn parse() -> Result<Arguments, String> {
        let mut arguments =
            Arguments { policy: Policy::Leveled, svg: None, frames: 24, records: 120_000 };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "leveled" => arguments.policy = Policy::Leveled,
                "tiered" => arguments.policy = Policy::Tiered,
                "--svg" => arguments.svg = Some(value()?.into()),
                "--frames" => arguments.frames = value()?.parse().map_err(|_| "--frames N")?,
                "--records" => arguments.records = value()?.parse().map_err(|_| "--records N")?,
                _ => {
                    return Err(
                        "levels [leveled|tiered] [--svg FILE] [--frames N] [--records N]".into()
                    );
                }
            }
        }
        if arguments.frames == 0 || arguments.records == 0 {
            return Err("there must be something to see".into());
        }
        Ok(arguments)
    }
}

/// One place where tables are.
#[derive(Debug, Clone)]
struct Shelf {
    name: String,
    /// Of each run on it; level 0 has several.
    runs: Vec<u64>,
}

/// What is there at one moment.
#[derive(Debug, Clone)]
struct Frame {
    written: u64,
    flushes: u64,
    compactions: u64,
    amplification: f64,
    shelves: Vec<Shelf>,
}

impl Frame {
    fn of(stats: &Stats) -> Frame {
        let space = &stats.keyspaces[0];
        let bytes = |level: &LevelStats| level.bytes;
        let mut shelves = vec![Shelf {
            name: "level 0".into(),
            runs: space.sublevels.iter().map(bytes).collect(),
        }];
        for (i, level) in space.levels.iter().enumerate() {
            let runs = if level.tables > 0 { vec![level.bytes] } else { Vec::new() };
            shelves.push(Shelf { name: format!("level {}", i + 1), runs });
        }
        let tables = (stats.flushed_bytes + stats.compacted_bytes) as f64;
        Frame {
            written: stats.changes,
            flushes: stats.flushes,
            compactions: stats.compactions + stats.moves,
            amplification: tables / stats.batch_bytes.max(1) as f64,
            shelves,
        }
    }

    fn text(&self, number: usize) -> String {
        let mut text = format!(
            "frame {number}: {} written, {} flushes, {} compactions, {:.1} bytes to tables for each\n",
            self.written, self.flushes, self.compactions, self.amplification
        );
        for shelf in self.shelves.iter().filter(|shelf| !shelf.runs.is_empty()) {
            let bytes: u64 = shelf.runs.iter().sum();
            let runs = if shelf.runs.len() == 1 {
                String::new()
            } else {
                format!("{} sub-levels", shelf.runs.len())
            };
            let bars: Vec<String> = shelf.runs.iter().map(|bytes| bar(*bytes)).collect();
            let line =
                format!("  {:8} {runs:14} {:>9}  {}", shelf.name, size(bytes), bars.join("|"));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// One block for each 16 KiB, up to a width that fits.
fn bar(bytes: u64) -> String {
    let blocks = bytes.div_ceil(32 << 10) as usize;
    let most = 60;
    let more = if blocks > most { "..." } else { "" };
    "█".repeat(blocks.min(most)) + more
}

fn size(bytes: u64) -> String {
    if bytes < 10 << 20 {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}

/// Writes random keys, and calls `see` at regular intervals.
fn load(arguments: &Arguments, mut see: impl FnMut(Frame)) -> drystone_lsm::Result<()> {
    let options = Options::default().memory_bytes(MEMORY_BYTES).threads(0).journal(false).seed(1);
    let disk = Arc::new(MemVfs::new());
    let db = Db::open(disk, Arc::new(SimClock::new()), "db".as_ref(), options)?;
    let given = KeyspaceOptions::default().policy(arguments.policy);
    let space = db.keyspace("load", given)?;
    let mut state = 1_u64;
    for n in 1..=arguments.records {
        // Knuth's multiplier; the upper bits are random enough.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = (state >> 33) % (arguments.records / 2).max(1);
        let mut value = vec![b'.'; VALUE_BYTES];
        value[..8].copy_from_slice(&state.to_le_bytes());
        value[8..VALUE_BYTES / 2].iter_mut().enumerate().for_each(|(i, byte)| {
            *byte = (state >> (i % 7 * 8)) as u8 ^ (i as u8).wrapping_mul(151);
        });
        drop(db.put(&space, &key.to_be_bytes(), &value)?);
        // About as often as memory is full.
        if n % 1000 == 0 {
            db.compact_once()?;
        }
        let every = (arguments.records / arguments.frames as u64).max(1);
        if n % every == 0 {
            see(Frame::of(&db.stats()));
        }
    }
    Ok(())
}

const PANEL_WIDTH: usize = 250;
const PANEL_HEIGHT: usize = 150;
const PANELS_PER_ROW: usize = 4;

/// All frames side by side, each with the same scale.
fn film(frames: &[Frame], policy: Policy) -> String {
    let most = frames.iter().flat_map(|frame| &frame.shelves);
    let most = most.map(|shelf| shelf.runs.iter().sum::<u64>()).max().unwrap_or(1).max(1);
    let rows = frames.len().div_ceil(PANELS_PER_ROW);
    let (width, height) = (PANEL_WIDTH * PANELS_PER_ROW, PANEL_HEIGHT * rows + 30);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"10\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"19\" font-size=\"13\">levels under load, {policy:?}; \
         the longest bar is {}</text>\n",
        size(most)
    );
    for (i, frame) in frames.iter().enumerate() {
        let (x, y) = (i % PANELS_PER_ROW * PANEL_WIDTH, i / PANELS_PER_ROW * PANEL_HEIGHT + 30);
        panel(&mut svg, frame, i + 1, (x, y), most);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, frame: &Frame, number: usize, (x, y): (usize, usize), most: u64) {
    let (right, below) = (PANEL_WIDTH - 10, PANEL_HEIGHT - 10);
    let mut line = |text: String| writeln!(svg, "{text}").expect("a string takes everything");
    line(format!(
        "<rect x=\"{}\" y=\"{y}\" width=\"{right}\" height=\"{below}\" fill=\"none\" \
         stroke=\"#bbb\"/>",
        x + 5
    ));
    line(format!(
        "<text x=\"{}\" y=\"{}\">{number}: {} written, x{:.1}</text>",
        x + 10,
        y + 13,
        frame.written,
        frame.amplification
    ));
    for (i, shelf) in frame.shelves.iter().enumerate() {
        let top = y + 20 + i * 17;
        line(format!("<text x=\"{}\" y=\"{}\">L{i}</text>", x + 10, top + 10));
        let mut left = (x + 30) as f64;
        for (run, bytes) in shelf.runs.iter().enumerate() {
            let wide = *bytes as f64 / most as f64 * 200.0;
            // Runs of one level in turns of two shades.
            let colour = match (i, run % 2) {
                (0, 0) => "#c6621d",
                (0, _) => "#e8a06a",
                _ => "#3d6d99",
            };
            line(format!(
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"12\" \
                 fill=\"{colour}\"/>",
                wide.max(0.5)
            ));
            left += wide;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse()?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut out = io::stdout().lock();
    let mut printed = Ok(());
    load(&arguments, |frame| {
        if printed.is_ok() {
            printed = writeln!(out, "{}", frame.text(frames.len() + 1));
        }
        frames.push(frame);
    })?;
    printed?;
    if let Some(path) = &arguments.svg {
        let svg = film(&frames, arguments.policy);
        let file = OsVfs::new().open(path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(&[io::IoSlice::new(svg.as_bytes())], 0)?;
        writeln!(out, "{} frames in {}", frames.len(), path.display())?;
    }
    Ok(())
}
