//! The only one who writes: takes what the queue holds, puts it behind the last frame, syncs.
//!
//! ```text
//!              fits                  seal, one write, one sync
//!     take ──►      ──────────────►  ─────────────────────────► durable, wake
//!              does not: rotate      spare + header + frames, sync, rename, sync the directory
//! ```
//!
//! A new segment gets its name only when its header and first frames are durable, and nothing in it
//! is acknowledged before the directory is: a segment that has a name is never half made, and one
//! that holds acknowledged records never loses its name.
//!
//! The first error ends it: what is on disk is unknown from then on, so nothing is retried, and the
//! queue tells everyone.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};

use crate::catalog::Catalog;
use crate::config::Options;
use crate::core::Step;
use crate::error::{Error, Result};
use crate::format::{
    HEADER_BYTES, Kind, MARKS_BYTES, NEXT_MARK_BYTES, SegmentHeader, push_frame, seal,
};
use crate::queue::{Load, Queue, Settled};
use crate::recovery::Verified;
use crate::segment::Segment;
use crate::spare::{Ground, Spare, Spares, Want};
use crate::types::{Lsn, SegmentId};

/// A fresh log starts with a segment this small, so that opening it is quick and a log that stays
/// small takes little room; each later one is twice as large, up to `segment_bytes`.
pub(crate) const FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// Where writes have this many bytes on average, or fill a segment in so few, the next one is made
/// as a hole: see [`spare`](crate::spare).
const LARGE_WRITE_BYTES: u64 = 64 << 10;
const WRITES_FEW: u64 = 16;

/// A small write into a hole fills this much of it ahead of itself, at most. Not more, for the
/// reason given in `spare.rs` for pieces of this size.
const AHEAD_BYTES: usize = 64 << 10;
static ZEROS: [u8; AHEAD_BYTES] = [0; AHEAD_BYTES];

/// Invariants, between calls:
/// * Everything before `tail` in `segment`, and all of the segments before it, is durable.
/// * `segment` is the catalog's last.
/// * No other thread writes to any file of the log, save the spare.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) spares: Arc<Spares>,
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn File>,
    pub(crate) tail: u64,
    /// The last record written.
    pub(crate) last: Lsn,
    /// Segments made in this log so far.
    pub(crate) creation: u64,
    /// The oldest segment needed.
    pub(crate) start: SegmentId,
    pub(crate) segment_bytes: u64,
    /// See [`Options::lean`].
    pub(crate) lean: bool,
    /// Writes into this segment by this writer, and their bytes.
    writes: u64,
    written: u64,
    /// The last frame is a close mark.
    pub(crate) closed: bool,
    /// The segment before this one, if it has just been left and has no next mark yet.
    pub(crate) left: Option<Left>,
}

impl Step for Writer {
    fn step(&mut self, queue: &Queue) -> Option<Settled> {
        let mut load = queue.take()?;
        assert!(load.first == self.last.next(), "records are written in order");
        match self.write(&mut load) {
            Ok(()) => {
                self.last = load.last;
                self.catalog.set_durable(load.last);
                let settled = queue.finish(load);
                // Too late to take anything back: what has been written is durable.
                if let Err(error) = self.mark_next() {
                    queue.fail(error);
                }
                Some(settled)
            }
            Err(error) => {
                queue.fail(error);
                None
            }
        }
    }
}

/// A segment that has been left for the next.
#[derive(Debug)]
pub(crate) struct Left {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    /// Where its frames end, and the last record in it.
    end: u64,
    last: Lsn,
}

impl Writer {
    /// Goes on behind what recovery found.
    pub(crate) fn resume(
        catalog: Arc<Catalog>,
        spares: Arc<Spares>,
        found: &Verified,
        options: &Options,
    ) -> Result<Writer> {
        let segment = Arc::clone(found.segments.last().expect("a log has a segment"));
        let file = catalog
            .vfs
            .open(&segment.path, OpenMode::Write)
            .map_err(|e| Error::io("open segment", &segment.path, e))?;
        Ok(Writer {
            catalog,
            spares,
            file,
            tail: segment.end(),
            segment,
            writes: 0,
            written: 0,
            last: found.last,
            creation: found.creation,
            start: found.start_segment,
            segment_bytes: options.segment_bytes,
            lean: options.lean,
            closed: found.report.closed,
            left: None,
        })
    }

