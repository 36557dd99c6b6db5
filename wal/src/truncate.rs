//! Cutting the log at either end.
//!
//! **Prefix** (records that a snapshot made unnecessary): whole segments go. A start mark is made
//! durable *first*, because a file system may carry out removals in any order: after a crash the
//! log is known to start at the mark's segment, older files are leftovers, and a missing one at or
//! after it is corruption.
//!
//! **All of it.** If no record is left, a [lean](crate::Options::lean) log begins anew in a small
//! segment whose header says that the log starts there, and every older file goes, the spare with
//! them.
//!
//! **Suffix** (records that a new leader overrules): the segment that is cut through is written
//! anew, up to the cut, under a temporary name. From the moment that file and its name are durable,
//! the cut has happened: whoever opens the log finishes it. Before that moment it has not.
//!
//! ```text
//!     cut.tmp: frames, sync, header, sync, name ─┤ the cut has happened
//!                                                ├─ remove later segments, sync the directory
//!                                                ├─ rename cut.tmp over the old edition, sync
//! ```
//!
//! The header goes in last, after the frames are durable: a temporary file with a sound header is
//! complete. The old suffix is gone with the files that held it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use drystone_vfs::{File, OpenMode};

use crate::core::Step as _;
use crate::error::{Error, Result};
use crate::format::{
    HEADER_BYTES, Kind, MARKS_BYTES, SegmentHeader, frame_bytes, push_frame, seal,
};
use crate::queue::Queue;
use crate::reader::Iter;
use crate::recovery::CUT_NAME;
use crate::segment::Segment;
use crate::spare::{Ground, Spare, Want, fill};
use crate::types::Lsn;
use crate::writer::Writer;

/// Frames of the new edition are written in pieces of about this size.
const COPY_BYTES: usize = 1 << 20;

/// A log without records may keep this much, or a segment: to make files anew costs some syncs.
const KEEP_BYTES: u64 = 1 << 20;

impl Writer {
    /// Drops the segments that hold nothing at or after `lsn`.
    pub(crate) fn truncate_prefix(&mut self, queue: &Queue, lsn: Lsn) -> Result<()> {
        if let Some(error) = queue.failed() {
            return Err(error);
        }
        if lsn < self.catalog.first_lsn() {
            return Ok(());
        }
        let keep = self.catalog.find(lsn)?;
        let cut = if let Some(spare) = self.fresh_ground(queue, lsn) {
            self.begin_anew(spare)
        } else if keep.id() <= self.start {
            return Ok(());
        } else {
            self.start = keep.id();
            self.drop_prefix()
        };
        if let Err(error) = &cut {
            queue.fail(error.clone());
        }
        cut
    }

    fn drop_prefix(&mut self) -> Result<()> {
        self.mark(Kind::Start, &self.start.0.to_le_bytes())?;
        for segment in self.catalog.drop_before(self.start) {
            self.discard(&segment).map_err(|e| Error::poison(&self.catalog.dir, e))?;
        }
        self.catalog.sync_dir().map_err(|e| Error::poison(&self.catalog.dir, e))
    }

    /// For a lean log that is left without a record by a cut at `lsn`, and that takes more room
    /// than it may keep: a small spare to begin anew in. Nothing if the disk refuses to make one:
    /// it may be full, and the log goes on without.
    fn fresh_ground(&self, queue: &Queue, lsn: Lsn) -> Option<Spare> {
        // Whatever is appended from here on is written behind the last record, by this writer.
        let is_empty = lsn > self.last && queue.next_lsn() == self.last.next();
        let bytes = self.catalog.bytes() + self.spares.bytes();
        if !self.lean || !is_empty || bytes <= KEEP_BYTES.min(self.segment_bytes) {
            return None;
        }
        let make = || -> io::Result<Spare> {
            self.spares.discard()?;
            let want = Want { capacity: self.first_capacity(), ground: Ground::Hole };
            let spare = self.spares.take(want)?;
            // The room that the header and the first mark need: to be refused it is no harm yet.
            spare.file.write_at(&[IoSlice::new(&[0; 2 * HEADER_BYTES as usize])], 0)?;
            spare.file.sync_data()?;
            Ok(spare)
        };
        make().ok()
    }

    /// Drops all there is, for no record is needed any more.
    fn begin_anew(&mut self, spare: Spare) -> Result<()> {
        self.start = self.segment.id().next();
        self.closed = false;
        self.rotate_into(spare, &mut [], self.last.next())?;
        self.mark_next()?;
        for segment in self.catalog.drop_before(self.start) {
            let removed = self.catalog.vfs.remove(&segment.path);
            removed.map_err(|e| Error::poison(&segment.path, e))?;
        }
        self.catalog.sync_dir().map_err(|e| Error::poison(&self.catalog.dir, e))
    }

