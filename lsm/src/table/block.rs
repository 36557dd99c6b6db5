//! A block of entries: the unit that is read, checked, unpacked and cached.
//!
//! **The problem.** Three readers want three things of the same few kilobytes. A point read wants
//! one entry and to touch as little memory as it can: each cache line it touches costs more than
//! all it computes. A scan wants the next entry, in either direction. The disk wants it small.
//!
//! **The idea.** Columns. What a search looks at lies together at the front; keys and values
//! follow. Every entry has an offset, so any can be reached at once and no length of a value is
//! stored.
//!
//! ```text
//!   count     u16            entries, at least 1
//!   prefix    u16            bytes that all keys begin with
//!   suffix    u16            bytes of every key after that; 65535: each entry says its own
//!   widths    u16            bits 0..4: bytes of a trailer, t, 0 to 8;  bit 4: o is 4, not 2
//!   seq_base  u64            the lowest write number here
//!   marks     u8 × count     one byte of each key's hash
//!   prefix    bytes
//!   trailers  t  × count     (write number - seq_base) << 2 | kind;  kind 0 put, 1 delete, 2 merge
//!   offsets   o  × count+1   where each entry begins, from the start of `entries`; then their end
//!   entries
//!     [suffix u8 [ u16 ]]    if they differ: bytes of this key after the prefix; 255: the u16 says it
//!     key, value             the key without the prefix
//! ```
//!
//! **Marks** are an index for point reads that costs a byte a key: eight of them are compared at
//! once, and of those that agree the key is looked at. In a block of 24 entries that is one false
//! look in ten reads, where a binary search would have taken four or five.
//!
//! **The prefix** is what the first and the last key have in common, and so all between. Sharing
//! with the predecessor would save a little more, and cost every reader the predecessors: here an
//! entry is decoded from itself. That makes stepping back as cheap as stepping forward, and what is
//! not saved, packing mostly finds.
//!
//! **Trailers** have the width that the block needs. In the lowest level, where all numbers are 0
//! and all entries are puts, they take no space at all; nor do lengths of keys that are all equal.
//!
//! **Promises.** [`Layout::check`] looks at every offset and length once, after the block was read;
//! on bytes that passed, nothing here panics, whatever they are. The order of entries is not
//! checked then but by `verify`: a block out of order gives wrong answers, but its checksum says
//! that this is what was written.
//!
//! The marks are the fingerprints of Oukid et al., "FPTree" (SIGMOD 2016), §4.2; the prefix is that
//! of Graefe, "Modern B-Tree Techniques" (2011), §3.5.

mod builder;
mod check;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

pub(crate) use builder::BlockBuilder;

use crate::key::{Kind, SeqNo};

/// Bytes before the marks.
const HEAD_BYTES: usize = 16;
/// The bit of `widths` for offsets of four bytes.
const WIDE: u16 = 1 << 4;
/// In place of the length of all suffixes: each entry says its own.
const DIFFERENT: u16 = u16::MAX;
/// In place of the length of one suffix: it follows as a `u16`.
const LONG: u8 = u8::MAX;
/// The most entries in a block.
const COUNT_MAX: usize = u16::MAX as usize;

/// The byte of a key's hash that marks it in its block.
#[inline]
pub(crate) fn mark(hash: u64) -> u8 {
    hash as u8
}

/// Where the columns of one block lie. Made once for each visit; everything else is read in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    count: usize,
    suffix: u16,
    trailer_bytes: usize,
    trailer_mask: u64,
    wide: bool,
    seq_base: u64,
    prefix: usize,
    trailers: usize,
    offsets: usize,
    entries: usize,
}

/// One entry, as places in its block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The key after the prefix begins here, and the value follows.
    pub(crate) suffix: usize,
    pub(crate) value: usize,
    pub(crate) end: usize,
}

impl Layout {
    /// The layout of a block that [`check`](Layout::check) has passed.
    #[inline]
    pub(crate) fn new(block: &[u8]) -> Layout {
        let head: &[u8; HEAD_BYTES] = block.first_chunk().expect("the block was checked");
        let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let (count, prefix_bytes, widths) = (word(0), word(2), word(6));
        let count = usize::from(count);
        let trailer_bytes = usize::from(widths & 0xf);
        let wide = widths & WIDE != 0;
        let prefix = HEAD_BYTES + count;
        let trailers = prefix + usize::from(prefix_bytes);
        let offsets = trailers + count * trailer_bytes;
        let unused_bits = 64u32.wrapping_sub(8 * trailer_bytes as u32);
        Layout {
            count,
            suffix: word(4),
            trailer_bytes,
            // Of no bytes if there are none, which is a shift by all bits.
            trailer_mask: u64::MAX.checked_shr(unused_bits).unwrap_or(0),
            wide,
            seq_base: u64::from_le_bytes(*head[8..].first_chunk().expect("eight bytes follow")),
            prefix,
            trailers,
            offsets,
            entries: offsets + (count + 1) * if wide { 4 } else { 2 },
        }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What all keys begin with.
    #[inline]
    pub(crate) fn prefix<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        &block[self.prefix..self.trailers]
    }

