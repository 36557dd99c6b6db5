//! Looks at every number of a block once, so that nobody has to doubt them again.

use super::{DIFFERENT, HEAD_BYTES, LONG, Layout, WIDE};
use crate::key::{KEY_BYTES_MAX, SeqNo};

impl Layout {
    /// The layout of bytes that may be anything. The error says what is wrong with them.
    pub(crate) fn check(block: &[u8]) -> Result<Layout, &'static str> {
        if block.len() < HEAD_BYTES {
            return Err("block is shorter than its head");
        }
        let layout = Layout::new(block);
        if layout.count == 0 {
            return Err("block has no entries");
        }
        let reserved = block[7] != 0 || u16::from(block[6]) & !(WIDE | 0xf) != 0;
        if layout.trailer_bytes > 8 || reserved {
            return Err("block has columns of an impossible width");
        }
        if layout.entries > block.len() {
            return Err("block is shorter than its columns");
        }
        if layout.begin(block, 0) != layout.entries {
            return Err("first entry of a block has an impossible offset");
        }
        if layout.begin(block, layout.count) != block.len() {
            return Err("block does not end with its last entry");
        }
        for index in 0..layout.count {
            layout.check_entry(block, index)?;
        }
        if layout.trailer_bytes > 0 || layout.seq_base >= SeqNo::MAX.0 {
            for index in 0..layout.count {
                layout.check_trailer(block, index)?;
            }
        }
        Ok(layout)
    }

    /// Entry `index` lies within the block, and its key within it.
    #[inline]
    fn check_entry(&self, block: &[u8], index: usize) -> Result<(), &'static str> {
        let begin = self.begin(block, index);
        let end = self.begin(block, index + 1);
        // Offsets ascend to the end of the block, so all are within it once all are looked at; this
        // one has to be before it is used.
        if begin > end || end > block.len() {
            return Err("offsets of a block are out of order");
        }
        if self.suffix == DIFFERENT {
            let lens = if end > begin && block[begin] == LONG { 3 } else { 1 };
            if end - begin < lens {
                return Err("entry is shorter than its head");
            }
        }
        let part = self.part(block, index);
        if part.value > end {
            return Err("entry is shorter than its key");
        }
        let len = (self.trailers - self.prefix) + (part.value - part.suffix);
        if len > KEY_BYTES_MAX { Err("key is too long") } else { Ok(()) }
    }

    fn check_trailer(&self, block: &[u8], index: usize) -> Result<(), &'static str> {
        let at = self.trailers + index * self.trailer_bytes;
        let mut bytes = [0; 8];
        bytes[..self.trailer_bytes].copy_from_slice(&block[at..at + self.trailer_bytes]);
        let packed = u64::from_le_bytes(bytes);
        if packed & 3 == 3 {
            return Err("entry is of no known kind");
        }
        match self.seq_base.checked_add(packed >> 2) {
            Some(seq) if seq < SeqNo::MAX.0 => Ok(()),
            _ => Err("write number is too high"),
        }
    }
}
