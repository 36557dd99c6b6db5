//! Bytes that were read: a window on a shared block, kept alive by whoever looks through it; or a
//! few bytes of its own.
//!
//! A value is not copied out of the block it was found in. The block stays in memory, cached or
//! not, until its last slice is dropped; a value kept for long therefore holds a whole block, and
//! is better copied.
//!
//! ```text
//!   shared   │ block ─────┼──────► [ ......value............ ]     counted, once for each slice
//!            │ start, len │              start      len
//!   short    │ len │ up to 30 bytes      │                         holds nothing
//! ```
//!
//! **Short ones** lie in the slice itself: most keys, and values such as counters. Sharing them
//! would cost more than it saves, for a count that several threads change costs more than a copy of
//! as many bytes, and a key put together from two pieces would need an allocation of its own.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

/// Bytes that fit into a slice beside its tag and its length, without making it larger.
const SHORT_BYTES_MAX: usize = 30;

/// A shared, immutable run of bytes.
#[derive(Clone)]
pub struct Slice(Bits);

#[derive(Clone)]
enum Bits {
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Shared { owner: Arc<[u8]>, start: u32, len: u32 },
}

const _: () = assert!(size_of::<Slice>() == 32, "short slices are as large as shared ones");

impl Slice {
    /// The bytes of `owner` in `range`.
    ///
    /// # Panics
    /// If `range` is not within `owner`, or lies beyond 4 GiB.
    #[inline]
    pub fn new(owner: Arc<[u8]>, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= owner.len(), "a slice lies in its owner");
        if range.len() <= SHORT_BYTES_MAX {
            return Slice::short(&owner[range]);
        }
        let start = u32::try_from(range.start).expect("blocks are smaller than 4 GiB");
        let len = u32::try_from(range.len()).expect("blocks are smaller than 4 GiB");
        Slice(Bits::Shared { owner, start, len })
    }

    /// The bytes of `owner` in `range`, which keep it in memory only if they are many.
    #[inline]
    pub(crate) fn of(owner: &Arc<[u8]>, range: Range<usize>) -> Slice {
        if range.len() <= SHORT_BYTES_MAX {
            Slice::short(&owner[range])
        } else {
            Slice::new(Arc::clone(owner), range)
        }
    }

    #[inline]
    fn short(from: &[u8]) -> Slice {
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..from.len()].copy_from_slice(from);
        Slice(Bits::Short { len: from.len() as u8, bytes })
    }

    /// The first `len` bytes.
    pub(crate) fn shortened(self, len: usize) -> Slice {
        assert!(len <= self.len(), "a slice only gets shorter");
        match self.0 {
            Bits::Short { bytes, .. } => Slice(Bits::Short { len: len as u8, bytes }),
            Bits::Shared { owner, start, .. } => {
                Slice::new(owner, start as usize..start as usize + len)
            }
        }
    }

    /// The same bytes as [`Bytes`], without copying them if they are many.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Bits::Short { .. } => Bytes::copy_from_slice(self),
            Bits::Shared { .. } => Bytes::from_owner(self.clone()),
        }
    }
}

impl Default for Slice {
    fn default() -> Slice {
        Slice::short(&[])
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bits::Short { len, bytes } => &bytes[..usize::from(*len)],
            Bits::Shared { owner, start, len } => &owner[*start as usize..][..*len as usize],
        }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Slice {
    #[inline]
    fn from(bytes: &[u8]) -> Slice {
        if bytes.len() <= SHORT_BYTES_MAX {
            return Slice::short(bytes);
        }
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
        match slice.0 {
            Bits::Short { .. } => Bytes::copy_from_slice(&slice),
            Bits::Shared { .. } => Bytes::from_owner(slice),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    // The border between bytes of its own and bytes of a block is where lengths go wrong.
    #[test]
    fn short_and_shared_slices_say_the_same() {
        let owner: Arc<[u8]> = (0..100).collect();
        for len in 0..=60 {
            for start in [0, 1, 40] {
                let expected = &owner[start..start + len];
                let slice = Slice::of(&owner, start..start + len);
                assert_eq!(slice, expected);
                assert_eq!(Slice::new(Arc::clone(&owner), start..start + len), expected);
                assert_eq!(Slice::from(expected), expected);
                assert_eq!(slice.to_bytes(), expected);
                assert_eq!(Bytes::from(slice.clone()), expected);
                for shorter in 0..=len {
                    assert_eq!(slice.clone().shortened(shorter), expected[..shorter]);
                }
            }
        }
        assert_eq!(Slice::default(), b"");
    }

    // A counter kept for long must not hold the block of 4 KiB that it was read from.
    #[test]
    fn a_short_slice_holds_no_block() {
        let owner: Arc<[u8]> = vec![7; 4096].into();
        let short = Slice::of(&owner, 9..9 + SHORT_BYTES_MAX);
        assert_eq!(Arc::strong_count(&owner), 1);
        let long = Slice::of(&owner, 9..10 + SHORT_BYTES_MAX);
        assert_eq!(Arc::strong_count(&owner), 2);
        assert_eq!(long.shortened(3), short[..3]);
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}
