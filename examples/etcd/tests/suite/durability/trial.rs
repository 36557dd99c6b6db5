//! A store that is crashed again and again, and all that is known of it.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::chronicle::Chronicle;
use super::observe;
use super::op::Outcome;
use super::workload::{Aftermath, Burst, End, Shape};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::server::Server;
use crate::support::tree;

pub(super) struct Trial {
    pub(super) server: Server,
    pub(super) dice: ChaCha8Rng,
    pub(super) counts: Counts,
    chronicle: Chronicle,
    /// Below this revision the history is gone.
    compacted: i64,
    seed: u64,
    round: u64,
    /// Names of the files that the last crash left.
    left: Vec<String>,
}

/// What the rounds amounted to; a trial that hardly wrote proves hardly anything.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) acknowledged: usize,
    pub(super) unanswered: usize,
    pub(super) reads: usize,
    pub(super) events_seen: usize,
}

impl Trial {
    /// A trial of `server`, which is fresh.
    pub(super) fn new(server: Server, seed: u64) -> Trial {
        Trial {
            server,
            dice: ChaCha8Rng::seed_from_u64(seed),
            counts: Counts::default(),
            chronicle: Chronicle::default(),
            compacted: 0,
            seed,
            round: 0,
            left: Vec::new(),
        }
    }

    /// The newest revision that is known and checked.
    pub(super) fn revision(&self) -> i64 {
        self.chronicle.state.revision
    }

    /// A revision that can be compacted to, somewhere in the newer half of the history.
    pub(super) fn past_revision(&mut self) -> Option<i64> {
        let newest = self.revision();
        let revision = self.dice.random_range(newest / 2..=newest);
        (revision > self.compacted && revision > 1).then_some(revision)
    }

    /// Whether the last crash left a file whose name ends so.
    pub(super) fn left_behind(&self, ending: &str) -> bool {
        self.left.iter().any(|name| name.ends_with(ending))
    }

    /// One burst, its end, and everything checked afterwards.
    pub(super) fn round(&mut self, shape: &Shape, end: End, compact: Option<i64>) {
        let aftermath = self.burst(shape, end, compact);
        if self.dice.random_ratio(1, 4) {
            // A crash on top, before what it left is dealt with.
            self.server.launch();
            std::thread::sleep(Duration::from_millis(self.dice.random_range(0..100)));
            self.server.kill();
        }
        let started = Instant::now();
        self.server.start_again();
        let checked = self.check(&aftermath, compact, started);
        let (seed, round) = (self.seed, self.round);
        checked.unwrap_or_else(|complaint| {
            panic!("seed {seed}, round {round}: {complaint}\nlog:\n{}", self.server.log())
        });
    }

    /// A burst and its end. The server lies still afterwards.
    pub(super) fn burst(&mut self, shape: &Shape, end: End, compact: Option<i64>) -> Aftermath {
        // Values and leases carry the round's number, so that none is ever written twice.
        self.round += 1;
        let (seed, round) = (self.seed, self.round);
        let burst = Burst { shape: shape.clone(), seed, round, compact };
        let aftermath = burst.run(&mut self.server, &self.chronicle.state, end);
        let files = tree::files(&self.server.data_dir());
        self.left = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        let record = &aftermath.record;
        let unanswered = record.notes.iter().filter(|note| note.outcome == Outcome::Unknown);
        let unanswered = unanswered.count();
        self.counts.acknowledged += record.notes.len() - unanswered;
        self.counts.unanswered += unanswered;
        self.counts.reads += record.reads.len();
        self.counts.events_seen += record.seen.len();
        aftermath
    }

    /// Everything that can be asked of the server, which has been started again.
    pub(super) fn check(
        &mut self,
        aftermath: &Aftermath,
        compact: Option<i64>,
        started: Instant,
    ) -> Result<(), String> {
        let (known, mark) = (self.revision(), format!("mark {}", self.round));
        in_a_runtime(async {
            let client = client_of(&self.server).await;
            let observed = observe::observe(&client, known, &mark, started).await;
            self.chronicle.extend(&aftermath.record, &observed)?;
            let compacted = observe::compacted(&client).await;
            let possible = match (compact, aftermath.compacted) {
                (Some(revision), Some(true)) => vec![revision],
                (Some(revision), _) => vec![revision, self.compacted],
                (None, _) => vec![self.compacted],
            };
            if !possible.contains(&compacted) {
                return Err(format!("compacted up to {compacted}, not one of {possible:?}"));
            }
            self.compacted = compacted;
            let newest = self.chronicle.state.revision;
            let edges = [1, compacted - 1, compacted, newest].map(|revision| revision.max(1));
            let samples: [i64; 3] = std::array::from_fn(|_| self.dice.random_range(1..=newest));
            for revision in edges.into_iter().chain(samples) {
                observe::check_past(&client, &self.chronicle, revision, compacted).await?;
            }
            if self.round % 10 == 9 {
                let start = (compacted + 1).max(2);
                let told = observe::history(&client, start, newest).await;
                if told != self.chronicle.since(start) {
                    return Err(format!("the history since {start} is not told as it was"));
                }
            }
            Ok(())
        })
    }
}