    fn write(&mut self, load: &mut Load) -> Result<()> {
        let end = self.tail + load.bytes.len() as u64;
        self.closed = false;
        if end + MARKS_BYTES > self.segment.capacity {
            return self.rotate(&mut load.bytes, load.first);
        }
        let zeros = self.ahead(load.bytes.len(), end);
        self.put(&mut load.bytes, zeros)?;
        self.segment.extend(load.first, self.tail);
        if self.tail > self.segment.capacity / 2 {
            self.spares.want(Want { capacity: self.next_capacity(), ground: self.ground() });
        }
        Ok(())
    }

    /// From so many bytes on a write is large.
    fn large_bytes(&self) -> u64 {
        LARGE_WRITE_BYTES.min(self.segment_bytes / WRITES_FEW)
    }

    /// What the segment after this one is to be made of.
    fn ground(&self) -> Ground {
        let large = self.writes > 0 && self.written >= self.writes * self.large_bytes();
        let hole = self.lean && large || self.spares.are_thrifty();
        if hole { Ground::Hole } else { Ground::Zeros }
    }

    /// Seals frames and puts them at the tail, and so many zeros behind them, durably.
    fn put(&mut self, frames: &mut [u8], zeros: usize) -> Result<()> {
        seal(frames, self.last, self.segment.header.seed());
        let end = self.tail + frames.len() as u64;
        let bufs = [IoSlice::new(frames), IoSlice::new(&ZEROS[..zeros])];
        self.file
            .write_at(if zeros == 0 { &bufs[..1] } else { &bufs }, self.tail)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| Error::poison(&self.segment.path, e))?;
        self.segment.fill(end + zeros as u64);
        self.note_write(frames.len());
        self.tail = end;
        Ok(())
    }

    /// How many zeros to write behind records of `count` bytes that end at `end`: some, if they
    /// reach into a hole, and more than marks need only if they are few. What they cover are zeros,
    /// or old frames that nobody needs.
    fn ahead(&self, count: usize, end: u64) -> usize {
        // There is room for marks: whoever has none left rotates.
        let needed = end + MARKS_BYTES;
        if needed <= self.segment.filled() {
            return 0;
        }
        // Less at the beginning, where the log may be one that stays small.
        let small = (count as u64) < self.large_bytes();
        let most = if small { end.min(AHEAD_BYTES as u64) } else { MARKS_BYTES };
        (self.segment.capacity - end).min(most) as usize
    }

    fn note_write(&mut self, count: usize) {
        self.writes += 1;
        self.written += count as u64;
    }

    /// Writes a mark and makes it durable. A full segment makes way for a new one.
    pub(crate) fn mark(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        let mut frame = Vec::new();
        push_frame(&mut frame, kind, self.last, payload);
        self.closed = kind == Kind::Close;
        if self.tail + frame.len() as u64 + NEXT_MARK_BYTES > self.segment.capacity {
            self.rotate(&mut frame, self.last.next())?;
            return self.mark_next();
        }
        // No zeros: a mark must not need new space.
        self.put(&mut frame, 0)?;
        self.segment.extend(self.last.next(), self.tail);
        Ok(())
    }

    /// After a rotation: says in the segment that was left that another follows, so that the loss
    /// of the newest file is noticed. To be called once all of that is durable. The mark lies
    /// behind the durable end of its segment, where no reader looks while there is a successor.
    pub(crate) fn mark_next(&mut self) -> Result<()> {
        let Some(Left { segment, file, end, last }) = self.left.take() else {
            return Ok(());
        };
        if end + NEXT_MARK_BYTES > segment.capacity {
            return Ok(());
        }
        let mut frame = Vec::new();
        push_frame(&mut frame, Kind::Next, last, b"");
        seal(&mut frame, last, segment.header.seed());
        file.write_at(&[IoSlice::new(&frame)], end)
            .and_then(|()| file.sync_data())
            .map_err(|e| Error::poison(&segment.path, e))
    }

    /// Says that the log ends here on purpose.
    pub(crate) fn close(&mut self) -> Result<()> {
        if !self.closed {
            self.mark(Kind::Close, b"")?;
        }
        Ok(())
    }

    /// The size of the segment after this one.
    pub(crate) fn next_capacity(&self) -> u64 {
        (self.segment.capacity.saturating_mul(2)).clamp(self.first_capacity(), self.segment_bytes)
    }

    pub(crate) fn first_capacity(&self) -> u64 {
        FIRST_SEGMENT_BYTES.min(self.segment_bytes)
    }

    /// Starts a new segment with `frames`, whose first record, if any, is `first`.
    fn rotate(&mut self, frames: &mut [u8], first: Lsn) -> Result<()> {
        let need = HEADER_BYTES + frames.len() as u64 + MARKS_BYTES;
        // What does not fit says as much of the load as what did.
        self.note_write(frames.len());
        let want = Want { capacity: self.next_capacity().max(need), ground: self.ground() };
        let spare = self.spares.take(want).map_err(|e| Error::poison(&self.spares.path, e))?;
        self.rotate_into(spare, frames, first)
    }

    /// As [`rotate`](Writer::rotate), into a spare that is large enough.
    pub(crate) fn rotate_into(
        &mut self,
        spare: Spare,
        frames: &mut [u8],
        first: Lsn,
    ) -> Result<()> {
        self.creation += 1;
        let header = SegmentHeader {
            log_id: self.segment.header.log_id,
            segment: self.segment.id().next(),
            first_lsn: first,
            creation: self.creation,
            previous_end: self.tail,
            start_segment: self.start,
            born_end: HEADER_BYTES + frames.len() as u64,
            capacity: spare.capacity,
        };
        seal(frames, self.last, header.seed());
        let (segment, file) = name_segment(&self.catalog, &self.spares, spare, header, frames)?;
        self.left = Some(Left {
            segment: std::mem::replace(&mut self.segment, Arc::clone(&segment)),
            file: std::mem::replace(&mut self.file, file),
            end: self.tail,
            last: self.last,
        });
        self.tail = segment.end();
        (self.writes, self.written) = (0, 0);
        if !frames.is_empty() {
            self.note_write(frames.len());
        }
        self.catalog.push(segment);
        Ok(())
    }
}

