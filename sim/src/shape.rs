//! The partitions that have ended clusters, by name.
//!
//! ```text
//!     Groups      Mute a      Deaf a      Bridge b     Chain a b c d    Star a       Ring
//!
//!     a ─ b       a ◄── b     a ──► b     a     d      a ─ b ─ c ─ d    b   c        a ─ b
//!                                         │╲   ╱│                        ╲ ╱         │   │
//!     c ─ d                               │ b ─ │                         a          d ─ c
//!                                         │╱   ╲│                        ╱
//!                                         c     e                       d
//! ```
//!
//! A clean split is the friendliest of them. In a *bridge* each half sees a majority through one
//! node and neither sees the other; in a *star* (the "constrained election" of Ng et al.,
//! *Omni-Paxos*, 2023) only the centre can lead; in a *chain* the ends depose each other's leaders
//! for ever unless the protocol knows better (ibid.); *mute* and *deaf* are one-way: the leader
//! that nobody hears, and the one that hears nobody.

use std::fmt;

use crate::network::Network;
use crate::rng::Rng;
use crate::sides::Sides;
use crate::types::NodeId;

/// Which links are open. Everything that is not named in a shape keeps to itself, except in
/// [`Whole`](Shape::Whole), [`Mute`](Shape::Mute), [`Deaf`](Shape::Deaf) and
/// [`OneWay`](Shape::OneWay), which cut only what they name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// All of them.
    Whole,
    /// Those within a group.
    Groups(Vec<Vec<NodeId>>),
    /// All but those that go out from this node: it hears, and nobody hears it.
    Mute(NodeId),
    /// All but those that come in to this node: it is heard, and hears nobody.
    Deaf(NodeId),
    /// All but the one from the first to the second.
    OneWay(NodeId, NodeId),
    /// Those within each of two groups, and between the bridge and everybody.
    Bridge(Vec<NodeId>, NodeId, Vec<NodeId>),
    /// Those between neighbours of the list.
    Chain(Vec<NodeId>),
    /// Those between neighbours of the list, the last of which is a neighbour of the first.
    Ring(Vec<NodeId>),
    /// Those between this node and everybody.
    Star(NodeId),
}

impl Shape {
    /// This node alone, all others together.
    pub fn isolate(node: NodeId, nodes: impl IntoIterator<Item = NodeId>) -> Shape {
        let others = nodes.into_iter().filter(|other| *other != node).collect();
        Shape::Groups(vec![vec![node], others])
    }

    /// One of the shapes that do harm, over `nodes`, of which there are two at least.
    pub fn draw(nodes: &[NodeId], rng: &mut Rng) -> Shape {
        assert!(nodes.len() >= 2, "a partition parts two nodes at least");
        let mut nodes = nodes.to_vec();
        rng.shuffle(&mut nodes);
        let (first, second) = (nodes[0], nodes[1]);
        match rng.below(if nodes.len() > 2 { 10 } else { 4 }) {
            0 => Shape::isolate(first, nodes),
            1 => Shape::Mute(first),
            2 => Shape::Deaf(first),
            3 => Shape::OneWay(first, second),
            4 | 5 => {
                let right = nodes.split_off(1 + rng.below(nodes.len() as u64 - 1) as usize);
                Shape::Groups(vec![nodes, right])
            }
            6 => {
                nodes.remove(0);
                let right = nodes.split_off(nodes.len() / 2);
                Shape::Bridge(nodes, first, right)
            }
            7 => Shape::Chain(nodes),
            8 => Shape::Ring(nodes),
            _ => Shape::Star(first),
        }
    }

