//! One node of the tree: how it is searched, split, filled up again and checked.
//!
//! ```text
//!     branch   children  c0 │ c1 │ c2 │ c3          every key below c1 is in [k0, k1)
//!              keys         k0   k1   k2
//!
//!     leaf     keys      k0   k1   k2 ...
//!              values    v0   v1   v2 ...
//! ```
//!
//! Entries lie inside the node, not behind a further pointer, so that one level of a search costs
//! one jump in memory. Keys lie apart from values so that the search reads only keys.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::Key;

/// Records in a leaf. A write copies a leaf that a snapshot shares, at a few nanoseconds a record,
/// which argues for few; scans and the number of levels argue for many.
pub(super) const LEAF_RECORDS_MAX: usize = 32;
/// Children of a branch. Copying a branch touches each child, to count one more holder, and most
/// children are cold; with twice as many a put under a snapshot takes a quarter longer.
pub(super) const BRANCH_CHILDREN_MAX: usize = 32;

/// Below this a node off the right edge takes from a neighbour or joins it.
const LEAF_RECORDS_MIN: usize = LEAF_RECORDS_MAX / 3;
const BRANCH_CHILDREN_MIN: usize = BRANCH_CHILDREN_MAX / 3;

const _: () = assert!(LEAF_RECORDS_MIN >= 2, "a thin leaf must not be empty");
const _: () = assert!(BRANCH_CHILDREN_MIN >= 2, "a thin branch must keep a child");

/// A leaf or a branch.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "few nodes are branches")]
pub(super) enum Node {
    /// Records.
    Leaf(Leaf),
    /// Children and the separators between them.
    Branch(Branch),
}

/// Records in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    pub(super) keys: SmallVec<[Key; LEAF_RECORDS_MAX]>,
    pub(super) values: SmallVec<[Bytes; LEAF_RECORDS_MAX]>,
}

/// Children in the order of their keys; one separator fewer than children.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    pub(super) keys: SmallVec<[Key; BRANCH_CHILDREN_MAX]>,
    pub(super) children: SmallVec<[Arc<Node>; BRANCH_CHILDREN_MAX]>,
}

/// A key being looked for, with its first bytes ready for comparison.
pub(super) struct Needle<'a> {
    head: u64,
    bytes: &'a [u8],
}

impl<'a> Needle<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { head: Key::head_of(bytes), bytes }
    }

    /// How many of `keys`, which ascend, are below this; and whether the next one equals it.
    fn rank(&self, keys: &[Key]) -> (usize, bool) {
        // Appends are the commonest put by far: try the end first.
        if keys.last().is_none_or(|last| self.compare(last).is_lt()) {
            return (keys.len(), false);
        }
        // Looking at every key beats a binary search by half when the tree is larger than the
        // caches: the loads do not wait for one another, and there is no branch to mispredict.
        // Heads mostly decide: among revisions only those of one transaction share one.
        let lo = keys.iter().map(|key| usize::from(key.head() < self.head)).sum::<usize>();
        match self.compare(&keys[lo]) {
            Ordering::Less => {
                let rest = &keys[lo + 1..];
                let at = lo + 1 + rest.partition_point(|key| self.compare(key).is_lt());
                (at, self.compare(&keys[at]).is_eq())
            }
            order => (lo, order.is_eq()),
        }
    }

    /// How `key` compares to this.
    #[inline]
    fn compare(&self, key: &Key) -> Ordering {
        key.head().cmp(&self.head).then_with(|| key.as_slice().cmp(self.bytes))
    }
}

impl Node {
    /// Bytes of one node in memory, with the two counters of its `Arc`.
    pub(super) const BYTES: u64 = (size_of::<Self>() + 2 * size_of::<usize>()) as u64;
    /// Bytes of one record inside a leaf.
    pub(super) const RECORD_BYTES: u64 = (size_of::<Key>() + size_of::<Bytes>()) as u64;

