//! The nodes of the tree, and the way a write takes through them.
//!
//! ```text
//!   Branch   separators   "f"      "p"             child i holds the keys from separator i-1 on,
//!            children   [0]    [1]     [2]         below separator i
//!            slots       0      2       1          the name of each child in `live` and `history`
//!            live        3      1       7          live keys under each child, by slot
//!            history     turns since the last compaction
//!   Leaf     keys  a b d e     histories  one for each key
//! ```
//!
//! All leaves are at one depth. A node that reaches [`SLOTS`] entries is split by its parent on the
//! way up, so at rest it has fewer; merging is left to compaction, the only thing that takes keys
//! out ([`super::compact`]). Nothing is ever moved between siblings but by splitting and merging.

use smallvec::{SmallVec, smallvec};

use crate::types::Revision;

use super::history::{Counts, Event, History, SLOTS, Turn};
use super::key::{Change, KeyHistory, Latest};
use super::packed::{Packed, grow, separator};

/// A leaf splits early when its keys take more than this, so that an insertion never moves much.
const LEAF_KEY_BYTES_MAX: usize = 64 << 10;

/// A subtree.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(Box<Leaf>),
    Branch(Box<Branch>),
}

/// Keys and their histories, in key order.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    pub(super) keys: Packed,
    pub(super) histories: Vec<KeyHistory>,
}

/// See the module.
///
/// Invariants:
/// - there are one to 63 children, one separator fewer, and as many different slots
/// - every key under child `i` lies between its separators, and children are equally deep
/// - `live` counts the live keys under each child, and `history` how that came about
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) separators: Packed,
    pub(super) children: Vec<Node>,
    pub(super) slots: SmallVec<[u8; SLOTS]>,
    pub(super) live: Counts,
    pub(super) history: History,
}

/// What a write did, told to the branches above.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// The key before; `None` when it was dead.
    pub(super) previous: Option<Latest>,
    /// The key after.
    pub(super) latest: Option<Latest>,
    /// Whether it changed sides.
    pub(super) turn: Option<Turn>,
    /// Whether the index did not have the key, not even deleted.
    pub(super) added: bool,
    /// Whether the key is the last of the nodes passed so far. They split unevenly then, which
    /// keeps nodes full when keys arrive in order.
    pub(super) last: bool,
}

impl Node {
    /// Applies `change` to `key`. `floor` is the compacted revision.
    pub(super) fn apply(
        &mut self,
        key: &[u8],
        at: Revision,
        change: Change,
        floor: u64,
    ) -> Applied {
        match self {
            Node::Leaf(leaf) => leaf.apply(key, at, change),
            Node::Branch(branch) => branch.apply(key, at, change, floor),
        }
    }

    /// The history of `key`, if the index has it.
    pub(super) fn find(&self, key: &[u8]) -> Option<&KeyHistory> {
        let mut node = self;
        loop {
            super::cost::visit();
            match node {
                Node::Branch(branch) => node = &branch.children[branch.position(key)],
                Node::Leaf(leaf) => {
                    return leaf.keys.search(key).ok().map(|at| &leaf.histories[at]);
                }
            }
        }
    }

    /// Keys of a leaf, children of a branch.
    pub(super) fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.histories.len(),
            Node::Branch(branch) => branch.children.len(),
        }
    }

    /// Whether the parent has to split this node.
    pub(super) fn is_full(&self) -> bool {
        let crowded = match self {
            Node::Leaf(leaf) => leaf.keys.bytes() > LEAF_KEY_BYTES_MAX && leaf.histories.len() > 1,
            Node::Branch(_) => false,
        };
        crowded || self.len() >= SLOTS
    }

    /// Forgets the turns up to `floor`.
    pub(super) fn trim(&mut self, floor: u64) {
        if let Node::Branch(branch) = self {
            branch.history.trim(floor);
        }
    }

    /// The keys that were live at `floor`, by position.
    fn base(&self, floor: u64) -> Counts {
        let mut base = [0; SLOTS];
        match self {
            Node::Leaf(leaf) => {
                for (count, history) in base.iter_mut().zip(&leaf.histories) {
                    *count = u32::from(history.at(floor).is_some());
                }
            }
            Node::Branch(branch) => {
                let counts = branch.history.at(floor, &branch.live);
                for (count, &slot) in base.iter_mut().zip(&branch.slots) {
                    *count = counts[usize::from(slot)];
                }
            }
        }
        base
    }

    /// Every turn after `floor` in order, with the position of the key or child for a slot. A
    /// branch has been trimmed to `floor` before.
    fn turns(&self, floor: u64) -> Box<dyn Iterator<Item = Event> + '_> {
        match self {
            Node::Leaf(leaf) => Box::new(leaf.turns(floor).into_iter()),
            Node::Branch(branch) => {
                assert_eq!(branch.history.floor(), floor, "a log is trimmed before it is told");
                let mut positions = [0; SLOTS];
                for (position, &slot) in (0..).zip(&branch.slots) {
                    positions[usize::from(slot)] = position;
                }
                let place =
                    move |event: Event| Event { slot: positions[usize::from(event.slot)], ..event };
                Box::new(branch.history.events().map(place))
            }
        }
    }

    /// Takes out everything from position `cut` on, and returns it with the separator.
    fn split(&mut self, cut: usize) -> (Vec<u8>, Node) {
        match self {
            Node::Leaf(leaf) => {
                let (middle, right) = leaf.split(cut);
                (middle, Node::Leaf(Box::new(right)))
            }
            Node::Branch(branch) => {
                let (middle, right) = branch.split(cut);
                (middle, Node::Branch(Box::new(right)))
            }
        }
    }
}

