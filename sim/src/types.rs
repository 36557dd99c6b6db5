//! Who is who: the number of a node.

use std::fmt;

/// A node of a [`World`](crate::World) or a [`Network`](crate::Network). The first is 1, so that
/// protocols may use 0 for "nobody"; it prints as `n1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The ids of `count` nodes: 1, 2, 3 and so on.
    pub fn first(
        count: usize,
    ) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + Clone {
        (0..count).map(NodeId::at)
    }

    /// Where this node stands in a list of all nodes. Node 0 does not exist, and has a place that
    /// no list reaches.
    #[inline]
    pub(crate) fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }

    #[inline]
    pub(crate) fn at(index: usize) -> NodeId {
        NodeId(u32::try_from(index + 1).expect("there are fewer than 2^32 nodes"))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}
