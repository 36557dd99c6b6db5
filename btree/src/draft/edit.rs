//! Changing one tree: the way down, by which pages become private.
//!
//! A committed page is never changed. On its way to a leaf a writer copies each page into the draft
//! and lets the parent point to the copy; the next change on the same way finds the copies. Reading
//! goes before changing: an operation that fails because a page cannot be read has copied some
//! pages, which changes nothing that a reader could see.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::dirty::{Dirty, Overlay};
use crate::error::{Damage, Result};
use crate::page::Page;
use crate::pages::{PageRef, Pages, Source};
use crate::types::{PagePtr, TreeRoot};

/// One tree of a draft, being changed.
pub(super) struct Edit<'e, P> {
    pub pages: &'e P,
    pub dirty: &'e mut Dirty,
    pub root: &'e mut TreeRoot,
    pub hint: &'e mut Option<Hint>,
}

/// The leaf that was changed last. A key between the leaf's first and last key belongs there, and
/// so does one beyond its end if the tree ends there: no way down is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hint {
    pub leaf: u32,
    pub is_first: bool,
    pub is_last: bool,
}

/// A private branch on the way, and the child taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub slot: u32,
    pub at: usize,
}

/// The way from the root to above a leaf.
pub(super) type Path = SmallVec<[Step; 8]>;

/// Where the separators are that bound a page, if any do: branch and slot.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bounds {
    lower: Option<Step>,
    upper: Option<Step>,
}

impl Bounds {
    /// Those of a child.
    pub(super) fn of_child(self, slot: u32, at: usize, count: usize) -> Bounds {
        Bounds {
            lower: if at > 0 { Some(Step { slot, at }) } else { self.lower },
            upper: if at + 1 < count { Some(Step { slot, at: at + 1 }) } else { self.upper },
        }
    }
}

impl<P: Pages> Edit<'_, P> {
    /// The committed pages with those of the draft on top.
    pub(super) fn overlay(&self) -> Overlay<'_, P> {
        Overlay::new(self.pages, self.dirty)
    }

    pub(super) fn read(&self, ptr: PagePtr, level: u8) -> Result<PageRef<'_>> {
        self.overlay().page_at(ptr, level)
    }

    /// The private copy of a page, made if need be.
    ///
    /// A page is copied once and trusted from then on. So this is where its keys are held against
    /// the separators above: were they outside, a split could later hand a separator upwards that
    /// is out of order there.
    fn own(&mut self, ptr: PagePtr, level: u8, bounds: Bounds) -> Result<u32> {
        if self.dirty.is_own(ptr) {
            return Ok(ptr.slot().expect("what is our own is in the slab"));
        }
        if let Some(slot) = ptr.slot() {
            return Ok(self.dirty.thaw(slot));
        }
        let page = self.pages.page_at(ptr, level)?;
        // The copy is checked, not the page: copying has brought all of it near.
        let copy = self.dirty.copy(&page);
        if let Err(error) = self.check_bounds(ptr, Page(&copy), bounds) {
            self.dirty.recycle(copy);
            return Err(error);
        }
        self.dirty.free_page(ptr);
        Ok(self.dirty.add(copy))
    }

    /// Whether the keys of a page are those that the separators promise.
    pub(super) fn check_bounds(&self, ptr: PagePtr, page: Page<'_>, bounds: Bounds) -> Result<()> {
        if page.count() <= page.first_key() {
            return Ok(());
        }
        let (first, last) = (page.first_key(), page.count() - 1);
        let separator = |step: Step| self.dirty.page(step.slot).key(step.at);
        let bad = |at: usize| self.pages.corrupt(ptr.id, Damage::Bounds(at as u16));
        if bounds.lower.is_some_and(|step| page.key(first).order(separator(step)) == Ordering::Less)
        {
            return Err(bad(first));
        }
        if bounds.upper.is_some_and(|step| page.key(last).order(separator(step)) != Ordering::Less)
        {
            return Err(bad(last));
        }
        Ok(())
    }

    /// Makes the root private.
    pub(super) fn own_root(&mut self) -> Result<u32> {
        let slot = self.own(self.root.ptr, self.root.level, Bounds::default())?;
        self.root.ptr = PagePtr::draft(slot);
        Ok(slot)
    }

    /// Makes child `at` of a private branch private.
    pub(super) fn own_child(&mut self, slot: u32, at: usize, bounds: Bounds) -> Result<u32> {
        let branch = self.dirty.page(slot);
        let (child, level) = (branch.child(at), branch.level() - 1);
        let own = self.own(child, level, bounds.of_child(slot, at, branch.count()))?;
        if child != PagePtr::draft(own) {
            self.dirty.page_mut(slot).patch_child(at, PagePtr::draft(own));
        }
        Ok(own)
    }

    /// Makes all pages from the root to the leaf that `key` belongs to private; without a key, to
    /// the last leaf. The tree is not empty.
    pub(super) fn descend(&mut self, key: Option<&[u8]>, path: &mut Path) -> Result<Hint> {
        let mut slot = self.own_root()?;
        let mut bounds = Bounds::default();
        let (mut is_first, mut is_last) = (true, true);
        for _ in 0..self.root.level {
            let branch = self.dirty.page(slot);
            let count = branch.count();
            let at = key.map_or(count - 1, |key| branch.find_child(key));
            let child = self.own_child(slot, at, bounds)?;
            path.push(Step { slot, at });
            bounds = bounds.of_child(slot, at, count);
            is_first &= at == 0;
            is_last &= at + 1 == count;
            slot = child;
        }
        Ok(Hint { leaf: slot, is_first, is_last })
    }
}
