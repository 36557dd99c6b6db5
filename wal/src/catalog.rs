//! Which segments there are, and how far the log is durable: what readers and the writer share.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::Vfs;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::types::{Lsn, SegmentId};

/// The segments of an open log, oldest first; never empty.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    segments: Mutex<Vec<Arc<Segment>>>,
    durable: AtomicU64,
    /// Counts suffix truncations: readers that see it change look their place up again.
    cuts: AtomicU64,
}

impl Catalog {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        segments: Vec<Arc<Segment>>,
        durable: Lsn,
    ) -> Catalog {
        assert!(!segments.is_empty(), "a log has a segment");
        Catalog {
            vfs,
            dir,
            segments: Mutex::new(segments),
            durable: AtomicU64::new(durable.0),
            cuts: AtomicU64::new(0),
        }
    }

    pub(crate) fn durable(&self) -> Lsn {
        // Pairs with `set_durable`: whoever sees an LSN durable sees the segment that holds it.
        Lsn(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn set_durable(&self, lsn: Lsn) {
        self.durable.store(lsn.0, Ordering::Release);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    pub(crate) fn push(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.lock();
        let last = segments.last().expect("a log has a segment");
        assert!(last.id().next() == segment.id(), "segments are consecutive");
        segments.push(segment);
    }

    pub(crate) fn first_lsn(&self) -> Lsn {
        self.segments.lock()[0].first_lsn()
    }

    /// The segment in which record `lsn` is, or would be next.
    pub(crate) fn find(&self, lsn: Lsn) -> Result<Arc<Segment>> {
        let segments = self.segments.lock();
        let after = segments.partition_point(|segment| segment.first_lsn() <= lsn);
        match after.checked_sub(1) {
            Some(i) => Ok(Arc::clone(&segments[i])),
            None => {
                drop(segments);
                Err(self.missing(lsn))
            }
        }
    }

    /// The error for a record that is not there.
    pub(crate) fn missing(&self, lsn: Lsn) -> Error {
        Error::Missing { lsn, first: self.first_lsn(), last: self.durable() }
    }

    /// The segment `id`, if the log still has it.
    pub(crate) fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        let segments = self.segments.lock();
        let at = segments.partition_point(|segment| segment.id() < id);
        segments.get(at).filter(|segment| segment.id() == id).cloned()
    }

    /// Forgets the segments before `id` and returns them, oldest first.
    pub(crate) fn drop_before(&self, id: SegmentId) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.lock();
        let count = segments.partition_point(|segment| segment.id() < id);
        assert!(count < segments.len(), "the last segment stays");
        segments.drain(..count).collect()
    }

    /// Forgets the newest segment and returns it, unless it is `id` or older.
    pub(crate) fn pop_after(&self, id: SegmentId) -> Option<Arc<Segment>> {
        let mut segments = self.segments.lock();
        segments.pop_if(|segment| segment.id() > id)
    }

    /// Puts `segment`, a shorter edition of the newest one, in its place.
    pub(crate) fn replace_last(&self, segment: Arc<Segment>, durable: Lsn) {
        let mut segments = self.segments.lock();
        let last = segments.last_mut().expect("a log has a segment");
        assert!(last.id() == segment.id(), "an edition keeps its id");
        *last = segment;
        self.set_durable(durable);
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// Bytes of disk that all segment files take.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.lock().iter().map(|segment| segment.filled()).sum()
    }

    pub(crate) fn sync_dir(&self) -> io::Result<()> {
        self.vfs.sync_dir(&self.dir)
    }
}
