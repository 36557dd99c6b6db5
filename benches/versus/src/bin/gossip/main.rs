//! How good is our membership beside its peers?
//!
//!     cargo run --release --manifest-path benches/versus/Cargo.toml --bin gossip -- --markdown
//!     cargo run --release ... --bin gossip -- --row g3,g6
//!     cargo run --release ... --bin gossip -- --scale 0.1
//!
//! # Method
//! Every protocol is put into the same simulated network (datagrams take 0.1 to 2 ms, and are lost
//! only where a row says so) and asked the same: `membership/sim`. All rows but `g1` are figures
//! of simulated time, and a seed gives the same everywhere; `g1` is timed in rounds, in turns.
//!
//! | row | question |
//! |---|---|
//! | `g1` | steps of members a second of wall time, at rest and at 30 % loss |
//! | `g2` | gossip rounds (200 ms) until all know that one leaves, or what it says |
//! | `g3` | bytes a member and second at rest |
//! | `g4` | false downs in 600 s at 128 members with loss |
//! | `g5` | false downs while some members are blocked: FP and FP- of the Lifeguard paper |
//! | `g6` | seconds until the first and the last know of a crash |
//! | `g7` | half dead members of 1000: Rapid's figures 9 and 10 |
//! | `g8` | 1000 members join through three seeds; and what is bounded even then (G9) |
//!
//! What is asked of ours stands below the rows with PASS or FAIL, and with a FAIL it ends with
//! status 2. All of it takes hours; `--row` takes it in parts.
//!
//! # Prediction, from the back of an envelope
//! A probe a second is a ping and an ack, 21 bytes each if an identity takes 8; two more are the
//! announcement every 30 s, whose answer is 10 bytes for each other member, 1400 at most: **53, 85
//! and 89 bytes a second** at 32, 128 and 512. A crash is found when a probe fails, 1 to 2 s, and
//! suspected for 4 log10 N, 8.4 s at 128: **10 s**. News trebles each round at first, and pings
//! carry it too: **2 to 4 rounds**.

mod goals;
mod rows;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use drystone_versus::gossip::{Subject, foca, ours};
use drystone_versus::machine::Machine;
use drystone_versus::table::table;

use crate::rows::{Answer, Row};

/// Our membership against its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Only these rows, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    row: Vec<Question>,
    /// Only these protocols, by name.
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<String>,
    /// Shortens everything: fewer seeds, fewer seconds; the figures are of something else then.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds a figure, whatever the scale. Else 50 of what is short, 5 or 20 of what is
    /// long.
    #[arg(long)]
    seeds: Option<u64>,
    /// Clusters of so many members, in the rows that ask it of more than one size.
    #[arg(long, value_delimiter = ',')]
    members: Vec<usize>,
    /// Say where, when and how, too, for a README.
    #[arg(long)]
    markdown: bool,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Question {
    G1,
    G2,
    G3,
    G4,
    G5,
    G6,
    G7,
    G8,
}

impl Options {
    /// So much of it, as much shorter as was asked for, and one at least.
    fn scaled(&self, full: u64) -> u64 {
        ((full as f64 * self.scale).round() as u64).max(1)
    }

    /// So many seeds.
    fn seeds(&self, full: u64) -> std::ops::Range<u64> {
        self.seed..self.seed + self.seeds.unwrap_or(self.scaled(full))
    }

    /// These sizes, if no others were asked for.
    fn members<'a>(&'a self, usual: &'a [usize]) -> &'a [usize] {
        if self.members.is_empty() { usual } else { &self.members }
    }

    fn asks(&self, question: Question) -> bool {
        self.row.is_empty() || self.row.contains(&question)
    }
}

/// Who takes part, in the order of the columns.
const EVERYONE: [&dyn Subject; 5] =
    [&ours::LAN, &ours::DATAGRAMS, &ours::SWIM, &ours::STABLE, &foca::LAN];

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let chosen = |it: &&dyn Subject| {
        options.subjects.is_empty() || options.subjects.iter().any(|name| name == it.name())
    };
    let subjects: Vec<&dyn Subject> = EVERYONE.into_iter().filter(chosen).collect();
    ensure!(!subjects.is_empty(), "nobody has that name");
    ensure!(options.scale > 0.0, "a figure needs some work");
    if options.markdown {
        println!("{}\n", heading(&options));
    }
    let questions: [(Question, Ask); 8] = [
        (Question::G1, rows::speed::rows),
        (Question::G2, rows::spread::rows),
        (Question::G3, rows::steady::rows),
        (Question::G4, rows::loss::rows),
        (Question::G5, rows::anomaly::rows),
        (Question::G6, rows::crash::rows),
        (Question::G7, rows::rapid::rows),
        (Question::G8, rows::bootstrap::rows),
    ];
    let mut all = Answer::default();
    for (question, ask) in questions {
        if options.asks(question) {
            let found = ask_those_who_take(question, ask, &options, &subjects);
            // A whole run takes long; who watches sees each answer as it comes.
            eprintln!("{}", table_of(&found.rows, &subjects));
            eprintln!("{}", goals::table_of(&found.goals));
            all.rows.extend(found.rows);
            all.goals.extend(found.goals);
        }
    }
    println!("{}", table_of(&all.rows, &subjects));
    println!("{}", goals::table_of(&all.goals));
    let missed = all.goals.iter().any(|goal| !goal.holds());
    Ok(if missed { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

type Ask = fn(&Options, &[&dyn Subject]) -> Answer;

/// Asks those who take part in a row; the others have dashes.
fn ask_those_who_take(
    question: Question,
    ask: Ask,
    options: &Options,
    subjects: &[&dyn Subject],
) -> Answer {
    let name = format!("{question:?}").to_lowercase();
    let takes: Vec<bool> = subjects.iter().map(|it| it.takes(&name)).collect();
    let taking: Vec<&dyn Subject> =
        subjects.iter().zip(&takes).filter(|(_, takes)| **takes).map(|(it, _)| *it).collect();
    let Answer { rows, goals } = ask(options, &taking);
    Answer { rows: rows.into_iter().map(|row| row.spread_over(&takes)).collect(), goals }
}

fn table_of(rows: &[Row], subjects: &[&dyn Subject]) -> String {
    let names = subjects.iter().map(|subject| subject.name());
    let heads: Vec<&str> = std::iter::once("").chain(names).collect();
    let lines: Vec<Vec<String>> = rows.iter().map(Row::line).collect();
    table(&heads, &lines)
}

/// Where, when and how.
fn heading(options: &Options) -> String {
    let Machine { cpu, cores, kernel, date, commit, .. } = Machine::here(Path::new("."));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let shortened = match options.scale {
        1.0 => String::new(),
        scale => format!(" Shortened to {scale} of the work."),
    };
    format!(
        "{date}, commit {commit}; {cpu}, {cores} cores, Linux {kernel}.\n`gossip {}`{shortened}",
        arguments.join(" "),
    )
}
