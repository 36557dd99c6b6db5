//! Removing a record, and joining pages that have become sparse.
//!
//! A page that is less than a quarter full is joined with a neighbour under the same parent; if the
//! two do not fit into one page they share their bytes evenly. That takes a record from the parent,
//! which may become sparse itself: the way down is walked again until nothing changes.

use smallvec::SmallVec;

use super::buffer::Buffer;
use super::edit::{Bounds, Edit, Path, Step};
use crate::error::Result;
use crate::page::{Bias, Item, Key, Page, Value, build, built_bytes, separator, split_point};
use crate::pages::Pages;
use crate::types::{PagePtr, TreeRoot};

/// The child taken in each branch on a way down.
type Taken = SmallVec<[usize; 8]>;

type Items<'i> = SmallVec<[Item<'i>; 64]>;

/// How often the way down is walked at most; a page left sparse is no error.
const WALKS_MAX: usize = 8;

/// The pages that two neighbours and their parent become.
struct Joined {
    left: Buffer,
    right: Buffer,
    parent: Buffer,
}

/// How many pages two neighbours become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    One,
    Two,
}

impl<P: Pages> Edit<'_, P> {
    /// Removes a record; true if there was one.
    pub(super) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        let Some((taken, at)) = self.locate(key)? else { return Ok(false) };
        *self.hint = None;
        let mut path = Path::new();
        let leaf = self.own_way(&taken, &mut path)?;
        let page = self.dirty.page(leaf);
        if let Value::Run(ptr) = page.value(at) {
            self.dirty.free_run(ptr);
        }
        self.dirty.page_mut(leaf).remove(at);
        self.root.records = self.root.records.saturating_sub(1);
        let page = self.dirty.page(leaf);
        if page.count() == 0 {
            self.prune(leaf, path);
            self.repair(key);
        } else if page.is_sparse() && self.root.level > 0 {
            self.repair(key);
        }
        Ok(true)
    }

    /// The children taken on the way to a record, and its place in the leaf, if there is one.
    /// Copies nothing: to look for what is not there must not cost a page.
    fn locate(&self, key: &[u8]) -> Result<Option<(Taken, usize)>> {
        let mut taken = Taken::new();
        if self.root.ptr.is_none() {
            return Ok(None);
        }
        let mut page = self.read(self.root.ptr, self.root.level)?;
        for level in (0..self.root.level).rev() {
            let branch = Page(&page);
            let at = branch.find_child(key);
            let child = branch.child(at);
            taken.push(at);
            page = self.read(child, level)?;
        }
        Ok(Page(&page).find(key).ok().map(|at| (taken, at)))
    }

    /// Makes the pages of a known way private.
    fn own_way(&mut self, taken: &[usize], path: &mut Path) -> Result<u32> {
        let mut slot = self.own_root()?;
        let mut bounds = Bounds::default();
        for at in taken {
            let count = self.dirty.page(slot).count();
            let child = self.own_child(slot, *at, bounds)?;
            bounds = bounds.of_child(slot, *at, count);
            path.push(Step { slot, at: *at });
            slot = child;
        }
        Ok(slot)
    }

    /// Takes an empty private page out of the tree, and each parent that thereby becomes empty.
    fn prune(&mut self, mut empty: u32, mut path: Path) {
        loop {
            self.dirty.free_page(PagePtr::draft(empty));
            let Some(step) = path.pop() else {
                *self.root = TreeRoot::default();
                return;
            };
            self.remove_child(step.slot, step.at);
            if self.dirty.page(step.slot).count() > 0 {
                return;
            }
            empty = step.slot;
        }
    }

    /// Takes a child out of a private branch, which may become empty.
    pub(super) fn remove_child(&mut self, slot: u32, at: usize) {
        let mut branch = self.dirty.page_mut(slot);
        branch.remove(at);
        if at == 0 && branch.view().count() > 0 {
            branch.forget_first_key();
        }
    }

    /// Joins sparse pages on the way to `key`. A neighbour that cannot be read stays as it is: the
    /// caller's change is done, and whoever asks for a record of that page gets the error.
    pub(super) fn repair(&mut self, key: &[u8]) {
        *self.hint = None;
        for _ in 0..WALKS_MAX {
            if self.root.ptr.is_none() || !self.repair_once(key).unwrap_or(false) {
                break;
            }
        }
    }

    /// One walk; true if anything was changed.
    fn repair_once(&mut self, key: &[u8]) -> Result<bool> {
        self.lower_root()?;
        if self.root.level == 0 {
            return Ok(false);
        }
        let mut changed = false;
        let mut slot = self.own_root()?;
        let mut bounds = Bounds::default();
        for level in (0..self.root.level).rev() {
            let branch = self.dirty.page(slot);
            let at = branch.find_child(key);
            let is_sparse = Page(&self.read(branch.child(at), level)?).is_sparse();
            if is_sparse && self.join(slot, at, bounds)? {
                changed = true;
            }
            if level == 0 {
                break;
            }
            let branch = self.dirty.page(slot);
            let (at, count) = (branch.find_child(key), branch.count());
            let child = self.own_child(slot, at, bounds)?;
            bounds = bounds.of_child(slot, at, count);
            slot = child;
        }
        Ok(changed)
    }

    /// While the root is a branch with one child, the child is the root.
    fn lower_root(&mut self) -> Result<()> {
        while self.root.level > 0 {
            let page = self.read(self.root.ptr, self.root.level)?;
            let root = Page(&page);
            if root.count() > 1 {
                break;
            }
            let (old, child) = (self.root.ptr, root.child(0));
            drop(page);
            self.dirty.free_page(old);
            self.root.ptr = child;
            self.root.level -= 1;
        }
        Ok(())
    }

    /// Joins child `at` of a private branch with a neighbour; false if that brings nothing.
    fn join(&mut self, slot: u32, at: usize, bounds: Bounds) -> Result<bool> {
        let count = self.dirty.page(slot).count();
        let lefts = [at.checked_sub(1), Some(at).filter(|at| at + 1 < count)];
        let [left, right, parent] = [(); 3].map(|()| self.dirty.buffer());
        let mut joined = Joined { left, right, parent };
        let mut done = None;
        for left in lefts.into_iter().flatten() {
            done = self.build_joined(slot, left, bounds, &mut joined)?.map(|join| (left, join));
            if done.is_some() {
                break;
            }
        }
        let Joined { left, right, parent } = joined;
        let Some((at, join)) = done else {
            for buffer in [left, right, parent] {
                self.dirty.recycle(buffer);
            }
            return Ok(false);
        };
        let branch = self.dirty.page(slot);
        let old = [branch.child(at), branch.child(at + 1)];
        for ptr in old {
            self.dirty.free_page(ptr);
        }
        let left = PagePtr::draft(self.dirty.add(left));
        match join {
            Join::One => {
                self.dirty.recycle(right);
                self.dirty.recycle(parent);
                self.remove_child(slot, at + 1);
            }
            Join::Two => {
                self.dirty.replace(slot, parent);
                let right = PagePtr::draft(self.dirty.add(right));
                self.dirty.page_mut(slot).patch_child(at + 1, right);
            }
        }
        self.dirty.page_mut(slot).patch_child(at, left);
        Ok(true)
    }

    /// Builds what children `at` and `at + 1` become, and the parent if a separator changes.
    fn build_joined(
        &self,
        slot: u32,
        at: usize,
        bounds: Bounds,
        joined: &mut Joined,
    ) -> Result<Option<Join>> {
        let branch = self.dirty.page(slot);
        let level = branch.level() - 1;
        let ptrs = [branch.child(at), branch.child(at + 1)];
        let pages = [self.read(ptrs[0], level)?, self.read(ptrs[1], level)?];
        let mut items = Items::new();
        for (i, page) in pages.iter().enumerate() {
            let page = Page(page);
            self.check_bounds(ptrs[i], page, bounds.of_child(slot, at + i, branch.count()))?;
            items.extend((0..page.count()).map(|i| page.item(i)));
        }
        let old = Page(&pages[0]).count();
        if level > 0 {
            items[old].key = branch.key(at + 1);
        }
        let page_bytes = joined.left.len();
        if built_bytes(level, &items) <= page_bytes - page_bytes / 8 {
            build(&mut joined.left, level, &items, 0);
            return Ok(Some(Join::One));
        }
        let lesser = |split: usize| {
            let (left, right) = items.split_at(split);
            built_bytes(level, left).min(built_bytes(level, right))
        };
        let split = split_point(page_bytes, level, &items, Bias::Middle);
        if lesser(split) <= lesser(old) {
            return Ok(None);
        }
        let (last, first) = (items[split - 1].key, items[split].key);
        let separator =
            if level == 0 { separator(last, first) } else { first.truncated(first.len()) };
        let mut parent: Items<'_> = (0..branch.count()).map(|i| branch.item(i)).collect();
        parent[at + 1].key = Key::new(&[], &separator);
        if built_bytes(level + 1, &parent) > page_bytes {
            return Ok(None);
        }
        build(&mut joined.left, level, &items[..split], 0);
        build(&mut joined.right, level, &items[split..], 0);
        build(&mut joined.parent, level + 1, &parent, 0);
        Ok(Some(Join::Two))
    }
}
