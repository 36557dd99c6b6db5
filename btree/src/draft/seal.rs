//! Sealing: private pages get their checksums, and their parents learn them.
//!
//! ```text
//!    collect   slots reached from the roots, children before parents      5 3 8 1 0
//!    allocate  numbers for those that have none yet, in few runs
//!    seal      put the children's pointers in, stamp, checksum, in that order
//! ```
//!
//! A page is looked at twice and copied never. The catalog is last: its records are put with the
//! roots still unsealed, which decides how many pages it needs, and overwritten in place when the
//! roots are known.

use super::buffer::Buffer;
use super::dirty::Dirty;
use super::edit::Edit;
use super::{Draft, Spare};
use crate::error::Result;
use crate::forest::{Entry, Forest, encode, position};
use crate::page::{PageMut, children, runs};
use crate::pages::Pages;
use crate::prefetch::prefetch;
use crate::types::{Extent, PageId, PagePtr, RunPtr, TreeRoot, TxnId, crc};

/// Who gives page numbers. Implemented by the store's free map.
pub(crate) trait Allocate {
    /// Takes at least one and at most `pages` pages that follow one another; as many as can be.
    fn allocate(&mut self, pages: u32) -> Result<Extent>;

    /// Takes exactly `pages` pages that follow one another, for a value.
    fn allocate_run(&mut self, pages: u32) -> Result<Extent>;
}

/// A page ready to be published and written.
#[derive(Debug)]
pub(crate) struct SealedPage {
    pub ptr: PagePtr,
    pub bytes: Buffer,
}

/// A large value ready to be published and written: `bytes` is as long as the value, what follows
/// in its last page is zeros.
#[derive(Debug)]
pub(crate) struct SealedRun {
    pub ptr: RunPtr,
    pub bytes: Box<[u8]>,
}

/// What a commit publishes and writes.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The state after the commit; `forest.catalog()` goes into the meta page.
    pub forest: Forest,
    /// Children before parents; the catalog's root is the last.
    pub pages: Vec<SealedPage>,
    pub runs: Vec<SealedRun>,
    /// Committed pages that the new state does not use.
    pub freed: Vec<Extent>,
    /// Buffers left over.
    pub spare: Spare,
}

impl Draft {
    /// Gives every private page that is still used its number and checksum, children first. After
    /// an error nothing is left of the draft, and what was allocated is for the caller to give
    /// back.
    pub(crate) fn seal<P: Pages, A: Allocate>(
        mut self,
        pages: &P,
        txn: TxnId,
        allocate: &mut A,
    ) -> Result<Sealed> {
        if self.is_clean() {
            let forest = self.base.clone();
            let spare = self.into_spare();
            let (pages, runs, freed) = (Vec::new(), Vec::new(), Vec::new());
            return Ok(Sealed { forest, pages, runs, freed, spare });
        }
        let mut catalog = self.catalog;
        let changed = self.update_catalog(pages, &mut catalog)?;
        let mut order = Vec::new();
        for at in &changed {
            collect(&self.dirty, self.entries[*at].root.ptr, &mut order);
        }
        let trees_end = order.len();
        collect(&self.dirty, catalog.ptr, &mut order);
        let mut seal = Seal::new(txn, &self.dirty, &order, allocate);
        for (i, slot) in order[..trees_end].iter().enumerate() {
            // All of a large draft is far away by now.
            if let Some(next) = order.get(i + 1) {
                prefetch(self.dirty.page(*next).0);
            }
            seal.page(&mut self.dirty, *slot)?;
        }
        for at in changed {
            let root = &mut self.entries[at].root;
            root.ptr = seal.place(root.ptr);
            self.put_entry(pages, &mut catalog, at)?;
        }
        for slot in &order[trees_end..] {
            seal.page(&mut self.dirty, *slot)?;
        }
        catalog.ptr = seal.place(catalog.ptr);
        let Seal { pages, runs, .. } = seal;
        let freed = std::mem::take(&mut self.dirty.freed);
        let (next, entries) = (self.next, std::mem::take(&mut self.entries).into());
        let forest = Forest { catalog, entries, next };
        Ok(Sealed { forest, pages, runs, freed, spare: self.into_spare() })
    }

    /// Makes the catalog say which trees there are, and gives their places in the list of those
    /// whose roots are still to be sealed.
    fn update_catalog<P: Pages>(
        &mut self,
        pages: &P,
        catalog: &mut TreeRoot,
    ) -> Result<Vec<usize>> {
        let base = self.base.clone();
        for old in base.entries() {
            if position(&self.entries, old.id).is_none() {
                let mut hint = None;
                let dirty = &mut self.dirty;
                Edit { pages, dirty, root: catalog, hint: &mut hint }
                    .delete(old.name.as_bytes())?;
            }
        }
        let mut changed = Vec::new();
        for at in 0..self.entries.len() {
            let Entry { id, root, .. } = self.entries[at];
            let before = position(&base.entries, id).map(|at| base.entries[at].root);
            if before != Some(root) {
                self.put_entry(pages, catalog, at)?;
                changed.push(at);
            }
        }
        if self.next != base.next {
            let (mut hint, next) = (None, self.next.0.to_le_bytes());
            let dirty = &mut self.dirty;
            Edit { pages, dirty, root: catalog, hint: &mut hint }.put(&[], &next)?;
        }
        Ok(changed)
    }

