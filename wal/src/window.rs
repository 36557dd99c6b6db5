//! Sequential reading of one file through a bounded buffer.

use std::io;
use std::sync::Arc;

use drystone_vfs::File;

use crate::format::{FRAME_HEAD_BYTES, FrameHead, frame_crc};

/// How much is read at once.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// A view of `file[..end]` that moves forward, a window at a time.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<dyn File>,
    end: u64,
    buf: Vec<u8>,
    start: u64,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn File>, end: u64) -> Window {
        Window { file, end, buf: Vec::new(), start: 0 }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes at `offset`: as many as `len`, which is at most a window, or fewer at the end.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        assert!(len <= WINDOW_BYTES, "asked for more than a window");
        let left = self.end.saturating_sub(offset);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffered = self.start + self.buf.len() as u64;
        if !(self.start <= offset && offset + len as u64 <= buffered) {
            let want = WINDOW_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buf.resize(want, 0);
            self.start = offset;
            let read = self.file.read_at(&mut self.buf, offset);
            // What a failed read has left is nothing to go by.
            self.buf.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let at = (offset - self.start) as usize;
        let end = (at + len).min(self.buf.len());
        Ok(&self.buf[at..end])
    }

    /// Behind the last byte from `from` on that is not zero; `from` if all are.
    pub(crate) fn dirty_end(&mut self, from: u64) -> io::Result<u64> {
        let (mut at, mut dirty) = (from, from);
        loop {
            let piece = self.bytes(at, WINDOW_BYTES)?;
            if piece.is_empty() {
                return Ok(dirty);
            }
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                dirty = at + last as u64 + 1;
            }
            at += piece.len() as u64;
        }
    }

    /// Whether the frame at `offset`, whose head is `head`, passes its checksum. `None` if it does
    /// not fit before the end.
    pub(crate) fn check(
        &mut self,
        offset: u64,
        head: &FrameHead,
        seed: u32,
    ) -> io::Result<Option<bool>> {
        Ok(self.crc(offset, head, seed)?.map(|crc| crc == head.crc))
    }

    /// The checksum of that frame. Memory does not grow with the frame.
    pub(crate) fn crc(
        &mut self,
        offset: u64,
        head: &FrameHead,
        seed: u32,
    ) -> io::Result<Option<u32>> {
        if head.bytes() > self.end.saturating_sub(offset) {
            return Ok(None);
        }
        let mut hasher = frame_crc(self.bytes(offset, FRAME_HEAD_BYTES)?, seed);
        let stop = offset + head.bytes();
        let mut at = offset + FRAME_HEAD_BYTES as u64;
        while at < stop {
            let piece = self.bytes(at, WINDOW_BYTES.min((stop - at) as usize))?;
            if piece.is_empty() {
                return Ok(None);
            }
            hasher.update(piece);
            at += piece.len() as u64;
        }
        Ok(Some(hasher.finalize()))
    }
}
