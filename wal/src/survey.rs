//! Walking a segment whatever its bytes: on over damage, to the next frame that is sound.
//!
//! Recovery stops at the first place that is not a frame, and judges it. Those who want to see
//! everything there is ([`salvage`](crate::salvage), [`inspect`](crate::inspect)) go on:
//!
//! ```text
//!     ┌───────┬───────┬╌╌╌╌╌╌╌╌╌╌╌┬───────┬───────┬ ─ ─ ─ ─ ─ ─ ─ ┐
//!     │ frame │ frame ┊ gap       │ frame │ frame │ zeros
//!     └───────┴───────┴╌╌╌╌╌╌╌╌╌╌╌┴───────┴───────┴ ─ ─ ─ ─ ─ ─ ─ ┘
//!                      └ tried at every 8th byte: a head that makes sense, a position that can be,
//!                        and the checksum under this segment's seed
//! ```
//!
//! A frame from elsewhere does not pass, for its seed is another: old contents of a recycled file
//! are one gap. The checksums tried in gaps are bounded by a few times the file's size; beyond
//! that the rest is one gap, and [`gave_up`](Survey::gave_up) tells.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use drystone_vfs::File;

use crate::error::Damage;
use crate::format::{ALIGN_BYTES, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES};
use crate::scan::frame_at;
use crate::types::Lsn;
use crate::window::{WINDOW_BYTES, Window};

/// Bytes that are checked in gaps, at most: this many times the file's, and so many in any case.
const BUDGET_FACTOR: u64 = 8;
const BUDGET_BYTES_MIN: u64 = 64 << 20;

/// A stretch of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A sound frame.
    Frame { offset: u64, head: FrameHead, lsn: Lsn },
    /// Zeros where a frame could be.
    Zeros { offset: u64, bytes: u64 },
    /// Anything else; no bytes if sound frames follow each other and their positions do not.
    Gap { offset: u64, bytes: u64, reason: Damage },
}

/// The pieces of one segment, in order; together they cover it.
#[derive(Debug)]
pub(crate) struct Survey {
    window: Window,
    seed: u32,
    at: u64,
    /// The record expected at `at`.
    next: Lsn,
    /// What stands at `at` follows a gap: frames may have been lost.
    torn: bool,
    budget: u64,
    gave_up: bool,
}

impl Survey {
    /// Of `file[4096..end]`, whose first record is `first`.
    pub(crate) fn new(file: Arc<dyn File>, seed: u32, first: Lsn, end: u64) -> Survey {
        Survey::between(file, seed, first, HEADER_BYTES..end)
    }

    /// Of a part of a file, from a place where record `next` is expected.
    pub(crate) fn between(file: Arc<dyn File>, seed: u32, next: Lsn, part: Range<u64>) -> Survey {
        let budget = part.end.saturating_mul(BUDGET_FACTOR).max(BUDGET_BYTES_MIN);
        Survey {
            window: Window::new(file, part.end),
            seed,
            at: part.start,
            next,
            torn: false,
            budget,
            gave_up: false,
        }
    }

