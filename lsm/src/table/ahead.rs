//! Reads ahead of a cursor that walks.
//!
//! A walk over a table wants a few large reads in place of thousands of small ones; a seek wants
//! its one block and nothing else. So the first reads are exact. When two in a row were of
//! neighbours, the next covers a window beyond the block, on the side towards which the walk goes,
//! and every following one twice as much.

use crate::error::Result;
use crate::table::Table;

const WINDOW_BYTES_MIN: u64 = 16 << 10;
const WINDOW_BYTES_MAX: u64 = 256 << 10;

/// A piece of the file in memory, as it lies there.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    /// Where in the file they begin.
    start: u64,
    /// The last block asked for, from byte to byte.
    last: (u64, u64),
    window: u64,
}

impl Ahead {
    /// The bytes of block `index`, which is at most as large as the buffer grows.
    pub(crate) fn block(&mut self, table: &Table, index: usize) -> Result<(u64, &[u8])> {
        let (offset, end) = table.place(index)?;
        let held = self.start + self.bytes.len() as u64;
        if !(self.start <= offset && end <= held) {
            self.refill(table, offset, end)?;
        }
        self.last = (offset, end);
        let at = (offset - self.start) as usize;
        Ok((offset, &self.bytes[at..at + (end - offset) as usize]))
    }

    fn refill(&mut self, table: &Table, offset: u64, end: u64) -> Result<()> {
        let forward = offset == self.last.1 && self.last.1 > 0;
        let backward = end == self.last.0;
        let neighbour = forward || backward;
        self.window = match self.window {
            _ if !neighbour => 0,
            0 => WINDOW_BYTES_MIN,
            window => (window * 2).min(WINDOW_BYTES_MAX),
        };
        let data_end = table.footer().filter.offset;
        let (from, to) = if backward {
            (end.saturating_sub(self.window).min(offset), end)
        } else {
            (offset, offset.saturating_add(self.window).clamp(end, data_end))
        };
        // What is held is no longer what `start` says, should the read fail.
        self.bytes.clear();
        self.bytes.resize((to - from) as usize, 0);
        self.start = from;
        let read = table.read(&mut self.bytes, from);
        if read.is_err() {
            self.bytes.clear();
        }
        read
    }
}
