//! Compaction: forgetting, a few keys at a time, what no reader may ask for any more.
//!
//! A compaction at revision `C` walks the keys in order. Each step goes down to the leaf after the
//! cursor, trims the histories of the branches on its way to `C`, drops the revisions that
//! [`super::key::KeyHistory::keeps`] is false for, and takes out keys with nothing left. On the way
//! up, emptied children are removed and small neighbours merged.
//!
//! Between two steps writes go on, and so do reads at `C` or later: a branch that is not trimmed
//! yet merely remembers more than it must. What may *not* happen is the reverse, a log that still
//! has a turn of which the keys below know nothing; so a branch is trimmed before anything below it
//! is touched, and a split or merge first trims everything that it takes part in.

use crate::types::Revision;

use super::history::{Event, History, SLOTS};
use super::node::{Branch, Leaf, Node};

/// A node with fewer entries looks for a neighbour to merge with.
const MERGE_BELOW: usize = SLOTS / 4;
/// Two neighbours merge if together they have no more, so that a write does not split them again.
const MERGED_MAX: usize = SLOTS * 3 / 4;
/// And if their keys take no more.
const MERGED_KEY_BYTES_MAX: usize = 16 << 10;

/// One step of a compaction.
pub(super) struct Sweep<'a> {
    pub(super) compacted: u64,
    /// Keys that may still be looked at.
    pub(super) left: usize,
    /// The last key looked at; `None` before the first.
    pub(super) cursor: Option<Vec<u8>>,
    /// Revisions dropped.
    pub(super) removed: &'a mut Vec<Revision>,
    /// Keys dropped.
    pub(super) keys_gone: usize,
}

impl Sweep<'_> {
    /// Looks at the keys of one leaf, the next after the cursor. Returns whether there was any.
    pub(super) fn advance(&mut self, node: &mut Node) -> bool {
        match node {
            Node::Leaf(leaf) => self.advance_leaf(leaf),
            Node::Branch(branch) => self.advance_branch(branch),
        }
    }

    fn advance_branch(&mut self, branch: &mut Branch) -> bool {
        branch.history.trim(self.compacted);
        let first = self.cursor.as_deref().map_or(0, |key| branch.position(key));
        for position in first..branch.children.len() {
            if self.advance(&mut branch.children[position]) {
                branch.tidy(position, self.compacted);
                return true;
            }
        }
        false
    }

    fn advance_leaf(&mut self, leaf: &mut Leaf) -> bool {
        let first = self.cursor.as_deref().map_or(0, |key| leaf.keys.up_to(key));
        let count = (leaf.histories.len() - first).min(self.left);
        let Some(last) = (first + count).checked_sub(1).filter(|_| count > 0) else {
            return false;
        };
        leaf.keys.read(last, self.cursor.get_or_insert_default());
        self.left -= count;
        for position in (first..=last).rev() {
            if leaf.histories[position].compact(self.compacted, self.removed) {
                leaf.histories.remove(position);
                leaf.keys.remove(position);
                self.keys_gone += 1;
            }
        }
        true
    }
}

impl Branch {
    /// Removes the child at `position` if it is empty, merges it if it is small and can be.
    fn tidy(&mut self, position: usize, floor: u64) {
        let len = self.children[position].len();
        if len == 0 {
            self.remove_child(position);
        } else if len < MERGE_BELOW {
            if position > 0 && self.may_merge(position - 1) {
                self.merge_children(position - 1, floor);
            } else if position + 1 < self.children.len() && self.may_merge(position) {
                self.merge_children(position, floor);
            }
        }
    }

    /// A key that is gone turned for the last time at or before the floor: the log, just trimmed,
    /// does not mention the slot, which is free to be given out again.
    fn remove_child(&mut self, position: usize) {
        let slot = self.slots.remove(position);
        assert_eq!(self.live[usize::from(slot)], 0, "an empty child counts nothing");
        debug_assert!(self.history.events().all(|event| event.slot != slot), "nor did it lately");
        self.children.remove(position);
        if self.separators.len() > 0 {
            self.separators.remove(position.saturating_sub(1));
        }
    }

    fn may_merge(&self, left: usize) -> bool {
        let (left, right) = (&self.children[left], &self.children[left + 1]);
        let short = match (left, right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                left.keys.bytes() + right.keys.bytes() <= MERGED_KEY_BYTES_MAX
            }
            _ => true,
        };
        short && left.len() + right.len() <= MERGED_MAX
    }

    /// Moves everything from the child after `position` into the one there.
    fn merge_children(&mut self, position: usize, floor: u64) {
        self.history.trim(floor);
        let (slot, gone) = (self.slots[position], self.slots[position + 1]);
        // Our own log has the turns of both in the order in which they happened.
        let mut order = Vec::new();
        self.history.merge_slots(slot, gone, |from_right| order.push(from_right));
        let moved = std::mem::take(&mut self.live[usize::from(gone)]);
        self.live[usize::from(slot)] += moved;

        let middle = self.separators.get(position);
        self.separators.remove(position);
        self.slots.remove(position + 1);
        let mut right = self.children.remove(position + 1);
        let left = &mut self.children[position];
        left.trim(floor);
        right.trim(floor);
        match (left, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.absorb(*right),
            (Node::Branch(left), Node::Branch(right)) => left.absorb(&middle, *right, &order),
            _ => unreachable!("all leaves are at one depth"),
        }
    }

    /// Takes over the children of the neighbour on the right, giving them slots of our own. `order`
    /// tells for each turn of both, in the order of time, whether it is the neighbour's.
    fn absorb(&mut self, middle: &[u8], right: Branch, order: &[bool]) {
        let right_base = right.history.base(&right.live);
        let left_history =
            std::mem::replace(&mut self.history, History::new(right.history.floor()));
        self.live = left_history.base(&self.live);

        let mut renamed = [0; SLOTS];
        for &slot in &right.slots {
            let new = self.free_slot();
            self.slots.push(new);
            self.live[usize::from(new)] = right_base[usize::from(slot)];
            renamed[usize::from(slot)] = new;
        }
        let (mut lefts, mut rights) = (left_history.events(), right.history.events());
        for &from_right in order {
            let event = if from_right {
                rights.next().map(|event| Event { slot: renamed[usize::from(event.slot)], ..event })
            } else {
                lefts.next()
            };
            self.history.record(event.expect("a child logs what its parent does"), &mut self.live);
        }
        assert!(lefts.next().is_none() && rights.next().is_none(), "a parent logs every turn");

        self.separators.insert(self.separators.len(), middle);
        self.separators.append(&right.separators);
        self.children.extend(right.children);
    }
}

impl Leaf {
    fn absorb(&mut self, right: Leaf) {
        self.keys.append(&right.keys);
        self.histories.extend(right.histories);
    }
}
