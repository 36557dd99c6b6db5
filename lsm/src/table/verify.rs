//! Reads a whole table and checks everything against everything else.
//!
//! A checksum says that a block is what was written. This says that what was written is a table:
//! that entries are in order, within the fences of their block, known to the filter, marked as the
//! point read will look for them, and that the description counts them right. Reading does not need
//! it; a tool asked to look for damage does, and so do the tests of whatever writes tables.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::key::{SeqNo, compare, hash};
use crate::table::ahead::Ahead;
use crate::table::block::{Layout, mark};
use crate::table::reader::Whole;
use crate::table::{Table, TableMeta, Upper};

impl Table {
    /// Reads everything and checks it against everything else. Leaves the cache as it is.
    ///
    /// # Errors
    /// [`Corrupt`](Error::Corrupt) with the first place that is not as it should be.
    pub fn verify(&self) -> Result<()> {
        self.verify_paced(&mut |_| true)
    }

    /// The same; `pace` is told of each block how many bytes it takes in the file, when it was
    /// looked at, and may take its time; once it says false, the rest is left out.
    ///
    /// # Errors
    /// As for [`Table::verify`].
    pub fn verify_paced(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let mut seen = TableMeta::empty(self.meta().id, self.meta().salt);
        seen.seq_min = SeqNo::MAX;
        let mut last = Vec::new();
        // From the file, whatever is in the cache.
        let mut ahead = Ahead::default();
        let whole = self.load_whole()?;
        for number in 0..self.blocks() {
            let (offset, bytes) = ahead.block(self, number)?;
            let len = bytes.len() as u64;
            let block = self.unwrap(offset, bytes)?;
            self.verify_block(&whole, (number, offset), &block, &mut seen, &mut last)?;
            if !pace(len) {
                return Ok(());
            }
        }
        self.verify_meta(seen, &last)
    }

    fn verify_block(
        &self,
        whole: &Whole,
        (number, offset): (usize, u64),
        block: &[u8],
        seen: &mut TableMeta,
        last: &mut Vec<u8>,
    ) -> Result<()> {
        let corrupt = |what| Error::corrupt(self.path(), offset, what);
        let layout = Layout::new(block);
        let mut last_seq = SeqNo::ZERO;
        for index in 0..layout.count() {
            let part = layout.part(block, index);
            let key = layout.key(block, index);
            let (seq, kind) = layout.trailer(block, index);
            if index > 0 && compare((last, last_seq), (&key, seq)).is_ge() {
                return Err(corrupt("entries of a block are out of order"));
            }
            if !whole.fences.holds(number, &key, seq) {
                return Err(corrupt("entry is outside the fences of its block"));
            }
            let hash = hash(&key);
            if layout.mark(block, index) != mark(hash) {
                return Err(corrupt("mark is not that of its key"));
            }
            if !whole.filter.may_contain(hash) {
                return Err(corrupt("key is not in the filter"));
            }
            if seen.entries == 0 {
                seen.smallest = Bytes::copy_from_slice(&key);
            }
            seen.count(&key, seq, kind, part.end - part.value);
            *last = key;
            last_seq = seq;
        }
        Ok(())
    }

    /// Compares what the description says with what was `seen`.
    fn verify_meta(&self, mut seen: TableMeta, last: &[u8]) -> Result<()> {
        seen.bytes = self.meta().bytes;
        seen.time_max = self.meta().time_max;
        let upper = Upper::At(Bytes::copy_from_slice(last));
        seen.bound(self.range_dels(), upper);
        for delete in self.range_dels().iter() {
            // Of a table that was taken in, as it is in the file.
            let ingested = self.meta().ingested != SeqNo::ZERO;
            let seq = if ingested { SeqNo::ZERO } else { delete.seq };
            seen.seq_min = seen.seq_min.min(seq);
            seen.seq_max = seen.seq_max.max(seq);
        }
        if seen == self.meta().as_written() {
            return Ok(());
        }
        let offset = self.footer().meta.offset;
        Err(Error::corrupt(self.path(), offset, "description and content do not agree"))
    }
}