    /// Whether the node holds too little to stand alone.
    pub(super) fn is_thin(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.keys.len() < LEAF_RECORDS_MIN,
            Self::Branch(branch) => branch.children.len() < BRANCH_CHILDREN_MIN,
        }
    }

    /// Whether the node holds nothing at all, which only one on the right edge can come to.
    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.keys.is_empty(),
            Self::Branch(branch) => branch.children.is_empty(),
        }
    }
}

impl Leaf {
    /// Where `key` is, or where it would go.
    pub(super) fn find(&self, key: &Needle<'_>) -> Result<usize, usize> {
        let (at, equal) = key.rank(&self.keys);
        if equal { Ok(at) } else { Err(at) }
    }

    /// Inserts a record at `at`; returns the right part if the leaf overflowed.
    pub(super) fn insert(&mut self, at: usize, key: Key, value: Bytes, edge: bool) -> Option<Self> {
        let len = self.keys.len();
        if len < LEAF_RECORDS_MAX {
            self.keys.insert(at, key);
            self.values.insert(at, value);
            return None;
        }
        let mut right = Self::default();
        if edge && at == len {
            right.keys.push(key);
            right.values.push(value);
            return Some(right);
        }
        let middle = len / 2;
        right.keys.extend(self.keys.drain(middle..));
        right.values.extend(self.values.drain(middle..));
        let (half, at) = if at <= middle { (self, at) } else { (&mut right, at - middle) };
        half.keys.insert(at, key);
        half.values.insert(at, value);
        Some(right)
    }

    /// Takes all of `right`, the neighbour, if it fits, and says so; else both share evenly.
    fn level(&mut self, right: &mut Self) -> bool {
        level(&mut self.keys, &mut right.keys, LEAF_RECORDS_MAX);
        level(&mut self.values, &mut right.values, LEAF_RECORDS_MAX);
        right.keys.is_empty()
    }
}

impl Branch {
    /// A root over two nodes.
    pub(super) fn pair(left: Arc<Node>, separator: Key, right: Arc<Node>) -> Self {
        let mut branch = Self::default();
        branch.keys.push(separator);
        branch.children.push(left);
        branch.children.push(right);
        branch
    }

    /// Which child `key` is in, if it is anywhere.
    pub(super) fn child_of(&self, key: &Needle<'_>) -> usize {
        let (at, equal) = key.rank(&self.keys);
        at + usize::from(equal)
    }

    /// Inserts `child` behind the child at `at`; returns the right part, and the separator before
    /// it, if the branch overflowed.
    pub(super) fn insert(
        &mut self,
        at: usize,
        separator: Key,
        child: Arc<Node>,
        edge: bool,
    ) -> Option<(Key, Self)> {
        let len = self.children.len();
        assert!(at < len && self.keys.len() + 1 == len, "one separator between two children");
        if len < BRANCH_CHILDREN_MAX {
            self.keys.insert(at, separator);
            self.children.insert(at + 1, child);
            return None;
        }
        let mut right = Self::default();
        if edge && at + 1 == len {
            right.children.push(child);
            return Some((separator, right));
        }
        let middle = len / 2;
        right.children.extend(self.children.drain(middle..));
        right.keys.extend(self.keys.drain(middle..));
        let up = self.keys.pop().expect("half a full branch has separators");
        let (half, at) = if at < middle { (self, at) } else { (&mut right, at - middle) };
        half.keys.insert(at, separator);
        half.children.insert(at + 1, child);
        Some((up, right))
    }

