//! A write transaction's own state: private pages, and the roots they hang from.
//!
//! **The problem.** A transaction must be able to change a million records, to see its own changes,
//! to go back to a savepoint, and to vanish without a trace; readers must not notice any of it.
//!
//! **The idea.** Nothing that is committed is ever changed. The draft copies each page on the way
//! to a change, once, and a copy's parent is a copy too, up to a root that only the draft knows:
//!
//! ```text
//!      committed root          draft's root ─ slot 3
//!          │    └──────────┐      │    └───── (still the committed page)
//!        page 17         page 9   slot 1
//!        │     └─ page 12         │   └────── (still page 12)
//!      page 40                  slot 0 ◄───── the record that was put
//! ```
//!
//! In memory a pointer to a private page names its slot in the slab. *Sealing* puts the number and
//! the checksum of each private page that is still reached into its parent, from the leaves up. A
//! page gets its number when it is made, and with it the place in memory where it will stay, so
//! that it is not copied again (see [`buffer`]). Numbers of pages that came and went within the
//! transaction are used for others, or given back.
//!
//! **Savepoints** freeze what the slab holds; see [`slab`].
//!
//! **After an error** of a put, a delete or a range delete the records are as they were before the
//! call.

mod buffer;
mod cut;
mod dirty;
mod edit;
#[cfg(test)]
mod hostile;
mod pack;
mod put;
mod relocate;
mod remove;
mod seal;
mod share;
mod slab;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cursor::Walk;
use crate::error::{Error, Result};
use crate::forest::{Entry, Forest, NAME_BYTES_MAX, TREES_MAX, position};
use crate::pages::Pages;
use crate::slice::Slice;
use crate::tree;
use crate::types::{TreeId, TreeRoot};

use self::dirty::Dirty;
use self::edit::{Edit, Hint};

pub(crate) use buffer::{Buffer, Supply};
pub(crate) use dirty::Overlay;
pub(crate) use pack::{WINDOW, is_worth, pages_packed};
pub use put::VALUE_BYTES_MAX;
pub(crate) use relocate::{Found, Search, find_high};
pub(crate) use seal::{Allocate, Sealed, SealedPage, SealedRun};

/// Page buffers to use again: give those of the last draft to the next.
#[derive(Debug, Default)]
pub(crate) struct Spare(pub Vec<Buffer>);

/// Everything a write transaction has changed so far. Dropping it is the rollback.
#[derive(Debug)]
pub(crate) struct Draft {
    base: Forest,
    entries: Vec<Entry>,
    next: TreeId,
    /// The tree of names; but for relocations it is changed when the draft is sealed.
    catalog: TreeRoot,
    dirty: Dirty,
    /// Where the last put went.
    hint: Option<Hint>,
    hint_tree: TreeId,
    points: Vec<Point>,
    /// Distinguishes the savepoints of this draft from those of others.
    number: u64,
    /// How many savepoints there have been.
    point_count: u64,
}

/// A point to come back to, within one write transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    draft: u64,
    number: u64,
}

/// What a savepoint remembers beside the frozen slabs.
#[derive(Debug)]
struct Point {
    number: u64,
    entries: Vec<Entry>,
    next: TreeId,
    catalog: TreeRoot,
    freed: usize,
}

/// Stands for the catalog among the trees being relocated: no tree has this id.
pub(crate) const CATALOG: TreeId = TreeId(u32::MAX);

static DRAFTS: AtomicU64 = AtomicU64::new(0);

impl Draft {
    /// A draft of what comes after `base`.
    pub(crate) fn new(base: &Forest, page_bytes: usize, spare: Spare) -> Draft {
        Draft {
            base: base.clone(),
            entries: base.entries().to_vec(),
            next: base.next,
            catalog: base.catalog(),
            dirty: Dirty::new(page_bytes, spare.0),
            hint: None,
            hint_tree: TreeId::default(),
            points: Vec::new(),
            number: DRAFTS.fetch_add(1, Ordering::Relaxed),
            point_count: 0,
        }
    }

    /// The same draft, on pages that another one gives.
    pub(crate) fn supplied_by(mut self, supply: Arc<dyn Supply>) -> Draft {
        self.dirty.set_supply(supply);
        self
    }

    /// Bytes of private pages and values so far.
    pub(crate) fn bytes(&self) -> usize {
        self.dirty.bytes()
    }

    /// Whether nothing was changed: then there is nothing to commit.
    pub(crate) fn is_clean(&self) -> bool {
        let same = |(a, b): (&Entry, &Entry)| a.id == b.id && a.root == b.root;
        self.next == self.base.next
            && self.catalog == self.base.catalog()
            && self.entries.len() == self.base.entries.len()
            && self.entries.iter().zip(self.base.entries()).all(same)
    }