    /// Whether the link from `from` to `to`, two nodes, is open.
    pub fn opens(&self, from: NodeId, to: NodeId) -> bool {
        let within = |group: &Vec<NodeId>| group.contains(&from) && group.contains(&to);
        let neighbours =
            |list: &[NodeId]| list.windows(2).any(|pair| pair == [from, to] || pair == [to, from]);
        match self {
            Shape::Whole => true,
            Shape::Groups(groups) => groups.iter().any(within),
            Shape::Mute(node) => from != *node,
            Shape::Deaf(node) => to != *node,
            Shape::OneWay(one, other) => (from, to) != (*one, *other),
            Shape::Bridge(left, bridge, right) => {
                within(left) || within(right) || from == *bridge || to == *bridge
            }
            Shape::Chain(list) => neighbours(list),
            Shape::Ring(list) => {
                let ends = [list.last().copied(), list.first().copied()];
                neighbours(list) || ends == [Some(from), Some(to)] || ends == [Some(to), Some(from)]
            }
            Shape::Star(node) => from == *node || to == *node,
        }
    }

    /// The same as [`opens`](Shape::opens), for all links between so many nodes; `None` is all of
    /// them.
    fn sides(&self, nodes: usize) -> Option<Sides> {
        let mut sides = match self {
            Shape::Whole => return None,
            Shape::Mute(_) | Shape::Deaf(_) | Shape::OneWay(..) => Sides::together(nodes),
            _ => Sides::apart(nodes),
        };
        match self {
            Shape::Whole => {}
            Shape::Groups(groups) => {
                groups.iter().for_each(|group| sides.join(group.iter().copied()));
            }
            Shape::Mute(node) => sides.mute(*node),
            Shape::Deaf(node) => sides.deafen(*node),
            Shape::OneWay(one, other) => {
                let all = NodeId::first(nodes);
                sides.mute(*one);
                sides.tell([*one], all.filter(|id| id != other));
            }
            Shape::Bridge(left, bridge, right) => {
                sides.join(left.iter().copied());
                sides.join(right.iter().copied());
                sides.open(*bridge);
            }
            Shape::Chain(list) => join_neighbours(&mut sides, list),
            Shape::Ring(list) => {
                join_neighbours(&mut sides, list);
                sides.join([list.first(), list.last()].into_iter().flatten().copied());
            }
            Shape::Star(node) => sides.open(*node),
        }
        Some(sides)
    }
}

fn join_neighbours(sides: &mut Sides, list: &[NodeId]) {
    list.windows(2).for_each(|pair| sides.join(pair.iter().copied()));
}

