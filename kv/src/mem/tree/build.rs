//! Building a tree from records that come in order, without searching for their places.

use std::sync::Arc;

use bytes::Bytes;

use super::node::{BRANCH_CHILDREN_MAX, Branch, LEAF_RECORDS_MAX, Leaf, Node};
use super::{Tally, Tree};
use crate::engine::Key;

/// Takes records in the order of their keys and packs them into full nodes.
pub(crate) struct Builder {
    leaf: Leaf,
    /// Finished leaves, each with its first key.
    leaves: Vec<(Key, Arc<Node>)>,
    tally: Tally,
}

/// A record did not come after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

impl Builder {
    /// A builder without records.
    pub(crate) fn new() -> Self {
        Self { leaf: Leaf::default(), leaves: Vec::new(), tally: Tally::default() }
    }

    /// Adds a record behind all others.
    pub(crate) fn push(&mut self, key: Key, value: Bytes) -> Result<(), OutOfOrder> {
        if self.leaf.keys.last().is_some_and(|last| *last >= key) {
            return Err(OutOfOrder);
        }
        self.tally.add(&key, &value);
        if self.leaf.keys.len() == LEAF_RECORDS_MAX {
            self.finish_leaf();
        }
        self.leaf.keys.push(key);
        self.leaf.values.push(value);
        Ok(())
    }

    /// The tree of all records added.
    pub(crate) fn finish(mut self) -> Tree {
        if self.leaf.keys.is_empty() {
            return Tree::new();
        }
        self.finish_leaf();
        let mut level = self.leaves;
        let mut tally = self.tally;
        tally.nodes = level.len() as u64;
        while level.len() > 1 {
            level = raise(level);
            tally.nodes += level.len() as u64;
        }
        let (_, root) = level.pop().expect("there is at least one leaf");
        Tree { root, tally }
    }

    fn finish_leaf(&mut self) {
        let leaf = std::mem::take(&mut self.leaf);
        self.leaves.push((leaf.keys[0].clone(), Arc::new(Node::Leaf(leaf))));
    }
}

/// Packs the nodes of one level into branches: the level above it.
fn raise(level: Vec<(Key, Arc<Node>)>) -> Vec<(Key, Arc<Node>)> {
    let mut above = Vec::with_capacity(level.len().div_ceil(BRANCH_CHILDREN_MAX));
    let mut nodes = level.into_iter().peekable();
    while let Some((first, child)) = nodes.next() {
        let mut branch = Branch::default();
        branch.children.push(child);
        for (key, child) in nodes.by_ref().take(BRANCH_CHILDREN_MAX - 1) {
            branch.keys.push(key);
            branch.children.push(child);
        }
        above.push((first, Arc::new(Node::Branch(branch))));
    }
    above
}
