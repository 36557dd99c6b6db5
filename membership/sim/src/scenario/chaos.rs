//! What becomes of a cluster after everything has gone wrong with it at once.
//!
//! Under a storm nobody can be right: who is cut off is rightly taken for dead, and rightly takes
//! the others for it. What a protocol must promise is that it comes back: some time after the last
//! of it every member knows all that are up, and believes in nobody who is not.

use crate::SECOND;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;
use crate::nemesis::{Done, Nemesis, Storm};

/// How a storm ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chaos {
    /// Seconds from the end of the storm until everybody was right; `None` if that was not so in
    /// time.
    pub right_after: Option<f64>,
    /// How many were right at the last look.
    pub right: usize,
    /// How many were up then.
    pub up: usize,
    /// What was done to them.
    pub done: Done,
}

/// Storms over a warm cluster for so many seconds, and gives it `patience` seconds to come to
/// itself and ten more in which it must stay right. `look` sees the cluster once a second.
pub fn chaos<G: Gossiper>(
    setup: &Setup<G::Config>,
    seed: impl Into<drystone_sim::Seed>,
    storm: Storm,
    (seconds, patience): (u64, u64),
    mut look: impl FnMut(&Cluster<G>),
) -> Chaos {
    const STAY: u64 = 10;
    let mut cluster = Cluster::<G>::warm(setup, seed);
    let mut nemesis = Nemesis::new(storm, &cluster);
    let from = cluster.now();
    for second in 1..=seconds {
        nemesis.run_until(&mut cluster, from + second * SECOND, &mut []);
        look(&cluster);
    }
    nemesis.heal(&mut cluster);
    let healed = cluster.now();
    let up = cluster.truth().up().count();
    let (mut right_after, mut right) = (None, 0);
    for second in 1..=patience + STAY {
        cluster.run_until(healed + second * SECOND, &mut []);
        look(&cluster);
        right = cluster.right_count();
        if right < up {
            right_after = None;
        } else if right_after.is_none() && second <= patience {
            right_after = Some(second as f64);
        }
        if right_after.is_some_and(|at| second as f64 >= at + STAY as f64) {
            break;
        }
    }
    Chaos { right_after, right, up, done: nemesis.done() }
}
