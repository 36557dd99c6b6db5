//! How many are called dead because others are slow: the grid of the Lifeguard paper (§V-A).
//!
//! Some members are blocked again and again: for a while all that they send and receive waits, then
//! it flows for an interval. Their timers go on, so they take everybody else for silent. A protocol
//! that does not doubt itself then spreads that the healthy are dead.

use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;
use crate::watch::Falsehood;
use crate::{MILLISECOND, SECOND};

/// A cell of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// How many members are blocked at the same time.
    pub blocked: usize,
    /// For how many milliseconds.
    pub duration_ms: u64,
    /// How many milliseconds lie between two blocks.
    pub interval_ms: u64,
}

const fn cell(blocked: usize, duration_ms: u64, interval_ms: u64) -> Cell {
    Cell { blocked, duration_ms, interval_ms }
}

/// The cells that are asked for, with 128 members and 120 seconds each.
pub const GRID: [Cell; 7] = [
    cell(4, 16_384, 64),
    cell(8, 16_384, 64),
    cell(16, 4_096, 64),
    cell(16, 16_384, 64),
    cell(16, 16_384, 4_096),
    cell(16, 32_768, 64),
    cell(32, 16_384, 64),
];

/// How long it is watched afterwards: who is suspected when the last block ends is called dead
/// later.
const TAIL: u64 = 30 * SECOND;

/// Blocks members of a warm cluster again and again, for so many seconds, all at the same time.
pub fn anomaly<G: Gossiper>(
    setup: &Setup<G::Config>,
    seed: u64,
    cell: Cell,
    seconds: u64,
) -> Falsehood {
    let mut cluster = Cluster::<G>::warm(setup, seed);
    let slow = cluster.some(cell.blocked);
    let end = cluster.now() + seconds * SECOND;
    let mut falsehood = Falsehood::default();
    while cluster.now() < end {
        slow.iter().for_each(|node| cluster.block(*node));
        let until = end.min(cluster.now() + cell.duration_ms * MILLISECOND);
        cluster.run_until(until, &mut [&mut falsehood]);
        slow.iter().for_each(|node| cluster.unblock(*node));
        let until = end.min(cluster.now() + cell.interval_ms * MILLISECOND);
        cluster.run_until(until, &mut [&mut falsehood]);
    }
    cluster.run_for(TAIL, &mut [&mut falsehood]);
    falsehood
}
