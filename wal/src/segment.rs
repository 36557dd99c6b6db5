//! One file of the log, as the living process knows it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::format::SegmentHeader;
use crate::scan::{INDEX_STEP_BYTES, Index};
use crate::types::{Lsn, SegmentId};

/// A segment file that holds at least a header. Shared by the writer and readers.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    /// The file's length, zeros included; never changes.
    pub(crate) capacity: u64,
    /// Frames before this byte are durable.
    end: AtomicU64,
    /// The file has its blocks up to this byte; behind it may be a hole.
    filled: AtomicU64,
    index: Mutex<Index>,
}

impl Segment {
    pub(crate) fn new(
        header: SegmentHeader,
        path: PathBuf,
        capacity: u64,
        end: u64,
        index: Index,
    ) -> Segment {
        let (end, filled) = (AtomicU64::new(end), AtomicU64::new(capacity));
        Segment { header, path, capacity, end, filled, index: Mutex::new(index) }
    }

    /// The same segment, of which blocks behind `filled` may be missing.
    pub(crate) fn filled_to(mut self, filled: u64) -> Segment {
        self.filled = AtomicU64::new(filled.min(self.capacity).max(self.end()));
        self
    }

    /// Bytes of the file that are on disk, zeros included.
    pub(crate) fn filled(&self) -> u64 {
        // Relaxed: the writer alone changes it, and others want a figure.
        self.filled.load(Ordering::Relaxed)
    }

    /// The writer has written up to `end`.
    pub(crate) fn fill(&self, end: u64) {
        self.filled.fetch_max(end, Ordering::Relaxed);
    }

    /// The same segment in a file of another name.
    pub(crate) fn at(&self, path: PathBuf) -> Segment {
        let index = self.index.lock().clone();
        Segment::new(self.header.clone(), path, self.capacity, self.end(), index)
            .filled_to(self.filled())
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.header.segment
    }

    pub(crate) fn first_lsn(&self) -> Lsn {
        self.header.first_lsn
    }

    /// Frames before this byte are durable and will not change.
    pub(crate) fn end(&self) -> u64 {
        // Pairs with the store in `extend`: whoever sees the end sees the index entries below it.
        self.end.load(Ordering::Acquire)
    }

    /// Publishes frames up to `end` that have become durable; they start with record `lsn`.
    pub(crate) fn extend(&self, lsn: Lsn, end: u64) {
        let start = self.end.load(Ordering::Relaxed);
        assert!(start <= end, "durable frames are only ever added");
        let mut index = self.index.lock();
        if index.last().is_none_or(|(_, offset)| offset + INDEX_STEP_BYTES <= start) {
            index.push((lsn, start));
        }
        drop(index);
        self.end.store(end, Ordering::Release);
    }

    /// A place at or before the frame of `lsn` from which to walk.
    pub(crate) fn seek(&self, lsn: Lsn) -> u64 {
        let index = self.index.lock();
        let after = index.partition_point(|(first, _)| *first <= lsn);
        let start = crate::format::HEADER_BYTES;
        after.checked_sub(1).map_or(start, |i| index[i].1)
    }
}
