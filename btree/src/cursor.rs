//! Walking over the records of a tree, one by one, in both directions.
//!
//! [`Walk`] is a position: the branches from the root down with the child taken in each, and a
//! record of a leaf. A step stays within the leaf or goes up only as far as it must. It copies
//! nothing. [`Cursor`] is a walk that puts keys together in a buffer of its own.

use smallvec::SmallVec;

use crate::error::Result;
use crate::page::{Key, Page, Value};
use crate::pages::{PageRef, Source};
use crate::slice::Slice;
use crate::tree;
use crate::types::{PagePtr, TreeRoot};

/// A position in a tree.
///
/// Invariants, while it is on a record:
/// - `branches` leads from the root to the parent of `leaf`, each with the child that was taken;
/// - `at` is a record of `leaf`.
#[derive(Debug, Clone)]
pub(crate) struct Walk<'a, S> {
    source: S,
    root: TreeRoot,
    branches: SmallVec<[(PageRef<'a>, usize); 5]>,
    leaf: Option<PageRef<'a>>,
    at: usize,
}

/// Which end of a subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

impl<'a, S: Source<'a>> Walk<'a, S> {
    /// On no record yet.
    pub(crate) fn new(source: S, root: TreeRoot) -> Walk<'a, S> {
        Walk { source, root, branches: SmallVec::new(), leaf: None, at: 0 }
    }

    /// Whether there is a record here.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.leaf.is_some()
    }

    /// Goes to the first record.
    pub(crate) fn first(&mut self) -> Result<bool> {
        self.reach_end(End::First)
    }

    /// Goes to the last record.
    pub(crate) fn last(&mut self) -> Result<bool> {
        self.reach_end(End::Last)
    }

    /// Goes to the first record whose key is `key` or above.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        if !self.reach_leaf(key)? {
            return Ok(false);
        }
        let leaf = self.page();
        let at = leaf.find(key).unwrap_or_else(|at| at);
        if at == leaf.count() {
            return self.turn(End::First);
        }
        self.at = at;
        Ok(true)
    }

    /// Goes to the last record whose key is below `key`.
    pub(crate) fn seek_before(&mut self, key: &[u8]) -> Result<bool> {
        if !self.reach_leaf(key)? {
            return Ok(false);
        }
        let below = self.page().find(key).unwrap_or_else(|at| at);
        if below == 0 {
            return self.turn(End::Last);
        }
        self.at = below - 1;
        Ok(true)
    }

    /// Goes to the next record; on none, stays there.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool> {
        match &self.leaf {
            None => Ok(false),
            Some(leaf) if self.at + 1 < Page(leaf).count() => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => self.turn(End::First),
        }
    }

    /// Goes to the record before; on none, stays there.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<bool> {
        match &self.leaf {
            None => Ok(false),
            Some(_) if self.at > 0 => {
                self.at -= 1;
                Ok(true)
            }
            Some(_) => self.turn(End::Last),
        }
    }

    /// The leaf, and which of its records this is. Must be on a record, as all below.
    #[inline]
    pub(crate) fn page(&self) -> Page<'_> {
        Page(self.leaf.as_ref().expect("the walk is on a record"))
    }

    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes to another record of the same leaf.
    #[inline]
    pub(crate) fn set_at(&mut self, at: usize) {
        debug_assert!(at < self.page().count(), "the record is in the leaf");
        self.at = at;
    }

    #[inline]
    pub(crate) fn key_parts(&self) -> Key<'_> {
        self.page().key(self.at)
    }

    /// The key in a slice of its own.
    #[inline]
    pub(crate) fn key(&self) -> Slice<'a> {
        let place = self.page().suffix_place(self.at);
        self.key_at(self.leaf.as_ref().expect("the walk is on a record"), place)
    }

    /// The key and the value.
    #[inline]
    pub(crate) fn record(&self) -> Result<(Slice<'a>, Slice<'a>)> {
        let leaf = self.leaf.as_ref().expect("the walk is on a record");
        let (suffix_at, suffix, value) = Page(leaf).record(self.at);
        let key = self.key_at(leaf, (suffix_at, suffix));
        match value {
            Value::Inline { start, len } => Ok((key, leaf.slice(start, len))),
            Value::Run(ptr) => Ok((key, self.source.run(ptr)?)),
        }
    }

    #[inline]
    fn key_at(&self, leaf: &PageRef<'a>, suffix: (usize, usize)) -> Slice<'a> {
        let prefix = Page(leaf).prefix_place();
        if prefix.1 == 0 {
            return leaf.slice(suffix.0, suffix.1);
        }
        Slice::joined_within(leaf, prefix, suffix)
    }

    #[inline]
    pub(crate) fn value(&self) -> Result<Slice<'a>> {
        let leaf = self.leaf.as_ref().expect("the walk is on a record");
        tree::value(self.source, leaf, self.at)
    }

    /// On no record.
    pub(crate) fn leave(&mut self) {
        self.branches.clear();
        self.leaf = None;
    }

    fn reach_end(&mut self, end: End) -> Result<bool> {
        self.leave();
        if self.root.ptr.is_none() {
            return Ok(false);
        }
        self.dive(self.root.ptr, self.root.level, end)?;
        Ok(true)
    }

    /// Goes from a page down to the first or last record below it.
    fn dive(&mut self, mut ptr: PagePtr, level: u8, end: End) -> Result<()> {
        for level in (0..=level).rev() {
            let page = match self.source.page_at(ptr, level) {
                Ok(page) => page,
                Err(error) => {
                    self.leave();
                    return Err(error);
                }
            };
            let at = if end == End::First { 0 } else { Page(&page).count() - 1 };
            if level == 0 {
                self.leaf = Some(page);
                self.at = at;
            } else {
                ptr = Page(&page).child(at);
                self.branches.push((page, at));
            }
        }
        Ok(())
    }

    /// Goes to the leaf that `key` belongs to; `at` is not set.
    fn reach_leaf(&mut self, key: &[u8]) -> Result<bool> {
        if self.is_on() && self.is_here(key) {
            return Ok(true);
        }
        self.leave();
        if self.root.ptr.is_none() {
            return Ok(false);
        }
        let mut page = self.source.page_at(self.root.ptr, self.root.level)?;
        for level in (0..self.root.level).rev() {
            let branch = Page(&page);
            let at = branch.find_child(key);
            let child = branch.child(at);
            self.branches.push((page, at));
            page = self.source.page_at(child, level).inspect_err(|_| self.branches.clear())?;
        }
        self.leaf = Some(page);
        Ok(true)
    }

    /// Whether the key is between the first and the last of this leaf: a seek close to where the
    /// walk is needs no way down.
    fn is_here(&self, key: &[u8]) -> bool {
        let leaf = self.page();
        leaf.key(0).cmp(key).is_le() && leaf.key(leaf.count() - 1).cmp(key).is_ge()
    }

    /// Goes to the first record of the next leaf, or to the last of the one before.
    #[cold]
    fn turn(&mut self, end: End) -> Result<bool> {
        self.leaf = None;
        while let Some((page, at)) = self.branches.last_mut() {
            let branch = Page(page);
            let sibling = match end {
                End::First => Some(*at + 1).filter(|at| *at < branch.count()),
                End::Last => at.checked_sub(1),
            };
            let Some(sibling) = sibling else {
                self.branches.pop();
                continue;
            };
            *at = sibling;
            let (child, level) = (branch.child(sibling), branch.level() - 1);
            self.dive(child, level, end)?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// A position that moves over the records of one tree as a snapshot, or a write transaction at this
/// moment, has them.
///
/// It starts on no record; so it is after it ran past an end, or after an error. From there
/// [`next`](Cursor::next) and [`prev`](Cursor::prev) lead nowhere, and all others do.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a, S> {
    walk: Walk<'a, S>,
    key: Vec<u8>,
}

impl<'a, S: Source<'a>> Cursor<'a, S> {
    pub(crate) fn new(source: S, root: TreeRoot) -> Cursor<'a, S> {
        Cursor { walk: Walk::new(source, root), key: Vec::new() }
    }

    /// Goes to the first record; false if there is none.
    pub(crate) fn first(&mut self) -> Result<bool> {
        self.walk.first().map(|is_on| self.load(is_on))
    }

    /// Goes to the last record; false if there is none.
    pub(crate) fn last(&mut self) -> Result<bool> {
        self.walk.last().map(|is_on| self.load(is_on))
    }

    /// Goes to the first record whose key is `key` or above; false if there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.walk.seek(key).map(|is_on| self.load(is_on))
    }

    /// Goes to the last record whose key is below `key`; false if there is none.
    pub(crate) fn seek_before(&mut self, key: &[u8]) -> Result<bool> {
        self.walk.seek_before(key).map(|is_on| self.load(is_on))
    }

    /// Goes one record on; false at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool> {
        self.walk.next().map(|is_on| self.load(is_on))
    }

    /// Goes one record back; false at the beginning.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<bool> {
        self.walk.prev().map(|is_on| self.load(is_on))
    }

    /// The key of the record here, until the cursor moves.
    #[inline]
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.walk.is_on().then_some(&*self.key)
    }

    /// The value of the record here.
    #[inline]
    pub(crate) fn value(&self) -> Result<Option<Slice<'a>>> {
        if self.walk.is_on() { self.walk.value().map(Some) } else { Ok(None) }
    }

    #[inline]
    fn load(&mut self, is_on: bool) -> bool {
        if is_on {
            let leaf = self.walk.page();
            self.key.clear();
            self.key.extend_from_slice(leaf.prefix());
            self.key.extend_from_slice(leaf.suffix(self.walk.at()));
        }
        is_on
    }
}
