//! What a leaf's cell holds beside the key.

use super::{FLAG_RUNS, FLAGS_AT, Page, PageMut, SIZE_RUN, Slot, read_u16};
use crate::types::RunPtr;

/// Bytes in front of the suffix.
pub(super) const SIZE_BYTES: usize = 2;

/// A record's value as its cell has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// In the page, at `start`.
    Inline { start: usize, len: usize },
    /// Elsewhere.
    Run(RunPtr),
}

/// Bytes behind the suffix of the cell at `at`.
pub(super) fn tail_bytes(page: &[u8], at: usize) -> usize {
    read_u16(page, at) & !usize::from(SIZE_RUN)
}

pub(super) fn is_run(page: &[u8], at: usize) -> bool {
    read_u16(page, at) & usize::from(SIZE_RUN) != 0
}

/// What precedes the suffix of a value that is kept in the page.
pub(super) fn size_inline(len: usize) -> [u8; SIZE_BYTES] {
    debug_assert!(len < usize::from(SIZE_RUN), "the size of a value in a page has 15 bits");
    (len as u16).to_le_bytes()
}

pub(super) const SIZE_OF_RUN: [u8; SIZE_BYTES] = (SIZE_RUN | RunPtr::BYTES as u16).to_le_bytes();

impl Page<'_> {
    /// The value of record `i`.
    #[inline]
    pub(crate) fn value(self, i: usize) -> Value {
        self.record(i).2
    }

    /// Where the suffix of record `i` is, how long, and the value.
    #[inline]
    pub(crate) fn record(self, i: usize) -> (usize, usize, Value) {
        let slot = self.slot(i);
        let suffix_at = slot.offset() + SIZE_BYTES;
        (suffix_at, slot.suffix_bytes(), self.value_of(slot))
    }

    #[inline]
    fn value_of(self, slot: Slot) -> Value {
        let size = read_u16(self.0, slot.offset());
        let start = slot.offset() + SIZE_BYTES + slot.suffix_bytes();
        if size & usize::from(SIZE_RUN) == 0 {
            Value::Inline { start, len: size }
        } else {
            let bytes = self.0[start..].first_chunk().expect("the page was checked");
            Value::Run(RunPtr::decode(*bytes))
        }
    }
}

impl PageMut<'_> {
    /// Overwrites the value of record `i` by one of the same size and kind; false if it is not.
    pub(crate) fn overwrite(&mut self, i: usize, value: &[u8]) -> bool {
        match self.view().value(i) {
            Value::Inline { start, len } if len == value.len() => {
                self.0[start..start + len].copy_from_slice(value);
                true
            }
            _ => false,
        }
    }

    /// Says where the value of record `i`, which is a run, has got its place.
    pub(crate) fn patch_run(&mut self, i: usize, ptr: RunPtr) {
        let slot = self.view().slot(i);
        debug_assert!(is_run(self.0, slot.offset()), "only a run can be moved");
        let start = slot.offset() + SIZE_BYTES + slot.suffix_bytes();
        self.0[start..start + RunPtr::BYTES].copy_from_slice(&ptr.encode());
    }

    pub(super) fn note_run(&mut self) {
        let flags = read_u16(self.0, FLAGS_AT) | usize::from(FLAG_RUNS);
        self.put_u16(FLAGS_AT, flags);
    }
}

/// The values of a leaf that are elsewhere, with their slots. Reads no cell if there are none.
pub(crate) fn runs(page: Page<'_>) -> impl Iterator<Item = (usize, RunPtr)> {
    let count = if page.is_leaf() && page.has_runs() { page.count() } else { 0 };
    (0..count).filter_map(move |i| match page.value(i) {
        Value::Run(ptr) => Some((i, ptr)),
        Value::Inline { .. } => None,
    })
}
