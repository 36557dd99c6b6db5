//! How long until everybody knows that one has died.

use crate::SECOND;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::{Gossiper, What};
use crate::watch::Spread;

/// After so long nobody waits for the rest.
const PATIENCE: u64 = 120 * SECOND;

/// When it was known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crash {
    /// Seconds until the first reported it down; `None` if none ever did.
    pub first: Option<f64>,
    /// Seconds until the last did; `None` if some did not within two minutes.
    pub all: Option<f64>,
}

/// Crashes one member of a warm cluster.
pub fn crash<G: Gossiper>(setup: &Setup<G::Config>, seed: u64) -> Crash {
    let mut cluster = Cluster::<G>::warm(setup, seed);
    let victim = cluster.some(1)[0];
    let from = cluster.now();
    let mut deaths = Spread::of(victim, &[What::Down, What::Left]);
    cluster.crash(victim);
    let others = setup.members - 1;
    while deaths.count() < others && cluster.now() < from + PATIENCE {
        cluster.run_for(SECOND, &mut [&mut deaths]);
    }
    let seconds = |at: u64| (at - from) as f64 / SECOND as f64;
    Crash { first: deaths.first().map(seconds), all: deaths.last(others).map(seconds) }
}
