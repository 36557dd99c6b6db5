//! A page of a tree, as bytes: sorted slots in front, the cells they point to behind.
//!
//! **The problem.** Most of the time of a look-up is spent waiting for memory, and a binary search
//! that follows an offset to a key at each step waits at each step. Whole keys also waste space:
//! neighbours in a sorted page begin alike.
//!
//! **The idea.** What all keys of a page begin with (the *prefix*) is stored once. Of the rest of
//! each key (the *suffix*) the first four bytes (the *head*) sit in the slot, as a number that
//! sorts as the bytes do. A search runs over the heads, eight to a cache line, without a branch
//! that could be mispredicted, and compares bytes only where heads are equal.
//!
//! ```text
//!   0      1       2         4          6        8        10        12      16       20
//!   ┌──────┬───────┬─────────┬──────────┬────────┬────────┬─────────┬───────┬────────┬─────────
//!   │ kind │ level │ count   │ prefix   │ heap   │ dead   │ flags   │ id    │ txn    │ prefix
//!   │ u8   │ u8    │ u16     │ u16 long │ u16    │ u16    │ u16     │ u32   │ u32    │ bytes
//!   └──────┴───────┴─────────┴──────────┴────────┴────────┴─────────┴───────┴────────┴─────────
//!   ─┬────────────────────────┬─────┬───────────────┬──────┬──────┬──────┬──────┐
//!    │ slot 0                 │ ... │     free      │ cell │ dead │ cell │ cell │
//!    │ offset suffix head     │     │               │      │      │      │      │
//!    │ u16    u16 long  u32   │     │               │      │      │      │      │
//!   ─┴────────────────────────┴─────┴───────────────┴──────┴──────┴──────┴──────┘
//!                                                   heap                        page's end
//!
//!   cell of a leaf     size u16 │ suffix │ value      size & 0x8000: the value is a RunPtr
//!   cell of a branch   PagePtr 12 │ suffix
//! ```
//!
//! Slot `i` of a branch is child `i` with the smallest key it may hold, shortened as far as it
//! still tells the child from its left neighbour. Slot 0 has no key: its child holds what is
//! smaller than slot 1. `dead` counts the bytes between `heap` and the end that belong to no cell;
//! a page that needs them is built anew. `flags & 1`: some value is (or was) a run. All numbers are
//! little endian, and nothing is aligned.
//!
//! **Trust.** [`check()`] must have passed before anything else here looks at a page; after it no
//! offset leads outside, so an index that panics is a bug of ours and never a rotten disk.
//!
//! Prefix and heads: Graefe, "Modern B-Tree Techniques", §3.2–3.5; Bayer and Unterauer, "Prefix
//! B-Trees", for the shortened separators.

mod branch;
mod build;
mod check;
mod edit;
mod leaf;
mod search;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::types::{PageId, TxnId};

pub(crate) use branch::children;
pub(crate) use build::{
    Bias, Item, Key, build, built_bytes, fitting, middle, separator, split_point,
};
pub(crate) use check::{check, check_private};
pub(crate) use edit::Cell;
pub(crate) use leaf::{Value, runs};

/// Bytes in front of the prefix.
pub(crate) const HEADER_BYTES: usize = 20;
/// Bytes of a slot.
pub(crate) const SLOT_BYTES: usize = 8;
/// The highest level a page may claim. Branches have at least two children but for rare cases, and
/// a file has fewer than 2^32 pages.
pub(crate) const LEVEL_MAX: u8 = 32;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const FLAG_RUNS: u16 = 1;
/// In the size of a leaf's cell: the value is elsewhere.
const SIZE_RUN: u16 = 0x8000;

const KIND_AT: usize = 0;
const LEVEL_AT: usize = 1;
const COUNT_AT: usize = 2;
const PREFIX_AT: usize = 4;
const HEAP_AT: usize = 6;
const DEAD_AT: usize = 8;
const FLAGS_AT: usize = 10;
const ID_AT: usize = 12;
const TXN_AT: usize = 16;