impl Leaf {
    fn apply(&mut self, key: &[u8], at: Revision, change: Change) -> Applied {
        match self.keys.search(key) {
            Ok(position) => {
                let history = &mut self.histories[position];
                let previous = history.latest();
                let turn = history.apply(at, change);
                Applied { previous, latest: history.latest(), turn, ..Applied::default() }
            }
            Err(position) => {
                let Some(history) = KeyHistory::begin(at, change) else {
                    return Applied::default();
                };
                let latest = history.latest();
                self.keys.insert(position, key);
                grow(&mut self.histories, 1, SLOTS / 8);
                self.histories.insert(position, history);
                Applied {
                    previous: None,
                    latest,
                    turn: Turn::between(false, latest.is_some()),
                    added: true,
                    last: position + 1 == self.histories.len(),
                }
            }
        }
    }

    /// The turns of all keys after `floor`, in the order in which they were made.
    fn turns(&self, floor: u64) -> Vec<Event> {
        let mut turns: Vec<(Revision, Event)> = Vec::with_capacity(SLOTS);
        for (slot, history) in (0..).zip(&self.histories) {
            turns.extend(
                history
                    .turns(floor)
                    .map(|(revision, turn)| (revision, Event { main: revision.main, slot, turn })),
            );
        }
        turns.sort_unstable_by_key(|&(revision, _)| revision);
        turns.into_iter().map(|(_, event)| event).collect()
    }

    fn split(&mut self, cut: usize) -> (Vec<u8>, Leaf) {
        let middle = separator(&self.keys.get(cut - 1), &self.keys.get(cut));
        let right = Leaf {
            keys: self.keys.slice(cut..self.keys.len()),
            histories: self.histories.split_off(cut),
        };
        self.keys = self.keys.slice(0..cut);
        self.histories.shrink_to_fit();
        (middle, right)
    }
}

impl Branch {
    /// A branch whose only child is `child`, with that child's turns for its own.
    pub(super) fn above(mut child: Node, floor: u64) -> Branch {
        child.trim(floor);
        let mut live = [0; SLOTS];
        live[0] = child.base(floor).iter().sum();
        let mut history = History::new(floor);
        for event in child.turns(floor) {
            history.record(Event { slot: 0, ..event }, &mut live);
        }
        let separators = Packed::default();
        Branch { separators, children: vec![child], slots: smallvec![0], live, history }
    }

    /// Which child `key` belongs under.
    pub(super) fn position(&self, key: &[u8]) -> usize {
        self.separators.up_to(key)
    }

    /// The slots in use.
    pub(super) fn used(&self) -> u64 {
        self.slots.iter().fold(0, |used, &slot| used | 1 << slot)
    }

    /// A slot that no child has.
    pub(super) fn free_slot(&self) -> u8 {
        let slot = self.used().trailing_ones();
        assert!((slot as usize) < SLOTS, "a full branch is split before it grows");
        slot as u8
    }

    fn apply(&mut self, key: &[u8], at: Revision, change: Change, floor: u64) -> Applied {
        let position = self.position(key);
        let mut applied = self.children[position].apply(key, at, change, floor);
        if let Some(turn) = applied.turn {
            let event = Event { main: at.main, slot: self.slots[position], turn };
            self.history.record(event, &mut self.live);
        }
        applied.last &= position + 1 == self.children.len();
        if self.children[position].is_full() {
            self.split_child(position, applied.last, floor);
        }
        applied
    }

    /// Splits the child at `position` in two.
    pub(super) fn split_child(&mut self, position: usize, last: bool, floor: u64) {
        let (slot, new) = (self.slots[position], self.free_slot());
        let child = &mut self.children[position];
        child.trim(floor);
        self.history.trim(floor);

        let cut = if last { child.len() - child.len() / 8 } else { child.len() / 2 };
        let cut = cut.min(child.len() - 1);
        let base = child.base(floor);
        let base = (base[..cut].iter().sum(), base[cut..].iter().sum());
        let sides = child.turns(floor).map(|event| (event.turn, cut <= usize::from(event.slot)));
        let (left_live, right_live) = self.history.split_slot(slot, new, base, sides);

        let both = self.live[usize::from(slot)];
        assert_eq!(both, left_live + right_live, "a split loses no key");
        self.live[usize::from(slot)] = left_live;
        self.live[usize::from(new)] = right_live;

        let (middle, right) = child.split(cut);
        self.separators.insert(position, &middle);
        self.children.insert(position + 1, right);
        self.slots.insert(position + 1, new);
    }

    /// The right half keeps its slots; both halves log their part of the turns anew.
    fn split(&mut self, cut: usize) -> (Vec<u8>, Branch) {
        let floor = self.history.floor();
        let mut right = Branch {
            separators: self.separators.slice(cut..self.separators.len()),
            children: self.children.split_off(cut),
            slots: self.slots.drain(cut..).collect(),
            live: [0; SLOTS],
            history: History::new(floor),
        };
        let middle = self.separators.get(cut - 1);
        self.separators = self.separators.slice(0..cut - 1);

        let mut base = self.history.base(&self.live);
        let history = std::mem::replace(&mut self.history, History::new(floor));
        let moved = right.used();
        for &slot in &right.slots {
            right.live[usize::from(slot)] = std::mem::take(&mut base[usize::from(slot)]);
        }
        self.live = base;
        for event in history.events() {
            if moved & 1 << event.slot == 0 {
                self.history.record(event, &mut self.live);
            } else {
                right.history.record(event, &mut right.live);
            }
        }
        (middle, right)
    }
}
