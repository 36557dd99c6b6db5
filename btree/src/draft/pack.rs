//! Packing: the records of neighbouring leaves in fewer of them.
//!
//! ```text
//!    branch   [ · │ · │ · │ · │ · │ · ]            [ · │ · │ · ]
//!               │   │   │   │   │   │       ──►      │   │   │
//!    leaves    ▂▂  ▄▄  ▃▃  ▂▂  ▄▄  ▃▃               ▇▇  ▇▇  ▆▆
//! ```
//!
//! A page is joined with a neighbour as soon as it is less than a quarter full, and not before, or
//! it would be split again by the next few puts. So a tree that has lost every other record is
//! about as large as before. Compaction looks for up to [`WINDOW`] neighbours under one branch
//! whose records fit into three quarters as many pages, and fills those but for a sixteenth.
//!
//! Left out: branches, which are one page of a hundred, and leaves of different branches.

use smallvec::SmallVec;

use super::buffer::Buffer;
use super::edit::{Bounds, Edit};
use crate::error::Result;
use crate::page::{Cell, Item, Page, build, built_bytes, fitting, separator};
use crate::pages::{PageRef, Pages, Source};
use crate::types::PagePtr;

/// Leaves that are packed together, at most.
pub(crate) const WINDOW: usize = 16;

/// How many pages the records of leaves would take, each as full as packing makes it: `used` is
/// what the leaves have in them.
pub(crate) fn pages_packed(page_bytes: usize, used: usize) -> usize {
    used.div_ceil(fill_bytes(page_bytes)).max(1)
}

/// Whether so few pages instead of so many are worth being written.
pub(crate) fn is_worth(packed: usize, leaves: usize) -> bool {
    4 * packed <= 3 * leaves
}

/// Some room is left: the next put should not split the page.
fn fill_bytes(page_bytes: usize) -> usize {
    page_bytes - page_bytes / 16
}

/// How many leaves from child `at` of a branch on should be packed; `None` if that brings nothing.
pub(super) fn packable<'a, S: Source<'a>>(
    source: S,
    branch: Page<'_>,
    at: usize,
    page_bytes: usize,
) -> Result<Option<usize>> {
    let (mut used, mut best) = (0, None);
    for (i, at) in (at..branch.count().min(at + WINDOW)).enumerate() {
        let leaf = source.page_at(branch.child(at), 0)?;
        used += Page(&leaf).used_bytes();
        let (leaves, packed) = (i + 1, pages_packed(page_bytes, used));
        // The fewest pages for each leaf; of equals, the most leaves.
        let is_better = |(n, m): (usize, usize)| packed * n <= m * leaves;
        if is_worth(packed, leaves) && best.is_none_or(is_better) {
            best = Some((leaves, packed));
        }
    }
    Ok(best.map(|(leaves, _)| leaves))
}

/// What a branch and some of its leaves become.
struct Packed {
    leaves: Vec<Buffer>,
    parent: Buffer,
}

