//! What a branch's cell holds beside the separator: the pointer to a child.

use super::{Page, PageMut};
use crate::types::PagePtr;

/// Bytes in front of the suffix.
pub(super) const PTR_BYTES: usize = PagePtr::BYTES;

impl Page<'_> {
    /// The pointer to child `i`.
    #[inline]
    pub(crate) fn child(self, i: usize) -> PagePtr {
        let at = self.slot(i).offset();
        let bytes = self.0[at..at + PTR_BYTES].first_chunk().expect("a pointer has twelve bytes");
        PagePtr::decode(*bytes)
    }
}

impl PageMut<'_> {
    /// Says where child `i` is now.
    pub(crate) fn patch_child(&mut self, i: usize, ptr: PagePtr) {
        let at = self.view().slot(i).offset();
        self.0[at..at + PTR_BYTES].copy_from_slice(&ptr.encode());
    }
}

/// The children of a branch from left to right; none of a leaf.
pub(crate) fn children(page: Page<'_>) -> impl DoubleEndedIterator<Item = PagePtr> {
    let count = if page.is_leaf() { 0 } else { page.count() };
    (0..count).map(move |i| page.child(i))
}
