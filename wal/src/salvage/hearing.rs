//! What the frames of the last segment say about each other: which of them prove that what stood
//! before them was durable. See [`witness`](crate::witness) for why they can.
//!
//! Watermarks grow along the log, so one pass suffices: what the frame with the highest one proves
//! includes all that any other does.

use std::sync::Arc;

use drystone_vfs::File;

use crate::error::{Error, Result};
use crate::format::{FRAME_HEAD_BYTES, FrameHead, Kind, u64_at};
use crate::salvage::source::{Guess, Source};
use crate::survey::{Piece, Survey};
use crate::types::{Lsn, SegmentId};

/// All that the frames of one segment testify to.
#[derive(Debug)]
pub(crate) struct Witness {
    /// What stood before this byte was durable, up to this record.
    pub(crate) before: u64,
    proven: Lsn,
    /// The oldest segment needed, as far as start marks say.
    pub(crate) start: SegmentId,
    /// There is a next mark.
    pub(crate) succeeded: bool,
}

impl Witness {
    /// Before anything is heard: what the header says.
    pub(crate) fn new(born_end: u64) -> Witness {
        let start = SegmentId(0);
        Witness { before: born_end, proven: Lsn::NONE, start, succeeded: false }
    }

    /// Whether what stood at `offset`, where `next` was expected, is proven to have been durable.
    pub(crate) fn proves(&self, offset: u64, next: Lsn) -> bool {
        // A frame that stands where another should be testifies for that.
        offset <= self.before && next <= self.proven
    }
}

/// Hears every sound frame of the file.
pub(crate) fn hear(source: &Source, key: Guess, born_end: u64) -> Result<Witness> {
    let mut witness = Witness::new(born_end);
    let Some(file) = &source.file else {
        return Ok(witness);
    };
    let failed = |e| Error::io("read segment", &source.path, e);
    let mut survey = Survey::new(Arc::clone(file) as _, key.seed, key.first, source.end());
    while let Some(piece) = survey.next().map_err(failed)? {
        let Piece::Frame { offset, head, lsn } = piece else { continue };
        let proven = proof(&head, lsn);
        if proven >= witness.proven {
            witness.proven = proven;
            witness.before = witness.before.max(offset);
        }
        witness.succeeded |= head.kind == Kind::Next;
        if head.kind == Kind::Start {
            let mut payload = [0; 8];
            file.read_exact_at(&mut payload, offset + FRAME_HEAD_BYTES as u64).map_err(failed)?;
            let named = SegmentId(u64_at(&payload, 0));
            witness.start = witness.start.max(named.min(source.id));
        }
    }
    Ok(witness)
}

/// The position up to which all that stood before this frame was durable: the watermark; or the
/// frame's own position, if it opened its write.
fn proof(head: &FrameHead, lsn: Lsn) -> Lsn {
    let watermark = Lsn(lsn.0.saturating_sub(u64::from(head.behind)));
    let opens = u64::from(head.behind) == u64::from(head.kind.is_record());
    if opens { watermark.next() } else { watermark }
}
