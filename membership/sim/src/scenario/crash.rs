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

/// What it costs that some die at once, and until when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crashes {
    /// Seconds until all who are left were right about all; `None` if that was not so in the time.
    pub all: Option<f64>,
    /// Bytes that each of them has sent a second, with the heads of IPv4 and UDP.
    pub bytes_on_wire: f64,
}

/// Crashes so many members of a warm cluster at once, and watches the others for so many seconds:
/// what figure 8 and table 2 of the Rapid paper (§7) ask, with ten of a thousand.
pub fn crashes<G: Gossiper>(
    setup: &Setup<G::Config>,
    seed: u64,
    count: usize,
    seconds: u64,
) -> Crashes {
    let mut cluster = Cluster::<G>::warm(setup, seed);
    let victims = cluster.some(count);
    let before = cluster.traffic();
    victims.iter().for_each(|node| cluster.crash(*node));
    let mut all = None;
    for second in 1..=seconds {
        cluster.run_for(SECOND, &mut []);
        if all.is_none() && cluster.is_right() {
            all = Some(second as f64);
        }
    }
    let sent = cluster.traffic().since(&before).bytes_on_wire();
    let by = ((setup.members - count) as u64 * seconds) as f64;
    Crashes { all, bytes_on_wire: sent as f64 / by }
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
