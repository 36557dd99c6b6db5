//! Which links are cut: what a partition has parted, and single links beside it.
//!
//! ```text
//!     sides, if there is a partition  ──►  an exception for this link?  ──►  open or cut
//! ```

use crate::pairs::{Pair, PairMap};
use crate::sides::Sides;
use crate::types::NodeId;

/// The cuts between a number of nodes. A node is never cut off from itself.
///
/// Invariants:
/// * An exception says of its link another thing than the sides do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    /// `None` is the whole network.
    sides: Option<Sides>,
    /// Whether a link is cut of which the sides say otherwise.
    exceptions: PairMap<bool>,
}

impl Cuts {
    /// Makes room for more nodes, whose links are open.
    pub(crate) fn grow(&mut self, nodes: usize) {
        if let Some(sides) = &mut self.sides {
            sides.grow(nodes);
        }
    }

    /// Whether the link between two nodes is cut.
    #[inline]
    pub(crate) fn has(&self, from: NodeId, to: NodeId) -> bool {
        if self.exceptions.is_empty() {
            return self.parted(from, to);
        }
        match self.exceptions.get(&Pair::new(from, to)) {
            Some(cut) => *cut,
            None => self.parted(from, to),
        }
    }

    #[inline]
    fn parted(&self, from: NodeId, to: NodeId) -> bool {
        self.sides.as_ref().is_some_and(|sides| from != to && !sides.reaches(from, to))
    }

    /// Cuts or mends one link.
    pub(crate) fn set(&mut self, from: NodeId, to: NodeId, cut: bool) {
        if from == to || cut == self.parted(from, to) {
            self.exceptions.remove(&Pair::new(from, to));
        } else {
            self.exceptions.insert(Pair::new(from, to), cut);
        }
    }

    /// Cuts every link that is not within these sides, and mends the others; `None` mends all.
    pub(crate) fn part(&mut self, sides: Option<Sides>) {
        *self = Cuts { sides, exceptions: PairMap::default() };
    }

    /// Mends every link between two of `nodes`.
    pub(crate) fn join(&mut self, nodes: &[NodeId]) {
        let among = Among::new(nodes);
        self.exceptions.retain(|pair, cut| !*cut || !among.has(*pair));
        if let Some(sides) = &mut self.sides {
            sides.join(nodes.iter().copied());
            // An open link that was an exception may be none any more.
            self.exceptions.retain(|pair, cut| {
                let (from, to) = pair.ends();
                *cut == sides.reaches(from, to)
            });
        }
    }

    /// Mends every link from one of `from` to one of `to` that the sides part.
    pub(crate) fn tell(&mut self, from: &[NodeId], to: &[NodeId]) {
        if let Some(sides) = &mut self.sides {
            sides.tell(from.iter().copied(), to.iter().copied());
        }
    }
}

/// A few nodes, to ask of many links whether they are among them.
pub(crate) struct Among(Vec<NodeId>);

impl Among {
    pub(crate) fn new(nodes: &[NodeId]) -> Among {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        Among(nodes)
    }

    /// Whether both ends of a link are.
    pub(crate) fn has(&self, pair: Pair) -> bool {
        let (from, to) = pair.ends();
        [from, to].iter().all(|id| self.0.binary_search(id).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    const NODES: usize = 6;

    // Sides and exceptions are two ways to say one thing: every link must be as it was left last.
    #[test]
    fn sides_and_single_links_together_are_a_table_of_all_links() {
        let mut rng = Rng::new(1);
        let mut cuts = Cuts::default();
        let mut model: BTreeMap<(NodeId, NodeId), bool> = BTreeMap::new();
        let all = || NodeId::first(NODES).flat_map(|a| NodeId::first(NODES).map(move |b| (a, b)));
        for _ in 0..20_000 {
            let some: Vec<NodeId> = NodeId::first(NODES).filter(|_| rng.below(2) == 0).collect();
            match rng.below(12) {
                0 => {
                    let mut sides = Sides::apart(NODES);
                    sides.join(some.iter().copied());
                    cuts.part(Some(sides));
                    let open = |a, b| some.contains(&a) && some.contains(&b);
                    model = all().map(|(a, b)| ((a, b), a != b && !open(a, b))).collect();
                }
                1 => {
                    cuts.join(&some);
                    model.retain(|(a, b), _| !some.contains(a) || !some.contains(b));
                }
                2 => {
                    cuts.part(None);
                    model.clear();
                }
                _ => {
                    let (from, to) = (NodeId::at(rng.below(6) as usize), NodeId::at(2));
                    let cut = rng.below(2) == 0;
                    cuts.set(from, to, cut);
                    model.insert((from, to), cut && from != to);
                }
            }
            for (from, to) in all() {
                let expected = model.get(&(from, to)).copied().unwrap_or(false);
                assert_eq!(cuts.has(from, to), expected, "{from} to {to}");
            }
            let needed = |(pair, cut): (&Pair, &bool)| {
                let (from, to) = pair.ends();
                cuts.parted(from, to) != *cut
            };
            assert!(cuts.exceptions.iter().all(needed));
        }
    }
}
