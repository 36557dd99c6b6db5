//! A walk over a range of the tree, up or down.
//!
//! The walk keeps the path from the root to its leaf. In each leaf it works out once which records
//! belong to the range; between leaves it moves along the path, which costs a step up and down on
//! average.

use bytes::Bytes;
use smallvec::SmallVec;

use super::Tree;
use super::node::{Branch, Leaf, Needle, Node};
use crate::engine::{Direction, Key};

/// Levels that a path holds without an allocation; enough for 8 million records.
const LEVELS_INLINE: usize = 4;

/// Records of a range in order. Borrows the tree.
///
/// Invariants:
///
/// - `lo <= hi`, and the records of `leaf` in `lo..hi` are in the range and not yet given out.
/// - If `more`, the next leaf on the path may hold more of them.
pub(crate) struct Iter<'a> {
    path: SmallVec<[(&'a Branch, usize); LEVELS_INLINE]>,
    leaf: &'a Leaf,
    lo: usize,
    hi: usize,
    more: bool,
    /// The bound that the walk moves towards: the end going up, the start going down.
    limit: Option<Key>,
    direction: Direction,
}

impl Tree {
    /// The records with `start <= key`, and `key < end` if there is an end.
    pub(crate) fn range(&self, start: &[u8], end: Option<&[u8]>, direction: Direction) -> Iter<'_> {
        let (from, limit) = match direction {
            Direction::Forward => (Some(start), end),
            Direction::Backward => (end, (!start.is_empty()).then_some(start)),
        };
        let from = from.map(Needle::new);
        let mut path = SmallVec::new();
        let mut node = &*self.root;
        let leaf = loop {
            match node {
                Node::Leaf(leaf) => break leaf,
                Node::Branch(branch) => {
                    let last = branch.children.len() - 1;
                    let at = from.as_ref().map_or(last, |from| branch.child_of(from));
                    path.push((branch, at));
                    node = &*branch.children[at];
                }
            }
        };
        let limit = limit.map(Key::new);
        let mut iter = Iter { path, leaf, lo: 0, hi: 0, more: true, limit, direction };
        iter.enter(leaf);
        let at = from.map_or(leaf.keys.len(), |from| leaf.find(&from).unwrap_or_else(|at| at));
        match direction {
            Direction::Forward => iter.lo = at.min(iter.hi),
            Direction::Backward => iter.hi = at.max(iter.lo),
        }
        // An inverted range would otherwise walk on past its limit.
        if end.is_some_and(|end| end <= start) {
            iter.lo = iter.hi;
            iter.more = false;
        }
        iter
    }
}

impl<'a> Iter<'a> {
    /// Stands before the first record of `leaf` that the walk meets, and looks for the limit.
    fn enter(&mut self, leaf: &'a Leaf) {
        self.leaf = leaf;
        (self.lo, self.hi) = (0, leaf.keys.len());
        let Some(limit) = &self.limit else { return };
        match self.direction {
            Direction::Forward if leaf.keys.last().is_some_and(|last| last >= limit) => {
                self.hi = leaf.find(&Needle::new(limit)).unwrap_or_else(|at| at);
                self.more = false;
            }
            Direction::Backward if leaf.keys.first().is_some_and(|first| first <= limit) => {
                self.lo = leaf.find(&Needle::new(limit)).unwrap_or_else(|at| at);
                self.more = false;
            }
            _ => {}
        }
    }

    /// Moves to the next leaf; says whether there is one that may hold records of the range.
    fn step(&mut self) -> bool {
        if !self.more {
            return false;
        }
        let mut node = loop {
            let Some((branch, at)) = self.path.last_mut() else {
                self.more = false;
                return false;
            };
            let next = match self.direction {
                Direction::Forward => (*at + 1 < branch.children.len()).then(|| *at + 1),
                Direction::Backward => at.checked_sub(1),
            };
            if let Some(next) = next {
                *at = next;
                break &*branch.children[next];
            }
            self.path.pop();
        };
        loop {
            match node {
                Node::Leaf(leaf) => {
                    self.enter(leaf);
                    return true;
                }
                Node::Branch(branch) => {
                    let at = match self.direction {
                        Direction::Forward => 0,
                        Direction::Backward => branch.children.len() - 1,
                    };
                    self.path.push((branch, at));
                    node = &*branch.children[at];
                }
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Key, &'a Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        while self.lo == self.hi {
            if !self.step() {
                return None;
            }
        }
        let at = match self.direction {
            Direction::Forward => {
                self.lo += 1;
                self.lo - 1
            }
            Direction::Backward => {
                self.hi -= 1;
                self.hi
            }
        };
        Some((&self.leaf.keys[at], &self.leaf.values[at]))
    }
}
