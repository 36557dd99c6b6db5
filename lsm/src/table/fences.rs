//! Which block holds a key: the sorted borders between neighbouring blocks, as a table in memory.
//!
//! **The problem.** Every read begins by finding its block among thousands. A binary search over
//! whole keys visits a dozen of them, each in a place of its own.
//!
//! **The idea.** A *fence* stands between two blocks: the shortest key that is not below the last
//! key on its left and is below the first on its right. Of each fence the eight bytes after what
//! all of them begin with, its *head*, lie in one array of numbers, and the search halves that
//! array without a branch to mispredict. Only where heads are equal are keys looked at.
//!
//! ```text
//!             block 0 │ block 1 │ block 2 │ block 3
//!   keys       a   ca │ cb   cf │ cf   d  │ m    z
//!   fences            c(a)     cf,7       e                 one fewer than blocks
//! ```
//!
//! A fence that cuts through the versions of one key (`cf` above) also has the write number of the
//! last entry on its left. Every other stands behind all versions of its key, which number 0 says.
//!
//! ```text
//!   count    u32           blocks
//!   lens     u32 × count   bytes of each in the file; the first begins at 0, none are between
//!   fence    × count-1
//!     key    u16 + bytes
//!     seq    u64 (in a flag byte and 0 or 8 bytes: 0, or 1 and the number)
//! ```
//!
//! There are two uses of it: over the leaves of a table, always in memory and encoded as above; and
//! over all of its blocks, gathered from the leaves if memory allows. See `index.rs`.
//!
//! **Memory.** About 25 bytes and a short key for each block; one part in a hundred of the data.

#[cfg(test)]
mod tests;

use crate::codec::{Input, put_string};
use crate::key::{SeqNo, compare, head};
use crate::table::block::common_bytes;
use crate::table::seal::SEAL_BYTES;

/// The borders of a table's blocks.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    /// Where each block begins in the file, and where the last one ends.
    offsets: Vec<u64>,
    /// What all keys below begin with.
    common: Vec<u8>,
    /// The eight bytes after that, of each.
    heads: Vec<u64>,
    /// All keys, one after the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<u32>,
    /// The numbers of the fences that have one, by fence.
    seqs: Vec<(u32, SeqNo)>,
}

impl Fences {
    /// How many blocks there are.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Where block `index` lies in the file, from byte to byte.
    #[inline]
    pub(crate) fn place(&self, index: usize) -> (u64, u64) {
        (self.offsets[index], self.offsets[index + 1])
    }

    /// The block in which the first entry at or after `(user_key, seq)` is, if there is one.
    #[inline]
    pub(crate) fn find(&self, user_key: &[u8], seq: SeqNo) -> usize {
        let Some(rest) = user_key.strip_prefix(&*self.common) else {
            return if *user_key < *self.common { 0 } else { self.heads.len() };
        };
        let target = head(rest);
        // The standard library's search moves conditionally where others jump.
        let first = self.heads.partition_point(|head| *head < target);
        if self.heads.get(first) == Some(&target) {
            self.settle(first, target, user_key, seq)
        } else {
            first
        }
    }

    /// The search among fences with the target's own head, the first of which is `first`.
    #[inline(never)]
    fn settle(&self, first: usize, target: u64, user_key: &[u8], seq: SeqNo) -> usize {
        let (mut lo, mut hi) = (first, first + 1);
        // There are few, or very many that begin alike: widen by doubling, then halve.
        let mut step = 1;
        while hi < self.heads.len() && self.heads[hi] == target && self.is_before(hi, user_key, seq)
        {
            lo = hi;
            hi = (hi + step).min(self.heads.len());
            step *= 2;
        }
        while lo < hi {
            let mid = lo + (hi - lo) / 2;
            if self.is_before(mid, user_key, seq) {
                lo = mid + 1;
            } else {
                hi = mid;
            }
        }
        lo
    }

    /// Whether fence `index` stands before `(user_key, seq)`.
    fn is_before(&self, index: usize, user_key: &[u8], seq: SeqNo) -> bool {
        compare(self.fence(index), (user_key, seq)).is_lt()
    }

    /// Whether the first entry at or after `(user_key, seq)` is in block `index`, which a search
    /// would find.
    #[inline]
    pub(crate) fn holds(&self, index: usize, user_key: &[u8], seq: SeqNo) -> bool {
        (index == 0 || self.is_before(index - 1, user_key, seq))
            && (index >= self.heads.len() || !self.is_before(index, user_key, seq))
    }

    /// The fence between block `index` and the next.
    pub(crate) fn fence(&self, index: usize) -> (&[u8], SeqNo) {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let key = &self.keys[start..self.ends[index] as usize];
        if self.seqs.is_empty() {
            return (key, SeqNo::ZERO);
        }
        let found = self.seqs.binary_search_by_key(&(index as u32), |(fence, _)| *fence);
        (key, found.map_or(SeqNo::ZERO, |at| self.seqs[at].1))
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.offsets.len() * 8 + self.heads.len() * 12 + self.keys.len() + self.seqs.len() * 16
    }

