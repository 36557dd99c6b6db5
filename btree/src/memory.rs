//! A store in memory for the tests of the tree: pages by number, and which are free.
//!
//! It keeps to the obligations of [`Pages`] as the real one does: a page is verified when it is
//! asked for, and a page that was freed is given out again only when the test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::draft::{Allocate, Buffer, Draft, Sealed, Spare};
use crate::error::{Damage, Error, Result};
use crate::forest::Forest;
use crate::page::check;
use crate::pages::{PageRef, Pages};
use crate::slice::Slice;
use crate::types::{Extent, PageId, PagePtr, RunPtr, TxnId, crc};

/// Committed pages.
#[derive(Debug)]
pub(crate) struct Memory {
    page_bytes: usize,
    pages: Vec<Bytes>,
    runs: BTreeMap<u32, Bytes>,
    free: BTreeSet<u32>,
    /// Freed, but an old snapshot may still look at them.
    held: Vec<Extent>,
    txn: TxnId,
    /// Hand out frames in place of borrows.
    pub shared: bool,
    /// Hold pages against their checksums. Without, every page has the right one.
    pub checksums: bool,
    /// The longest extent that is given.
    pub extent_max: u32,
    pub spare: Vec<Buffer>,
}

impl Memory {
    pub(crate) fn new(page_bytes: usize) -> Memory {
        Memory {
            page_bytes,
            pages: vec![Bytes::new(); 2],
            runs: BTreeMap::new(),
            free: BTreeSet::new(),
            held: Vec::new(),
            txn: TxnId(0),
            shared: false,
            checksums: true,
            extent_max: u32::MAX,
            spare: Vec::new(),
        }
    }

    pub(crate) fn draft(&mut self, base: &Forest) -> Draft {
        Draft::new(base, self.page_bytes, Spare(std::mem::take(&mut self.spare)))
    }

    /// Seals and publishes. The catalog is read back, as an open would.
    pub(crate) fn commit(&mut self, draft: Draft) -> Result<Forest> {
        self.txn.0 += 1;
        let taken = Memory::new(self.page_bytes);
        let before = std::mem::replace(self, taken);
        let mut given = Given {
            free: before.free.clone(),
            end: before.pages.len() as u32,
            max: before.extent_max,
        };
        let sealed = draft.seal(&before, before.txn, &mut given);
        *self = before;
        let sealed = sealed?;
        self.free = given.free;
        self.pages.resize(given.end as usize, Bytes::new());
        self.publish(sealed)
    }

    fn publish(&mut self, sealed: Sealed) -> Result<Forest> {
        for page in sealed.pages {
            assert_eq!(page.ptr.txn, self.txn.low());
            self.pages[page.ptr.id.0 as usize] = Bytes::copy_from_slice(&page.bytes);
        }
        for run in sealed.runs {
            self.runs.insert(run.ptr.id.0, Bytes::from(run.bytes));
        }
        self.held.extend(sealed.freed);
        self.spare = sealed.spare.0;
        if self.checksums {
            let forest = Forest::load(self, sealed.forest.catalog())?;
            assert_eq!(forest.next, sealed.forest.next);
            let pairs = forest.entries().iter().zip(sealed.forest.entries());
            assert!(
                pairs.clone().all(|(a, b)| a.id == b.id && a.name == b.name && a.root == b.root)
            );
            assert_eq!(forest.entries().len(), sealed.forest.entries().len());
        }
        Ok(sealed.forest)
    }

    /// Says that nobody looks at what was freed.
    pub(crate) fn let_go(&mut self) {
        for extent in std::mem::take(&mut self.held) {
            for id in extent.first.0..extent.first.0 + extent.pages {
                self.pages[id as usize] = Bytes::new();
                self.runs.remove(&id);
                assert!(self.free.insert(id), "page {id} is freed once");
            }
        }
    }

    /// Pages that are neither free nor waiting to be.
    pub(crate) fn used(&self) -> usize {
        let held: u32 = self.held.iter().map(|extent| extent.pages).sum();
        self.pages.len() - 2 - self.free.len() - held as usize
    }

    /// The bytes of a page that is in use.
    pub(crate) fn bytes(&self, id: PageId) -> Option<&[u8]> {
        self.pages.get(id.0 as usize).map(|bytes| &**bytes).filter(|bytes| !bytes.is_empty())
    }

    /// Puts other bytes in the place of a page.
    pub(crate) fn overwrite(&mut self, id: PageId, bytes: Vec<u8>) {
        self.pages[id.0 as usize] = Bytes::from(bytes);
    }
}

/// Numbers given in one commit.
struct Given {
    free: BTreeSet<u32>,
    end: u32,
    max: u32,
}

impl Given {
    fn run_of_free(&self, pages: u32) -> Option<Extent> {
        let mut run = Extent { first: PageId(0), pages: 0 };
        for id in &self.free {
            if run.pages > 0 && run.first.0 + run.pages == *id {
                run.pages += 1;
            } else {
                run = Extent { first: PageId(*id), pages: 1 };
            }
            if run.pages == pages {
                return Some(run);
            }
        }
        None
    }
}

impl Allocate for Given {
    fn allocate(&mut self, pages: u32) -> Result<Extent> {
        let pages = pages.min(self.max);
        match self.free.first() {
            Some(_) => self.allocate_run(1),
            None => self.allocate_run(pages),
        }
    }

    fn allocate_run(&mut self, pages: u32) -> Result<Extent> {
        if let Some(run) = self.run_of_free(pages) {
            for id in run.first.0..run.first.0 + pages {
                self.free.remove(&id);
            }
            return Ok(run);
        }
        let first = PageId(self.end);
        self.end += pages;
        Ok(Extent { first, pages })
    }
}

impl Pages for Memory {
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let bytes = match self.pages.get(ptr.id.0 as usize) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => return Err(self.corrupt(ptr.id, Damage::FileEnds)),
        };
        if self.checksums && crc(ptr.id, bytes) != ptr.crc {
            return Err(self.corrupt(ptr.id, Damage::Checksum));
        }
        check(bytes, ptr.id).map_err(|damage| self.corrupt(ptr.id, damage))?;
        Ok(if self.shared { PageRef::Shared(bytes.clone()) } else { PageRef::Borrowed(bytes) })
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        let bytes =
            self.runs.get(&ptr.id.0).ok_or_else(|| self.corrupt(ptr.id, Damage::FileEnds))?;
        if bytes.len() != ptr.bytes as usize || crc(ptr.id, bytes) != ptr.crc {
            return Err(self.corrupt(ptr.id, Damage::Checksum));
        }
        Ok(if self.shared { Slice::shared(bytes.clone()) } else { Slice::borrowed(bytes) })
    }

    fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    fn page_count(&self) -> u32 {
        self.pages.len() as u32
    }

    fn corrupt(&self, page: PageId, what: Damage) -> Error {
        let file = Arc::from(Path::new("memory"));
        Error::Corrupt { file, offset: page.offset(self.page_bytes), what }
    }
}
