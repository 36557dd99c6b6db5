//! Which of many key ranges hold a key?
//!
//! A balanced (AVL) search tree of ranges, ordered by start. Every node knows the farthest end in
//! its subtree, its *reach*, so a search turns away from subtrees that end before the key:
//!
//! ```text
//!                    [f,m) reach ∞                which hold "g"?
//!                   /             \               [f,m): yes. Left reaches h: look.
//!          [b,d) reach h         [k,∞) reach ∞      [b,h): yes.
//!           /        \                            Right starts at k: skip.
//!     [a,b) reach b   [b,h) reach h
//! ```
//!
//! Equal ranges share one node, so a thousand watchers of one prefix cost what one costs to find.
//! With `n` distinct ranges of which `m` hold the key, a search visits O(log n) nodes, and O(log n)
//! for each of the `m`; inserting and removing are O(log n), whatever order a client chooses.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::key_range::KeyRange;

const NIL: u32 = u32::MAX;

/// Items under key ranges. Each item has a place among those of its range, which the caller keeps.
#[derive(Debug)]
pub(crate) struct IntervalMap<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    root: u32,
}

#[derive(Debug)]
struct Node<T> {
    range: KeyRange,
    items: SmallVec<[T; 2]>,
    left: u32,
    right: u32,
    /// 1 for a leaf.
    height: u8,
    /// The node of this subtree whose range ends last.
    reach: u32,
}

impl<T> Default for IntervalMap<T> {
    fn default() -> IntervalMap<T> {
        IntervalMap { nodes: Vec::new(), free: Vec::new(), root: NIL }
    }
}

impl<T: Copy> IntervalMap<T> {
    /// Adds `item` under `range`; returns its place among the items there.
    pub(crate) fn insert(&mut self, range: &KeyRange, item: T) -> usize {
        let mut place = 0;
        self.root = self.insert_under(self.root, range, item, &mut place);
        place
    }

    /// Removes the item at `place` under `range`. The last item there takes the place; it is
    /// returned, unless it was the one removed.
    pub(crate) fn remove(&mut self, range: &KeyRange, place: usize) -> Option<T> {
        let at = self.find(range);
        let items = &mut self.nodes[at as usize].items;
        items.swap_remove(place);
        let moved = items.get(place).copied();
        if items.is_empty() {
            self.root = self.remove_under(self.root, range);
            self.free.push(at);
        }
        moved
    }

    /// Calls `visit` with every item whose range holds `key`.
    pub(crate) fn stab(&self, key: &[u8], visit: &mut impl FnMut(T)) {
        self.stab_under(self.root, key, visit);
    }

    fn stab_under(&self, at: u32, key: &[u8], visit: &mut impl FnMut(T)) {
        if at == NIL {
            return;
        }
        let node = &self.nodes[at as usize];
        if !ends_after(&self.nodes[node.reach as usize].range, key) {
            return;
        }
        self.stab_under(node.left, key, visit);
        if node.range.start.as_ref() <= key {
            if ends_after(&node.range, key) {
                node.items.iter().copied().for_each(&mut *visit);
            }
            self.stab_under(node.right, key, visit);
        }
    }

