//! Whatever was acknowledged is there after a crash: the real process, killed over and over.
//!
//! A test plays [`workload`] bursts from many connections, kills the server with SIGKILL in the
//! middle of one, starts it again on the same data, and lets [`chronicle`] hold what clients noted
//! against what the server then says of itself ([`observe`]): its history, its content, its leases.
//!
//! | room | holds |
//! |---|---|
//! | [`op`] | requests, and what must come of them |
//! | [`state`] | a store as it should be |
//! | [`chronicle`] | the judge, which knows no network |
//! | [`writer`], [`workload`] | the clients, and the crash |
//! | [`observe`] | the questions afterwards |
//!
//! Left out: power cuts. A killed process leaves its writes in the kernel's cache, where its successor
//! finds them, synced or not. What only a power cut can lose is tested below, on simulated disks, by
//! the suites of the log and the store.
//!
//! How we know that this can fail: the tests of [`chronicle`] tell it histories with every kind of
//! damage, and `an_older_copy_of_the_data_is_caught` puts an older copy of a real server's data back.
//! Real etcd passes all of it: `DRYSTONE_ETCD_BIN=/usr/bin/etcd`.

mod chronicle;
mod observe;
mod op;
mod state;
mod workload;
mod writer;

use std::time::{Duration, Instant};

use drystone_etcd_api::client::{Client, Config, connect};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::chronicle::{Chronicle, Record};
use self::op::Outcome;
use self::workload::{Aftermath, Burst, Moment, Shape};
use crate::support::programs;
use crate::support::server::Server;

const SMALL: Shape = Shape { connections: 8, writers_per_connection: 4, value_bytes: 0..600 };

/// A store that is crashed again and again, and all that is known of it.
struct Trial {
    server: Server,
    chronicle: Chronicle,
    compacted: i64,
    dice: ChaCha8Rng,
    seed: u64,
    round: u64,
    counts: Counts,
}

/// What the rounds amounted to; a trial that hardly wrote proves hardly anything.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: usize,
    unanswered: usize,
    reads: usize,
    events_seen: usize,
}

impl Trial {
    fn new(server: Server, seed: u64) -> Trial {
        Trial {
            server,
            chronicle: Chronicle::default(),
            compacted: 0,
            dice: ChaCha8Rng::seed_from_u64(seed),
            seed,
            round: 0,
            counts: Counts::default(),
        }
    }

    /// One burst with a crash in it, and everything checked afterwards.
    fn round(&mut self, shape: &Shape, moment: Moment) {
        let newest = self.chronicle.state.revision;
        let compact = (self.round % 10 == 7).then(|| self.dice.random_range(newest / 2..newest));
        let compact = compact.filter(|revision| *revision > self.compacted);
        let aftermath = self.burst(shape, moment, compact);
        if self.dice.random_ratio(1, 4) {
            // A crash before the last one is dealt with.
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
        self.round += 1;
    }

    fn burst(&mut self, shape: &Shape, moment: Moment, compact: Option<i64>) -> Aftermath {
        let (seed, round) = (self.seed, self.round);
        let burst = Burst { shape: shape.clone(), seed, round, compact };
        let aftermath = burst.run(&mut self.server, &self.chronicle.state, moment);
        let record = &aftermath.record;
        let unanswered =
            record.notes.iter().filter(|note| note.outcome == Outcome::Unknown).count();
        self.counts.acknowledged += record.notes.len() - unanswered;
        self.counts.unanswered += unanswered;
        self.counts.reads += record.reads.len();
        self.counts.events_seen += record.seen.len();
        aftermath
    }

    /// Everything that can be asked of a server that has just been started.
    fn check(
        &mut self,
        aftermath: &Aftermath,
        compact: Option<i64>,
        started: Instant,
    ) -> Result<(), String> {
        let known = self.chronicle.state.revision;
        let mark = format!("mark {}", self.round);
        let mut record: Record = aftermath.record.clone();
        in_a_runtime(async {
            let client = client_of(&self.server).await;
            let (observed, note) = observe::observe(&client, known, &mark, started).await;
            record.notes.push(note);
            self.chronicle.extend(&record, &observed)?;
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
            for revision in [1, compacted - 1, compacted, newest] {
                let revision = revision.max(1);
                observe::check_past(&client, &self.chronicle, revision, compacted).await?;
            }
            for _ in 0..3 {
                let revision = self.dice.random_range(1..=newest);
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

fn in_a_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(future)
}

async fn client_of(server: &Server) -> Client {
    let client = connect(&server.client_url(), &Config::default()).await;
    client.expect("a server that answers accepts connections")
}

/// A client that was told "done" builds on it. No crash, whenever it comes, may take that back.
#[test]
fn fifty_crashes_lose_nothing_that_was_acknowledged() {
    let seed = crate::support::seed("fifty_crashes");
    let rounds = if std::env::var_os("SLOW").is_some() { 500 } else { 50 };
    let mut trial = Trial::new(Server::start(&programs::ours(), &[]), seed);
    let start = Instant::now();
    for _ in 0..rounds {
        let delay = Duration::from_millis(trial.dice.random_range(50..300));
        trial.round(&SMALL, Moment::After(delay));
    }
    let (counts, revision) = (&trial.counts, trial.chronicle.state.revision);
    let took = start.elapsed().as_secs_f64();
    println!("{rounds} crashes in {took:.1} s, revision {revision}: {counts:?}");
    assert!(counts.acknowledged > rounds * 20, "too little was written to prove anything");
    assert!(counts.unanswered > rounds, "the crashes came when nothing was under way");
}