/// The longest key that fits: a quarter of a page.
pub(crate) fn key_bytes_max(page_bytes: usize) -> usize {
    page_bytes / 4
}

/// Whether a value is kept in the leaf: two records, or a record and a half-full page, must always
/// find room in one page, or a full page could not be split.
pub(crate) fn is_inline(page_bytes: usize, key_bytes: usize, value_bytes: usize) -> bool {
    value_bytes <= page_bytes / 4 && key_bytes + value_bytes <= page_bytes / 2 - 64
}

/// A page to look at.
#[derive(Clone, Copy)]
pub(crate) struct Page<'p>(pub &'p [u8]);

/// A page to change; `Page` has what reads.
pub(crate) struct PageMut<'p>(pub &'p mut [u8]);

/// What a slot says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    fn new(offset: usize, suffix_bytes: usize, head: u32) -> Slot {
        debug_assert!(offset < 1 << 16 && suffix_bytes < 1 << 16, "a page has less than 64 KiB");
        Slot(u64::from(head) << 32 | (suffix_bytes as u64) << 16 | offset as u64)
    }

    fn offset(self) -> usize {
        self.0 as usize & 0xffff
    }

    fn suffix_bytes(self) -> usize {
        (self.0 >> 16) as usize & 0xffff
    }

    fn head(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The first four bytes as a number that sorts as they do; zeros stand in for what is not there.
#[inline]
fn head_of(suffix: &[u8]) -> u32 {
    match suffix.first_chunk::<4>() {
        Some(head) => u32::from_be_bytes(*head),
        None => {
            let mut head = [0; 4];
            head[..suffix.len()].copy_from_slice(suffix);
            u32::from_be_bytes(head)
        }
    }
}

#[inline]
fn read_u16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

#[inline]
fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl<'p> Page<'p> {
    pub(crate) fn is_leaf(self) -> bool {
        self.0[KIND_AT] == LEAF
    }

    /// The height above the leaves.
    #[inline]
    pub(crate) fn level(self) -> u8 {
        self.0[LEVEL_AT]
    }

    /// How many records or children.
    #[inline]
    pub(crate) fn count(self) -> usize {
        read_u16(self.0, COUNT_AT)
    }

    pub(crate) fn id(self) -> PageId {
        PageId(read_u32(self.0, ID_AT))
    }

    /// The low half of the transaction that wrote the page.
    pub(crate) fn txn(self) -> u32 {
        read_u32(self.0, TXN_AT)
    }

    /// What all keys begin with.
    #[inline]
    pub(crate) fn prefix(self) -> &'p [u8] {
        &self.0[HEADER_BYTES..HEADER_BYTES + self.prefix_bytes()]
    }

    /// Where that is in the page, and how long.
    #[inline]
    pub(crate) fn prefix_place(self) -> (usize, usize) {
        (HEADER_BYTES, self.prefix_bytes())
    }

    /// A key without the prefix; that of a branch's slot 0 is empty and means nothing.
    #[inline]
    pub(crate) fn suffix(self, i: usize) -> &'p [u8] {
        let slot = self.slot(i);
        let at = slot.offset() + self.fixed_bytes();
        &self.0[at..at + slot.suffix_bytes()]
    }

    /// The part of a key that is kept in the slot.
    pub(crate) fn head(self, i: usize) -> u32 {
        self.slot(i).head()
    }

    /// Where that is in the page, and how long.
    #[inline]
    pub(crate) fn suffix_place(self, i: usize) -> (usize, usize) {
        let slot = self.slot(i);
        (slot.offset() + self.fixed_bytes(), slot.suffix_bytes())
    }

    /// A key in its two parts.
    #[inline]
    pub(crate) fn key(self, i: usize) -> Key<'p> {
        Key::new(self.prefix(), self.suffix(i))
    }

    /// Bytes that cells, slots and prefix take; what is left can be had by building anew.
    pub(crate) fn used_bytes(self) -> usize {
        self.slots_end() - HEADER_BYTES + self.0.len() - self.heap() - self.dead()
    }

    /// Where something is: from the header to the last slot, and from the first cell on.
    pub(crate) fn used(self) -> (Range<usize>, Range<usize>) {
        (0..self.slots_end(), self.heap()..self.0.len())
    }

    /// Whether the page should be joined with a neighbour.
    pub(crate) fn is_sparse(self) -> bool {
        self.count() < self.first_key() + 1 || self.used_bytes() < (self.0.len() - HEADER_BYTES) / 4
    }

    /// The first slot that has a key.
    #[inline]
    pub(crate) fn first_key(self) -> usize {
        usize::from(!self.is_leaf())
    }

    #[inline]
    fn prefix_bytes(self) -> usize {
        read_u16(self.0, PREFIX_AT)
    }

    fn heap(self) -> usize {
        read_u16(self.0, HEAP_AT)
    }

    /// Bytes of the heap that belong to no cell.
    pub(crate) fn dead(self) -> usize {
        read_u16(self.0, DEAD_AT)
    }

    fn has_runs(self) -> bool {
        read_u16(self.0, FLAGS_AT) & usize::from(FLAG_RUNS) != 0
    }

    #[inline]
    fn slots_at(self) -> usize {
        HEADER_BYTES + self.prefix_bytes()
    }

    fn slots_end(self) -> usize {
        self.slots_at() + self.count() * SLOT_BYTES
    }

    #[inline]
    fn slot(self, i: usize) -> Slot {
        let at = self.slots_at() + i * SLOT_BYTES;
        let bytes = self.0[at..at + SLOT_BYTES].first_chunk().expect("a slot has eight bytes");
        Slot(u64::from_le_bytes(*bytes))
    }

    /// All slots, for a search that checks the bounds once.
    #[inline]
    fn slots(self) -> &'p [[u8; SLOT_BYTES]] {
        self.0[self.slots_at()..self.slots_end()].as_chunks().0
    }

    /// What precedes the suffix in a cell.
    #[inline]
    fn fixed_bytes(self) -> usize {
        if self.is_leaf() { leaf::SIZE_BYTES } else { branch::PTR_BYTES }
    }

    /// The bytes of cell `i`: what precedes the suffix, and what follows it.
    fn body(self, i: usize) -> (&'p [u8], &'p [u8]) {
        let (at, fixed, suffix) =
            (self.slot(i).offset(), self.fixed_bytes(), self.slot(i).suffix_bytes());
        let tail = if self.is_leaf() { leaf::tail_bytes(self.0, at) } else { 0 };
        let tail_at = at + fixed + suffix;
        (&self.0[at..at + fixed], &self.0[tail_at..tail_at + tail])
    }

    fn cell_bytes(self, i: usize) -> usize {
        let (fixed, tail) = self.body(i);
        fixed.len() + self.slot(i).suffix_bytes() + tail.len()
    }

    /// A record or child, to build another page with.
    pub(crate) fn item(self, i: usize) -> Item<'p> {
        let (fixed, tail) = self.body(i);
        Item { key: self.key(i), fixed, tail }
    }
}

impl PageMut<'_> {
    pub(crate) fn view(&self) -> Page<'_> {
        Page(self.0)
    }

    /// Says where the page will be and who wrote it; the last change before it is sealed.
    pub(crate) fn stamp(&mut self, id: PageId, txn: TxnId) {
        self.put_u32(ID_AT, id.0);
        self.put_u32(TXN_AT, txn.low());
    }

    fn put_u16(&mut self, at: usize, value: usize) {
        let value = u16::try_from(value).expect("a page has less than 64 KiB");
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn put_slot(&mut self, i: usize, slot: Slot) {
        let at = self.view().slots_at() + i * SLOT_BYTES;
        self.0[at..at + SLOT_BYTES].copy_from_slice(&slot.0.to_le_bytes());
    }
}
