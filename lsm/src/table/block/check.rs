//! Looks at every number of a block once, so that nobody has to doubt them again.

use super::{GROUP_BITS_MAX, HEAD_BYTES, LONG, Layout, WIDE};
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
        if layout.group_bits > GROUP_BITS_MAX {
            return Err("block has groups of an impossible size");
        }
        if layout.trailer_bytes > 8 || block[3] & !(WIDE | 0xf) != 0 {
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
        let mut whole = 0;
        for index in 0..layout.count {
            let len = layout.check_entry(block, index)?;
            let shared = usize::from(block[layout.begin(block, index)]);
            if layout.group_start(index) == index {
                if shared != 0 {
                    return Err("first key of a group is not whole");
                }
                whole = len;
            } else if shared > whole {
                return Err("key shares more than there is");
            }
            layout.check_trailer(block, index)?;
        }
        Ok(layout)
    }

    /// The length of the key of entry `index`, which lies within the block.
    fn check_entry(&self, block: &[u8], index: usize) -> Result<usize, &'static str> {
        let begin = self.begin(block, index);
        let end = self.begin(block, index + 1);
        // Offsets ascend to the end of the block, so all are within it once all are looked at; this
        // one has to be before it is used.
        if begin > end || end > block.len() {
            return Err("offsets of a block are out of order");
        }
        let lens = if end - begin >= 2 && block[begin + 1] == LONG { 4 } else { 2 };
        if end - begin < lens {
            return Err("entry is shorter than its head");
        }
        let part = self.part(block, index);
        if part.value > end {
            return Err("entry is shorter than its key");
        }
        let len = part.shared + (part.value - part.suffix);
        if len > KEY_BYTES_MAX { Err("key is too long") } else { Ok(len) }
    }

    fn check_trailer(&self, block: &[u8], index: usize) -> Result<(), &'static str> {
        let at = self.trailers + index * self.trailer_bytes;
        let packed = self.narrow_trailer(block, at);
        if packed & 3 == 3 {
            return Err("entry is of no known kind");
        }
        match self.seq_base.checked_add(packed >> 2) {
            Some(seq) if seq < SeqNo::MAX.0 => Ok(()),
            _ => Err("write number is too high"),
        }
    }
}