    /// From the bytes drawn above; the blocks must fill the file `from..to`.
    pub(crate) fn decode(bytes: &[u8], from: u64, to: u64) -> Result<Fences, &'static str> {
        let mut input = Input::new(bytes);
        let count = input.u32()? as usize;
        let (lens, rest) = input.bytes(count.saturating_mul(4))?.as_chunks::<4>();
        debug_assert!(rest.is_empty(), "four bytes for each block");
        let mut fences = Fences::beginning_at(from, count);
        for len in lens {
            fences.push_block(u32::from_le_bytes(*len))?;
        }
        if fences.end() != to {
            return Err("blocks do not fill their part of the file");
        }
        let fence_count = count.saturating_sub(1);
        // A fence takes three bytes at least, so these are bounded by what was read.
        if input.rest().len() < fence_count.saturating_mul(3) {
            return Err("fences end early");
        }
        fences.heads.reserve_exact(fence_count);
        fences.ends.reserve_exact(fence_count);
        for _ in 0..fence_count {
            let key = input.string()?;
            let seq = match input.u8()? {
                0 => SeqNo::ZERO,
                1 => SeqNo(input.u64()?),
                _ => return Err("fence is of no known kind"),
            };
            fences.push_fence(key, seq)?;
        }
        if !input.rest().is_empty() {
            return Err("bytes are left behind the fences");
        }
        fences.set_heads();
        Ok(fences)
    }

    /// Of no blocks yet, the first of which begins at `start`.
    pub(crate) fn beginning_at(start: u64, blocks: usize) -> Fences {
        let mut fences = Fences::default();
        fences.offsets.reserve_exact(blocks + 1);
        fences.offsets.push(start);
        fences
    }

    /// Where the last block ends.
    pub(crate) fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Appends a block of `len` bytes.
    pub(crate) fn push_block(&mut self, len: u32) -> Result<(), &'static str> {
        if (len as usize) <= SEAL_BYTES {
            return Err("block is shorter than its seal");
        }
        self.offsets.push(self.end().saturating_add(u64::from(len)));
        Ok(())
    }

    /// Appends a fence. [`set_heads`](Fences::set_heads) follows the last one.
    pub(crate) fn push_fence(&mut self, key: &[u8], seq: SeqNo) -> Result<(), &'static str> {
        let index = self.ends.len();
        if index > 0 && compare(self.fence(index - 1), (key, seq)).is_ge() {
            return Err("fences are out of order");
        }
        self.keys.extend_from_slice(key);
        self.ends.push(u32::try_from(self.keys.len()).map_err(|_| "fences are too long")?);
        if seq != SeqNo::ZERO {
            self.seqs.push((index as u32, seq));
        }
        Ok(())
    }

    pub(crate) fn set_heads(&mut self) {
        let Some(last) = self.ends.len().checked_sub(1) else { return };
        // They are sorted, so what the first and the last share, all share.
        let (first, last) = (self.fence(0).0, self.fence(last).0);
        let common = first[..common_bytes(first, last)].to_vec();
        let heads = (0..self.ends.len()).map(|index| head(&self.fence(index).0[common.len()..]));
        self.heads = heads.collect();
        self.common = common;
    }
}

/// Gathers the borders while a table is written.
#[derive(Debug, Default)]
pub(crate) struct FencesBuilder {
    lens: Vec<u8>,
    fences: Vec<u8>,
}

impl FencesBuilder {
    /// Notes a block of `len` bytes in the file.
    pub(crate) fn block(&mut self, len: u32) {
        self.lens.extend_from_slice(&len.to_le_bytes());
    }

    /// Notes the fence behind that block, which another one follows.
    pub(crate) fn fence(&mut self, key: &[u8], seq: SeqNo) {
        put_string(&mut self.fences, key);
        self.fences.push(u8::from(seq != SeqNo::ZERO));
        if seq != SeqNo::ZERO {
            self.fences.extend_from_slice(&seq.0.to_le_bytes());
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.lens.len() / 4).expect("blocks are counted in a u32");
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.lens);
        out.extend_from_slice(&self.fences);
    }
}

/// Writes the key of a fence between an entry and the next, which is in another block, to `key`,
/// and returns its number.
pub(crate) fn between(left: (&[u8], SeqNo), right: &[u8], key: &mut Vec<u8>) -> SeqNo {
    key.clear();
    if left.0 == right {
        key.extend_from_slice(right);
        return left.1;
    }
    let (short, more) = shortest(left.0, right, common_bytes(left.0, right));
    key.extend_from_slice(short);
    key.extend(more);
    SeqNo::ZERO
}

/// The shortest key from `left` up to but without `right`: a part of `left`, and perhaps one byte
/// more. `common` is how many bytes they share.
fn shortest<'a>(left: &'a [u8], right: &[u8], common: usize) -> (&'a [u8], Option<u8>) {
    if left.len() <= common + 1 {
        return (left, None);
    }
    // `left` is not a beginning of `right`, so it has a lower byte here.
    let (low, high) = (left[common], right[common]);
    if low + 1 < high || (low < high && right.len() > common + 1) {
        return (&left[..common], Some(low + 1));
    }
    // `low + 1` would be `right` itself. Go on to a byte of `left` that can be raised.
    match left[common + 1..].iter().position(|byte| *byte != u8::MAX) {
        Some(more) => {
            let at = common + 1 + more;
            if at + 1 == left.len() { (left, None) } else { (&left[..at], Some(left[at] + 1)) }
        }
        None => (left, None),
    }
}
