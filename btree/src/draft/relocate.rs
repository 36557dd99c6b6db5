//! Moving pages: what lies high in the file becomes private, and the seal gives it a lower number.
//!
//! First a reader looks for what is to be moved ([`find_high`]), and reads it, so that it is in
//! memory; then a writer moves it, leaf by leaf, each named by a key that belongs to it. So the
//! writer waits for no disk, and both can stop anywhere and go on later, whatever happened to the
//! tree in between.
//!
//! ```text
//!    level 1     [ 40 │ 17 │ 1812 │ 33 │ 1790 ]        the branch knows where its leaves lie:
//!                   │    │     ▲     │     ▲            those that lie low are not read
//!    leaves         ▒    ▒     █     ▒     █
//! ```
//!
//! Leaves that should be packed are found on the same way; see [`pack`](super::pack).
//!
//! Large values are another matter: only their leaf knows where they lie. They are looked for when
//! something else than pages is left up there.

use super::edit::{Edit, Path};
use super::pack::packable;
use crate::error::Result;
use crate::page::{Page, runs};
use crate::pages::{Pages, Source};
use crate::types::{PageId, PagePtr, RunPtr, TreeRoot};

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    /// Pages from here on lie too high.
    pub above: PageId,
    /// Large values as well: this reads every leaf.
    pub values: bool,
    /// Leaves that should be packed as well: this does, too.
    pub pack: bool,
    pub page_bytes: usize,
}

/// What was found: for each leaf a key that belongs to it.
#[derive(Debug)]
pub(crate) struct Found {
    pub keys: Vec<Vec<u8>>,
    /// How many keys there may be.
    pub keys_max: usize,
    /// How many more pages may be read.
    pub reads: usize,
}

impl Found {
    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() >= self.keys_max || self.reads == 0
    }
}

impl Search {
    fn is_high(self, ptr: PagePtr) -> bool {
        ptr.slot().is_none() && ptr.id >= self.above
    }

    fn is_high_run(self, run: RunPtr) -> bool {
        let extent = run.extent(self.page_bytes);
        let end = u64::from(extent.first.0) + u64::from(extent.pages);
        run.slot().is_none() && end > u64::from(self.above.0)
    }

    /// Looks at the children of a branch above the leaves from `first` on, to which `key` belongs.
    /// Answers with the key to go on from if it has found enough.
    fn look_at<'a, S: Source<'a>>(
        self,
        source: S,
        branch: Page<'_>,
        first: usize,
        key: &[u8],
        is_high: bool,
        found: &mut Found,
    ) -> Result<Option<Vec<u8>>> {
        let mut at = first;
        while at < branch.count() {
            let own = || if at == first { key.to_vec() } else { whole_key(branch, at) };
            if at > first && found.is_full() {
                return Ok(Some(own()));
            }
            let leaves =
                if self.pack { packable(source, branch, at, self.page_bytes)? } else { None };
            // The first leaf takes its way with it.
            if leaves.is_some()
                || self.finds(source, branch.child(at), is_high && at == first, found)?
            {
                found.keys.push(own());
            }
            found.reads = found.reads.saturating_sub(leaves.unwrap_or(usize::from(self.pack)));
            at += leaves.unwrap_or(1);
        }
        Ok(None)
    }

    /// Whether a leaf is to be moved. If so it is in memory now.
    fn finds<'a, S: Source<'a>>(
        self,
        source: S,
        leaf: PagePtr,
        is_wanted: bool,
        found: &mut Found,
    ) -> Result<bool> {
        let is_high = is_wanted || self.is_high(leaf);
        if !is_high && !self.values {
            return Ok(false);
        }
        found.reads = found.reads.saturating_sub(1);
        let page = source.page_at(leaf, 0)?;
        let mut has_high = false;
        for (_, run) in runs(Page(&page)).filter(|(_, run)| self.is_high_run(*run)) {
            has_high = true;
            drop(source.run(run)?);
        }
        Ok(is_high || has_high)
    }
}

/// Looks for leaves of a tree that lie too high, or whose way or values do, from the leaf of `key`
/// on. Answers with a key to go on from, or `None` at the end of the tree.
pub(crate) fn find_high<'a, S: Source<'a>>(
    source: S,
    root: TreeRoot,
    search: Search,
    mut key: Vec<u8>,
    found: &mut Found,
) -> Result<Option<Vec<u8>>> {
    if root.ptr.is_none() {
        return Ok(None);
    }
    if root.level == 0 {
        if search.finds(source, root.ptr, false, found)? {
            found.keys.push(key);
        }
        return Ok(None);
    }
    loop {
        if found.is_full() {
            return Ok(Some(key));
        }
        let (mut ptr, mut is_high, mut next) = (root.ptr, false, None);
        for level in (1..=root.level).rev() {
            is_high |= search.is_high(ptr);
            found.reads = found.reads.saturating_sub(1);
            let page = source.page_at(ptr, level)?;
            let branch = Page(&page);
            let at = branch.find_child(&key);
            if level > 1 {
                next = (at + 1 < branch.count()).then(|| whole_key(branch, at + 1)).or(next);
                ptr = branch.child(at);
                continue;
            }
            if let Some(rest) = search.look_at(source, branch, at, &key, is_high, found)? {
                return Ok(Some(rest));
            }
        }
        match next {
            // Separators that are out of order must not lead in circles.
            Some(next) if next > key => key = next,
            _ => return Ok(None),
        }
    }
}

fn whole_key(branch: Page<'_>, at: usize) -> Vec<u8> {
    let key = branch.key(at);
    key.truncated(key.len()).into_vec()
}

impl<P: Pages> Edit<'_, P> {
    /// Makes the leaf of `key` private, and the way to it, and copies its values, if any of it lies
    /// too high; else changes nothing. If the leaf should be packed, this is done instead.
    pub(super) fn relocate(&mut self, search: Search, key: &[u8]) -> Result<()> {
        if search.pack && self.pack(key)? {
            return Ok(());
        }
        if self.root.ptr.is_none() || !self.is_high(search, key)? {
            return Ok(());
        }
        *self.hint = None;
        let leaf = self.descend(Some(key), &mut Path::new())?.leaf;
        let high: Vec<(usize, RunPtr)> =
            runs(self.dirty.page(leaf)).filter(|(_, run)| search.is_high_run(*run)).collect();
        for (i, run) in high {
            let copy = self.dirty.add_run(&self.pages.run(run)?);
            self.dirty.free_run(run);
            self.dirty.page_mut(leaf).patch_run(i, copy);
        }
        Ok(())
    }

    fn is_high(&self, search: Search, key: &[u8]) -> Result<bool> {
        let mut ptr = self.root.ptr;
        for level in (0..=self.root.level).rev() {
            if search.is_high(ptr) {
                return Ok(true);
            }
            let page = self.read(ptr, level)?;
            let page = Page(&page);
            if level == 0 {
                return Ok(runs(page).any(|(_, run)| search.is_high_run(run)));
            }
            ptr = page.child(page.find_child(key));
        }
        Ok(false)
    }
}