    fn put_entry<P: Pages>(&mut self, pages: &P, catalog: &mut TreeRoot, at: usize) -> Result<()> {
        let entry = &self.entries[at];
        let (name, record) = (entry.name.clone(), encode(entry));
        let mut hint = None;
        let dirty = &mut self.dirty;
        Edit { pages, dirty, root: catalog, hint: &mut hint }.put(name.as_bytes(), &record)?;
        Ok(())
    }
}

/// The private pages of a subtree, children before parents.
fn collect(dirty: &Dirty, ptr: PagePtr, order: &mut Vec<u32>) {
    let Some(slot) = ptr.slot() else { return };
    let page = dirty.page(slot);
    // Most private pages are leaves: they are listed without being looked at.
    if page.level() == 1 {
        order.extend(children(page).filter_map(PagePtr::slot));
    } else {
        for child in children(page) {
            collect(dirty, child, order);
        }
    }
    order.push(slot);
}

/// A sealing under way.
struct Seal<'a, A> {
    txn: TxnId,
    allocate: &'a mut A,
    /// Numbers at hand, and how many are still to be had.
    at_hand: Extent,
    wanted: u32,
    /// Where each slot has got its place.
    places: Vec<PagePtr>,
    pages: Vec<SealedPage>,
    runs: Vec<SealedRun>,
}

impl<'a, A: Allocate> Seal<'a, A> {
    fn new(txn: TxnId, dirty: &Dirty, order: &[u32], allocate: &'a mut A) -> Seal<'a, A> {
        let nameless = order.iter().filter(|slot| dirty.pages.buffer(**slot).id().is_none());
        Seal {
            txn,
            allocate,
            at_hand: Extent { first: PageId(0), pages: 0 },
            wanted: u32::try_from(nameless.count()).expect("memory ends before the numbers do"),
            places: vec![PagePtr::NONE; dirty.pages.len()],
            pages: Vec::with_capacity(order.len()),
            runs: Vec::new(),
        }
    }

    /// Where a page is once it is sealed.
    fn place(&self, ptr: PagePtr) -> PagePtr {
        ptr.slot().map_or(ptr, |slot| self.places[slot as usize])
    }

    fn page(&mut self, dirty: &mut Dirty, slot: u32) -> Result<()> {
        let mut bytes = dirty.pages.take_sealed(slot);
        let id = match bytes.id() {
            Some(id) => id,
            None => self.next_id()?,
        };
        let mut page = PageMut(&mut bytes);
        if page.view().is_leaf() {
            self.runs_of(dirty, &mut page)?;
        } else {
            for i in 0..page.view().count() {
                let child = page.view().child(i);
                if child.slot().is_some() {
                    page.patch_child(i, self.place(child));
                }
            }
        }
        page.stamp(id, self.txn);
        let ptr = PagePtr { id, crc: crc(id, &bytes), txn: self.txn.low() };
        self.places[slot as usize] = ptr;
        self.pages.push(SealedPage { ptr, bytes });
        Ok(())
    }

    /// Seals the large values of a leaf that the draft put.
    fn runs_of(&mut self, dirty: &mut Dirty, page: &mut PageMut<'_>) -> Result<()> {
        let drafts: Vec<(usize, RunPtr)> =
            runs(page.view()).filter(|(_, ptr)| ptr.slot().is_some()).collect();
        for (i, ptr) in drafts {
            let slot = ptr.slot().expect("they were filtered");
            let bytes = dirty.runs.take_sealed(slot);
            let extent = self.allocate.allocate_run(ptr.extent(dirty.page_bytes()).pages)?;
            let (id, txn) = (extent.first, self.txn.low());
            let ptr = RunPtr { id, crc: crc(id, &bytes), txn, bytes: ptr.bytes };
            page.patch_run(i, ptr);
            self.runs.push(SealedRun { ptr, bytes });
        }
        Ok(())
    }

    fn next_id(&mut self) -> Result<PageId> {
        if self.at_hand.pages == 0 {
            self.at_hand = self.allocate.allocate(self.wanted)?;
            assert!((1..=self.wanted).contains(&self.at_hand.pages), "a run is as long as asked");
            self.wanted -= self.at_hand.pages;
        }
        let id = self.at_hand.first;
        self.at_hand = Extent { first: PageId(id.0 + 1), pages: self.at_hand.pages - 1 };
        Ok(id)
    }
}
