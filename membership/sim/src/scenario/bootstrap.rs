//! How a large cluster comes into being: all join at once, through three seeds.

use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;
use crate::watch::{Convergence, Sizes};
use crate::{MILLISECOND, SECOND};

/// Through how many members the others join.
pub const SEEDS: usize = 3;

/// Within this time they do.
const WITHIN: u64 = SECOND;

/// How often it is looked whether everybody is right.
const SAMPLE: u64 = 250 * MILLISECOND;

/// How it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    /// Seconds until everybody knew everybody; `None` if that was not so in time.
    pub all_after: Option<f64>,
    /// How many different sizes of the cluster were believed in on the way.
    pub sizes: usize,
    /// The share of members that were right, over time.
    pub convergence: Convergence,
    /// Content sent until then, by member, in bytes.
    pub bytes: f64,
    /// The longest datagram. There is more to tell than one can hold.
    pub datagram_bytes_max: u64,
    /// What a member keeps about another in the end, in bytes, if the protocol tells.
    pub peer_bytes: Option<f64>,
}

/// Starts a cold cluster, and waits until it is whole, at most so many seconds.
pub fn bootstrap<G: Gossiper>(setup: &Setup<G::Config>, seed: u64, seconds: u64) -> Bootstrap {
    let mut cluster = Cluster::<G>::cold(setup, seed, SEEDS, WITHIN);
    let (mut sizes, mut convergence) = (Sizes::default(), Convergence::default());
    while cluster.now() < seconds * SECOND {
        cluster.run_for(SAMPLE, &mut [&mut sizes]);
        let right = cluster.right_count();
        convergence.sample(cluster.now(), right, setup.members);
        if right == setup.members {
            break;
        }
    }
    let kept = cluster.world().processes().map(|(_, member)| member.gossiper().memory());
    let kept = kept.sum::<Option<usize>>();
    let pairs = setup.members * (setup.members - 1).max(1);
    Bootstrap {
        all_after: convergence.reached().map(|at| at as f64 / SECOND as f64),
        sizes: sizes.distinct(),
        convergence,
        bytes: cluster.traffic().bytes() as f64 / setup.members as f64,
        datagram_bytes_max: cluster.traffic().datagram_bytes_max,
        peer_bytes: kept.map(|bytes| bytes as f64 / pairs as f64),
    }
}