/// The first segment of a fresh log.
pub(crate) fn first_segment(
    vfs: &Arc<dyn Vfs>,
    dir: &std::path::Path,
    options: &Options,
    log_id: u64,
) -> Result<Arc<Segment>> {
    let first_lsn = options.first_lsn.unwrap_or(Lsn(1));
    let mut header = SegmentHeader {
        log_id,
        segment: SegmentId::FIRST,
        first_lsn,
        creation: 1,
        previous_end: 0,
        start_segment: SegmentId::FIRST,
        born_end: HEADER_BYTES,
        capacity: FIRST_SEGMENT_BYTES.min(options.segment_bytes),
    };
    let spares = Spares::new(Arc::clone(vfs), dir, false);
    let mut filled = 0;
    let mut make = || -> io::Result<PathBuf> {
        let ground = if options.lean { Ground::Hole } else { Ground::Zeros };
        let spare = spares.take(Want { capacity: header.capacity, ground })?;
        header.capacity = spare.capacity;
        filled = spare.filled;
        let path = dir.join(header.segment.file_name());
        publish(&**vfs, &spares, &spare, &path, &header, &[])?;
        vfs.sync_dir(dir)?;
        Ok(path)
    };
    let path = make().map_err(|e| Error::poison(&spares.path, e))?;
    let capacity = header.capacity;
    let segment = Segment::new(header, path, capacity, HEADER_BYTES, Vec::new());
    Ok(Arc::new(segment.filled_to(filled.max(HEADER_BYTES + MARKS_BYTES))))
}

/// Turns a spare into a segment that holds `frames`, durable in every way.
fn name_segment(
    catalog: &Catalog,
    spares: &Spares,
    spare: Spare,
    header: SegmentHeader,
    frames: &[u8],
) -> Result<(Arc<Segment>, Arc<dyn File>)> {
    let path = catalog.dir.join(header.segment.file_name());
    publish(&*catalog.vfs, spares, &spare, &path, &header, frames)
        .and_then(|()| catalog.sync_dir())
        .map_err(|e| Error::poison(&path, e))?;
    let (end, first) = (header.born_end, header.first_lsn);
    let segment = Segment::new(header, path, spare.capacity, end, vec![(first, HEADER_BYTES)])
        .filled_to(spare.filled.max(end + MARKS_BYTES));
    Ok((Arc::new(segment), spare.file))
}

fn publish(
    vfs: &dyn Vfs,
    spares: &Spares,
    spare: &Spare,
    path: &std::path::Path,
    header: &SegmentHeader,
    frames: &[u8],
) -> io::Result<()> {
    let block = header.encode();
    let room = if spare.filled < header.born_end + MARKS_BYTES { MARKS_BYTES as usize } else { 0 };
    let zeros = &ZEROS[..room];
    let bufs = [IoSlice::new(&block), IoSlice::new(frames), IoSlice::new(zeros)];
    spare.file.write_at(&bufs[..if room == 0 { 2 } else { 3 }], 0)?;
    spare.file.sync_data()?;
    vfs.rename(&spares.path, path)
}