    /// Recycles a segment file, or removes it.
    fn discard(&self, segment: &Arc<Segment>) -> io::Result<()> {
        let vfs = &self.catalog.vfs;
        // An iterator that is still reading the file must not see it written over.
        let unread = Arc::strong_count(segment) == 1;
        if unread && segment.capacity >= self.next_capacity() && self.spares.claim() {
            let move_there = || -> io::Result<Spare> {
                let file = vfs.open(&segment.path, OpenMode::Write)?;
                vfs.rename(&segment.path, &self.spares.path)?;
                Ok(Spare { file, capacity: segment.capacity, filled: segment.filled() })
            };
            match move_there() {
                Ok(spare) => self.spares.settle(Some(spare)),
                Err(error) => {
                    self.spares.settle(None);
                    return Err(error);
                }
            }
            Ok(())
        } else {
            vfs.remove(&segment.path)
        }
    }

    /// Drops every record after `last`, once all that was appended is written.
    pub(crate) fn truncate_suffix(&mut self, queue: &Queue, last: Lsn) -> Result<()> {
        let first = self.catalog.first_lsn();
        if last.next() < first {
            return Err(self.catalog.missing(last));
        }
        loop {
            while let Some(settled) = self.step(queue) {
                queue.tell(settled);
            }
            // Appenders wait outside while the cut is made: what they add comes after it.
            if let Some(outcome) = queue.cut_suffix(last, || self.drop_suffix(last)) {
                if let Err(error) = &outcome {
                    queue.fail(error.clone());
                }
                return outcome;
            }
        }
    }

    fn drop_suffix(&mut self, last: Lsn) -> Result<()> {
        assert!(last < self.last, "there is something to drop");
        let target = self.catalog.find(last.next())?;
        let (segment, file) = self.shorter_edition(&target, last)?;
        let catalog = &self.catalog;
        let finish = || -> io::Result<()> {
            catalog.sync_dir()?;
            while let Some(segment) = catalog.pop_after(target.id()) {
                catalog.vfs.remove(&segment.path)?;
            }
            // Once the temporary name is gone, nothing would tell these segments from valid ones.
            catalog.sync_dir()?;
            catalog.vfs.rename(&catalog.dir.join(CUT_NAME), &target.path)?;
            catalog.sync_dir()
        };
        finish().map_err(|e| Error::poison(&target.path, e))?;
        // The new edition has neither a close mark nor a successor.
        self.closed = false;
        self.left = None;
        self.tail = segment.end();
        self.segment = Arc::clone(&segment);
        self.file = file;
        self.last = last;
        self.catalog.replace_last(segment, last);
        Ok(())
    }

    /// Writes a file under [`CUT_NAME`] that holds the records of `old` up to `last`, durably but
    /// for its name.
    fn shorter_edition(
        &mut self,
        old: &Segment,
        last: Lsn,
    ) -> Result<(Arc<Segment>, Arc<dyn File>)> {
        self.creation += 1;
        let mut header = SegmentHeader {
            creation: self.creation,
            start_segment: self.start,
            born_end: HEADER_BYTES,
            ..old.header.clone()
        };
        let path = self.catalog.dir.join(CUT_NAME);
        let failed = |e| Error::poison(&path, e);
        let file = self.catalog.vfs.open(&path, OpenMode::CreateNew).map_err(failed)?;
        header.born_end = self.copy(&*file, &header, last)?;
        // Room for marks, even if the old edition lost its own.
        header.capacity = old.capacity.max(header.born_end + MARKS_BYTES);
        let capacity = header.capacity;
        let finish = || -> io::Result<()> {
            fill(&*file, header.born_end, capacity)?;
            file.sync_data()?;
            file.write_at(&[IoSlice::new(&header.encode())], 0)?;
            file.sync_data()
        };
        finish().map_err(failed)?;
        let index = vec![(header.first_lsn, HEADER_BYTES)];
        let end = header.born_end;
        let segment = Segment::new(header, old.path.clone(), capacity, end, index);
        Ok((Arc::new(segment), file))
    }

    /// Copies records from the header's first to `last` into `file`; returns where they end.
    fn copy(&self, file: &dyn File, header: &SegmentHeader, last: Lsn) -> Result<u64> {
        let mut frames = Vec::new();
        let mut before = header.first_lsn.previous();
        let mut at = HEADER_BYTES;
        let mut records = Iter::new(Arc::clone(&self.catalog), header.first_lsn);
        while before < last {
            let (mut lsn, mut room) = (before, COPY_BYTES as u64);
            while lsn < last && room > 0 {
                let (next, payload) = records.next().expect("a durable record is there")?;
                // Groups are about what a crash may tear; here all is durable before it has a name.
                push_frame(&mut frames, Kind::GroupEnd, next, &payload);
                room = room.saturating_sub(frame_bytes(payload.len()));
                lsn = next;
            }
            seal(&mut frames, before, header.seed());
            file.write_at(&[IoSlice::new(&frames)], at)
                .map_err(|e| Error::poison(&self.catalog.dir, e))?;
            at += frames.len() as u64;
            frames.clear();
            before = lsn;
        }
        Ok(at)
    }
}
