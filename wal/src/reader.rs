//! Reading records back, in order, a window at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{File, Lock, OpenMode};

use crate::catalog::Catalog;
use crate::error::{Damage, Error, Result};
use crate::format::{FRAME_HEAD_BYTES, FrameHead, frame_crc};
use crate::report::Report;
use crate::segment::Segment;
use crate::types::Lsn;
use crate::window::WINDOW_BYTES;

/// An iterator over the durable records from some LSN on.
///
/// It ends at the last record that is durable *now*, and goes on from there when asked again after
/// more have become durable: call [`Wal::wait_durable`](crate::Wal::wait_durable) in between to
/// follow a log. After an error it returns that error for ever.
///
/// The [`Bytes`] of small records share one block of up to 256 KiB; copy what is to be kept for
/// long. Prefix truncation does not disturb the segment being read; after a suffix truncation the
/// iterator goes on with the records that took the place of the old ones.
#[derive(Debug)]
pub struct Iter {
    catalog: Arc<Catalog>,
    next: Lsn,
    /// The last record to return; `None` to follow the durable horizon.
    last: Option<Lsn>,
    place: Option<Place>,
    cuts: u64,
    failed: Option<Error>,
    /// Keeps writers out while a view is read.
    _lock: Option<Arc<Lock>>,
}

/// The records found when the log was opened, oldest first, and the report on how it was found.
#[derive(Debug)]
pub struct Recovered {
    iter: Iter,
    report: Report,
}

impl Recovered {
    pub(crate) fn new(catalog: Arc<Catalog>, report: Report) -> Recovered {
        Recovered::of(Iter::new(catalog, report.first), report)
    }

    /// The records of `iter` that are in `report`.
    pub(crate) fn of(mut iter: Iter, report: Report) -> Recovered {
        iter.last = Some(report.last);
        Recovered { iter, report }
    }

    /// What was found, and what was cut and why.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl Iterator for Recovered {
    type Item = Result<(Lsn, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.iter.next()
    }
}

impl Iter {
    pub(crate) fn new(catalog: Arc<Catalog>, from: Lsn) -> Iter {
        let cuts = catalog.cuts();
        let next = from.max(Lsn(1));
        Iter { catalog, next, last: None, place: None, cuts, failed: None, _lock: None }
    }

    /// The same, keeping `lock` for as long as it lives.
    pub(crate) fn holding(self, lock: Option<Arc<Lock>>) -> Iter {
        Iter { _lock: lock, ..self }
    }

    /// Record `lsn` alone, at which the iterator stands.
    pub(crate) fn read_one(mut self, lsn: Lsn) -> Result<Bytes> {
        match self.next() {
            Some(Ok((found, payload))) if found == lsn => Ok(payload),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Err(self.catalog.missing(lsn)),
        }
    }

    /// The next record, which is known to be durable.
    fn read(&mut self) -> Result<(Lsn, Bytes)> {
        loop {
            if self.place.is_none() {
                let segment = self.catalog.find(self.next)?;
                let offset = segment.seek(self.next);
                self.place = Some(Place::open(&self.catalog, segment, offset)?);
            }
            let place = self.place.as_mut().expect("opened above");
            if place.offset >= place.segment.end() {
                let id = place.segment.id();
                let segment =
                    self.catalog.get(id.next()).ok_or_else(|| self.catalog.missing(self.next))?;
                self.place =
                    Some(Place::open(&self.catalog, segment, crate::format::HEADER_BYTES)?);
                continue;
            }
            let (head, payload) = place.frame(self.next)?;
            if !head.kind.is_record() {
                continue;
            }
            // A walk begins at an index entry, at or below the record that is wanted.
            let lsn = head.lsn_from(place.segment.first_lsn());
            if lsn < self.next {
                continue;
            }
            if lsn > self.next {
                return Err(place.corrupt(self.next, Damage::Sequence));
            }
            return Ok((lsn, payload));
        }
    }
}

impl Iterator for Iter {
    type Item = Result<(Lsn, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        loop {
            let cuts = self.catalog.cuts();
            if cuts != self.cuts {
                self.cuts = cuts;
                self.place = None;
            }
            let last = self.last.unwrap_or(Lsn(u64::MAX)).min(self.catalog.durable());
            if self.next > last {
                return None;
            }
            let found = self.read();
            match &found {
                Ok((lsn, _)) => self.next = lsn.next(),
                // The suffix was cut under our feet: look again.
                Err(_) if self.catalog.cuts() != self.cuts => continue,
                Err(error) => self.failed = Some(error.clone()),
            }
            return Some(found);
        }
    }
}

/// Where an iterator stands in one segment.
#[derive(Debug)]
struct Place {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    seed: u32,
    offset: u64,
    /// Durable bytes of the file from `start`; never any beyond the segment's end, which may
    /// change.
    block: Bytes,
    start: u64,
}

impl Place {
    fn open(catalog: &Catalog, segment: Arc<Segment>, offset: u64) -> Result<Place> {
        let file = catalog.vfs.open(&segment.path, OpenMode::Read).map_err(|e| match e.kind() {
            // Its prefix was cut between looking it up and opening it.
            io::ErrorKind::NotFound => catalog.missing(segment.first_lsn()),
            _ => Error::io("open segment", &segment.path, e),
        })?;
        let seed = segment.header.seed();
        Ok(Place { segment, file, seed, offset, block: Bytes::new(), start: 0 })
    }

    fn corrupt(&self, lsn: Lsn, reason: Damage) -> Error {
        Error::Corrupt { file: self.segment.path.clone(), offset: self.offset, lsn, reason }
    }

    /// Takes the frame at the offset and moves behind it. `lsn` is for the error only.
    fn frame(&mut self, lsn: Lsn) -> Result<(FrameHead, Bytes)> {
        let bytes = self.bytes(FRAME_HEAD_BYTES, lsn)?;
        let head = FrameHead::decode(&bytes).map_err(|damage| self.corrupt(lsn, damage))?;
        let end = self.segment.end();
        if head.bytes() > end - self.offset {
            return Err(self.corrupt(lsn, Damage::FrameHeader));
        }
        let frame = self.bytes(head.bytes() as usize, lsn)?;
        if frame_crc(&frame, self.seed).finalize() != head.crc {
            return Err(self.corrupt(lsn, Damage::Checksum));
        }
        self.offset += head.bytes();
        Ok((head, frame.slice(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + head.len as usize)))
    }

    /// The next `len` bytes, without moving.
    fn bytes(&mut self, len: usize, lsn: Lsn) -> Result<Bytes> {
        let buffered = self.start + self.block.len() as u64;
        if !(self.start <= self.offset && self.offset + len as u64 <= buffered) {
            let left = self.segment.end().saturating_sub(self.offset) as usize;
            if left < len {
                return Err(self.corrupt(lsn, Damage::FileEnds));
            }
            let mut block = vec![0; left.min(WINDOW_BYTES.max(len))];
            let count = self
                .file
                .read_at(&mut block, self.offset)
                .map_err(|e| Error::io("read segment", &self.segment.path, e))?;
            if count < len {
                return Err(self.corrupt(lsn, Damage::FileEnds));
            }
            block.truncate(count);
            self.block = Bytes::from(block);
            self.start = self.offset;
        }
        let at = (self.offset - self.start) as usize;
        Ok(self.block.slice(at..at + len))
    }
}
