//! How many are called dead because the network loses datagrams.

use drystone_sim::Rate;

use crate::SECOND;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;
use crate::watch::{Falsehood, Victims};

/// What a lossy network made of a cluster in which nobody died.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Reports of a live member being down.
    pub false_downs: u64,
    /// Live members of whom anybody reported so.
    pub victims: u64,
    /// Bytes of content, by member and second.
    pub bytes: f64,
}

/// Lets every link of a warm cluster lose a share of its datagrams for so many seconds.
pub fn loss<G: Gossiper>(setup: &Setup<G::Config>, seed: u64, loss: Rate, seconds: u64) -> Loss {
    let mut cluster = Cluster::<G>::warm(setup, seed);
    cluster.set_loss(loss);
    let (mut falsehood, mut victims) = (Falsehood::default(), Victims::default());
    let before = cluster.traffic();
    cluster.run_for(seconds * SECOND, &mut [&mut falsehood, &mut victims]);
    let bytes = cluster.traffic().since(&before).bytes();
    Loss {
        false_downs: falsehood.about_healthy,
        victims: victims.count(),
        bytes: bytes as f64 / (setup.members as u64 * seconds) as f64,
    }
}
