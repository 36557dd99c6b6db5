//! Who reaches whom: the sides of a partition, for any number of nodes.
//!
//! ```text
//!          groups a b | c d            chain a b c            mute a, of a b c
//!
//!          tells      hears           tells    hears          tells    hears
//!     a     {4}        {4}             {3}      {3}            {4}      {3}
//!     b     {4}        {4}            {3,4}    {3,4}           {3}      {3}
//!     c     {5}        {5}             {4}      {4}            {3}      {3}
//!     d     {5}        {5}
//! ```
//!
//! A node tells some sides and hears some; it reaches another if it tells a side that the other
//! hears. A side is a number, and a node is of a few as a rule (beside those shown each is one of
//! its own), so a partition takes the room of its nodes and not of its links, and whether a link is
//! open is a comparison or two. That holds for every [`Shape`](crate::Shape).

use smallvec::SmallVec;

use crate::types::NodeId;

/// The sides of each node.
///
/// Invariants:
/// * No node has a side that is not below `next`.
#[derive(Debug, Clone)]
pub(crate) struct Sides {
    nodes: Vec<Node>,
    /// The number of the next side.
    next: u32,
}

#[derive(Debug, Clone)]
struct Node {
    tells: Set,
    hears: Set,
}

/// Some sides, or every one.
#[derive(Debug, Clone)]
enum Set {
    All,
    These(SmallVec<[u32; 4]>),
}

impl Sides {
    /// Everybody alone.
    pub(crate) fn apart(nodes: usize) -> Sides {
        let next = u32::try_from(nodes).expect("there are fewer than 2^32 nodes");
        let alone = |own| Node { tells: Set::one(own), hears: Set::one(own) };
        Sides { nodes: (0..next).map(alone).collect(), next }
    }

    /// All together.
    pub(crate) fn together(nodes: usize) -> Sides {
        let mut sides = Sides::apart(nodes);
        sides.join(NodeId::first(nodes));
        sides
    }

    /// Makes room for more nodes, which reach everybody, and everybody them.
    pub(crate) fn grow(&mut self, nodes: usize) {
        self.nodes.resize(nodes, Node { tells: Set::All, hears: Set::All });
    }

    /// Whether `from` reaches `to`, two nodes.
    #[inline]
    pub(crate) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        match (&self.nodes[from.index()].tells, &self.nodes[to.index()].hears) {
            (Set::These(told), Set::These(heard)) => told.iter().any(|side| heard.contains(side)),
            _ => true,
        }
    }

    /// Lets each of `nodes` reach each other one. Who is no node is left out, here as below.
    pub(crate) fn join(&mut self, nodes: impl IntoIterator<Item = NodeId> + Clone) {
        self.tell(nodes.clone(), nodes);
    }

    /// Lets each of `from` reach each of `to`.
    pub(crate) fn tell(
        &mut self,
        from: impl IntoIterator<Item = NodeId>,
        to: impl IntoIterator<Item = NodeId>,
    ) {
        let side = self.next_side();
        for id in from {
            self.with(id, |node| node.tells.add(side));
        }
        for id in to {
            self.with(id, |node| node.hears.add(side));
        }
    }

    /// Lets a node reach everybody, and everybody it.
    pub(crate) fn open(&mut self, id: NodeId) {
        self.with(id, |node| (node.tells, node.hears) = (Set::All, Set::All));
    }

    /// Lets a node reach nobody.
    pub(crate) fn mute(&mut self, id: NodeId) {
        let side = self.next_side();
        self.with(id, |node| node.tells = Set::one(side));
    }

    /// Lets nobody reach a node.
    pub(crate) fn deafen(&mut self, id: NodeId) {
        let side = self.next_side();
        self.with(id, |node| node.hears = Set::one(side));
    }

    fn next_side(&mut self) -> u32 {
        self.next = self.next.checked_add(1).expect("there are fewer than 2^32 sides");
        self.next - 1
    }

    fn with(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(id.index()) {
            change(node);
        }
    }
}

impl Set {
    fn one(side: u32) -> Set {
        Set::These(SmallVec::from_slice(&[side]))
    }

    fn add(&mut self, side: u32) {
        match self {
            Set::These(sides) if !sides.contains(&side) => sides.push(side),
            Set::These(_) | Set::All => {}
        }
    }
}