    /// All trees as they are now.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn tree(&self, name: &str) -> Option<TreeId> {
        self.entries.iter().find(|entry| &*entry.name == name).map(|entry| entry.id)
    }

    /// Finds the tree, or makes it, empty.
    pub(crate) fn create_tree(&mut self, name: &str) -> Result<TreeId> {
        if let Some(tree) = self.tree(name) {
            return Ok(tree);
        }
        if name.is_empty() {
            return Err(Error::Options { option: "name", rule: "a tree's name is not empty" });
        }
        if name.len() > NAME_BYTES_MAX {
            let (bytes, bytes_max) = (name.len() as u64, NAME_BYTES_MAX as u64);
            return Err(Error::TooLarge { bytes, bytes_max });
        }
        if self.entries.len() == TREES_MAX || self.next.0 == u32::MAX {
            return Err(Error::TooManyTrees { max: TREES_MAX });
        }
        let id = self.next;
        self.next.0 += 1;
        self.entries.push(Entry { id, name: Arc::from(name), root: TreeRoot::default() });
        Ok(id)
    }

    /// Drops the tree with all its records; false if there is none. Reads every page of it.
    pub(crate) fn drop_tree<P: Pages>(&mut self, pages: &P, tree: TreeId) -> Result<bool> {
        let Some(at) = position(&self.entries, tree) else { return Ok(false) };
        self.edit(pages, tree)?.clear()?;
        self.entries.remove(at);
        Ok(true)
    }

    /// The root of a tree as it is now, to read with [`overlay`](Self::overlay).
    pub(crate) fn root(&self, tree: TreeId) -> Result<TreeRoot> {
        position(&self.entries, tree).map(|at| self.entries[at].root).ok_or(Error::NoTree)
    }

    /// Committed pages with the draft's own on top.
    pub(crate) fn overlay<'a, P>(&'a self, pages: &'a P) -> Overlay<'a, P> {
        Overlay::new(pages, &self.dirty)
    }

    pub(crate) fn get<'a, P: Pages>(
        &'a self,
        pages: &'a P,
        tree: TreeId,
        key: &[u8],
    ) -> Result<Option<Slice<'a>>> {
        tree::get(self.overlay(pages), self.root(tree)?, key)
    }

    /// Sets a record; true if the key was there before.
    pub(crate) fn put<P: Pages>(
        &mut self,
        pages: &P,
        tree: TreeId,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool> {
        self.edit(pages, tree)?.put(key, value)
    }

    /// Removes a record; true if there was one.
    pub(crate) fn delete<P: Pages>(&mut self, pages: &P, tree: TreeId, key: &[u8]) -> Result<bool> {
        self.edit(pages, tree)?.delete(key)
    }

    /// Removes the records with `start <= key`, and `key < end` if there is an end; how many.
    pub(crate) fn delete_range<P: Pages>(
        &mut self,
        pages: &P,
        tree: TreeId,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<u64> {
        // A walk is cheap; the cut copies pages even if it removes nothing.
        if self.is_empty_range(pages, tree, start, end)? {
            return Ok(0);
        }
        self.edit(pages, tree)?.delete_range(start, end)
    }

    fn is_empty_range<P: Pages>(
        &self,
        pages: &P,
        tree: TreeId,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<bool> {
        let mut walk = Walk::new(self.overlay(pages), self.root(tree)?);
        Ok(!walk.seek(start)? || end.is_some_and(|end| walk.key_parts().cmp(end).is_ge()))
    }

    /// Gives the leaf that `key` of a tree belongs to a new place, with its way and its values, if
    /// any of it lies too high. A tree that is gone has none. What is in the way of a value is not
    /// looked for: it may get a higher place than it had.
    pub(crate) fn relocate<P: Pages>(
        &mut self,
        pages: &P,
        search: Search,
        tree: TreeId,
        key: &[u8],
    ) -> Result<()> {
        if tree == CATALOG {
            let (dirty, root) = (&mut self.dirty, &mut self.catalog);
            return Edit { pages, dirty, root, hint: &mut None }.relocate(search, key);
        }
        match self.edit(pages, tree) {
            Ok(mut edit) => edit.relocate(search, key),
            Err(_) => Ok(()),
        }
    }

    /// Remembers the state as it is now. They nest.
    pub(crate) fn savepoint(&mut self) -> Savepoint {
        self.hint = None;
        self.dirty.mark();
        let number = self.point_count;
        self.point_count += 1;
        self.points.push(Point {
            number,
            entries: self.entries.clone(),
            next: self.next,
            catalog: self.catalog,
            freed: self.dirty.freed.len(),
        });
        Savepoint { draft: self.number, number }
    }

    /// Makes the state what it was at the savepoint, which stays; later savepoints are gone.
    pub(crate) fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        let depth = self.depth(savepoint)?;
        self.hint = None;
        self.points.truncate(depth + 1);
        let point = &self.points[depth];
        self.entries.clone_from(&point.entries);
        self.next = point.next;
        self.catalog = point.catalog;
        self.dirty.rollback(depth, point.freed);
        Ok(())
    }

    /// Forgets the savepoint and those after it, and keeps the changes.
    pub(crate) fn release(&mut self, savepoint: Savepoint) -> Result<()> {
        let depth = self.depth(savepoint)?;
        self.hint = None;
        self.points.truncate(depth);
        self.dirty.release(depth);
        Ok(())
    }

    /// The rollback that keeps the buffers.
    pub(crate) fn into_spare(self) -> Spare {
        Spare(self.dirty.into_spare())
    }

    fn depth(&self, savepoint: Savepoint) -> Result<usize> {
        let is_it = |point: &Point| point.number == savepoint.number;
        let found = self.points.iter().position(is_it).filter(|_| savepoint.draft == self.number);
        found.ok_or(Error::NoSavepoint)
    }

    #[inline]
    fn edit<'e, P>(&'e mut self, pages: &'e P, tree: TreeId) -> Result<Edit<'e, P>> {
        let at = position(&self.entries, tree).ok_or(Error::NoTree)?;
        if self.hint_tree != tree {
            self.hint_tree = tree;
            self.hint = None;
        }
        let root = &mut self.entries[at].root;
        Ok(Edit { pages, dirty: &mut self.dirty, root, hint: &mut self.hint })
    }
}
