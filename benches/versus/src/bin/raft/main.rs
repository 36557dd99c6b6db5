//! How good is our consensus beside its peers?
//!
//!     cargo run --release --manifest-path benches/versus/Cargo.toml --bin raft -- --markdown
//!     cargo run --release ... --bin raft -- --quick
//!     cargo run --release ... --bin raft -- --only r5,r6 --seeds 1000
//!
//! # Method
//! Cores are driven by one loop, on one thread, over wires that are queues; only what is timed is
//! done in rounds, everyone in shuffled order, and ratios are taken within a round. What does not
//! depend on the machine, as messages, allocations and ticks of simulated time, is counted once.
//!
//! | row | question |
//! |---|---|
//! | `r1` | committed entries a CPU-second, a group of three, 16 B, one by one and 64 at once |
//! | `r2` | allocations an entry, all three nodes together, the payload included |
//! | `r3` | puts a CPU-second, three nodes and their clients on two threads of tokio |
//! | `r4` | bytes of an idle follower and of an idle group; CPU time of 100,000 idle groups |
//! | `r5` | ticks from a leader's death to the next leader |
//! | `r6` | the same when wires are cut so that not all see it |
//! | `r11` | messages a linearizable read |
//!
//! # Prediction, from the back of an envelope
//! An entry alone costs three nodes three calls each, with two messages there, two back and two
//! that tell of the commit: ten calls, six messages. A core that copies nothing and allocates once
//! for a message spends 50 to 100 ns on each: **1 to 2 M entries a CPU-second**; 64 at once pay for
//! the calls once and for 30 ns an entry and node: **8 to 10 M**. Failover: the least of two
//! timeouts drawn from 10 to 19 is 13.2 in the mean; four messages follow, for pre-vote and vote:
//! **13.2 ticks if they take none, 18 if they take one each**. With a runtime, a put that a client
//! waits for wakes a task and is handed from thread to thread twice, 0.5 us; the rest is the core
//! and the log: **1 M puts a CPU-second**.

mod contender;
mod report;
mod rows;

use std::path::Path;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use drystone_versus::cost::count_allocations_by;
use drystone_versus::machine::Machine;
use drystone_versus::raft::allocator::{self, Counting};

use crate::contender::{Contender, EVERYONE};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Our consensus against its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds that count, of what is timed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these rows, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Question>,
    /// Who takes part.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = EVERYONE)]
    contenders: Vec<Contender>,
    /// Runs of each kind of crash; a tenth as many of each kind of cut.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of these seeds, and the order of the turns.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A tenth of the work, two rounds: to see that all of it runs.
    #[arg(long)]
    quick: bool,
    /// Say where, when and how, too, for a README.
    #[arg(long)]
    markdown: bool,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R11,
}

impl Options {
    /// So much work, or a tenth of it.
    fn work(&self, of: u64) -> u64 {
        if self.quick { of / 10 } else { of }
    }

    fn rounds(&self) -> usize {
        if self.quick { self.rounds.min(2) } else { self.rounds }
    }

    fn asks(&self, question: Question) -> bool {
        self.only.is_empty() || self.only.contains(&question)
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0, "a figure needs a round");
    count_allocations_by(allocator::allocations);
    if options.markdown {
        println!("{}\n", heading(&options));
    }
    type Ask = fn(&Options) -> Result<Vec<report::Row>>;
    let questions: [(Question, Ask); 7] = [
        (Question::R1, rows::throughput::rows),
        (Question::R2, rows::allocations::rows),
        (Question::R3, rows::service::rows),
        (Question::R4, rows::idle::rows),
        (Question::R5, rows::failover::rows),
        (Question::R6, rows::partition::rows),
        (Question::R11, rows::reads::rows),
    ];
    let mut all = Vec::new();
    for (question, ask) in questions {
        if options.asks(question) {
            all.extend(ask(&options)?);
        }
    }
    println!("{}", report::table_of(&all, &options.contenders));
    println!("{}", report::verdicts(&all));
    Ok(())
}

/// Where, when and how.
fn heading(options: &Options) -> String {
    let Machine { cpu, cores, kernel, date, commit, .. } = Machine::here(Path::new("."));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "{date}, commit {commit}; {cpu}, {cores} cores, Linux {kernel}.\n`raft {}`: {} rounds of \
         what is timed, {} seeds of each crash.",
        arguments.join(" "),
        options.rounds(),
        options.work(options.seeds),
    )
}
