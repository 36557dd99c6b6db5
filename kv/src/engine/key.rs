//! A key as engines hold it: short ones lie in place, long ones on the heap.
//!
//! A store keeps millions of keys of 8 to 12 bytes. One allocation each would cost more than the
//! bytes themselves, and comparing them would follow a pointer to somewhere cold. A [`Key`]
//! therefore keeps up to [`Key::INLINE_BYTES_MAX`] bytes where it lies, and is as large as a
//! `Vec` header:
//!
//! ```text
//!     tag u8 | len u8 | bytes, 22 of them          len <= 22
//!     tag u8 | padding, 7 | pointer u64 | len u64  longer
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// An owned key; dereferences to its bytes and sorts as they do.
#[derive(Clone)]
pub struct Key(Shape);

#[derive(Clone)]
enum Shape {
    Inline { len: u8, bytes: [u8; Key::INLINE_BYTES_MAX] },
    Heap(Box<[u8]>),
}

const _: () = assert!(size_of::<Key>() == 24, "a key must not outgrow a Vec header");

impl Key {
    /// The longest key that needs no allocation, in bytes.
    pub const INLINE_BYTES_MAX: usize = 22;

    /// A copy of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > Self::INLINE_BYTES_MAX {
            return Self(Shape::Heap(bytes.into()));
        }
        let mut inline = [0; Self::INLINE_BYTES_MAX];
        inline[..bytes.len()].copy_from_slice(bytes);
        let len = u8::try_from(bytes.len()).expect("at most 22");
        Self(Shape::Inline { len, bytes: inline })
    }

    /// The bytes of the key.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Shape::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Shape::Heap(bytes) => bytes,
        }
    }

    /// The first eight bytes as a number, zeros standing in for missing ones: keys with different
    /// heads sort as their heads do, so most comparisons are one of integers.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        match &self.0 {
            Shape::Inline { bytes, .. } => {
                u64::from_be_bytes(*bytes.first_chunk().expect("22 bytes hold 8"))
            }
            Shape::Heap(bytes) => Self::head_of(bytes),
        }
    }

    /// The head that a key of these bytes has.
    #[inline]
    pub(crate) fn head_of(bytes: &[u8]) -> u64 {
        if let Some(head) = bytes.first_chunk() {
            return u64::from_be_bytes(*head);
        }
        let mut head = [0; 8];
        head[..bytes.len()].copy_from_slice(bytes);
        u64::from_be_bytes(head)
    }

    /// How many bytes this key holds outside itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Shape::Inline { .. } => 0,
            Shape::Heap(bytes) => bytes.len(),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_keep_their_bytes_and_order() {
        // The switch from inline to heap must not show in any comparison.
        let keys: Vec<Vec<u8>> = (0..40).map(|len| vec![b'k'; len]).collect();
        for (at, bytes) in keys.iter().enumerate() {
            let key = Key::new(bytes);
            assert_eq!(key.as_slice(), &bytes[..]);
            assert_eq!(key.heap_bytes() > 0, at > Key::INLINE_BYTES_MAX);
            for other in &keys {
                assert_eq!(key.cmp(&Key::new(other)), bytes.cmp(other));
                assert_eq!(key == Key::new(other), bytes == other);
                let heads = key.head().cmp(&Key::head_of(other));
                assert!(heads.is_eq() || heads == bytes.cmp(other));
            }
        }
    }

    #[test]
    fn trailing_zeros_are_part_of_the_key() {
        // Inline keys are padded with zeros; the padding must not equal real zeros.
        assert!(Key::new(b"a") < Key::new(b"a\0"));
        assert_ne!(Key::new(b""), Key::new(b"\0"));
    }
}
