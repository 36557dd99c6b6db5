//! Sharing with a neighbour: what a full leaf does sooner than to be split.
//!
//! ```text
//!             [.. k ..]                          [.. h ..]
//!             /       \\            + e           /       \\
//!   [a c d f g h]   [k m]         ──►    [a c d e f]   [g h k m]
//! ```
//!
//! Leaves that are split in the middle as soon as they are full are 67 % full after a random load.
//! With this a split happens when both neighbours are nearly full, too, and they are 80 % full. It
//! costs the copy of a neighbour that the transaction might not have touched otherwise.
//!
//! Left out: branches. They are one page of a hundred.

use smallvec::SmallVec;

use super::edit::{Bounds, Edit, Path, Step};
use crate::error::Result;
use crate::page::{Cell, Item, Page, build, built_bytes, middle, separator};
use crate::pages::Pages;
use crate::types::PagePtr;

/// What two pages must have left together for it to be worth while: an eighth of a page. Less, and
/// every other put would share again.
const SLACK: usize = 8;

/// Two neighbours: children `left` and `left + 1` of a private branch, which is within `bounds`.
#[derive(Clone, Copy)]
struct Pair {
    slot: u32,
    left: usize,
    bounds: Bounds,
}

impl<P: Pages> Edit<'_, P> {
    /// Puts a cell into a full private leaf by giving a part of its records to a neighbour; false,
    /// and nothing is changed, if none has room enough.
    pub(super) fn share(&mut self, path: &Path, at: usize, key: &[u8], cell: &Cell<'_>) -> bool {
        let Some((step, above)) = path.split_last() else { return false };
        let Some(left) = self.roomy_pair(*step, cell.item(key).bytes()) else { return false };
        let (mut first, mut second) = (self.dirty.buffer(), self.dirty.buffer());
        let pair = Pair { slot: step.slot, left, bounds: self.bounds_below(above) };
        let at = (step.at - left, at);
        let built = self.build_shared(pair, at, cell.item(key), &mut first, &mut second);
        // A neighbour that cannot be read, or a separator that does not fit, is no reason to fail.
        let separator = built.ok().flatten();
        let placed =
            separator.is_some_and(|key| self.dirty.page_mut(step.slot).replace_key(left + 1, &key));
        if !placed {
            self.dirty.recycle(first);
            self.dirty.recycle(second);
            return false;
        }
        for (i, page) in [(left, first), (left + 1, second)] {
            let old = self.dirty.page(step.slot).child(i);
            self.dirty.free_page(old);
            let new = PagePtr::draft(self.dirty.add(page));
            self.dirty.page_mut(step.slot).patch_child(i, new);
        }
        true
    }

    /// The left one of the full leaf and the neighbour that has more room, if it has enough.
    fn roomy_pair(&self, step: Step, more: usize) -> Option<usize> {
        let branch = self.dirty.page(step.slot);
        let used = |at: usize| {
            let page = self.read(branch.child(at), 0).ok()?;
            Some(Page(&page).used_bytes())
        };
        let full = used(step.at)?;
        let page_bytes = self.dirty.page_bytes();
        let lefts = [step.at.checked_sub(1), Some(step.at).filter(|at| at + 1 < branch.count())];
        let both = |left: usize| {
            let other = if left == step.at { step.at + 1 } else { left };
            Some((full + used(other)? + more, left))
        };
        let (bytes, left) = lefts.into_iter().flatten().filter_map(both).min()?;
        (bytes <= 2 * page_bytes - page_bytes / SLACK).then_some(left)
    }

    /// The separators that bound what is below a way down.
    fn bounds_below(&self, path: &[Step]) -> Bounds {
        path.iter().fold(Bounds::default(), |bounds, step| {
            bounds.of_child(step.slot, step.at, self.dirty.page(step.slot).count())
        })
    }

    /// Builds what the pair becomes with one item more: `at` says in which of
    /// them it is to be, and where. Answers with what is to tell them apart.
    fn build_shared(
        &self,
        pair: Pair,
        at: (usize, usize),
        item: Item<'_>,
        first: &mut [u8],
        second: &mut [u8],
    ) -> Result<Option<SmallVec<[u8; 64]>>> {
        let Pair { slot, left, bounds } = pair;
        let branch = self.dirty.page(slot);
        let ptrs = [branch.child(left), branch.child(left + 1)];
        let pages = [self.read(ptrs[0], 0)?, self.read(ptrs[1], 0)?];
        let mut items: SmallVec<[Item<'_>; 128]> = SmallVec::new();
        for (i, page) in pages.iter().enumerate() {
            let page = Page(page);
            self.check_bounds(ptrs[i], page, bounds.of_child(slot, left + i, branch.count()))?;
            items.extend((0..page.count()).map(|i| page.item(i)));
        }
        items.insert(if at.0 == 0 { at.1 } else { Page(&pages[0]).count() + at.1 }, item);
        let split = middle(&items);
        let (before, behind) = items.split_at(split);
        // Half of the bytes may be more than a page where the keys have less in common.
        if built_bytes(0, before) > first.len() || built_bytes(0, behind) > second.len() {
            return Ok(None);
        }
        build(first, 0, before, 0);
        build(second, 0, behind, 0);
        Ok(Some(separator(items[split - 1].key, items[split].key)))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use crate::forest::Forest;
    use crate::memory::Memory;

    // Why leaves share: split in the middle as soon as they are full, they are 69 % full, and a
    // database loaded in random order is a fifth larger. Sorted loads leave full pages behind.
    #[test]
    fn leaves_are_well_filled_whatever_the_order() {
        const RECORDS: usize = 20_000;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (sorted, least) in [(false, 0.78), (true, 0.95)] {
            let mut keys: Vec<[u8; 16]> = (0..RECORDS).map(|_| rng.random()).collect();
            if sorted {
                keys.sort_unstable();
            }
            let (mut memory, mut forest) = (Memory::new(4096), Forest::default());
            for keys in keys.chunks(1000) {
                let mut draft = memory.draft(&forest);
                let tree = draft.create_tree("t").unwrap();
                for key in keys {
                    draft.put(&memory, tree, key, &[7; 100]).unwrap();
                }
                forest = memory.commit(draft).unwrap();
                memory.let_go();
            }
            // Key, value, slot and size of the value.
            let bytes = RECORDS * (16 + 100 + 8 + 2);
            let full = bytes as f64 / (memory.used() * 4096) as f64;
            assert!(full > least, "sorted: {sorted}, {full:.3} of the pages is used");
        }
    }
}