    /// Where entry `index` begins; the end of the last one for `count`.
    #[inline]
    fn begin(&self, block: &[u8], index: usize) -> usize {
        let offset = if self.wide {
            u32_at(block, self.offsets + index * 4) as usize
        } else {
            usize::from(u16_at(block, self.offsets + index * 2))
        };
        self.entries + offset
    }

    #[inline]
    pub(crate) fn part(&self, block: &[u8], index: usize) -> Part {
        let begin = self.begin(block, index);
        let end = self.begin(block, index + 1);
        let (suffix, len) = if self.suffix != DIFFERENT {
            (begin, usize::from(self.suffix))
        } else if block[begin] != LONG {
            (begin + 1, usize::from(block[begin]))
        } else {
            (begin + 3, usize::from(u16_at(block, begin + 1)))
        };
        Part { suffix, value: suffix + len, end }
    }

    /// The key of entry `index` after the prefix.
    #[inline]
    fn suffix<'a>(&self, block: &'a [u8], index: usize) -> &'a [u8] {
        let part = self.part(block, index);
        &block[part.suffix..part.value]
    }

    /// The key of entry `index`, put together.
    pub(crate) fn key(&self, block: &[u8], index: usize) -> Vec<u8> {
        [self.prefix(block), self.suffix(block, index)].concat()
    }

    #[inline]
    pub(crate) fn trailer(&self, block: &[u8], index: usize) -> (SeqNo, Kind) {
        let at = self.trailers + index * self.trailer_bytes;
        let packed = match block.get(at..at + 8) {
            Some(bytes) => {
                let word = u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes"));
                word & self.trailer_mask
            }
            None => self.narrow_trailer(block, at),
        };
        let kind = match packed & 3 {
            0 => Kind::Put,
            1 => Kind::Delete,
            _ => Kind::Merge,
        };
        (SeqNo(self.seq_base + (packed >> 2)), kind)
    }

    /// A trailer less than eight bytes before the end of the block.
    #[cold]
    fn narrow_trailer(&self, block: &[u8], at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..self.trailer_bytes].copy_from_slice(&block[at..at + self.trailer_bytes]);
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn mark(&self, block: &[u8], index: usize) -> u8 {
        block[HEAD_BYTES + index]
    }

    /// The newest entry of `user_key` up to write `seq`, as its number and the place of its value.
    #[inline]
    pub(crate) fn find(
        &self,
        block: &[u8],
        user_key: &[u8],
        mark: u8,
        seq: SeqNo,
    ) -> Option<(SeqNo, Kind, Range<usize>)> {
        let rest = user_key.strip_prefix(self.prefix(block))?;
        let pattern = u64::from(mark) * LOW_BITS;
        let mut base = 0;
        while base < self.count {
            let mut hits = zero_bytes(self.marks_from(block, base) ^ pattern);
            while hits != 0 {
                let index = base + hits.trailing_zeros() as usize / 8;
                if index >= self.count {
                    return None;
                }
                let part = self.part(block, index);
                if block[part.suffix..part.value] == *rest {
                    let (found, kind) = self.trailer(block, index);
                    if found <= seq {
                        return Some((found, kind, part.value..part.end));
                    }
                }
                hits &= hits - 1;
            }
            base += 8;
        }
        None
    }

    /// Eight marks from number `index` on; behind the last one anything.
    #[inline]
    fn marks_from(&self, block: &[u8], index: usize) -> u64 {
        let at = HEAD_BYTES + index;
        match block.get(at..at + 8) {
            Some(bytes) => u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes")),
            None => {
                let mut bytes = [0; 8];
                let rest = &block[at..];
                bytes[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(bytes)
            }
        }
    }

    /// How many entries come before `(user_key, seq)`: the number of the first one that does not.
    pub(crate) fn lower_bound(&self, block: &[u8], user_key: &[u8], seq: SeqNo) -> usize {
        let prefix = self.prefix(block);
        let Some(rest) = user_key.strip_prefix(prefix) else {
            return if user_key < prefix { 0 } else { self.count };
        };
        let (mut lo, mut hi) = (0, self.count);
        while lo < hi {
            let mid = lo + (hi - lo) / 2;
            let order = self.suffix(block, mid).cmp(rest);
            let before = match order {
                Ordering::Equal => self.trailer(block, mid).0 > seq,
                order => order.is_lt(),
            };
            if before {
                lo = mid + 1;
            } else {
                hi = mid;
            }
        }
        lo
    }
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// The top bit of each byte of `word` that is zero; behind the first such byte there may be false
/// ones.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & (LOW_BITS << 7)
}

/// How many bytes two keys have in common from their beginning.
#[inline]
pub(crate) fn common_bytes(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    let mut common = 0;
    for (a, b) in words {
        let a = u64::from_le_bytes(*a.first_chunk().expect("eight bytes"));
        let b = u64::from_le_bytes(*b.first_chunk().expect("eight bytes"));
        if a != b {
            return common + (a ^ b).trailing_zeros() as usize / 8;
        }
        common += 8;
    }
    common + a[common..].iter().zip(&b[common..]).take_while(|(a, b)| a == b).count()
}

#[inline]
fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*block[at..].first_chunk().expect("the block was checked"))
}

#[inline]
fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*block[at..].first_chunk().expect("the block was checked"))
}
