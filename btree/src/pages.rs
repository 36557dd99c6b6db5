//! How the tree reads: a page or a run by its pointer.
//!
//! ```text
//!   ReadTxn ──► tree::get / Cursor ──► Pages::page(ptr) ──► mirror, cache or file
//!   WriteTxn ─► the same code ───────► Overlay: slot of the draft, or Pages::page(ptr)
//! ```
//!
//! **Obligations of an implementation.** What [`Pages::page`] returns has the checksum that the
//! pointer names and passed [`page::check`](crate::page::check), or the answer is an error. The
//! code above indexes into pages without looking at each offset again. The bytes do not change
//! while the borrow lasts.

use std::ops::Deref;

use bytes::Bytes;

use crate::error::{Damage, Error, Result};
use crate::page::Page;
use crate::slice::Slice;
use crate::types::{PageId, PagePtr, RunPtr};

/// Committed pages.
pub(crate) trait Pages {
    /// The page, whole, verified and structurally checked.
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>>;

    /// The value, verified.
    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>>;

    /// How large a page is.
    fn page_bytes(&self) -> usize;

    /// How many pages the file has: no walk that visits each page once takes longer.
    fn page_count(&self) -> u32;

    /// The error that says what is wrong with a page.
    fn corrupt(&self, page: PageId, what: Damage) -> Error;
}

/// Pages by their pointer as a reader sees them: a snapshot's, or a write transaction's with its
/// own changes on top. `'a` is how long the bytes stay.
pub(crate) trait Source<'a>: Copy {
    fn page(self, ptr: PagePtr) -> Result<PageRef<'a>>;
    fn run(self, ptr: RunPtr) -> Result<Slice<'a>>;
    fn page_count(self) -> u32;
    fn corrupt(self, page: PageId, what: Damage) -> Error;

    /// The page, if it is at the level where its parent is one level higher. This bounds the depth
    /// of every walk whatever the pages say.
    #[inline]
    fn page_at(self, ptr: PagePtr, level: u8) -> Result<PageRef<'a>> {
        let page = self.page(ptr)?;
        if Page(&page).level() == level {
            Ok(page)
        } else {
            Err(self.corrupt(ptr.id, Damage::Level))
        }
    }
}

impl<'a, P: Pages> Source<'a> for &'a P {
    #[inline]
    fn page(self, ptr: PagePtr) -> Result<PageRef<'a>> {
        Pages::page(self, ptr)
    }

    fn run(self, ptr: RunPtr) -> Result<Slice<'a>> {
        Pages::run(self, ptr)
    }

    fn page_count(self) -> u32 {
        Pages::page_count(self)
    }

    fn corrupt(self, page: PageId, what: Damage) -> Error {
        Pages::corrupt(self, page, what)
    }
}

/// A page, borrowed from the mirror or kept alive.
#[derive(Debug, Clone)]
pub(crate) enum PageRef<'a> {
    /// Stays where it is as long as the transaction lives.
    Borrowed(&'a [u8]),
    /// A frame of the cache.
    Shared(Bytes),
}

impl<'a> PageRef<'a> {
    /// A part of the page, for as long as the transaction lives.
    #[inline]
    pub(crate) fn slice(&self, start: usize, len: usize) -> Slice<'a> {
        match self {
            PageRef::Borrowed(bytes) => Slice::borrowed(&bytes[start..start + len]),
            PageRef::Shared(bytes) => Slice::shared(bytes.slice(start..start + len)),
        }
    }
}

impl Deref for PageRef<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            PageRef::Borrowed(bytes) => bytes,
            PageRef::Shared(bytes) => bytes,
        }
    }
}
