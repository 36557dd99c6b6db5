//! Reading records of a log that is in use, also behind a place that went bad since it was opened.
//!
//! ```text
//!     wanted:   3        5  6                 11
//!               │        │  │   ░░░░░░░░░     │
//!     log iter ─┴──·──·──┴──┴──►│             │
//!                               └ inspect ────┴──►   frame by frame, over what is damaged
//! ```
//!
//! The log itself reads up to damage and no further: it cannot tell there what follows from what.
//! The books can: a record of which the store knows that it is there, and that passes its checksum
//! in its place, is sound, whatever lies before it.

use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::Vfs;
use drystone_wal::inspect::{self, FrameKind, Part, Segment};
use drystone_wal::{Lsn, Wal};

use crate::store::error::Result;

/// Reads records, each behind the last as a rule.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    wal: &'a Wal,
    vfs: Arc<dyn Vfs>,
    source: Option<Source>,
    /// The record that the source gives next, at least.
    next: Lsn,
}

#[derive(Debug)]
enum Source {
    Log(drystone_wal::Iter),
    /// A segment with damage in it, and the frames behind that.
    Frames(Box<Segment>),
}

/// What a source gave when it was asked for a record.
enum Found {
    Record(Bytes),
    /// It is damaged, or not there.
    Nothing,
    /// The source has ended before it.
    Ended,
}

/// Records that are read over rather than opening the file anew.
const NEAR: u64 = 256;

impl<'a> Reader<'a> {
    pub(crate) fn new(wal: &'a Wal, vfs: Arc<dyn Vfs>) -> Reader<'a> {
        Reader { wal, vfs, source: None, next: Lsn::NONE }
    }

    /// The record at `lsn`, which is durable. `None` if it is damaged.
    pub(crate) fn record(&mut self, lsn: Lsn) -> Result<Option<Bytes>> {
        let near = self.next <= lsn && lsn.0 - self.next.0 <= NEAR;
        let source = self.source.take().filter(|_| near);
        if let Some(source) = source {
            match self.find(source, lsn)? {
                Found::Record(bytes) => return Ok(Some(bytes)),
                Found::Nothing => return Ok(None),
                // It may have been that of the file before.
                Found::Ended => {}
            }
        }
        match self.find(Source::Log(self.wal.iter(lsn)), lsn)? {
            Found::Record(bytes) => Ok(Some(bytes)),
            Found::Nothing | Found::Ended => Ok(None),
        }
    }

    fn find(&mut self, mut source: Source, lsn: Lsn) -> Result<Found> {
        loop {
            let (found, bytes) = match &mut source {
                Source::Log(records) => match records.next() {
                    Some(Ok(record)) => record,
                    Some(Err(drystone_wal::Error::Corrupt { file, .. })) => {
                        // A file that cannot even be opened is gone as a whole.
                        let Ok(segment) = inspect::segment(&*self.vfs, &file) else {
                            return Ok(Found::Nothing);
                        };
                        source = Source::Frames(Box::new(segment));
                        continue;
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(Found::Ended),
                },
                Source::Frames(segment) => match next_record(segment, lsn)? {
                    Some(record) => record,
                    None => return Ok(Found::Ended),
                },
            };
            if found >= lsn {
                (self.source, self.next) = (Some(source), found.next());
                return Ok(if found == lsn { Found::Record(bytes) } else { Found::Nothing });
            }
        }
    }
}

/// The next record of a segment that is `lsn` or a later one.
fn next_record(segment: &mut Segment, lsn: Lsn) -> Result<Option<(Lsn, Bytes)>> {
    while let Some(part) = segment.next() {
        if let Part::Frame(frame) = part
            && matches!(frame.kind, FrameKind::Record | FrameKind::GroupEnd)
            && frame.lsn >= lsn
        {
            return Ok(Some((frame.lsn, segment.payload(&frame)?)));
        }
    }
    Ok(None)
}
