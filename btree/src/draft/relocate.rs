//! Moving pages: what lies high in the file becomes private, and the seal gives it a lower number.
//!
//! The walk goes from leaf to leaf, by a key that belongs to each, so that it can stop anywhere and
//! go on in a later transaction, whatever happened to the tree in between.

use super::edit::{Edit, Path};
use crate::error::Result;
use crate::page::{Page, runs};
use crate::pages::Pages;
use crate::types::{PageId, RunPtr};

/// A leaf, as seen on the way to it.
struct Seen {
    /// The leaf, a branch above it or a value in it lies too high.
    is_high: bool,
    /// A key that belongs to the next leaf.
    next: Option<Vec<u8>>,
}

impl<P: Pages> Edit<'_, P> {
    /// Makes private every page, and copies every large value, that reaches `above` or beyond, from
    /// the leaf of `key` on. Takes what it visits from `visits`; answers with the key to go on from
    /// once that is used up, or with `None` at the end of the tree.
    pub(super) fn relocate(
        &mut self,
        above: PageId,
        mut key: Vec<u8>,
        visits: &mut usize,
    ) -> Result<Option<Vec<u8>>> {
        *self.hint = None;
        while !self.root.ptr.is_none() {
            if *visits == 0 {
                return Ok(Some(key));
            }
            *visits = visits.saturating_sub(1 + usize::from(self.root.level));
            let seen = self.look_at(above, &key)?;
            if seen.is_high {
                self.relocate_leaf(above, &key)?;
            }
            match seen.next {
                Some(next) => key = next,
                None => break,
            }
        }
        Ok(None)
    }

    fn look_at(&self, above: PageId, key: &[u8]) -> Result<Seen> {
        let mut seen = Seen { is_high: false, next: None };
        let mut ptr = self.root.ptr;
        for level in (0..=self.root.level).rev() {
            seen.is_high |= ptr.slot().is_none() && ptr.id >= above;
            let page = self.read(ptr, level)?;
            let page = Page(&page);
            if level == 0 {
                seen.is_high |= runs(page).any(|(_, run)| self.is_high_run(above, run));
                break;
            }
            let at = page.find_child(key);
            if at + 1 < page.count() {
                let next = page.key(at + 1);
                seen.next = Some(next.truncated(next.len()).into_vec());
            }
            ptr = page.child(at);
        }
        Ok(seen)
    }

    fn is_high_run(&self, above: PageId, run: RunPtr) -> bool {
        let extent = run.extent(self.dirty.page_bytes());
        let end = u64::from(extent.first.0) + u64::from(extent.pages);
        run.slot().is_none() && end > u64::from(above.0)
    }

    fn relocate_leaf(&mut self, above: PageId, key: &[u8]) -> Result<()> {
        let leaf = self.descend(Some(key), &mut Path::new())?.leaf;
        let high: Vec<(usize, RunPtr)> =
            runs(self.dirty.page(leaf)).filter(|(_, run)| self.is_high_run(above, *run)).collect();
        for (i, run) in high {
            let copy = self.dirty.add_run(&self.pages.run(run)?);
            self.dirty.free_run(run);
            self.dirty.page_mut(leaf).patch_run(i, copy);
        }
        Ok(())
    }
}
