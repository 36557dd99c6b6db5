//! Bytes that were read: a window on a shared block, kept alive by whoever looks through it.
//!
//! A value is not copied out of the block it was found in. The block stays in memory, cached or
//! not, until its last slice is dropped; a small value kept for long therefore holds a whole block,
//! and is better copied.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

/// A shared, immutable run of bytes.
#[derive(Clone, Default)]
pub struct Slice {
    owner: Arc<[u8]>,
    start: u32,
    len: u32,
}

impl Slice {
    /// The bytes of `owner` in `range`.
    ///
    /// # Panics
    /// If `range` is not within `owner`, or lies beyond 4 GiB.
    pub fn new(owner: Arc<[u8]>, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= owner.len(), "a slice lies in its owner");
        let start = u32::try_from(range.start).expect("blocks are smaller than 4 GiB");
        let len = u32::try_from(range.len()).expect("blocks are smaller than 4 GiB");
        Slice { owner, start, len }
    }

    /// The first `len` bytes.
    pub(crate) fn shortened(mut self, len: usize) -> Slice {
        assert!(len <= self.len as usize, "a slice only gets shorter");
        self.len = len as u32;
        self
    }

    /// The same bytes as [`Bytes`], without copying them.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.owner[self.start as usize..][..self.len as usize]
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Slice {
        Slice::new(Arc::from(bytes), 0..bytes.len())
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        Slice::from(bytes.as_slice())
    }
}

impl From<Slice> for Bytes {
    fn from(slice: Slice) -> Bytes {
        Bytes::from_owner(slice)
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Slice {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Slice {}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes::copy_from_slice(self).fmt(f)
    }
}
