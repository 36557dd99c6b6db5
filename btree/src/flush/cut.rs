//! Cutting the end of the file off.
//!
//! ```text
//!                    end of pages                      end of file
//!   ██░██░█ ... ░███░░░░░░░░░░░░│░░░░░░░░░░░░░░░░░░░░░░│
//!                   │                                        1. a flush whose record ends here
//!                   │                 │ ◄── │ ◄── │ ◄──      2. the file, in pieces
//! ```
//!
//! First a record that does without the free pages at the end is made durable, then the file is
//! made shorter: whoever is cut off in between finds a file that is longer than it says, and that
//! is no error. The record is that of an ordinary flush, of whatever was committed, so that one who
//! always commits keeps nothing from being cut, and nobody waits for more than for a flush.
//!
//! The free map's own pages are moved by the same flush if they lie too high. The places that they
//! leave are free after it, so that there may have to be another cut.

use std::sync::Arc;

use super::{Flusher, ahead_bytes};
use crate::core::Step;
use crate::error::Result;
use crate::queue::Queue;
use crate::space::Space;

/// The file is made shorter by this much at a time: it takes the system some milliseconds.
const TRIM_BYTES_MAX: u64 = 32 << 20;

impl Flusher {
    /// One flush of whatever there is, which has the pages of the free map move below `target` and
    /// does without the free pages at the end of the file, and then one piece of the file less.
    pub(crate) fn cut(&mut self, queue: &Queue, target: u32) -> Result<()> {
        self.is_cutting = true;
        self.map.set_ceiling(target);
        let outcome = self.cut_record(queue, target);
        self.map.set_ceiling(u32::MAX);
        self.is_cutting = false;
        outcome?;
        self.trim()
    }

    fn cut_record(&mut self, queue: &Queue, target: u32) -> Result<()> {
        let ticket = queue.ticket();
        if let Some(settled) = self.step(queue) {
            queue.tell(settled);
            return Ok(());
        }
        if let Some(outcome) = queue.outcome(ticket) {
            outcome?;
        }
        let body = Arc::clone(&self.body);
        let mut space = body.space.lock();
        // What was committed just now is for the next flush, and may reach as far as ever.
        if !self.is_settled() || !space.is_taken() {
            return Ok(());
        }
        let end = self.shorten(&mut space);
        drop(space);
        self.map.truncate(end);
        if self.map.end() == self.end && self.map.pages_from(target) == 0 {
            return Ok(());
        }
        let root = self.flushed.clone();
        self.flush(&root).inspect_err(|error| self.abort(queue, error))
    }

    /// Does without the free pages at the end of the file, if that is what is being done.
    /// Everything that was committed has been taken: no state that is still to be written knows
    /// them. Returns the end of the pages.
    pub(super) fn shorten(&self, space: &mut Space) -> u32 {
        if self.is_cutting && space.shrink().is_some() {
            self.body.gauges.set_space(space);
        }
        space.end()
    }

    /// Whether the file is longer than the next record will say, by more than is kept ahead.
    pub(crate) fn is_long(&self) -> bool {
        let need = u64::from(self.map.end()) * self.body.page_bytes as u64;
        self.file_bytes > need + ahead_bytes(need)
    }

    /// Makes the file shorter by a piece, if the last record does without that.
    fn trim(&mut self) -> Result<()> {
        let bytes = u64::from(self.end) * self.body.page_bytes as u64;
        if bytes >= self.file_bytes {
            return Ok(());
        }
        let bytes = bytes.max(self.file_bytes.saturating_sub(TRIM_BYTES_MAX));
        self.body.file.set_len(bytes).map_err(|error| self.failed(error))?;
        self.file_bytes = bytes;
        self.body.gauges.set_file_bytes(bytes);
        Ok(())
    }
}