impl<M: Clone> Network<M> {
    /// Cuts and mends all links so that those of `shape` are open. That takes the time and the room
    /// of the nodes, not of the links.
    pub fn partition(&mut self, shape: &Shape) {
        let sides = shape.sides(self.ids().len());
        self.part(sides);
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Shape::Whole => write!(f, "whole"),
            Shape::Groups(groups) => {
                let groups: Vec<String> = groups.iter().map(|group| list(group)).collect();
                write!(f, "groups {}", groups.join(" | "))
            }
            Shape::Mute(node) => write!(f, "mute {node}"),
            Shape::Deaf(node) => write!(f, "deaf {node}"),
            Shape::OneWay(from, to) => write!(f, "cut {from} to {to}"),
            Shape::Bridge(left, bridge, right) => {
                write!(f, "bridge {} | {bridge} | {}", list(left), list(right))
            }
            Shape::Chain(nodes) => write!(f, "chain {}", list(nodes)),
            Shape::Ring(nodes) => write!(f, "ring {}", list(nodes)),
            Shape::Star(node) => write!(f, "star {node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const D: NodeId = NodeId(4);
    const E: NodeId = NodeId(5);

    /// The open links, `1>2` for one way and `1-2` for both, in the order of the nodes.
    #[track_caller]
    fn check(shape: &Shape, nodes: usize, expected: &str) {
        let mut network = Network::<()>::new(nodes, Rng::new(0));
        network.partition(shape);
        let mut open = Vec::new();
        for from in network.ids() {
            for to in network.ids().filter(|to| *to != from) {
                match (network.is_cut(from, to), network.is_cut(to, from)) {
                    (false, false) if from < to => open.push(format!("{}-{}", from.0, to.0)),
                    (false, true) => open.push(format!("{}>{}", from.0, to.0)),
                    _ => {}
                }
            }
        }
        assert_eq!(open.join(" "), expected, "{shape}");
    }

    // A test that names a partition has to get that one.
    #[test]
    fn every_shape_opens_what_its_picture_shows() {
        check(&Shape::Whole, 3, "1-2 1-3 2-3");
        check(&Shape::Groups(vec![vec![A, B], vec![C, D]]), 5, "1-2 3-4");
        check(&Shape::isolate(B, NodeId::first(3)), 3, "1-3");
        check(&Shape::Mute(A), 3, "2>1 2-3 3>1");
        check(&Shape::Deaf(A), 3, "1>2 1>3 2-3");
        check(&Shape::OneWay(C, A), 3, "1-2 1>3 2-3");
        check(&Shape::Bridge(vec![A, C], B, vec![D, E]), 5, "1-2 1-3 2-3 2-4 2-5 4-5");
        check(&Shape::Chain(vec![A, B, C, D]), 4, "1-2 2-3 3-4");
        check(&Shape::Ring(vec![A, B, C, D]), 4, "1-2 1-4 2-3 3-4");
        check(&Shape::Star(A), 4, "1-2 1-3 1-4");
    }

    // The sides of a shape are a second way to say what it opens; both must say the same, whatever
    // strange lists somebody hands in.
    #[test]
    fn a_network_is_parted_as_the_shape_says_of_each_link() {
        let mut rng = Rng::new(2);
        let mut network = Network::<()>::new(6, Rng::new(0));
        for round in 0..4000 {
            let mut list = || -> Vec<NodeId> {
                (0..rng.below(5)).map(|_| NodeId(rng.below(8) as u32)).collect()
            };
            let (one, other, third) = (list(), list(), list());
            let node = NodeId(rng.below(8) as u32);
            let shape = match round % 8 {
                0 => Shape::Groups(vec![one, other, third]),
                1 => Shape::Mute(node),
                2 => Shape::Deaf(node),
                3 => Shape::OneWay(node, NodeId(rng.below(8) as u32)),
                4 => Shape::Bridge(one, node, other),
                5 => Shape::Chain(one),
                6 => Shape::Ring(one),
                _ => Shape::Star(node),
            };
            network.partition(&shape);
            let mut asked = network.clone();
            asked.connect(|from, to| shape.opens(from, to));
            for from in network.ids() {
                for to in network.ids().filter(|to| *to != from) {
                    let cut = !shape.opens(from, to);
                    assert_eq!(network.is_cut(from, to), cut, "{shape}: {from} to {to}");
                    assert_eq!(asked.is_cut(from, to), cut, "{shape}: {from} to {to}");
                }
            }
            // Who joins later is parted from nobody.
            let new = network.clone().add(1).next().unwrap();
            let mut grown = network.clone();
            grown.add(1).for_each(drop);
            assert!(grown.ids().all(|id| !grown.is_cut(id, new) && !grown.is_cut(new, id)));
        }
    }

    // A nemesis that draws the same shape again and again tests one thing.
    #[test]
    fn every_kind_of_shape_is_drawn_and_cuts_something() {
        let mut rng = Rng::new(1);
        let nodes: Vec<NodeId> = NodeId::first(5).collect();
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let shape = Shape::draw(&nodes, &mut rng);
            let cut = |from: &NodeId| nodes.iter().any(|to| to != from && !shape.opens(*from, *to));
            assert!(nodes.iter().any(cut), "{shape}");
            kinds.insert(shape.to_string().split(' ').next().unwrap().to_owned());
        }
        let all = ["bridge", "chain", "cut", "deaf", "groups", "mute", "ring", "star"];
        assert!(kinds.iter().eq(all), "{kinds:?}");
        for _ in 0..50 {
            Shape::draw(&nodes[..2], &mut rng);
        }
    }
}
