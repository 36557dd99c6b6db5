//! Changing a page in place, as long as that is cheap.

use super::{COUNT_AT, DEAD_AT, HEAP_AT, Item, Key, PageMut, SLOT_BYTES, Slot, head_of, leaf};
use crate::types::{PagePtr, RunPtr};

/// What a cell holds beside its key, encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'c> {
    fixed: [u8; PagePtr::BYTES],
    fixed_bytes: usize,
    tail: Tail<'c>,
}

#[derive(Debug, Clone, Copy)]
enum Tail<'c> {
    Value(&'c [u8]),
    Run([u8; RunPtr::BYTES]),
}

impl<'c> Cell<'c> {
    /// A record whose value is kept in the page.
    pub(crate) fn value(value: &'c [u8]) -> Cell<'c> {
        Cell::record(leaf::size_inline(value.len()), Tail::Value(value))
    }

    /// A record whose value is elsewhere.
    pub(crate) fn run(ptr: RunPtr) -> Cell<'c> {
        Cell::record(leaf::SIZE_OF_RUN, Tail::Run(ptr.encode()))
    }

    /// A child of a branch.
    pub(crate) fn child(ptr: PagePtr) -> Cell<'c> {
        Cell { fixed: ptr.encode(), fixed_bytes: PagePtr::BYTES, tail: Tail::Value(&[]) }
    }

    fn record(size: [u8; leaf::SIZE_BYTES], tail: Tail<'c>) -> Cell<'c> {
        let mut fixed = [0; PagePtr::BYTES];
        fixed[..size.len()].copy_from_slice(&size);
        Cell { fixed, fixed_bytes: size.len(), tail }
    }

    fn fixed(&self) -> &[u8] {
        &self.fixed[..self.fixed_bytes]
    }

    fn tail(&self) -> &[u8] {
        match &self.tail {
            Tail::Value(bytes) => bytes,
            Tail::Run(bytes) => bytes,
        }
    }

    fn is_run(&self) -> bool {
        matches!(self.tail, Tail::Run(_))
    }

    /// The cell with its key, to build a page with.
    pub(crate) fn item<'k>(&'k self, key: &'k [u8]) -> Item<'k> {
        Item { key: Key::new(&[], key), fixed: self.fixed(), tail: self.tail() }
    }
}

impl PageMut<'_> {
    /// Puts a cell in front of slot `i`; false, and nothing is changed, if the key does not begin
    /// with the prefix or there is no room without building anew.
    pub(crate) fn insert(&mut self, i: usize, key: &[u8], cell: &Cell<'_>) -> bool {
        let page = self.view();
        let Some(suffix) = key.strip_prefix(page.prefix()) else { return false };
        let (fixed, tail) = (cell.fixed(), cell.tail());
        let cell_bytes = fixed.len() + suffix.len() + tail.len();
        let (count, slots_end, heap) = (page.count(), page.slots_end(), page.heap());
        debug_assert!(i <= count, "a slot follows another");
        if slots_end + SLOT_BYTES + cell_bytes > heap {
            return false;
        }
        let slot_at = page.slots_at() + i * SLOT_BYTES;
        let offset = heap - cell_bytes;
        let suffix_at = offset + fixed.len();
        let tail_at = suffix_at + suffix.len();
        self.0[offset..suffix_at].copy_from_slice(fixed);
        self.0[suffix_at..tail_at].copy_from_slice(suffix);
        self.0[tail_at..heap].copy_from_slice(tail);
        self.0.copy_within(slot_at..slots_end, slot_at + SLOT_BYTES);
        self.put_slot(i, Slot::new(offset, suffix.len(), head_of(suffix)));
        self.put_u16(COUNT_AT, count + 1);
        self.put_u16(HEAP_AT, offset);
        if cell.is_run() {
            self.note_run();
        }
        true
    }

    /// Removes slot `i` and its cell. The last one may go too; such a page is not valid.
    pub(crate) fn remove(&mut self, i: usize) {
        let page = self.view();
        let (offset, bytes) = (page.slot(i).offset(), page.cell_bytes(i));
        let (count, slots_end, heap, dead) =
            (page.count(), page.slots_end(), page.heap(), page.dead());
        let slot_at = page.slots_at() + i * SLOT_BYTES;
        self.0.copy_within(slot_at + SLOT_BYTES..slots_end, slot_at);
        self.put_u16(COUNT_AT, count - 1);
        if offset == heap {
            self.put_u16(HEAP_AT, heap + bytes);
        } else {
            self.put_u16(DEAD_AT, dead + bytes);
        }
    }

    /// Gives child `i` of a branch another separator; false, and nothing is changed, if that cannot
    /// be without building the page anew.
    pub(crate) fn replace_key(&mut self, i: usize, key: &[u8]) -> bool {
        let page = self.view();
        debug_assert!(i >= page.first_key() && !page.is_leaf(), "only separators are replaced");
        let Some(suffix) = key.strip_prefix(page.prefix()) else { return false };
        let (slot, fixed, dead) = (page.slot(i), page.fixed_bytes(), page.dead());
        let (slots_end, heap) = (page.slots_end(), page.heap());
        let old = slot.suffix_bytes();
        let mut offset = slot.offset();
        if suffix.len() <= old {
            self.put_u16(DEAD_AT, dead + old - suffix.len());
        } else {
            let cell_bytes = fixed + suffix.len();
            if slots_end + cell_bytes > heap {
                return false;
            }
            self.0.copy_within(offset..offset + fixed, heap - cell_bytes);
            offset = heap - cell_bytes;
            self.put_u16(HEAP_AT, offset);
            self.put_u16(DEAD_AT, dead + fixed + old);
        }
        let suffix_at = offset + fixed;
        self.0[suffix_at..suffix_at + suffix.len()].copy_from_slice(suffix);
        self.put_slot(i, Slot::new(offset, suffix.len(), head_of(suffix)));
        true
    }

    /// Makes child 0 of what was child 1 after slot 0 of a branch was removed: its key goes.
    pub(crate) fn forget_first_key(&mut self) {
        let slot = self.view().slot(0);
        debug_assert!(!self.view().is_leaf(), "all records of a leaf have keys");
        let dead = self.view().dead() + slot.suffix_bytes();
        self.put_slot(0, Slot::new(slot.offset(), 0, 0));
        self.put_u16(DEAD_AT, dead);
    }
}
