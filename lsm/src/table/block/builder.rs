//! Gathers the entries of one block.

use super::{COUNT_MAX, HEAD_BYTES, LONG, SHARED_MAX, WIDE, common_bytes};
use crate::key::{InternalKey, Kind};

/// Gathers the entries of one block, then of the next; its buffers are used again.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    group_bits: u8,
    whole: Vec<u8>,
    marks: Vec<u8>,
    /// Write number and kind of each entry.
    writes: Vec<(u64, Kind)>,
    offsets: Vec<u32>,
    entries: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn new(group_bits: u8) -> BlockBuilder {
        BlockBuilder {
            group_bits,
            whole: Vec::new(),
            marks: Vec::new(),
            writes: Vec::new(),
            offsets: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.marks.len() == COUNT_MAX
    }

    /// About the size of the block as it stands.
    pub(crate) fn bytes(&self) -> usize {
        // A mark, an offset, and a trailer of as many bytes as numbers mostly differ in.
        HEAD_BYTES + self.entries.len() + self.marks.len() * 6
    }

    /// Appends an entry, whose key must come after the last one's.
    pub(crate) fn add(&mut self, key: InternalKey<'_>, mark: u8, value: &[u8]) {
        assert!(!self.is_full(), "a block has a limited number of entries");
        let group_mask = (1 << self.group_bits) - 1;
        let shared = if self.marks.len() & group_mask == 0 {
            self.whole.clear();
            self.whole.extend_from_slice(key.user);
            0
        } else {
            common_bytes(&self.whole, key.user).min(SHARED_MAX)
        };
        let suffix = &key.user[shared..];
        self.offsets.push(self.len());
        self.entries.push(shared as u8);
        if suffix.len() < usize::from(LONG) {
            self.entries.push(suffix.len() as u8);
        } else {
            let len = u16::try_from(suffix.len()).expect("keys are bounded by KEY_BYTES_MAX");
            self.entries.push(LONG);
            self.entries.extend_from_slice(&len.to_le_bytes());
        }
        self.entries.extend_from_slice(suffix);
        self.entries.extend_from_slice(value);
        self.marks.push(mark);
        self.writes.push((key.seq.0, key.kind));
    }

    fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("a block is smaller than 4 GiB")
    }

    /// Writes the block to `out`, which is emptied first, and begins another.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        assert!(!self.is_empty(), "a block has entries");
        let seq_base = self.writes.iter().map(|(seq, _)| *seq).min().expect("there are entries");
        let packed = |(seq, kind): (u64, Kind)| {
            let kind = match kind {
                Kind::Put => 0,
                Kind::Delete => 1,
                Kind::Merge => 2,
            };
            (seq - seq_base) << 2 | kind
        };
        let all = self.writes.iter().fold(0, |all, write| all | packed(*write));
        let trailer_bytes = (64 - all.leading_zeros()).div_ceil(8) as usize;
        let end = self.len();
        let wide = end > u32::from(u16::MAX);

        out.clear();
        out.extend_from_slice(&(self.marks.len() as u16).to_le_bytes());
        out.push(self.group_bits);
        out.push(trailer_bytes as u8 | if wide { WIDE } else { 0 });
        out.extend_from_slice(&seq_base.to_le_bytes());
        out.extend_from_slice(&self.marks);
        for write in &self.writes {
            out.extend_from_slice(&packed(*write).to_le_bytes()[..trailer_bytes]);
        }
        self.offsets.push(end);
        for offset in &self.offsets {
            let bytes = offset.to_le_bytes();
            out.extend_from_slice(&bytes[..if wide { 4 } else { 2 }]);
        }
        out.extend_from_slice(&self.entries);

        self.marks.clear();
        self.writes.clear();
        self.offsets.clear();
        self.entries.clear();
    }
}