impl<P: Pages> Edit<'_, P> {
    /// Packs the leaf of `key` and those after it, if it should be; false if nothing was changed.
    pub(super) fn pack(&mut self, key: &[u8]) -> Result<bool> {
        if self.root.ptr.is_none() || self.root.level == 0 || !self.is_packable(key)? {
            return Ok(false);
        }
        *self.hint = None;
        let (slot, bounds) = self.own_branch(key)?;
        let at = self.dirty.page(slot).find_child(key);
        let page_bytes = self.dirty.page_bytes();
        let leaves = packable(self.overlay(), self.dirty.page(slot), at, page_bytes)?;
        let Some(leaves) = leaves else { return Ok(false) };
        let mut buffers: Vec<Buffer> = (0..=leaves).map(|_| self.dirty.buffer()).collect();
        let packed = self.build_packed(slot, at, leaves, bounds, &mut buffers);
        buffers.into_iter().for_each(|buffer| self.dirty.recycle(buffer));
        let Some(Packed { leaves: packed, parent }) = packed? else { return Ok(false) };
        for at in at..at + leaves {
            let old = self.dirty.page(slot).child(at);
            self.dirty.free_page(old);
        }
        self.dirty.replace(slot, parent);
        for (i, leaf) in packed.into_iter().enumerate() {
            let leaf = PagePtr::draft(self.dirty.add(leaf));
            self.dirty.page_mut(slot).patch_child(at + i, leaf);
        }
        if self.dirty.page(slot).is_sparse() {
            self.repair(key);
        }
        Ok(true)
    }

    /// A look that copies nothing.
    fn is_packable(&self, key: &[u8]) -> Result<bool> {
        let mut ptr = self.root.ptr;
        for level in (1..=self.root.level).rev() {
            let page = self.read(ptr, level)?;
            let (branch, at) = (Page(&page), Page(&page).find_child(key));
            if level == 1 {
                let leaves = packable(self.overlay(), branch, at, self.dirty.page_bytes())?;
                return Ok(leaves.is_some());
            }
            ptr = branch.child(at);
        }
        Ok(false)
    }

    /// Makes the way to the branch above a leaf private. The root is a branch.
    fn own_branch(&mut self, key: &[u8]) -> Result<(u32, Bounds)> {
        let mut slot = self.own_root()?;
        let mut bounds = Bounds::default();
        for _ in 1..self.root.level {
            let branch = self.dirty.page(slot);
            let (at, count) = (branch.find_child(key), branch.count());
            let child = self.own_child(slot, at, bounds)?;
            bounds = bounds.of_child(slot, at, count);
            slot = child;
        }
        Ok((slot, bounds))
    }

    /// Builds what `leaves` children of a branch from `at` on become, and the branch, in some of
    /// the buffers.
    fn build_packed(
        &self,
        slot: u32,
        at: usize,
        leaves: usize,
        bounds: Bounds,
        buffers: &mut Vec<Buffer>,
    ) -> Result<Option<Packed>> {
        let branch = self.dirty.page(slot);
        let mut pages: SmallVec<[PageRef<'_>; WINDOW]> = SmallVec::new();
        for at in at..at + leaves {
            let page = self.read(branch.child(at), 0)?;
            self.check_bounds(
                branch.child(at),
                Page(&page),
                bounds.of_child(slot, at, branch.count()),
            )?;
            pages.push(page);
        }
        let pages = pages.iter().map(|page| Page(page));
        let items: Vec<Item<'_>> =
            pages.flat_map(|page| (0..page.count()).map(move |i| page.item(i))).collect();
        let page_bytes = self.dirty.page_bytes();
        let (mut starts, mut end) = (Vec::new(), 0);
        while end < items.len() {
            starts.push(end);
            end += fitting(fill_bytes(page_bytes), &items[end..]);
        }
        if starts.is_empty() || !is_worth(starts.len(), leaves) {
            return Ok(None);
        }
        let separate = |start: &usize| separator(items[start - 1].key, items[*start].key);
        let separators: Vec<_> = starts[1..].iter().map(separate).collect();
        // It gets its places when the leaves have theirs.
        let child = Cell::child(PagePtr::NONE);
        let before = (0..=at).map(|i| branch.item(i));
        let between = separators.iter().map(|key| child.item(key));
        let after = (at + leaves..branch.count()).map(|i| branch.item(i));
        let parent_items: Vec<Item<'_>> = before.chain(between).chain(after).collect();
        if built_bytes(1, &parent_items) > page_bytes {
            return Ok(None);
        }
        let mut parent = buffers.pop().expect("one more than there are leaves");
        build(&mut parent, 1, &parent_items, 0);
        let mut packed = buffers.split_off(buffers.len() - starts.len());
        let ends = starts[1..].iter().copied().chain([items.len()]);
        for ((start, end), leaf) in starts.iter().zip(ends).zip(&mut packed) {
            build(leaf, 0, &items[*start..end], 0);
        }
        Ok(Some(Packed { leaves: packed, parent }))
    }
}