    /// Mends the thin child at `at` with the help of a neighbour. Says whether a node went away.
    pub(super) fn fatten(&mut self, at: usize) -> bool {
        if self.children[at].is_empty() {
            assert!(at + 1 == self.children.len(), "only the right edge may run empty");
            self.children.pop();
            self.keys.pop();
            return true;
        }
        if self.children.len() == 1 {
            return false; // On the right edge, where a lone thin child is allowed.
        }
        let left = at.saturating_sub(1);
        let (front, back) = self.children.split_at_mut(left + 1);
        let separator = &mut self.keys[left];
        let gone = match (Arc::make_mut(&mut front[left]), Arc::make_mut(&mut back[0])) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                let gone = left.level(right);
                if let Some(first) = right.keys.first() {
                    *separator = first.clone();
                }
                gone
            }
            (Node::Branch(left), Node::Branch(right)) => left.level_branch(separator, right),
            _ => unreachable!("children of one branch have one depth"),
        };
        if gone {
            self.children.remove(left + 1);
            self.keys.remove(left);
        }
        gone
    }

    /// As [`Leaf::level`]; `separator` stands between the two and is replaced if they share.
    fn level_branch(&mut self, separator: &mut Key, right: &mut Self) -> bool {
        // With the separator in place there is one key before each child of `right`, so keys move
        // exactly as children do; the first key of what remains becomes the new separator.
        self.keys.push(separator.clone());
        level(&mut self.children, &mut right.children, BRANCH_CHILDREN_MAX);
        if right.children.is_empty() {
            self.keys.extend(right.keys.drain(..));
            return true;
        }
        let keep = self.children.len();
        if self.keys.len() > keep {
            right.keys.insert_many(0, self.keys.drain(keep..));
        } else {
            let lack = keep - self.keys.len();
            self.keys.extend(right.keys.drain(..lack));
        }
        *separator = self.keys.pop().expect("a key was just counted in");
        false
    }
}

/// Moves entries between neighbours: all to the left if they fit into `max`, else half each.
fn level<A: smallvec::Array>(left: &mut SmallVec<A>, right: &mut SmallVec<A>, max: usize) {
    let total = left.len() + right.len();
    let keep = if total <= max { total } else { total / 2 };
    if left.len() <= keep {
        left.extend(right.drain(..keep - left.len()));
    } else {
        right.insert_many(0, left.drain(keep..));
    }
}

/// Where a node stands, which decides how empty it may be.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Root,
    Right,
    Inner,
}

/// Asserts the invariants of the subtree of `node`, whose keys lie in `[lo, hi)`; counts it into
/// `tally` and returns its depth.
#[cfg(test)]
pub(super) fn check(
    node: &Node,
    lo: Option<&Key>,
    hi: Option<&Key>,
    edge: Edge,
    tally: &mut super::Tally,
) -> usize {
    let keys = match node {
        Node::Leaf(leaf) => &leaf.keys[..],
        Node::Branch(branch) => &branch.keys[..],
    };
    assert!(keys.is_sorted_by(|a, b| a < b), "keys ascend strictly");
    assert!(keys.first().is_none_or(|first| lo.is_none_or(|lo| lo <= first)), "keys reach lo");
    assert!(keys.last().is_none_or(|last| hi.is_none_or(|hi| last < hi)), "keys end before hi");
    match edge {
        Edge::Root => {}
        Edge::Right => assert!(!node.is_empty(), "the right edge holds at least one entry"),
        Edge::Inner => assert!(!node.is_thin(), "an inner node is at least a third full"),
    }
    tally.nodes += 1;
    match node {
        Node::Leaf(leaf) => {
            assert_eq!(leaf.keys.len(), leaf.values.len(), "a value for each key");
            assert!(!leaf.keys.spilled() && !leaf.values.spilled(), "entries lie inside");
            leaf.keys.iter().zip(&leaf.values).for_each(|(key, value)| tally.add(key, value));
            1
        }
        Node::Branch(branch) => {
            assert!(!branch.children.spilled() && !branch.keys.spilled(), "entries lie inside");
            assert_eq!(branch.keys.len() + 1, branch.children.len(), "separators lie between");
            assert!(edge != Edge::Root || branch.children.len() >= 2, "a root has two children");
            let mut depths = branch.children.iter().enumerate().map(|(at, child)| {
                let lo = if at == 0 { lo } else { branch.keys.get(at - 1) };
                let right = at + 1 == branch.children.len() && edge != Edge::Inner;
                let edge = if right { Edge::Right } else { Edge::Inner };
                check(child, lo, branch.keys.get(at).or(hi), edge, tally)
            });
            let depth = depths.next().expect("a branch has children");
            assert!(depths.all(|other| other == depth), "all leaves have the same depth");
            depth + 1
        }
    }
}
