//! Something that few of the many pairs of nodes have: an exception.
//!
//! Ten thousand nodes have a hundred million links, of which a test says something about a few, and
//! a few carry something. So a table with a place for each is out of the question, and what is said
//! goes into a map by pair. The hash is ours and has no seed: the same run has the same map
//! everywhere, and nothing is ever read out of it in the map's own order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::types::NodeId;

/// One directed link: who sends, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pair(u64);

/// A map by pair.
pub(crate) type PairMap<T> = HashMap<Pair, T, BuildHasherDefault<PairHasher>>;

impl Pair {
    #[inline]
    pub(crate) fn new(from: NodeId, to: NodeId) -> Pair {
        Pair(u64::from(from.0) << 32 | u64::from(to.0))
    }

    /// The two ends.
    pub(crate) fn ends(self) -> (NodeId, NodeId) {
        (NodeId((self.0 >> 32) as u32), NodeId(self.0 as u32))
    }
}

/// Spreads the 64 bits of a pair: both halves of a product with an odd constant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PairHasher(u64);

impl Hasher for PairHasher {
    #[inline]
    fn write_u64(&mut self, pair: u64) {
        let product = u128::from(pair) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a pair is one word");
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    // Pairs are small numbers beside each other; a hash that bunches them makes the map a list.
    #[test]
    fn neighbouring_pairs_fall_far_apart() {
        let hasher = BuildHasherDefault::<PairHasher>::default();
        let (mut low, mut high) = (BTreeSet::new(), BTreeSet::new());
        for from in NodeId::first(100) {
            for to in NodeId::first(100) {
                let pair = Pair::new(from, to);
                assert_eq!(pair.ends(), (from, to));
                let hash = hasher.hash_one(pair);
                low.insert(hash & 0xffff);
                high.insert(hash >> 48);
            }
        }
        // An even hash hits 9,271 of 65,536 places with 10,000 throws.
        assert!(low.len() > 8_800 && high.len() > 8_800, "{} {}", low.len(), high.len());
    }
}
