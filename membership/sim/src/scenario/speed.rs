//! How much work it is to find out: what a cluster keeps a processor busy with.

use drystone_sim::Rate;

use crate::SECOND;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;

/// A warm cluster that waits for the clock to be started: only [`run`](Speed::run) is to be timed.
#[derive(Debug)]
pub struct Speed<G: Gossiper> {
    cluster: Cluster<G>,
}

/// Makes it ready; from now on links lose that share of their datagrams, which gives members
/// something to talk about.
pub fn speed<G: Gossiper>(setup: &Setup<G::Config>, seed: u64, loss: Rate) -> Speed<G> {
    let mut cluster = Cluster::warm(setup, seed);
    cluster.set_loss(loss);
    Speed { cluster }
}

impl<G: Gossiper> Speed<G> {
    /// Runs for so many seconds of the world, and says how many steps members made.
    pub fn run(&mut self, seconds: u64) -> u64 {
        let before = self.cluster.world().steps();
        self.cluster.run_for(seconds * SECOND, &mut []);
        self.cluster.world().steps() - before
    }
}
