//! Walking one segment's frames, and judging what stands where they stop.
//!
//! **The problem.** Frames end somewhere. Behind the last sound one there may be nothing, the ruins
//! of a write that the power cut short (a *torn tail*: nobody was told it is safe, cut it), or
//! frames that were promised and have since been damaged (*corruption*: cutting here would silently
//! lose acknowledged records). The bytes at the stop look the same in all three cases.
//!
//! **The idea.** One write is in flight at a time, and every frame names the last record that was
//! durable when it was written. So a sound frame anywhere *behind* the stop testifies:
//!
//! ```text
//!       sound     stop at record 7                          sound, says "5 was durable"
//!     ┌───┬───┬───┬╌╌╌╌╌╌╌┬╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┬───┐   7 of the same write: torn
//!     │ 4 │ 5 │ 6 ┊ ????  ┊                               │ 9 │
//!     └───┴───┴───┴╌╌╌╌╌╌╌┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┴───┘   says "8 was durable": corruption
//! ```
//!
//! The search behind the stop costs as much as reading the segment once: see
//! [`witness`](crate::witness). Two more witnesses need no search: a later segment, and the
//! header's own "born end".

use std::io;
use std::sync::Arc;

use drystone_vfs::File;

use crate::error::Damage;
use crate::format::{
    ALIGN_BYTES, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Kind, SegmentHeader, u64_at,
};
use crate::types::{Lsn, SegmentId};
use crate::window::Window;
use crate::witness;

/// One entry of a segment's sparse index is made for at least this many bytes of frames.
pub(crate) const INDEX_STEP_BYTES: u64 = 64 << 10;

/// Where some frames of a segment start: `(lsn, offset)`, ascending.
pub(crate) type Index = Vec<(Lsn, u64)>;

/// What the walk found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The last record of the last complete group; one before the segment's first if there is none.
    pub(crate) last: Lsn,
    /// Just behind that group, and any marks after it.
    pub(crate) end: u64,
    /// The frames before this byte are covered by a later frame's watermark.
    pub(crate) unproven_from: u64,
    /// The last sound frame is a close mark.
    pub(crate) closed: bool,
    /// There is a next mark: this is not the last segment that was ever durable.
    pub(crate) succeeded: bool,
    /// The highest start segment named by header or marks.
    pub(crate) start_segment: SegmentId,
    pub(crate) index: Index,
    /// Why and where the walk stopped.
    pub(crate) stop: Stop,
}

/// The first place that is not a sound frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) offset: u64,
    /// The record expected there.
    pub(crate) lsn: Lsn,
    /// `None`: the walk reached the end it was given.
    pub(crate) damage: Option<Damage>,
}

impl Stop {
    /// Whether zeros show, before the file's end at `length`, that the log ends first, or at least
    /// the frame at the stop does. Frames that run right up to the end of a file that somebody cut
    /// may have gone on behind it.
    pub(crate) fn before_end(&self, length: u64) -> bool {
        // A length and a checksum that are both zero are no frame's; less than that may be one.
        self.damage != Some(Damage::FileEnds) && self.offset + ALIGN_BYTES <= length
    }
}

/// A walk through one segment.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    window: Window,
    header: &'a SegmentHeader,
    seed: u32,
}

