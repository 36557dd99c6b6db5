//! The private pages and values of a write transaction, and what it no longer needs.

use std::sync::Arc;

use super::buffer::{Buffer, Supply};
use super::slab::Slab;
use crate::error::{Damage, Error, Result};
use crate::page::{Page, PageMut};
use crate::pages::{PageRef, Pages, Source};
use crate::slice::Slice;
use crate::types::{Extent, PageId, PagePtr, RunPtr};

/// What a draft has written and freed so far.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    page_bytes: usize,
    pub(super) pages: Slab<Buffer>,
    pub(super) runs: Slab<Box<[u8]>>,
    /// Committed pages that the draft does not use any more, in the order in which they were freed.
    pub(super) freed: Vec<Extent>,
    spare: Vec<Buffer>,
    /// Who gives more of them.
    supply: Option<Arc<dyn Supply>>,
}

impl Dirty {
    pub(super) fn new(page_bytes: usize, spare: Vec<Buffer>) -> Dirty {
        debug_assert!(
            spare.iter().all(|buffer| buffer.len() == page_bytes),
            "spare pages are pages"
        );
        Dirty { page_bytes, spare, ..Dirty::default() }
    }

    pub(super) fn set_supply(&mut self, supply: Arc<dyn Supply>) {
        self.supply = Some(supply);
    }

    pub(super) fn bytes(&self) -> usize {
        self.pages.bytes() + self.runs.bytes()
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    #[inline]
    pub(super) fn page(&self, slot: u32) -> Page<'_> {
        Page(self.pages.buffer(slot))
    }

    #[inline]
    pub(super) fn page_mut(&mut self, slot: u32) -> PageMut<'_> {
        PageMut(self.pages.buffer_mut(slot))
    }

    /// A page's worth of memory with anything in it.
    #[inline]
    pub(super) fn buffer(&mut self) -> Buffer {
        self.spare.pop().unwrap_or_else(|| self.new_buffer())
    }

    #[cold]
    fn new_buffer(&mut self) -> Buffer {
        if let Some(supply) = &self.supply {
            supply.supply(&mut self.spare);
        }
        self.spare.pop().unwrap_or_else(|| Buffer::new(self.page_bytes))
    }

    /// Takes back what [`buffer`](Self::buffer) gave and nobody needs.
    pub(super) fn recycle(&mut self, buffer: Buffer) {
        self.spare.push(buffer);
    }

    pub(super) fn add(&mut self, page: Buffer) -> u32 {
        self.pages.insert(page)
    }

    /// Puts another page in the place of a private one.
    pub(super) fn replace(&mut self, slot: u32, page: Buffer) {
        let old = std::mem::replace(self.pages.buffer_mut(slot), page);
        self.spare.push(old);
    }

    /// Whether the page may be changed where it is.
    #[inline]
    pub(super) fn is_own(&self, ptr: PagePtr) -> bool {
        ptr.slot().is_some_and(|slot| !self.pages.is_frozen(slot))
    }

    /// A copy of a page, but for what lies between its slots and its cells.
    pub(super) fn copy(&mut self, page: &[u8]) -> Buffer {
        let mut buffer = self.buffer();
        let bytes = &mut *buffer;
        let (slots, cells) = Page(page).used();
        bytes[slots.clone()].copy_from_slice(&page[slots]);
        bytes[cells.clone()].copy_from_slice(&page[cells]);
        buffer
    }

    /// A private copy of a frozen page.
    pub(super) fn thaw(&mut self, slot: u32) -> u32 {
        let mut buffer = self.buffer();
        buffer.copy_from_slice(self.pages.buffer(slot));
        self.free_page(PagePtr::draft(slot));
        self.pages.insert(buffer)
    }

    /// Says that the tree does not use the page any more.
    pub(super) fn free_page(&mut self, ptr: PagePtr) {
        match ptr.slot() {
            Some(slot) => self.spare.extend(self.pages.remove(slot)),
            None => self.freed.push(Extent { first: ptr.id, pages: 1 }),
        }
    }

    pub(super) fn add_run(&mut self, value: &[u8]) -> RunPtr {
        let bytes = u32::try_from(value.len()).expect("the length was checked");
        RunPtr::draft(self.runs.insert(value.into()), bytes)
    }

    pub(super) fn free_run(&mut self, ptr: RunPtr) {
        match ptr.slot() {
            Some(slot) => drop(self.runs.remove(slot)),
            None => self.freed.push(ptr.extent(self.page_bytes)),
        }
    }

    pub(super) fn mark(&mut self) {
        self.pages.mark();
        self.runs.mark();
    }

    /// `freed` is how many extents were freed at the mark.
    pub(super) fn rollback(&mut self, depth: usize, freed: usize) {
        self.pages.rollback(depth, &mut self.spare);
        self.runs.rollback(depth, &mut Vec::new());
        self.freed.truncate(freed);
    }

    pub(super) fn release(&mut self, depth: usize) {
        self.pages.release(depth, &mut self.spare);
        self.runs.release(depth, &mut Vec::new());
    }

    /// Everything that could serve as a page again.
    pub(super) fn into_spare(self) -> Vec<Buffer> {
        let mut spare = self.spare;
        spare.extend(self.pages.into_buffers());
        spare
    }
}

/// Committed pages with a draft's own on top.
#[derive(Debug)]
pub(crate) struct Overlay<'a, P> {
    pages: &'a P,
    dirty: &'a Dirty,
}

impl<'a, P> Overlay<'a, P> {
    pub(super) fn new(pages: &'a P, dirty: &'a Dirty) -> Overlay<'a, P> {
        Overlay { pages, dirty }
    }
}

impl<P> Clone for Overlay<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Overlay<'_, P> {}

impl<'a, P: Pages> Source<'a> for Overlay<'a, P> {
    #[inline]
    fn page(self, ptr: PagePtr) -> Result<PageRef<'a>> {
        match ptr.slot() {
            Some(slot) => Ok(PageRef::Borrowed(self.dirty.pages.buffer(slot))),
            None => self.pages.page(ptr),
        }
    }

    fn run(self, ptr: RunPtr) -> Result<Slice<'a>> {
        match ptr.slot() {
            Some(slot) => Ok(Slice::borrowed(self.dirty.runs.buffer(slot))),
            None => self.pages.run(ptr),
        }
    }

    fn page_count(self) -> u32 {
        // What is private is not in the file yet.
        let private = u32::try_from(self.dirty.pages.len()).unwrap_or(u32::MAX);
        self.pages.page_count().saturating_add(private)
    }

    fn corrupt(self, page: PageId, what: Damage) -> Error {
        self.pages.corrupt(page, what)
    }
}
