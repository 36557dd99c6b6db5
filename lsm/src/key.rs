//! The key that a table sorts by: what the user called it, and which write it came from.
//!
//! **The problem.** A tree that never changes a file in place holds many versions of one key, in
//! many files. A reader wants the newest that its snapshot may see, and wants to stop there.
//!
//! **The idea.** Every write has a number. Entries are sorted by user key, ascending, and among
//! versions of one key by number, *descending*: the first entry at or after `(key, snapshot)` is
//! the answer, whatever kind it is.
//!
//! ```text
//!   (apple, 9, Put)  (apple, 4, Delete)  (apple, 2, Put)  (bread, 7, Put)
//!                    ▲
//!                    seek (apple, 5): a snapshot taken at 5 sees no apple
//! ```
//!
//! Two entries with the same key and number do not exist; the kind is therefore no part of the
//! order. Range deletes are not entries: they travel apart, see [`range_del`](crate::range_del).

use std::cmp::Ordering;
use std::fmt;

/// The longest user key, in bytes.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// The longest value, in bytes: a block that holds it stays well below 4 GiB.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// The number of a write. Writes have ascending numbers from 1; 0 is that of an entry so old that
/// no snapshot tells it from its predecessors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// Below every write.
    pub const ZERO: SeqNo = SeqNo(0);
    /// Above every write: seeking with it finds the newest version. No entry has it.
    pub const MAX: SeqNo = SeqNo((1 << 56) - 1);

    /// No database comes this far, and one that claims to be there is refused: so there is always
    /// a next number.
    pub(crate) const OUT_OF_REACH: SeqNo = SeqNo(1 << 55);
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The key has no value from here on. The entry's own value is empty.
    Delete = 0,
    /// The key has this value from here on.
    Put = 1,
    /// The entry's value is an operand for the keyspace's merge operator.
    Merge = 2,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_u8(number: u8) -> Option<Kind> {
        match number {
            0 => Some(Kind::Delete),
            1 => Some(Kind::Put),
            2 => Some(Kind::Merge),
            _ => None,
        }
    }
}

/// A user key with the write it belongs to. Sorted as tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalKey<'a> {
    /// What the user calls it; at most [`KEY_BYTES_MAX`] bytes, possibly none.
    pub user: &'a [u8],
    /// The write.
    pub seq: SeqNo,
    /// What the write did.
    pub kind: Kind,
}

impl<'a> InternalKey<'a> {
    /// The three together.
    pub fn new(user: &'a [u8], seq: SeqNo, kind: Kind) -> InternalKey<'a> {
        InternalKey { user, seq, kind }
    }
}

/// The order of entries: user key ascending, then number descending.
#[inline]
pub fn compare(a: (&[u8], SeqNo), b: (&[u8], SeqNo)) -> Ordering {
    a.0.cmp(b.0).then_with(|| b.1.cmp(&a.1))
}

/// The first eight bytes of `key` as a number that compares as they do; a shorter key is filled up
/// with zeros. Different heads decide the order of two keys; equal heads decide nothing.
#[inline]
pub fn head(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

/// The hash of a user key, computed once for each read and used by every table's filter and blocks.
#[inline]
pub fn hash(user_key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(user_key)
}
