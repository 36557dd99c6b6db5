//! Walking a whole tree and holding every page against every rule.
//!
//! A checksum proves that a page is what was written. This proves that what was written is a tree:
//!
//! - each page passes [`check`] and names the transaction that its parent names;
//! - each page is one level below its parent, so that all leaves are at level 0;
//! - all keys are at or above the separator on their left and below that on their right;
//! - no page, and no page of a large value, is used twice;
//! - large values have their checksum;
//! - the tree holds as many records as its catalog says.

use crate::error::{Damage, Result};
use crate::page::{Key, Page, check, check_private, runs};
use crate::pages::Source;
use crate::types::{Extent, PageId, PagePtr, TreeRoot};

/// What a tree consists of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Leaves and branches.
    pub pages: u64,
    /// Those of them that hold records.
    pub leaves: u64,
    /// The part of the pages' bytes that records, children and keys take.
    pub bytes_used: u64,
    /// Records.
    pub records: u64,
    /// Values that have pages of their own.
    pub runs: u64,
    /// The pages that those take.
    pub run_pages: u64,
    /// Levels, leaves included; 0 if the tree is empty.
    pub depth: u8,
}

/// Which pages were met.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    committed: Bits,
    private: Bits,
}

#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn contains(&self, n: u32) -> bool {
        self.0.get(n as usize / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    /// False if it was there.
    fn insert(&mut self, n: u32) -> bool {
        let (word, bit) = (n as usize / 64, 1 << (n % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}

impl Seen {
    /// Whether a committed page was met.
    pub(crate) fn contains(&self, page: PageId) -> bool {
        self.committed.contains(page.0)
    }

    /// Notes pages; false if one of them was met before.
    pub(crate) fn insert(&mut self, extent: Extent) -> bool {
        let mut are_new = true;
        for id in extent.first.0..extent.first.0.saturating_add(extent.pages) {
            are_new &= self.committed.insert(id);
        }
        are_new
    }

    fn insert_ptr(&mut self, ptr: PagePtr) -> bool {
        match ptr.slot() {
            Some(slot) => self.private.insert(slot),
            None => self.insert(Extent { first: ptr.id, pages: 1 }),
        }
    }
}

/// Verifies one tree. What it notes in `seen` must be disjoint from what other trees noted.
pub(crate) fn verify<'a, S: Source<'a>>(
    source: S,
    root: TreeRoot,
    page_bytes: usize,
    seen: &mut Seen,
) -> Result<Tally> {
    let mut tally = Tally::default();
    if !root.ptr.is_none() {
        tally.depth = root.level + 1;
        let mut visit = Visit { source, page_bytes, seen, tally: &mut tally };
        visit.page(root.ptr, root.level, None, None)?;
    }
    if tally.records != root.records {
        let (found, expected) = (tally.records, root.records);
        return Err(source.corrupt(root.ptr.id, Damage::Count { found, expected }));
    }
    Ok(tally)
}

struct Visit<'v, S> {
    source: S,
    page_bytes: usize,
    seen: &'v mut Seen,
    tally: &'v mut Tally,
}

impl<'a, S: Source<'a>> Visit<'_, S> {
    fn page(
        &mut self,
        ptr: PagePtr,
        level: u8,
        lower: Option<Key<'_>>,
        upper: Option<Key<'_>>,
    ) -> Result<()> {
        let bad = |what| self.source.corrupt(ptr.id, what);
        // Before anything is noted: what is seen takes a bit for each page of the file, and no
        // more.
        if ptr.slot().is_none() && !self.is_inside(Extent { first: ptr.id, pages: 1 }) {
            return Err(bad(Damage::Pointer(ptr.id)));
        }
        // Before anything is read: a page that is its own ancestor would be visited for ever.
        if !self.seen.insert_ptr(ptr) {
            return Err(bad(Damage::Twice));
        }
        let bytes = self.source.page_at(ptr, level)?;
        let page = Page(&bytes);
        if ptr.slot().is_some() {
            check_private(&bytes).map_err(bad)?;
        } else {
            check(&bytes, ptr.id).map_err(bad)?;
            if page.txn() != ptr.txn {
                return Err(bad(Damage::Header));
            }
        }
        let (first, end) = (page.first_key(), page.count());
        if first < end {
            let (low, high) = (page.key(first), page.key(end - 1));
            if lower.is_some_and(|bound| low.order(bound).is_lt()) {
                return Err(bad(Damage::Bounds(first as u16)));
            }
            if upper.is_some_and(|bound| high.order(bound).is_ge()) {
                return Err(bad(Damage::Bounds(end as u16 - 1)));
            }
        }
        self.tally.pages += 1;
        self.tally.bytes_used += page.used_bytes() as u64;
        if page.is_leaf() {
            return self.leaf(page);
        }
        for i in 0..end {
            let lower = if i == 0 { lower } else { Some(page.key(i)) };
            let upper = if i + 1 == end { upper } else { Some(page.key(i + 1)) };
            self.page(page.child(i), level - 1, lower, upper)?;
        }
        Ok(())
    }

    fn is_inside(&self, extent: Extent) -> bool {
        let end = u64::from(extent.first.0) + u64::from(extent.pages);
        end <= u64::from(self.source.page_count())
    }

    fn leaf(&mut self, page: Page<'_>) -> Result<()> {
        self.tally.leaves += 1;
        self.tally.records += page.count() as u64;
        for (_, ptr) in runs(page) {
            let extent = ptr.extent(self.page_bytes);
            if ptr.slot().is_none() && !self.is_inside(extent) {
                return Err(self.source.corrupt(ptr.id, Damage::Pointer(ptr.id)));
            }
            if ptr.slot().is_none() && !self.seen.insert(extent) {
                return Err(self.source.corrupt(ptr.id, Damage::Twice));
            }
            self.source.run(ptr)?;
            self.tally.runs += 1;
            self.tally.run_pages += u64::from(extent.pages);
        }
        Ok(())
    }
}
