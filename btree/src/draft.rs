//! A write transaction's own state: private pages, and the roots they hang from.
//!
//! (Signatures first; bodies follow.)

use crate::error::Result;
use crate::forest::Forest;
use crate::pages::Pages;
use crate::slice::Slice;
use crate::types::{Extent, PagePtr, RunPtr, TreeId, TxnId};

/// Who gives page numbers. Implemented by the store's free map.
pub(crate) trait Allocate {
    /// Takes at least one and at most `pages` pages that follow one another; as many as can be.
    fn allocate(&mut self, pages: u32) -> Result<Extent>;

    /// Takes exactly `pages` pages that follow one another, for a value.
    fn allocate_run(&mut self, pages: u32) -> Result<Extent>;
}

/// Page buffers to use again: give those of the last draft to the next.
#[derive(Debug, Default)]
pub(crate) struct Spare(pub Vec<Box<[u8]>>);

/// Everything a write transaction has changed so far. Dropping it is the rollback.
#[derive(Debug)]
pub(crate) struct Draft {
    _private: (),
}

/// A point to come back to; see [`Draft::savepoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    _private: (),
}

/// A page ready to be published and written.
#[derive(Debug)]
pub(crate) struct SealedPage {
    pub ptr: PagePtr,
    pub bytes: Box<[u8]>,
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
    /// In the order of their numbers within each extent that was allocated: neighbours in the file
    /// are neighbours here. The catalog's root is the last.
    pub pages: Vec<SealedPage>,
    pub runs: Vec<SealedRun>,
    /// Committed pages that the new state does not use.
    pub freed: Vec<Extent>,
    /// Buffers left over.
    pub spare: Spare,
}

impl Draft {
    /// A draft of what comes after `base`.
    pub(crate) fn new(_base: &Forest, _page_bytes: usize, _spare: Spare) -> Draft {
        todo!()
    }

    /// Bytes of private pages and values so far.
    pub(crate) fn bytes(&self) -> usize {
        todo!()
    }

    /// Whether nothing was changed: then there is nothing to commit.
    pub(crate) fn is_clean(&self) -> bool {
        todo!()
    }

    pub(crate) fn tree(&self, _name: &str) -> Option<TreeId> {
        todo!()
    }

    /// Finds the tree, or makes it, empty.
    pub(crate) fn create_tree(&mut self, _name: &str) -> Result<TreeId> {
        todo!()
    }

    /// Drops the tree with all its records; false if there is none. Reads every page of it.
    pub(crate) fn drop_tree<P: Pages>(&mut self, _pages: &P, _tree: TreeId) -> Result<bool> {
        todo!()
    }

    pub(crate) fn get<'a, P: Pages>(
        &'a self,
        _pages: &'a P,
        _tree: TreeId,
        _key: &[u8],
    ) -> Result<Option<Slice<'a>>> {
        todo!()
    }

    /// Sets a record; true if the key was there before.
    pub(crate) fn put<P: Pages>(
        &mut self,
        _pages: &P,
        _tree: TreeId,
        _key: &[u8],
        _value: &[u8],
    ) -> Result<bool> {
        todo!()
    }

    /// Removes a record; true if there was one.
    pub(crate) fn delete<P: Pages>(
        &mut self,
        _pages: &P,
        _tree: TreeId,
        _key: &[u8],
    ) -> Result<bool> {
        todo!()
    }

    /// Removes the records with `start <= key`, and `key < end` if there is an end; how many.
    pub(crate) fn delete_range<P: Pages>(
        &mut self,
        _pages: &P,
        _tree: TreeId,
        _start: &[u8],
        _end: Option<&[u8]>,
    ) -> Result<u64> {
        todo!()
    }

    /// Remembers the state as it is now. They nest.
    pub(crate) fn savepoint(&mut self) -> Savepoint {
        todo!()
    }

    /// Makes the state what it was at the savepoint, which stays; later savepoints are gone.
    pub(crate) fn rollback_to(&mut self, _savepoint: Savepoint) -> Result<()> {
        todo!()
    }

    /// Forgets the savepoint and those after it, and keeps the changes.
    pub(crate) fn release(&mut self, _savepoint: Savepoint) -> Result<()> {
        todo!()
    }

    /// Gives every private page that is still used its number and checksum, children first. After
    /// an error nothing is left of the draft, and what was allocated is for the caller to give
    /// back.
    pub(crate) fn seal<P: Pages, A: Allocate>(
        self,
        _pages: &P,
        _txn: TxnId,
        _allocate: &mut A,
    ) -> Result<Sealed> {
        todo!()
    }

    /// The rollback that keeps the buffers.
    pub(crate) fn into_spare(self) -> Spare {
        todo!()
    }
}