    fn find(&self, range: &KeyRange) -> u32 {
        let mut at = self.root;
        loop {
            assert!(at != NIL, "only a range that was inserted is looked for");
            let node = &self.nodes[at as usize];
            at = match order(range, &node.range) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return at,
            };
        }
    }

    fn insert_under(&mut self, at: u32, range: &KeyRange, item: T, place: &mut usize) -> u32 {
        if at == NIL {
            return self.new_node(range, item);
        }
        let (left, right) = self.children(at);
        match order(range, &self.nodes[at as usize].range) {
            Ordering::Less => {
                let left = self.insert_under(left, range, item, place);
                self.nodes[at as usize].left = left;
            }
            Ordering::Greater => {
                let right = self.insert_under(right, range, item, place);
                self.nodes[at as usize].right = right;
            }
            Ordering::Equal => {
                let items = &mut self.nodes[at as usize].items;
                *place = items.len();
                items.push(item);
                return at;
            }
        }
        self.balance(at)
    }

    fn new_node(&mut self, range: &KeyRange, item: T) -> u32 {
        let mut items = SmallVec::new();
        items.push(item);
        let node = Node { range: range.clone(), items, left: NIL, right: NIL, height: 1, reach: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("watchers are counted in 32 bits")
            }
        };
        self.nodes[at as usize].reach = at;
        at
    }

    /// Takes the node of `range` out of the subtree `at`; returns the subtree's new root.
    fn remove_under(&mut self, at: u32, range: &KeyRange) -> u32 {
        assert!(at != NIL, "the range was found before");
        let (left, right) = self.children(at);
        match order(range, &self.nodes[at as usize].range) {
            Ordering::Less => {
                let left = self.remove_under(left, range);
                self.nodes[at as usize].left = left;
            }
            Ordering::Greater => {
                let right = self.remove_under(right, range);
                self.nodes[at as usize].right = right;
            }
            Ordering::Equal if left == NIL => return right,
            Ordering::Equal if right == NIL => return left,
            Ordering::Equal => {
                let (heir, right) = self.take_first(right);
                self.nodes[heir as usize].left = left;
                self.nodes[heir as usize].right = right;
                return self.balance(heir);
            }
        }
        self.balance(at)
    }

    /// Takes the first node out of the subtree `at`; returns it and the subtree's new root.
    fn take_first(&mut self, at: u32) -> (u32, u32) {
        let (left, right) = self.children(at);
        if left == NIL {
            return (at, right);
        }
        let (first, left) = self.take_first(left);
        self.nodes[at as usize].left = left;
        (first, self.balance(at))
    }

    fn children(&self, at: u32) -> (u32, u32) {
        let node = &self.nodes[at as usize];
        (node.left, node.right)
    }

    fn height(&self, at: u32) -> u8 {
        if at == NIL { 0 } else { self.nodes[at as usize].height }
    }

    /// How much higher the left side is.
    fn lean(&self, at: u32) -> i16 {
        let (left, right) = self.children(at);
        i16::from(self.height(left)) - i16::from(self.height(right))
    }

    /// Recomputes what a node knows of its subtree.
    fn update(&mut self, at: u32) {
        let (left, right) = self.children(at);
        let mut reach = at;
        for child in [left, right] {
            if child != NIL {
                let far = self.nodes[child as usize].reach;
                if ends_later(&self.nodes[far as usize].range, &self.nodes[reach as usize].range) {
                    reach = far;
                }
            }
        }
        let height = 1 + self.height(left).max(self.height(right));
        let node = &mut self.nodes[at as usize];
        node.reach = reach;
        node.height = height;
    }

    /// Restores the balance at a node whose sides differ by two at most; returns the new root.
    fn balance(&mut self, at: u32) -> u32 {
        match self.lean(at) {
            2 => {
                let (left, _) = self.children(at);
                if self.lean(left) < 0 {
                    let left = self.rotate_left(left);
                    self.nodes[at as usize].left = left;
                }
                self.rotate_right(at)
            }
            -2 => {
                let (_, right) = self.children(at);
                if self.lean(right) > 0 {
                    let right = self.rotate_right(right);
                    self.nodes[at as usize].right = right;
                }
                self.rotate_left(at)
            }
            _ => {
                self.update(at);
                at
            }
        }
    }

    fn rotate_left(&mut self, at: u32) -> u32 {
        let top = self.nodes[at as usize].right;
        self.nodes[at as usize].right = self.nodes[top as usize].left;
        self.nodes[top as usize].left = at;
        self.update(at);
        self.update(top);
        top
    }

    fn rotate_right(&mut self, at: u32) -> u32 {
        let top = self.nodes[at as usize].left;
        self.nodes[at as usize].left = self.nodes[top as usize].right;
        self.nodes[top as usize].right = at;
        self.update(at);
        self.update(top);
        top
    }

    /// Asserts order, balance and reach of every node; returns how many items there are.
    #[cfg(test)]
    pub(crate) fn check(&self) -> usize {
        let mut last: Option<&KeyRange> = None;
        let items = self.check_under(self.root, &mut last);
        assert_eq!(
            self.nodes.len() - self.free.len(),
            self.count_nodes(self.root),
            "no node leaks"
        );
        items
    }

    #[cfg(test)]
    fn count_nodes(&self, at: u32) -> usize {
        if at == NIL {
            return 0;
        }
        let (left, right) = self.children(at);
        1 + self.count_nodes(left) + self.count_nodes(right)
    }

    #[cfg(test)]
    fn check_under<'a>(&'a self, at: u32, last: &mut Option<&'a KeyRange>) -> usize {
        if at == NIL {
            return 0;
        }
        let node = &self.nodes[at as usize];
        let mut items = self.check_under(node.left, last);
        assert!(last.is_none_or(|last| order(last, &node.range) == Ordering::Less), "nodes ascend");
        *last = Some(&node.range);
        items += self.check_under(node.right, last) + node.items.len();
        assert!(!node.items.is_empty(), "a node has items");
        assert!(self.lean(at).abs() <= 1, "sides differ by one at most");
        let far = &self.nodes[node.reach as usize].range;
        for child in [at, node.left, node.right] {
            if child != NIL {
                let child_far = &self.nodes[self.nodes[child as usize].reach as usize].range;
                assert!(!ends_later(child_far, far), "reach is the farthest end");
            }
        }
        assert!(!ends_later(&node.range, far), "reach is the farthest end");
        items
    }
}

