//! Building pages from lists of items: after a split, a merge, or when the dead bytes are needed.
//!
//! Here the prefix is chosen: what the first and the last key have in common. Cells lie in the
//! order of their keys, so that a scan walks forward through memory.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{
    BRANCH, COUNT_AT, FLAG_RUNS, FLAGS_AT, HEADER_BYTES, HEAP_AT, KIND_AT, LEAF, LEVEL_AT,
    PREFIX_AT, PageMut, SLOT_BYTES, Slot, head_of, leaf,
};

/// A key in two parts, as its page stores it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'k> {
    head: &'k [u8],
    tail: &'k [u8],
}

impl<'k> Key<'k> {
    pub(crate) fn new(head: &'k [u8], tail: &'k [u8]) -> Key<'k> {
        Key { head, tail }
    }

    pub(crate) fn len(self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// The parts of the key between two positions.
    fn parts(self, start: usize, end: usize) -> (&'k [u8], &'k [u8]) {
        let split = self.head.len();
        (
            &self.head[start.min(split)..end.min(split)],
            &self.tail[start.saturating_sub(split)..end.saturating_sub(split)],
        )
    }

    /// How many bytes two keys have in common at the beginning.
    pub(crate) fn common(self, other: Key<'_>) -> usize {
        // Keys of one page share the part in front without a look, if it is the same memory.
        let same = self.head.len().min(other.head.len());
        if std::ptr::eq(self.head, other.head) || self.head[..same] == other.head[..same] {
            if self.head.len() == other.head.len() {
                return same + common(self.tail, other.tail);
            }
            let bytes = |key: Key<'_>| key.bytes().skip(same).collect::<SmallVec<[u8; 64]>>();
            return same + common(&bytes(self), &bytes(other));
        }
        common(self.head, other.head)
    }

    /// Against a key that is in one part.
    #[inline]
    pub(crate) fn cmp(self, other: &[u8]) -> Ordering {
        let (head, tail) = other.split_at(self.head.len().min(other.len()));
        self.head.cmp(head).then_with(|| self.tail.cmp(tail))
    }

    /// Against a key in two parts.
    pub(crate) fn order(self, other: Key<'_>) -> Ordering {
        if self.head.len() >= other.head.len() {
            let (head, tail) = self.head.split_at(other.head.len());
            head.cmp(other.head).then_with(|| Key::new(tail, self.tail).cmp(other.tail))
        } else {
            other.order(self).reverse()
        }
    }

    /// The first `len` bytes.
    pub(crate) fn truncated(self, len: usize) -> SmallVec<[u8; 64]> {
        let (head, tail) = self.parts(0, len);
        let mut bytes = SmallVec::from_slice(head);
        bytes.extend_from_slice(tail);
        bytes
    }

    fn bytes(self) -> impl Iterator<Item = u8> + 'k {
        self.head.iter().chain(self.tail).copied()
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A record or child of a page that is still to be built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'i> {
    pub key: Key<'i>,
    /// What precedes the suffix in the cell.
    pub fixed: &'i [u8],
    /// What follows it.
    pub tail: &'i [u8],
}

impl Item<'_> {
    /// Its slot and its cell, with the whole key.
    pub(crate) fn bytes(&self) -> usize {
        SLOT_BYTES + self.fixed.len() + self.key.len() + self.tail.len()
    }
}

/// Where a page that is too full should be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    /// In the middle.
    Middle,
    /// As far to the right as can be: what comes next belongs there.
    Right,
    /// As far to the left as can be.
    Left,
}

/// The shortest key that is above `left` and not above `right`.
pub(crate) fn separator(left: Key<'_>, right: Key<'_>) -> SmallVec<[u8; 64]> {
    right.truncated(left.common(right) + 1)
}

/// The items that have a key: in a branch, the first has none.
fn keyed<'i, 'k>(level: u8, items: &'i [Item<'k>]) -> &'i [Item<'k>] {
    if level == 0 { items } else { &items[items.len().min(1)..] }
}

