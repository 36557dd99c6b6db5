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
//!   group     u8             log2 of the group size g, at most 7
//!   widths    u8             bits 0..4: bytes of a trailer, t, 0 to 8;  bit 4: o is 4, not 2
//!   seq_base  u64            the lowest write number here
//!   marks     u8 × count     one byte of each key's hash
//!   trailers  t  × count     (write number - seq_base) << 2 | kind;  kind 0 put, 1 delete, 2 merge
//!   offsets   o  × count+1   where each entry begins, from the start of `entries`; then their end
//!   entries
//!     shared  u8             how many bytes of the key are those of the group's first key
//!     suffix  u8 [ u16 ]     how many bytes of key follow; 255: the u16 says it
//!     key, value
//! ```
//!
//! **Marks** are an index for point reads that costs a byte a key: eight of them are compared at
//! once, and of those that agree the key is looked at. In a block of 24 entries that is one false
//! look in ten reads, where a binary search would have taken four or five.
//!
//! **Groups** take the place of restart points. The first key of every g is whole, and the others
//! share its beginning, not their predecessor's: a little less is shared, but an entry is decoded
//! from itself and one other, in any order. That makes stepping back as cheap as stepping forward.
//!
//! **Trailers** have the width that the block needs. In the lowest level, where all numbers are 0
//! and all entries are puts, they take no space at all.
//!
//! **Promises.** [`Layout::check`] looks at every offset and length once, after the block was read;
//! on bytes that passed, nothing here panics, whatever they are. The order of entries is not
//! checked then but by `verify`: a block out of order gives wrong answers, but its checksum says
//! that this is what was written.
//!
//! The marks are the fingerprints of Oukid et al., "FPTree" (SIGMOD 2016), §4.2.

mod builder;
mod check;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

pub(crate) use builder::BlockBuilder;

use crate::key::{Kind, SeqNo};

/// Bytes before the marks.
const HEAD_BYTES: usize = 12;
/// The bit of `widths` for offsets of four bytes.
const WIDE: u8 = 1 << 4;
/// In place of a suffix length: it follows as a `u16`.
const LONG: u8 = u8::MAX;
/// The most bytes that a key shares.
const SHARED_MAX: usize = u8::MAX as usize;
/// The most entries in a block.
pub(crate) const COUNT_MAX: usize = u16::MAX as usize;
/// The largest log2 of a group size.
pub(crate) const GROUP_BITS_MAX: u8 = 7;

/// The byte of a key's hash that marks it in its block.
#[inline]
pub(crate) fn mark(hash: u64) -> u8 {
    hash as u8
}

/// Where the columns of one block lie. Made once for each visit; everything else is read in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    count: usize,
    group_bits: u8,
    trailer_bytes: usize,
    trailer_mask: u64,
    wide: bool,
    seq_base: u64,
    trailers: usize,
    offsets: usize,
    entries: usize,
}

/// One entry, as places in its block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// So many bytes of the key are those of the group's first.
    pub(crate) shared: usize,
    /// The rest of the key is here, and the value follows.
    pub(crate) suffix: usize,
    pub(crate) value: usize,
    pub(crate) end: usize,
}

impl Layout {
    /// The layout of a block that [`check`](Layout::check) has passed.
    #[inline]
    pub(crate) fn new(block: &[u8]) -> Layout {
        let head: &[u8; HEAD_BYTES] = block.first_chunk().expect("the block was checked");
        let count = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let trailer_bytes = usize::from(head[3] & 0xf);
        let wide = head[3] & WIDE != 0;
        let seq_base = u64::from_le_bytes(*head[4..].first_chunk().expect("eight bytes follow"));
        let trailers = HEAD_BYTES + count;
        let offsets = trailers + count * trailer_bytes;
        let entries = offsets + (count + 1) * if wide { 4 } else { 2 };
        let unused_bits = 64u32.wrapping_sub(8 * trailer_bytes as u32);
        Layout {
            count,
            group_bits: head[2],
            trailer_bytes,
            // Of no bytes if there are none, which is a shift by all bits.
            trailer_mask: u64::MAX.checked_shr(unused_bits).unwrap_or(0),
            wide,
            seq_base,
            trailers,
            offsets,
            entries,
        }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
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
        let shared = usize::from(block[begin]);
        let short = block[begin + 1];
        let (suffix, len) = if short == LONG {
            (begin + 4, usize::from(u16_at(block, begin + 2)))
        } else {
            (begin + 2, usize::from(short))
        };
        Part { shared, suffix, value: suffix + len, end }
    }

    /// The first entry of the group that entry `index` is in.
    #[inline]
    pub(crate) fn group_start(&self, index: usize) -> usize {
        index >> self.group_bits << self.group_bits
    }

    /// The whole key of the first entry of a group.
    #[inline]
    pub(crate) fn whole_key<'a>(&self, block: &'a [u8], group_start: usize) -> &'a [u8] {
        let part = self.part(block, group_start);
        &block[part.suffix..part.value]
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
        let pattern = u64::from(mark) * LOW_BITS;
        let mut base = 0;
        while base < self.count {
            let mut hits = zero_bytes(self.marks_from(block, base) ^ pattern);
            while hits != 0 {
                let index = base + hits.trailing_zeros() as usize / 8;
                if index >= self.count {
                    return None;
                }
                if let Some(part) = self.part_if(block, index, user_key) {
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

    /// Entry `index`, if its key is `user_key`.
    #[inline]
    fn part_if(&self, block: &[u8], index: usize, user_key: &[u8]) -> Option<Part> {
        let part = self.part(block, index);
        let (front, back) = user_key.split_at_checked(part.shared)?;
        if block[part.suffix..part.value] != *back {
            return None;
        }
        let whole = self.group_start(index);
        let same = part.shared == 0 || self.whole_key(block, whole)[..part.shared] == *front;
        same.then_some(part)
    }

    /// How many entries come before `(user_key, seq)`: the number of the first one that does not.
    pub(crate) fn lower_bound(&self, block: &[u8], user_key: &[u8], seq: SeqNo) -> usize {
        // Groups whose first entry comes before it; it is in the last of them or just behind.
        let groups = self.count.div_ceil(1 << self.group_bits);
        let group = partition(0, groups, |group| {
            let start = group << self.group_bits;
            self.order_of(block, start, self.whole_key(block, start), (user_key, seq)).is_lt()
        });
        if group == 0 {
            return 0;
        }
        let start = (group - 1) << self.group_bits;
        let end = self.count.min(group << self.group_bits);
        let whole = self.whole_key(block, start);
        let common = common_bytes(whole, user_key);
        partition(start + 1, end, |index| {
            let part = self.part(block, index);
            if part.shared > common {
                // It has a byte of the group's first key that made that one come before.
                return true;
            }
            let suffix = &block[part.suffix..part.value];
            self.order_of(block, index, suffix, (&user_key[part.shared..], seq)).is_lt()
        })
    }

    /// How entry `index`, or what is left of its key, compares.
    #[inline]
    fn order_of(&self, block: &[u8], index: usize, key: &[u8], than: (&[u8], SeqNo)) -> Ordering {
        key.cmp(than.0).then_with(|| than.1.cmp(&self.trailer(block, index).0))
    }
}

/// The first index in `lo..hi` for which `before` is false.
#[inline]
fn partition(mut lo: usize, mut hi: usize, mut before: impl FnMut(usize) -> bool) -> usize {
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        if before(mid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    lo
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
