//! Bytes from the database, in place where that can be.
//!
//! A value is handed out where it lies: in the mirror, which the transaction keeps from changing,
//! or in a cached page, which the slice keeps alive. A key is stored without the part that all keys
//! of its page share, so it has to be put together; a short one fits into the slice itself.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// Bytes that live as long as the transaction they came from. Derefs to `[u8]`.
#[derive(Clone)]
pub struct Slice<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
}

/// As much as fits beside the tag without making the type larger than [`Bytes`] makes it.
const INLINE_MAX: usize = 38;
const _: () = assert!(size_of::<Slice<'_>>() == 40);

impl<'a> Slice<'a> {
    pub(crate) fn borrowed(bytes: &'a [u8]) -> Slice<'a> {
        Slice(Repr::Borrowed(bytes))
    }

    pub(crate) fn shared(bytes: Bytes) -> Slice<'a> {
        Slice(Repr::Shared(bytes))
    }

    /// Two parts as one; allocates only beyond [`INLINE_MAX`] bytes.
    pub(crate) fn joined(head: &[u8], tail: &[u8]) -> Slice<'a> {
        let len = head.len() + tail.len();
        if len > INLINE_MAX {
            return Slice(Repr::Shared(Bytes::from([head, tail].concat())));
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..head.len()].copy_from_slice(head);
        bytes[head.len()..len].copy_from_slice(tail);
        Slice(Repr::Inline { len: len as u8, bytes })
    }

    /// [`joined`](Self::joined) for parts of a page, `head` bytes at `head_at` and `tail` bytes at
    /// `tail_at`: copies of a fixed length, which take more than is needed, are several times as
    /// fast as calls that copy the right one.
    #[inline]
    pub(crate) fn joined_within(
        page: &[u8],
        (head_at, head): (usize, usize),
        (tail_at, tail): (usize, usize),
    ) -> Slice<'a> {
        if let Some(bytes) = joined_short::<8, 30>(page, (head_at, head), (tail_at, tail)) {
            return Slice(Repr::Inline { len: (head + tail) as u8, bytes });
        }
        if let Some(bytes) = joined_short::<24, 14>(page, (head_at, head), (tail_at, tail)) {
            return Slice(Repr::Inline { len: (head + tail) as u8, bytes });
        }
        Slice::joined(&page[head_at..head_at + head], &page[tail_at..tail_at + tail])
    }

    /// The same bytes without the tie to the transaction; copies unless the page is cached by
    /// reference.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Repr::Shared(bytes) => bytes.clone(),
            _ => Bytes::copy_from_slice(self),
        }
    }
}

/// Up to `H` bytes of a page and up to `T` others side by side, with anything behind them; `None`
/// if they are more or too close to the end of the page.
#[inline]
fn joined_short<const H: usize, const T: usize>(
    page: &[u8],
    (head_at, head): (usize, usize),
    (tail_at, tail): (usize, usize),
) -> Option<[u8; INLINE_MAX]> {
    const { assert!(H + T == INLINE_MAX) };
    if head > H || tail > T {
        return None;
    }
    let mut bytes = [0; INLINE_MAX];
    bytes[..H].copy_from_slice(page.get(head_at..head_at + H)?);
    bytes[head..head + T].copy_from_slice(page.get(tail_at..tail_at + T)?);
    Some(bytes)
}

impl Deref for Slice<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
        }
    }
}

impl AsRef<[u8]> for Slice<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Slice<'_> {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Slice<'_> {}