/// By start, then by end; no end is the last.
fn order(a: &KeyRange, b: &KeyRange) -> Ordering {
    a.start.cmp(&b.start).then_with(|| match (&a.end, &b.end) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(b),
    })
}

fn ends_after(range: &KeyRange, key: &[u8]) -> bool {
    range.end.as_ref().is_none_or(|end| key < end.as_ref())
}

fn ends_later(a: &KeyRange, b: &KeyRange) -> bool {
    match (&a.end, &b.end) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(number: u32) -> Bytes {
        Bytes::from(format!("{number:03}"))
    }

    // Dispatch loses or misdirects events if the tree disagrees with a plain list of ranges.
    #[test]
    fn tree_agrees_with_a_list_of_ranges() {
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut tree: IntervalMap<u32> = IntervalMap::default();
            let mut list: Vec<(KeyRange, u32, usize)> = Vec::new();
            for item in 0..600 {
                let keeps = list.is_empty() || rng.random_bool(0.6);
                if keeps {
                    let start = rng.random_range(0..60);
                    let end = (!rng.random_bool(0.1)).then(|| start + rng.random_range(1..40));
                    let range = KeyRange { start: key(start), end: end.map(key) };
                    let place = tree.insert(&range, item);
                    list.push((range, item, place));
                } else {
                    let (range, _, place) = list.swap_remove(rng.random_range(0..list.len()));
                    if let Some(moved) = tree.remove(&range, place) {
                        let entry = list.iter_mut().find(|entry| entry.1 == moved).unwrap();
                        assert_eq!(entry.0, range, "seed {seed}");
                        entry.2 = place;
                    }
                }
                assert_eq!(tree.check(), list.len(), "seed {seed}");
                let probe = key(rng.random_range(0..100));
                let mut found = Vec::new();
                tree.stab(&probe, &mut |item| found.push(item));
                found.sort_unstable();
                let holds = list.iter().filter(|entry| entry.0.contains(&probe));
                let mut expected: Vec<u32> = holds.map(|entry| entry.1).collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "seed {seed}, key {probe:?}");
            }
        }
    }

    // A client that inserts in order must not turn the tree into a list.
    #[test]
    fn ascending_ranges_stay_balanced() {
        let mut tree = IntervalMap::default();
        for start in 0..1000_u32 {
            tree.insert(&KeyRange { start: key(start), end: Some(key(start + 1)) }, start);
        }
        tree.check();
        assert!(tree.height(tree.root) <= 15, "AVL height is at most 1.44 log2 n");
    }
}
