//! Reading: ranges and counts at a revision.
//!
//! Both go down from the root, and at each branch first ask its history for the live counts of all
//! children at the revision in question. From there on the past is read like the present: a range
//! skips every child that counts nothing, a count adds up the children that it passes whole.

use crate::types::Revision;

use super::node::{Leaf, Node};

/// Which end of a range to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the lowest key up.
    Ascending,
    /// From the highest key down.
    Descending,
}

/// The part of a range that a subtree still has to look at; `None` is no bound.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// The first key that belongs.
    pub(super) start: Option<&'a [u8]>,
    /// The first key that no longer does.
    pub(super) end: Option<&'a [u8]>,
}

/// A walk over the keys that were live at one revision.
pub(super) struct Scan<V> {
    pub(super) main: u64,
    pub(super) direction: Direction,
    /// How many keys may still be visited.
    pub(super) left: usize,
    pub(super) visit: V,
    /// The key visited, put together from its packed parts.
    pub(super) key: Vec<u8>,
}

impl<V: FnMut(&[u8], Revision)> Scan<V> {
    /// Visits the keys of `node` that lie in `span`, until none may be visited any more.
    pub(super) fn walk(&mut self, node: &Node, span: Span<'_>) {
        super::cost::visit();
        let branch = match node {
            Node::Leaf(leaf) => return self.walk_leaf(leaf, span),
            Node::Branch(branch) => branch,
        };
        let counts = branch.history.at(self.main, &branch.live);
        let first = span.start.map_or(0, |start| branch.separators.up_to(start));
        let last = span.end.map_or(branch.separators.len(), |end| branch.separators.below(end));
        for step in 0..=last - first {
            let position = self.pick(first, last, step);
            if counts[usize::from(branch.slots[position])] == 0 {
                continue;
            }
            let start = span.start.filter(|_| position == first);
            let end = span.end.filter(|_| position == last);
            self.walk(&branch.children[position], Span { start, end });
            if self.left == 0 {
                break;
            }
        }
    }

    fn walk_leaf(&mut self, leaf: &Leaf, span: Span<'_>) {
        let (from, to) = span.of_leaf(leaf);
        for step in 0..to - from {
            if self.left == 0 {
                break;
            }
            let position = self.pick(from, to - 1, step);
            if let Some(revision) = leaf.histories[position].at(self.main) {
                leaf.keys.read(position, &mut self.key);
                (self.visit)(&self.key, revision);
                self.left -= 1;
            }
        }
    }

    fn pick(&self, first: usize, last: usize, step: usize) -> usize {
        match self.direction {
            Direction::Ascending => first + step,
            Direction::Descending => last - step,
        }
    }
}

impl Span<'_> {
    fn of_leaf(self, leaf: &Leaf) -> (usize, usize) {
        let from = self.start.map_or(0, |start| leaf.keys.below(start));
        let to = self.end.map_or(leaf.histories.len(), |end| leaf.keys.below(end));
        (from, to)
    }
}

/// How many keys of `node` in `span` were live at main revision `main`.
pub(super) fn count(node: &Node, span: Span<'_>, main: u64) -> u64 {
    super::cost::visit();
    let branch = match node {
        Node::Leaf(leaf) => {
            let (from, to) = span.of_leaf(leaf);
            let histories = &leaf.histories[from..to];
            return histories.iter().filter(|history| history.at(main).is_some()).count() as u64;
        }
        Node::Branch(branch) => branch,
    };
    let first = span.start.map_or(0, |start| branch.separators.up_to(start));
    let last = span.end.map_or(branch.separators.len(), |end| branch.separators.below(end));
    if first == last {
        return count(&branch.children[first], span, main);
    }
    let counts = branch.history.at(main, &branch.live);
    let mut whole = &branch.slots[first..=last];
    let mut sum = 0;
    if span.start.is_some() {
        whole = &whole[1..];
        sum += count(&branch.children[first], Span { end: None, ..span }, main);
    }
    if span.end.is_some() {
        whole = &whole[..whole.len() - 1];
        sum += count(&branch.children[last], Span { start: None, ..span }, main);
    }
    sum + whole.iter().map(|&slot| u64::from(counts[usize::from(slot)])).sum::<u64>()
}
