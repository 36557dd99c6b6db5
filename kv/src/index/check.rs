//! The invariants of the whole tree, asserted; tests call this after every step.

use super::Index;
use super::history::{Event, SLOTS, Turn};
use super::node::{Branch, Leaf, Node};
use crate::types::Revision;

/// What a subtree holds, gathered from its keys alone.
#[derive(Default)]
struct Found {
    depth: usize,
    keys: u64,
    live: u64,
    /// Turns after the compacted revision, in the order of time.
    turns: Vec<(Revision, Turn)>,
}

impl Index {
    /// Asserts every invariant of the tree, its histories and its totals. It takes a pass over all
    /// keys for each level.
    pub(crate) fn check(&self) {
        let found = check_node(&self.root, None, None, self);
        assert_eq!(found.keys, self.keys, "every key is counted");
        assert_eq!(found.live, self.live, "every live key is counted");
        assert!(found.turns.is_sorted_by_key(|&(revision, _)| revision), "turns are in order");
        assert!(self.root.len() != 1 || matches!(self.root, Node::Leaf(_)), "the root has a use");
        assert!(!self.root.is_full(), "a full root is split");
    }
}

fn check_node(node: &Node, low: Option<&[u8]>, high: Option<&[u8]>, index: &Index) -> Found {
    match node {
        Node::Leaf(leaf) => check_leaf(leaf, low, high, index),
        Node::Branch(branch) => check_branch(branch, low, high, index),
    }
}

fn check_leaf(leaf: &Leaf, low: Option<&[u8]>, high: Option<&[u8]>, index: &Index) -> Found {
    leaf.keys.check();
    assert_eq!(leaf.keys.len(), leaf.histories.len(), "every key has a history");
    let mut found = Found { keys: leaf.histories.len() as u64, ..Found::default() };
    for (position, history) in leaf.histories.iter().enumerate() {
        let key = leaf.keys.get(position);
        assert!(low.is_none_or(|low| low <= &key[..]), "a key is not below its leaf");
        assert!(high.is_none_or(|high| &key[..] < high), "a key is not above its leaf");
        history.check();
        assert!(history.newest() <= index.last, "no key is ahead of the index");
        found.live += u64::from(history.is_live());
        found.turns.extend(history.turns(index.compacted));
    }
    found.turns.sort_unstable_by_key(|&(revision, _)| revision);
    found
}

fn check_branch(branch: &Branch, low: Option<&[u8]>, high: Option<&[u8]>, index: &Index) -> Found {
    let count = branch.children.len();
    assert!((1..SLOTS).contains(&count), "a branch has 1 to 63 children");
    assert_eq!(branch.separators.len(), count - 1, "one separator between two children");
    assert_eq!(branch.slots.len(), count, "every child has a slot");
    assert_eq!(branch.used().count_ones() as usize, count, "of its own");
    assert!(branch.history.floor() <= index.compacted, "nothing askable is forgotten");
    branch.separators.check();
    branch.history.check(branch.used(), &branch.live);

    let bounds: Vec<Vec<u8>> = (0..count - 1).map(|at| branch.separators.get(at)).collect();
    let mut found = Found::default();
    for (position, child) in branch.children.iter().enumerate() {
        assert!(child.len() > 0, "no child is empty");
        assert!(!child.is_full(), "a full child is split");
        let low = position.checked_sub(1).map_or(low, |before| Some(&bounds[before]));
        let high = bounds.get(position).map_or(high, |bound| Some(bound));
        let below = check_node(child, low, high, index);
        check_slot(branch, branch.slots[position], &below, index);
        assert!(position == 0 || found.depth == below.depth + 1, "children are equally deep");
        found.depth = below.depth + 1;
        found.keys += below.keys;
        found.live += below.live;
        found.turns.extend(below.turns);
    }
    found.turns.sort_by_key(|&(revision, _)| revision);
    found
}

/// The log of a child is what the keys below it tell.
fn check_slot(branch: &Branch, slot: u8, below: &Found, index: &Index) {
    assert_eq!(u64::from(branch.live[usize::from(slot)]), below.live, "live keys are counted");
    let ours = |event: &Event| event.slot == slot && index.compacted < event.main;
    let logged = branch.history.events().filter(ours).map(|event| (event.main, event.turn));
    let told = below.turns.iter().map(|&(revision, turn)| (revision.main, turn));
    assert!(logged.eq(told), "the log of slot {slot} is what the keys below it tell");
}
