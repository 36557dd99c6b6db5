//! Which block holds a key, for tables too many to be kept in mind: the fences as a tree of two
//! levels.
//!
//! **The problem.** Fences and filter are two hundredths of the data. A database of a hundred times
//! its memory would fill that memory twice with them alone.
//!
//! **The idea.** The fences are cut into *leaves*, blocks like those of the entries: the key is the
//! fence, the value says where the block on its left lies. They are sealed, cached and given up as
//! those are, and searched in place. In memory stays the *root*: the borders between the leaves,
//! one part in ten thousand.
//!
//! ```text
//!   root     lines    u32           of the filter
//!            probes   u8            of the filter
//!            blocks   u32           of the table
//!            count    u32           of leaves
//!            firsts   u32 × count   the first block of each leaf
//!            fences                 over the leaves, as fences.rs draws them
//!
//!   leaf     a block, each entry of which is   fence ─► offset u64, len u32
//!            of the block on the fence's left
//! ```
//!
//! The last block of a table has no fence on its right; its key in the leaf is the table's last.
//!
//! While they are a small part of the memory given, all leaves of a table are gathered into
//! [`Fences`] when it is opened, and its whole filter with them: then a read costs what it costs if
//! there are no leaves. Two forms of one index are two ways to be wrong, so the leaves are the only
//! one on disk, and every test of tables reads in both.
//!
//! **Why not all by leaves?** A leaf is reached through the cache, which is a lock and a count of
//! users for each step: as much again as all else that a cached read does.
//!
//! **Absent.** A filter in pieces by key, which neighbours would share: its pages are picked by
//! hash, so that the whole filter is the same bits as its pages. And range deletes in pieces: all
//! of a table's are in memory while it is open.

use crate::codec::Input;
use crate::key::{InternalKey, Kind, SeqNo};
use crate::table::block::{BlockBuilder, Layout};
use crate::table::fences::{Fences, FencesBuilder, between};
use crate::table::filter::{Filter, Shape};
use crate::table::footer::Footer;
use crate::table::seal::SEAL_BYTES;

/// A leaf is closed when it has about this many bytes, unpacked.
const LEAF_BYTES: usize = 4 << 10;
/// The value of a leaf's entry.
const PLACE_BYTES: usize = 12;

/// What is in memory of every open table.
#[derive(Debug)]
pub(crate) struct Root {
    shape: Shape,
    blocks: usize,
    /// The first block of each leaf.
    firsts: Vec<u32>,
    leaves: Fences,
    filter_offset: u64,
}

