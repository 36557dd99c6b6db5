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

    /// The error that says what is wrong with a page.
    fn corrupt(&self, page: PageId, what: Damage) -> Error;
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
