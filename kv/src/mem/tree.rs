//! An ordered map whose copies are free: a B+tree of shared nodes.
//!
//! # The problem
//!
//! Readers want the state of one instant, for as long as it takes; the file writer wants one for
//! seconds. Copying a gigabyte for each is out of the question, and so is stopping the writes.
//!
//! # The idea
//!
//! Nodes sit behind `Arc`. A copy of the tree copies one pointer. A change walks down from the
//! root and asks at each node "does anybody else hold this?". If not, it changes the node where
//! it lies, as an ordinary B+tree would. If so, it copies that one node and changes the copy:
//!
//! ```text
//!     snapshot ──► root ───────────┐          tree ──► root'
//!                   │  \           │                    │  \
//!                   A   B          │                    A   B'     only the path to the change
//!                  ...  │ \        └── A is shared ───────► │ \    is copied, once
//!                       C  D                                C  D'
//! ```
//!
//! So writes without a snapshot in sight cost what they cost in a plain tree, and a snapshot costs
//! the writer one path copy for each part of the tree that it changes meanwhile.
//!
//! Two departures from the textbook:
//!
//! - **The right edge may be thin.** A node that overflows because a key was appended behind
//!   everything else is not halved: it stays full, and a new node begins with the one new entry.
//!   Keys that grow (revisions do) thus fill every node, where halving would leave all half empty.
//! - **The lower bound on the fill is a third, not a half**, so that a delete just after a split
//!   does not undo it.
//!
//! # Left out
//!
//! Parent pointers and links between leaves: both would make a node's copy touch its neighbours.
//! Iterators keep the path from the root instead.

mod build;
mod iter;
mod node;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::Key;

pub(crate) use build::Builder;
use node::{Branch, Leaf, Needle, Node};

/// A persistent ordered map of keys to values. Cloning it takes constant time.
///
/// Invariants, checked by `Tree::check`:
///
/// - All leaves have the same depth.
/// - Keys ascend strictly, within nodes and across them; a separator is above every key to its
///   left and not above any key to its right.
/// - A node that is neither the root nor on the right edge is at least a third full; one on the
///   right edge holds at least one entry; a branch at the root has at least two children.
/// - The tally counts what is there.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Arc<Node>,
    tally: Tally,
}

/// What a tree holds, counted as it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records in all leaves.
    pub(crate) records: u64,
    /// Nodes, leaves and branches alike.
    pub(crate) nodes: u64,
    /// Bytes of the records' keys and values outside the nodes.
    pub(crate) heap_bytes: u64,
}

impl Tally {
    /// Bytes held by the tree: its nodes, full or not, and what records keep outside them. Leaves
    /// out what long separators keep outside branches and what the allocator adds.
    pub(crate) fn bytes(&self) -> u64 {
        self.nodes * Node::BYTES + self.heap_bytes
    }

    /// Bytes that the records would take without any slack.
    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.records * Node::RECORD_BYTES + self.heap_bytes
    }

    fn add(&mut self, key: &Key, value: &Bytes) {
        self.records += 1;
        self.heap_bytes += (key.heap_bytes() + value.len()) as u64;
    }

    fn sub(&mut self, key: &Key, value: &Bytes) {
        self.records -= 1;
        self.heap_bytes -= (key.heap_bytes() + value.len()) as u64;
    }
}

/// The right half of a node that overflowed, and the separator that belongs before it.
struct Split {
    separator: Key,
    right: Arc<Node>,
}

impl Tree {
    /// A tree without records.
    pub(crate) fn new() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Leaf::default())),
            tally: Tally { nodes: 1, ..Tally::default() },
        }
    }

    /// What the tree holds. Takes constant time.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let needle = Needle::new(key);
        let mut node = &*self.root;
        loop {
            match node {
                Node::Branch(branch) => node = &*branch.children[branch.child_of(&needle)],
                Node::Leaf(leaf) => return leaf.find(&needle).ok().map(|at| &leaf.values[at]),
            }
        }
    }

    /// Sets the value of `key`.
    pub(crate) fn insert(&mut self, key: Key, value: Bytes) {
        let Some(split) = insert_below(&mut self.root, key, value, true, &mut self.tally) else {
            return;
        };
        let left = Arc::clone(&self.root);
        self.root = Arc::new(Node::Branch(Branch::pair(left, split.separator, split.right)));
        self.tally.nodes += 1;
    }

    /// Removes `key`; says whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        // A look first: removing what is not there must not copy a path that a snapshot shares.
        if self.get(key).is_none() {
            return false;
        }
        remove_below(&mut self.root, &Needle::new(key), &mut self.tally);
        loop {
            let next = match &*self.root {
                Node::Branch(branch) if branch.children.len() == 1 => {
                    Arc::clone(&branch.children[0])
                }
                Node::Branch(_) | Node::Leaf(_) => return true,
            };
            self.root = next;
            self.tally.nodes -= 1;
        }
    }

    /// Asserts the invariants; returns the depth. Takes as long as reading everything.
    #[cfg(test)]
    pub(crate) fn check(&self) -> usize {
        let mut seen = Tally::default();
        let depth = node::check(&self.root, None, None, node::Edge::Root, &mut seen);
        assert_eq!(seen, self.tally, "the tally counts what is there");
        depth
    }
}

/// Sets `key` in the subtree of `node`. `edge` says that nothing lies to the right of it.
fn insert_below(
    node: &mut Arc<Node>,
    key: Key,
    value: Bytes,
    edge: bool,
    tally: &mut Tally,
) -> Option<Split> {
    let (separator, right) = match Arc::make_mut(node) {
        Node::Leaf(leaf) => {
            let at = match leaf.find(&Needle::new(&key)) {
                Ok(at) => {
                    tally.add(&key, &value);
                    let old = std::mem::replace(&mut leaf.values[at], value);
                    tally.sub(&key, &old);
                    return None;
                }
                Err(at) => at,
            };
            tally.add(&key, &value);
            let right = leaf.insert(at, key, value, edge)?;
            (right.keys[0].clone(), Node::Leaf(right))
        }
        Node::Branch(branch) => {
            let at = branch.child_of(&Needle::new(&key));
            let edge = edge && at + 1 == branch.children.len();
            let split = insert_below(&mut branch.children[at], key, value, edge, tally)?;
            let (separator, right) = branch.insert(at, split.separator, split.right, edge)?;
            (separator, Node::Branch(right))
        }
    };
    tally.nodes += 1;
    Some(Split { separator, right: Arc::new(right) })
}

/// Removes a key that is known to be in the subtree of `node`.
fn remove_below(node: &mut Arc<Node>, key: &Needle<'_>, tally: &mut Tally) {
    match Arc::make_mut(node) {
        Node::Leaf(leaf) => {
            let at = leaf.find(key).expect("the key was found on the way in");
            tally.sub(&leaf.keys.remove(at), &leaf.values.remove(at));
        }
        Node::Branch(branch) => {
            let at = branch.child_of(key);
            remove_below(&mut branch.children[at], key, tally);
            if branch.children[at].is_thin() && branch.fatten(at) {
                tally.nodes -= 1;
            }
        }
    }
}