impl Root {
    /// From the bytes drawn above, in a file with this footer.
    pub(crate) fn decode(bytes: &[u8], footer: &Footer) -> Result<Root, &'static str> {
        let mut input = Input::new(bytes);
        let shape = Shape::new(input.u32()?, u32::from(input.u8()?))?;
        let wrapped = shape.bytes() + shape.pages() * SEAL_BYTES;
        if wrapped as u64 != u64::from(footer.filter.len) {
            return Err("filter has another length than it says");
        }
        let blocks = input.u32()? as usize;
        // So that nothing is made for blocks that cannot be there.
        if (blocks * (SEAL_BYTES + 1)) as u64 > footer.filter.offset {
            return Err("there are more blocks than the file has room for");
        }
        let count = input.u32()? as usize;
        let (raw, _) = input.bytes(count.saturating_mul(4))?.as_chunks::<4>();
        let firsts: Vec<u32> = raw.iter().map(|first| u32::from_le_bytes(*first)).collect();
        let leaves = footer.leaves;
        let leaves = Fences::decode(input.rest(), leaves.offset, leaves.end())?;
        if leaves.count() != count || (count == 0) != (blocks == 0) {
            return Err("root and leaves do not agree");
        }
        let ascending = firsts.windows(2).all(|pair| pair[0] < pair[1]);
        let within = firsts.last().is_none_or(|last| (*last as usize) < blocks);
        if !ascending || !within || firsts.first().is_some_and(|first| *first != 0) {
            return Err("leaves are out of order");
        }
        Ok(Root { shape, blocks, firsts, leaves, filter_offset: footer.filter.offset })
    }

    /// How many blocks the table has.
    #[inline]
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(crate) fn leaves(&self) -> usize {
        self.firsts.len()
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.leaves.bytes() + self.firsts.len() * 4
    }

    /// The leaf that block `block` is in, and its number there.
    pub(crate) fn leaf_of(&self, block: usize) -> (usize, usize) {
        let leaf = self.firsts.partition_point(|first| *first as usize <= block) - 1;
        (leaf, block - self.firsts[leaf] as usize)
    }

    /// The first block of leaf `leaf`, and how many there are.
    pub(crate) fn span(&self, leaf: usize) -> (usize, usize) {
        let first = self.firsts[leaf] as usize;
        let next = self.firsts.get(leaf + 1).map_or(self.blocks, |first| *first as usize);
        (first, next - first)
    }

    /// The leaf that says in which block the first entry at or after `(user_key, seq)` is, and the
    /// first block of that leaf.
    pub(crate) fn find(&self, user_key: &[u8], seq: SeqNo) -> (usize, usize) {
        let leaf = self.leaves.find(user_key, seq);
        (leaf, self.firsts[leaf] as usize)
    }

    /// A key between leaf `leaf`, which is not the first, and the one before.
    pub(crate) fn border(&self, leaf: usize) -> &[u8] {
        self.leaves.fence(leaf - 1).0
    }

    /// Where leaf `leaf` lies in the file.
    pub(crate) fn place(&self, leaf: usize) -> (u64, u64) {
        self.leaves.place(leaf)
    }

    /// Where page `page` of the filter lies in the file.
    pub(crate) fn page_place(&self, page: usize) -> (u64, u64) {
        let (begin, end) = self.shape.page(page);
        let wrapped = |at: usize, seals: usize| (at + seals * SEAL_BYTES) as u64;
        (self.filter_offset + wrapped(begin, page), self.filter_offset + wrapped(end, page + 1))
    }

    /// Whether `raw` can be page `page` of the filter.
    pub(crate) fn check_page(&self, page: usize, raw: &[u8]) -> Result<(), &'static str> {
        let (begin, end) = self.shape.page(page);
        if raw.len() == end - begin { Ok(()) } else { Err("page of the filter has another length") }
    }

    /// Whether `raw` can be leaf `leaf`.
    pub(crate) fn check_leaf(&self, leaf: usize, raw: &[u8]) -> Result<(), &'static str> {
        let layout = Layout::check(raw)?;
        let (first, count) = self.span(leaf);
        if layout.count() != count {
            return Err("leaf has another number of blocks than the root says");
        }
        let mut at = None;
        for slot in 0..layout.count() {
            let part = layout.part(raw, slot);
            if part.end - part.value != PLACE_BYTES {
                return Err("leaf does not say where its blocks are");
            }
            let (offset, end) = block_place(raw, slot);
            if at.is_some_and(|at| at != offset) || (end - offset) as usize <= SEAL_BYTES {
                return Err("blocks of a leaf are out of order");
            }
            at = Some(end);
        }
        let begins = leaf > 0 || block_place(raw, 0).0 == 0;
        let ends = match at {
            Some(end) if first + count == self.blocks => end == self.filter_offset,
            Some(end) => end < self.filter_offset,
            None => false,
        };
        if begins && ends { Ok(()) } else { Err("blocks do not fill the file up to the filter") }
    }

    /// All fences in one, from all leaves, which were checked.
    pub(crate) fn gather(&self, leaves: &[impl AsRef<[u8]>]) -> Result<Fences, &'static str> {
        let mut fences = Fences::beginning_at(0, self.blocks);
        for (number, leaf) in leaves.iter().enumerate() {
            let leaf = leaf.as_ref();
            let layout = Layout::new(leaf);
            for slot in 0..layout.count() {
                let (offset, end) = block_place(leaf, slot);
                if offset != fences.end() {
                    return Err("blocks of a leaf are out of order");
                }
                fences.push_block((end - offset) as u32)?;
                if fences.count() < self.blocks {
                    let (key, seq) = (layout.key(leaf, slot), layout.trailer(leaf, slot).0);
                    fences.push_fence(&key, seq)?;
                    let border = slot + 1 == layout.count();
                    if border && self.leaves.fence(number) != (&key[..], seq) {
                        return Err("leaf does not end where the root says");
                    }
                }
            }
        }
        fences.set_heads();
        Ok(fences)
    }
}