    /// The record expected next.
    pub(crate) fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// The search for frames behind damage was too costly to be finished.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// The next piece; nothing at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.at >= self.window.end() {
            return Ok(None);
        }
        let offset = self.at;
        let reason = match frame_at(&mut self.window, self.seed, offset, self.next)? {
            Ok((head, lsn)) => return Ok(Some(self.take(offset, head, lsn))),
            Err(Damage::Zeros) => {
                let end = self.zeros_end(offset)?;
                self.at = end;
                self.torn = true;
                return Ok(Some(Piece::Zeros { offset, bytes: end - offset }));
            }
            Err(reason) => reason,
        };
        if self.torn
            && let Some((head, lsn)) = self.try_at(offset)?
        {
            return Ok(Some(self.take(offset, head, lsn)));
        }
        // Sound frames that follow each other with positions left out: the gap is in the records.
        let from = if reason == Damage::Sequence { offset } else { offset + ALIGN_BYTES };
        self.at = self.search(from)?;
        if self.at == self.window.end() {
            // What is zero up to the end is a piece of its own.
            let dirty = self.window.dirty_end(from)?.next_multiple_of(ALIGN_BYTES);
            self.at = dirty.min(self.window.end());
        }
        self.torn = true;
        Ok(Some(Piece::Gap { offset, bytes: self.at - offset, reason }))
    }

    fn take(&mut self, offset: u64, head: FrameHead, lsn: Lsn) -> Piece {
        self.at = offset + head.bytes();
        self.next = if head.kind.is_record() { lsn.next() } else { lsn.next().max(self.next) };
        self.torn = false;
        Piece::Frame { offset, head, lsn }
    }

    /// Where a run of zeros ends, in whole steps; at the end of the segment, that.
    fn zeros_end(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        loop {
            let bytes = self.window.bytes(at, WINDOW_BYTES)?;
            if bytes.is_empty() {
                return Ok(self.window.end());
            }
            if let Some(i) = bytes.iter().position(|byte| *byte != 0) {
                let end = at + i as u64;
                return Ok(end - (end - from) % ALIGN_BYTES);
            }
            at += bytes.len() as u64;
        }
    }

    /// The first place from `from` on at which a frame stands that may belong there; the end if
    /// there is none.
    fn search(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        loop {
            let (next, room) = (self.next, self.room());
            let bytes = self.window.bytes(at, WINDOW_BYTES)?;
            if bytes.len() < FRAME_HEAD_BYTES {
                return Ok(self.window.end());
            }
            let positions = bytes.len() - FRAME_HEAD_BYTES + 1;
            let found = (0..positions)
                .step_by(ALIGN_BYTES as usize)
                .find(|i| could_be(&bytes[*i..], next, room).is_some());
            let Some(i) = found else {
                at += (positions as u64).next_multiple_of(ALIGN_BYTES);
                continue;
            };
            at += i as u64;
            if self.try_at(at)?.is_some() {
                return Ok(at);
            }
            if self.gave_up {
                return Ok(self.window.end());
            }
            at += ALIGN_BYTES;
        }
    }

    /// The frame at `at`, if a sound one stands there whose position comes no sooner than expected.
    fn try_at(&mut self, at: u64) -> io::Result<Option<(FrameHead, Lsn)>> {
        let (next, room) = (self.next, self.room());
        let bytes = self.window.bytes(at, FRAME_HEAD_BYTES)?;
        if bytes.len() < FRAME_HEAD_BYTES {
            return Ok(None);
        }
        let Some((head, lsn)) = could_be(bytes, next, room) else {
            return Ok(None);
        };
        if head.bytes() > self.window.end() - at {
            return Ok(None);
        }
        // A long frame also moves the window there and back.
        let cost = head.bytes() + if head.bytes() > 16 << 10 { WINDOW_BYTES as u64 } else { 0 };
        let Some(left) = self.budget.checked_sub(cost) else {
            self.gave_up = true;
            return Ok(None);
        };
        self.budget = left;
        let sound = self.window.check(at, &head, self.seed)? == Some(true);
        Ok(sound.then_some((head, lsn)))
    }

    /// How many frames fit into the whole segment: no position is further ahead.
    fn room(&self) -> u64 {
        self.window.end() / FRAME_HEAD_BYTES as u64
    }
}

/// The head in `bytes` and its position, if a frame with that head may stand where record `next` is
/// expected, or somewhere behind.
fn could_be(bytes: &[u8], next: Lsn, room: u64) -> Option<(FrameHead, Lsn)> {
    if bytes[8..12] == [0; 4] {
        return None;
    }
    let head = FrameHead::decode(bytes).ok().filter(FrameHead::is_sane)?;
    let lsn = head.lsn_from(next.previous());
    let first = if head.kind.is_record() { next } else { next.previous() };
    (first <= lsn && lsn.0 <= next.0 + room).then_some((head, lsn))
}
