//! What it costs to be told nothing: bytes in a cluster at rest.

use crate::SECOND;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;

/// How much longer than others this waits for the cluster to come to rest.
const REST: u64 = 60 * SECOND;

/// What members send while nothing happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steady {
    /// Content, by member and second.
    pub bytes: f64,
    /// The same with the heads of IPv4 and UDP.
    pub bytes_on_wire: f64,
    /// Datagrams, by member and second.
    pub datagrams: f64,
    /// The longest datagram, in bytes.
    pub datagram_bytes_max: u64,
    /// Whether everybody was right about everybody at the end.
    pub right: bool,
}

/// Watches a warm cluster for so many seconds.
pub fn steady<G: Gossiper>(setup: &Setup<G::Config>, seed: u64, seconds: u64) -> Steady {
    let mut cluster = Cluster::<G>::warm(setup, seed);
    // In a large one those who started last have heard much in one second, and pass it on.
    cluster.run_for(REST, &mut []);
    let before = cluster.traffic();
    cluster.run_for(seconds * SECOND, &mut []);
    let sent = cluster.traffic().since(&before);
    let by = (setup.members as u64 * seconds) as f64;
    Steady {
        bytes: sent.bytes() as f64 / by,
        bytes_on_wire: sent.bytes_on_wire() as f64 / by,
        datagrams: sent.datagrams as f64 / by,
        datagram_bytes_max: sent.datagram_bytes_max,
        right: cluster.is_right(),
    }
}