/// Which block of a leaf has the first entry at or after `(user_key, seq)`.
pub(crate) fn find_block(leaf: &[u8], user_key: &[u8], seq: SeqNo) -> usize {
    let layout = Layout::new(leaf);
    // Behind the last key of the table, its last block is as good as any.
    layout.lower_bound(leaf, user_key, seq).min(layout.count() - 1)
}

/// Where block `slot` of a leaf that was checked lies in the file.
pub(crate) fn block_place(leaf: &[u8], slot: usize) -> (u64, u64) {
    let part = Layout::new(leaf).part(leaf, slot);
    let (offset, len) = leaf[part.value..part.end].split_at(8);
    let offset = u64::from_le_bytes(*offset.first_chunk().expect("its values have twelve bytes"));
    let len = u32::from_le_bytes(*len.first_chunk().expect("its values have twelve bytes"));
    (offset, offset.saturating_add(u64::from(len)))
}

/// Gathers the leaves while a table is written.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    leaf: BlockBuilder,
    /// Finished, not yet packed.
    leaves: Vec<Vec<u8>>,
    firsts: Vec<u32>,
    root: FencesBuilder,
    /// The borders between the leaves.
    borders: Vec<(Vec<u8>, SeqNo)>,
    blocks: u32,
    place: [u8; PLACE_BYTES],
    key: Vec<u8>,
    bytes: usize,
}

impl IndexBuilder {
    /// Notes a block. Its right fence follows, or the end.
    pub(crate) fn block(&mut self, offset: u64, len: u32) {
        self.place[..8].copy_from_slice(&offset.to_le_bytes());
        self.place[8..].copy_from_slice(&len.to_le_bytes());
    }

    /// Notes the border between an entry and the next, which is in another block.
    pub(crate) fn fence(&mut self, left: (&[u8], SeqNo), right: &[u8]) {
        let mut key = std::mem::take(&mut self.key);
        let seq = between(left, right, &mut key);
        self.push(&key, seq);
        if self.leaf.bytes() >= LEAF_BYTES {
            self.close();
            self.borders.push((key.clone(), seq));
        }
        self.key = key;
    }

    /// Notes that the last block ends with `last`, and returns the leaves.
    pub(crate) fn finish(&mut self, last: &[u8]) -> Vec<Vec<u8>> {
        self.push(last, SeqNo::ZERO);
        self.close();
        std::mem::take(&mut self.leaves)
    }

    /// Notes where the next leaf was put, and its length there.
    pub(crate) fn put(&mut self, len: u32) {
        self.root.block(len);
    }

    /// Writes the root, of a table with this filter.
    pub(crate) fn encode(&mut self, filter: &Filter, out: &mut Vec<u8>) {
        for (key, seq) in &self.borders {
            self.root.fence(key, *seq);
        }
        out.extend_from_slice(&filter.shape().lines().to_le_bytes());
        out.push(filter.shape().probes() as u8);
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&(self.firsts.len() as u32).to_le_bytes());
        for first in &self.firsts {
            out.extend_from_slice(&first.to_le_bytes());
        }
        self.root.encode(out);
    }

    /// About the bytes of all leaves.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.leaf.bytes()
    }

    fn push(&mut self, key: &[u8], seq: SeqNo) {
        if self.leaf.is_empty() {
            self.firsts.push(self.blocks);
        }
        self.leaf.add(InternalKey::new(key, seq, Kind::Put), 0, &self.place);
        self.blocks = self.blocks.checked_add(1).expect("blocks are counted in a u32");
    }

    fn close(&mut self) {
        let mut raw = Vec::new();
        self.leaf.finish(&mut raw);
        self.bytes += raw.len();
        self.leaves.push(raw);
    }
}
