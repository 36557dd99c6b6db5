//! Membership side by side: protocols in the same simulated network, asked the same questions.
//!
//! ```text
//!   Candidate<foca> ─┐                 ┌─► steady, spread, crash, loss, anomaly, rapid, ...
//!   Candidate<ours> ─┴─► dyn Subject ──┘   of drystone-membership-sim, by setup and seed
//! ```
//!
//! Nothing but [`speed`](Subject::speed) depends on the machine: time is simulated, and a seed is
//! one run.
//!
//! | module | holds |
//! |---|---|
//! | [`foca`] | the peer, as its own example runs it |
//! | [`ours`] | ours, with parts of it turned off where a row asks what they are for |

pub mod foca;
pub mod ours;

use std::time::{Duration, Instant};

use drystone_membership_sim::scenario::anomaly::{Cell, anomaly};
use drystone_membership_sim::scenario::bootstrap::{Bootstrap, bootstrap};
use drystone_membership_sim::scenario::crash::{Crash, Crashes, crash, crashes};
use drystone_membership_sim::scenario::loss::{Loss, loss};
use drystone_membership_sim::scenario::rapid::{Fault, Rapid, rapid};
use drystone_membership_sim::scenario::speed::speed;
use drystone_membership_sim::scenario::spread::{News, Spread, spread, spreads};
use drystone_membership_sim::scenario::steady::{Steady, steady};
use drystone_membership_sim::watch::Falsehood;
use drystone_membership_sim::{Gossiper, Setup};
use drystone_sim::Rate;

/// A protocol with its settings, whatever its type, that can be asked everything.
pub trait Subject {
    /// What the tables call it.
    fn name(&self) -> &str;
    /// Whether it is asked this row, such as `g4`.
    fn takes(&self, row: &str) -> bool;
    /// Whether this can be said with it.
    fn can_say(&self, news: News) -> bool;
    /// Cost at rest.
    fn steady(&self, members: usize, seed: u64, seconds: u64) -> Steady;
    /// News, with so much loss from then on.
    fn spread(&self, members: usize, seed: u64, news: News, loss: Rate) -> Spread;
    /// The same from so many speakers of one cluster.
    fn spreads(&self, members: usize, seed: u64, news: News, loss: Rate, times: u64)
    -> Vec<Spread>;
    /// A death.
    fn crash(&self, members: usize, seed: u64) -> Crash;
    /// So many deaths at once, watched for so many seconds.
    fn crashes(&self, members: usize, seed: u64, count: usize, seconds: u64) -> Crashes;
    /// A lossy network.
    fn loss(&self, members: usize, seed: u64, loss: Rate, seconds: u64) -> Loss;
    /// Slow members.
    fn anomaly(&self, members: usize, seed: u64, cell: Cell, seconds: u64) -> Falsehood;
    /// Members that are half dead.
    fn rapid(&self, members: usize, seed: u64, fault: Fault, seconds: u64) -> Rapid;
    /// A cluster that comes into being.
    fn bootstrap(&self, members: usize, seed: u64, seconds: u64) -> Bootstrap;
    /// Steps that members make in so many seconds of theirs, and how long it takes.
    fn speed(&self, members: usize, seed: u64, loss: Rate, seconds: u64) -> (u64, Duration);
}

/// A protocol to be compared.
#[derive(Debug)]
pub struct Candidate<G: Gossiper> {
    /// What the tables call it.
    pub name: &'static str,
    /// Its settings for a cluster of so many members.
    pub config: fn(usize) -> G::Config,
    /// What can be said with it.
    pub says: &'static [News],
    /// The rows it is asked; all if there are none.
    pub rows: &'static [&'static str],
}

impl<G: Gossiper> Candidate<G> {
    fn setup(&self, members: usize) -> Setup<G::Config> {
        Setup::new(members, (self.config)(members))
    }
}

impl<G: Gossiper> Subject for Candidate<G> {
    fn name(&self) -> &str {
        self.name
    }

    fn takes(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.contains(&row)
    }

    fn can_say(&self, news: News) -> bool {
        self.says.contains(&news)
    }

    fn steady(&self, members: usize, seed: u64, seconds: u64) -> Steady {
        steady::<G>(&self.setup(members), seed, seconds)
    }

    fn spread(&self, members: usize, seed: u64, news: News, loss: Rate) -> Spread {
        spread::<G>(&self.setup(members), seed, news, loss)
    }

    fn spreads(
        &self,
        members: usize,
        seed: u64,
        news: News,
        loss: Rate,
        times: u64,
    ) -> Vec<Spread> {
        spreads::<G>(&self.setup(members), seed, news, loss, times)
    }

    fn crash(&self, members: usize, seed: u64) -> Crash {
        crash::<G>(&self.setup(members), seed)
    }

    fn crashes(&self, members: usize, seed: u64, count: usize, seconds: u64) -> Crashes {
        crashes::<G>(&self.setup(members), seed, count, seconds)
    }

    fn loss(&self, members: usize, seed: u64, rate: Rate, seconds: u64) -> Loss {
        loss::<G>(&self.setup(members), seed, rate, seconds)
    }

    fn anomaly(&self, members: usize, seed: u64, cell: Cell, seconds: u64) -> Falsehood {
        anomaly::<G>(&self.setup(members), seed, cell, seconds)
    }

    fn rapid(&self, members: usize, seed: u64, fault: Fault, seconds: u64) -> Rapid {
        rapid::<G>(&self.setup(members), seed, fault, seconds)
    }

    fn bootstrap(&self, members: usize, seed: u64, seconds: u64) -> Bootstrap {
        bootstrap::<G>(&self.setup(members), seed, seconds)
    }

    fn speed(&self, members: usize, seed: u64, loss: Rate, seconds: u64) -> (u64, Duration) {
        let mut ready = speed::<G>(&self.setup(members), seed, loss);
        let from = Instant::now();
        let steps = ready.run(seconds);
        (steps, from.elapsed())
    }
}