/// What all keys have in common; of one key alone, as much as `hint` says.
fn prefix_bytes(level: u8, items: &[Item<'_>], hint: usize) -> usize {
    match keyed(level, items) {
        [] => 0,
        [only] => hint.min(only.key.len()),
        [first, .., last] => first.key.common(last.key),
    }
}

/// How many bytes a page of these items would have, header included.
pub(crate) fn built_bytes(level: u8, items: &[Item<'_>]) -> usize {
    let keys = keyed(level, items);
    let whole: usize = items.iter().map(Item::bytes).sum();
    let nameless = if level == 0 { 0 } else { items.first().map_or(0, |item| item.key.len()) };
    built(prefix_bytes(level, items, 0), keys.len(), whole - nameless)
}

/// How many of these records, from the first on, fit into a leaf of `leaf_bytes`; at least one.
pub(crate) fn fitting(leaf_bytes: usize, items: &[Item<'_>]) -> usize {
    let mut whole = 0;
    let mut fits = |(i, item): (usize, &Item<'_>)| {
        whole += item.bytes();
        let prefix = if i == 0 { 0 } else { items[0].key.common(item.key) };
        built(prefix, i + 1, whole) <= leaf_bytes
    };
    items.iter().enumerate().take_while(|item| fits(*item)).count().max(1)
}

fn built(prefix: usize, keys: usize, whole: usize) -> usize {
    HEADER_BYTES + prefix + whole - prefix * keys
}

/// The first item of the right page, such that both pages fit into `page_bytes`.
///
/// There is always one: items are small enough (see [`is_inline`](super::is_inline)) if all share
/// what the old page's keys share, and otherwise the new one is at an end and can be alone.
pub(crate) fn split_point(page_bytes: usize, level: u8, items: &[Item<'_>], bias: Bias) -> usize {
    // Half a branch should have two children.
    let least = if level > 0 && items.len() >= 4 { 2 } else { 1 };
    let candidates = least..=items.len() - least;
    let fits = |at: usize| {
        built_bytes(level, &items[..at]) <= page_bytes
            && built_bytes(level, &items[at..]) <= page_bytes
    };
    let wish = match bias {
        Bias::Left => least,
        Bias::Right => items.len() - least,
        Bias::Middle => middle(items),
    };
    let wish = wish.clamp(least, items.len() - least);
    if fits(wish) {
        wish
    } else {
        let nearest = candidates.filter(|at| fits(*at)).min_by_key(|at| at.abs_diff(wish));
        nearest
            .or_else(|| (1..items.len()).find(|at| fits(*at)))
            .expect("two items fit into a page")
    }
}

/// The first item of the second half of the bytes.
pub(crate) fn middle(items: &[Item<'_>]) -> usize {
    let half = items.iter().map(Item::bytes).sum::<usize>() / 2;
    let mut sum = 0;
    let past = |item: &Item<'_>| {
        sum += item.bytes();
        sum > half
    };
    items.iter().position(past).unwrap_or(0)
}

/// Makes a page of the items. `hint` is the prefix if there is one key alone.
pub(crate) fn build(bytes: &mut [u8], level: u8, items: &[Item<'_>], hint: usize) {
    let page_bytes = bytes.len();
    let prefix = prefix_bytes(level, items, hint);
    bytes[..HEADER_BYTES].fill(0);
    bytes[KIND_AT] = if level == 0 { LEAF } else { BRANCH };
    bytes[LEVEL_AT] = level;
    if let Some(item) = keyed(level, items).first() {
        let (head, tail) = item.key.parts(0, prefix);
        bytes[HEADER_BYTES..HEADER_BYTES + head.len()].copy_from_slice(head);
        bytes[HEADER_BYTES + head.len()..HEADER_BYTES + prefix].copy_from_slice(tail);
    }
    let mut slot_at = HEADER_BYTES + prefix;
    let slots_end = slot_at + items.len() * SLOT_BYTES;
    let keys = keyed(level, items);
    let nameless = items.len() - keys.len();
    let cells: usize = items
        .iter()
        .enumerate()
        .map(|(i, item)| {
            let suffix = if i < nameless { 0 } else { item.key.len() - prefix };
            item.fixed.len() + suffix + item.tail.len()
        })
        .sum();
    assert!(slots_end + cells <= page_bytes, "items fit into their page");
    let heap = page_bytes - cells;
    let mut at = heap;
    let mut has_runs = false;
    for (i, item) in items.iter().enumerate() {
        let offset = at;
        let skip = if i < nameless { item.key.len() } else { prefix };
        let (head, tail) = item.key.parts(skip, item.key.len());
        for part in [item.fixed, head, tail, item.tail] {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let suffix_at = offset + item.fixed.len();
        let suffix_bytes = head.len() + tail.len();
        let head = head_of(&bytes[suffix_at..suffix_at + suffix_bytes]);
        let slot = Slot::new(offset, suffix_bytes, head);
        bytes[slot_at..slot_at + SLOT_BYTES].copy_from_slice(&slot.0.to_le_bytes());
        slot_at += SLOT_BYTES;
        has_runs |= level == 0 && leaf::is_run(bytes, offset);
    }
    let mut page = PageMut(bytes);
    page.put_u16(COUNT_AT, items.len());
    page.put_u16(PREFIX_AT, prefix);
    page.put_u16(HEAP_AT, heap);
    page.put_u16(FLAGS_AT, usize::from(if has_runs { FLAG_RUNS } else { 0 }));
}