impl<'a> Scanner<'a> {
    /// For the frames of `file[..end]`.
    pub(crate) fn new(file: Arc<dyn File>, header: &'a SegmentHeader, end: u64) -> Scanner<'a> {
        Scanner { window: Window::new(file, end), header, seed: header.seed() }
    }

    /// Walks sound frames from the first on. Fails only if the disk cannot be read.
    pub(crate) fn run(&mut self) -> io::Result<Scan> {
        let before = self.header.first_lsn.previous();
        let mut scan = Scan {
            last: before,
            end: HEADER_BYTES,
            unproven_from: self.header.born_end,
            closed: false,
            succeeded: false,
            start_segment: self.header.start_segment,
            index: Vec::new(),
            stop: Stop { offset: HEADER_BYTES, lsn: before.next(), damage: None },
        };
        let mut watermark = before;
        loop {
            let (at, next) = (scan.stop.offset, scan.stop.lsn);
            if at == self.window.end() {
                break;
            }
            let (head, lsn) = match frame_at(&mut self.window, self.seed, at, next)? {
                Ok(found) => found,
                Err(damage) => {
                    scan.stop.damage = Some(damage);
                    break;
                }
            };
            if !head.kind.is_record() && scan.last.next() != next {
                scan.stop.damage = Some(Damage::Group);
                break;
            }
            let said = Lsn(lsn.0.saturating_sub(u64::from(head.behind)));
            if said > watermark || matches!(head.kind, Kind::Close | Kind::Next) {
                watermark = said;
                scan.unproven_from = scan.unproven_from.max(at);
            }
            self.note(&mut scan, head, lsn)?;
        }
        if scan.stop.damage.is_none() && scan.last.next() != scan.stop.lsn {
            scan.stop.damage = Some(Damage::Group);
        }
        Ok(scan)
    }

    /// Takes one sound frame into account.
    fn note(&mut self, scan: &mut Scan, head: FrameHead, lsn: Lsn) -> io::Result<()> {
        let at = scan.stop.offset;
        let indexed = scan.index.last().map_or(0, |(_, offset)| offset + INDEX_STEP_BYTES);
        if head.kind.is_record() && at >= indexed {
            scan.index.push((lsn, at));
        }
        scan.stop.offset = at + head.bytes();
        scan.closed = head.kind == Kind::Close;
        match head.kind {
            Kind::Record => scan.stop.lsn = lsn.next(),
            Kind::GroupEnd => {
                scan.stop.lsn = lsn.next();
                scan.last = lsn;
                scan.end = scan.stop.offset;
            }
            Kind::Close => scan.end = scan.stop.offset,
            Kind::Next => {
                scan.end = scan.stop.offset;
                scan.succeeded = true;
            }
            Kind::Start => {
                let payload = self.window.bytes(at + FRAME_HEAD_BYTES as u64, 8)?;
                scan.start_segment = scan.start_segment.max(SegmentId(u64_at(payload, 0)));
                scan.end = scan.stop.offset;
            }
        }
        Ok(())
    }

    /// Whether what stands behind a close mark is what the file held before it became a segment,
    /// and not the beginning of a write after the log was opened again. Opening leaves zeros behind
    /// the mark, and a write begins with a frame that knows its place; one of which only later
    /// sectors arrived has zeros at its beginning, and is taken for begun.
    pub(crate) fn is_stale(&mut self, scan: &Scan) -> io::Result<bool> {
        if !scan.closed {
            return Ok(false);
        }
        let bytes = self.window.bytes(scan.stop.offset, FRAME_HEAD_BYTES)?;
        if bytes.len() < FRAME_HEAD_BYTES {
            return Ok(true);
        }
        let head = match FrameHead::decode(bytes) {
            Ok(head) => head,
            Err(damage) => return Ok(damage != Damage::Zeros),
        };
        let place = if head.kind.is_record() { scan.last.next() } else { scan.last };
        Ok(head.lsn_from(scan.last) != place || head.behind != u32::from(head.kind.is_record()))
    }

    /// Whether the frames at `stop` are known to have been durable.
    pub(crate) fn was_promised(&mut self, stop: Stop) -> io::Result<bool> {
        if stop.offset < self.header.born_end {
            return Ok(true);
        }
        witness::is_there(&mut self.window, self.seed, stop)
    }
}

/// The sound frame at `at`, where record `next` is expected, or what is wrong with it.
pub(crate) fn frame_at(
    window: &mut Window,
    seed: u32,
    at: u64,
    next: Lsn,
) -> io::Result<Result<(FrameHead, Lsn), Damage>> {
    let bytes = window.bytes(at, FRAME_HEAD_BYTES)?;
    if bytes.len() < FRAME_HEAD_BYTES {
        let zeros = bytes.iter().all(|byte| *byte == 0);
        return Ok(Err(if zeros { Damage::Zeros } else { Damage::FileEnds }));
    }
    let head = match FrameHead::decode(bytes) {
        Ok(head) => head,
        Err(damage) => return Ok(Err(damage)),
    };
    let lsn = head.lsn_from(next.previous());
    let expected = if head.kind.is_record() { next } else { next.previous() };
    let damage = match window.check(at, &head, seed)? {
        None => Some(Damage::FileEnds),
        Some(false) => Some(Damage::Checksum),
        Some(true) if lsn != expected => Some(Damage::Sequence),
        Some(true) if !head.is_sane() => Some(Damage::FrameHeader),
        Some(true) => None,
    };
    Ok(damage.map_or(Ok((head, lsn)), Err))
}
