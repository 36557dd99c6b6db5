//! What can still be read of a damaged log.
//!
//! **The problem.** A log that is damaged is refused, and rightly: nobody may go on from it as if
//! nothing had happened. But somebody has to look at what is left, and decide.
//!
//! **The idea.** Read everything, change nothing. What is damaged is a *hole*. Up to the first hole
//! that may have cost a record, the log is as good as ever: that is the *good prefix*, which can be
//! written as a new log. Behind it, between holes, stand records that still pass their checksum:
//! the *remains*.
//!
//! ```text
//!      good prefix           hole 0      remains of 0     hole 1      remains of 1
//!     ┌─────┬─────┬─────┬╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┬─────┬─────┬╌╌╌╌╌╌╌╌╌╌╌╌╌╌┬─────┐
//!     │  1  │  2  │  3  ┊   4 to 6 lost ┊  7  │  8  ┊  9 lost      ┊ 10  │
//!     └─────┴─────┴─────┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┴─────┴─────┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌┴─────┘
//! ```
//!
//! **Promises.** The good prefix is what [`Wal::open`](crate::Wal::open) would have recovered, had
//! the log ended before that hole: whole groups, in order, nothing invented. Remains are
//! records that were written to this log at these positions; whether they were ever acknowledged,
//! and whether they mean anything without what is lost, only their reader can say. Not one byte of
//! the damaged log is changed.
//!
//! **Limits.** From the log alone, the loss of its very last write cannot be told from a write that
//! was never finished, just as for an open: it is the end, not a hole. Searching for frames in
//! damage is bounded; where it was given up, the hole reaches to the segment's end.

mod hearing;
mod search;
pub(crate) mod source;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{File, Lock, Vfs};

use crate::config::{Options, Writer};
use crate::error::{Damage, Error, Result};
use crate::format::FRAME_HEAD_BYTES;
use crate::report::{Cut, Report};
use crate::survey::{Piece, Survey};
use crate::types::Lsn;
use crate::view::lock_shared;
use crate::wal::Wal;

/// A new log is written in groups of about this size.
const GROUP_BYTES: usize = 1 << 20;

/// What is left of a log, as [`Wal::salvage`] found it.
#[derive(Debug)]
pub struct Salvage {
    first: Lsn,
    last: Lsn,
    runs: Vec<Run>,
    holes: Vec<Hole>,
    cut: Option<Cut>,
    /// Keeps writers out, if the log has a lock file.
    _lock: Option<Lock>,
}

/// A place in a log where something is lost.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hole {
    /// The segment file; if several in a row are missing, the first of them.
    pub file: PathBuf,
    /// Where in the file, from 0.
    pub offset: u64,
    /// How many bytes of the file cannot be used; 0 for a file that is missing, or if sound frames
    /// follow each other and records between them are lost.
    pub bytes: u64,
    /// The first record lost, if it can be known.
    pub first_lost: Option<Lsn>,
    /// The last record lost, if it can be known. Less than the first if none is: a mark is.
    pub last_lost: Option<Lsn>,
    /// What is wrong there.
    pub reason: Loss,
}

/// Why bytes cannot be used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Loss {
    /// They are not what they should be.
    Damage(Damage),
    /// The disk does not give them.
    Unreadable(Arc<io::Error>),
}

/// A sound record that is not in the good prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remain {
    /// The hole behind which it stands, as an index into [`Salvage::holes`]; or right before which,
    /// as the head of a group whose rest is lost.
    pub hole: usize,
    /// Its position.
    pub lsn: Lsn,
    /// The record.
    pub bytes: Bytes,
}

/// Sound frames in a row.
#[derive(Debug, Clone)]
struct Run {
    file: Arc<dyn File>,
    path: PathBuf,
    seed: u32,
    from: u64,
    to: u64,
    next: Lsn,
    /// Nothing for the good prefix.
    hole: Option<usize>,
}

impl Salvage {
    pub(crate) fn of(vfs: &dyn Vfs, dir: &Path) -> Result<Salvage> {
        loop {
            let lock = lock_shared(vfs, dir)?;
            let locked = lock.is_some();
            let salvage = search::search(vfs, dir, lock)?;
            // As for a view: the first writer ever may have come by meanwhile.
            if locked || lock_shared(vfs, dir)?.is_none() {
                return Ok(salvage);
            }
        }
    }

    /// The first record of the good prefix; one past the last if it is empty.
    pub fn first_lsn(&self) -> Lsn {
        self.first
    }

    /// The last record of the good prefix.
    pub fn last_lsn(&self) -> Lsn {
        self.last
    }

    /// What is lost, in the order of the log. None if the log is sound.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// The torn tail that an open would cut; known only if the log's end is not damaged.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// Where what is sound ends: the last segment file with a sound frame, and the byte behind it.
    pub fn end(&self) -> Option<(&Path, u64)> {
        self.runs.last().map(|run| (run.path.as_path(), run.to))
    }

    /// The records of the good prefix, oldest first.
    pub fn records(&self) -> impl Iterator<Item = Result<(Lsn, Bytes)>> + use<> {
        let runs: Vec<Run> = self.runs.iter().filter(|run| run.hole.is_none()).cloned().collect();
        runs.into_iter().flat_map(Run::records)
    }

    /// The sound records that are not in the good prefix, in the order of the log.
    pub fn remains(&self) -> impl Iterator<Item = Result<Remain>> + use<> {
        let runs: Vec<Run> = self.runs.iter().filter(|run| run.hole.is_some()).cloned().collect();
        runs.into_iter().flat_map(|run| {
            let hole = run.hole.expect("only these were kept");
            run.records().map(move |record| record.map(|(lsn, bytes)| Remain { hole, lsn, bytes }))
        })
    }

    /// The sound records from `from` on, in the order of the log: those of the good prefix, and
    /// those behind it. What is read over to get to the first is at most a segment.
    pub fn iter(&self, from: Lsn) -> impl Iterator<Item = Result<(Lsn, Bytes)>> + use<> {
        let before = self.runs.partition_point(|run| run.next <= from).saturating_sub(1);
        let runs: Vec<Run> = self.runs[before..].to_vec();
        let is_before =
            move |record: &Result<(Lsn, Bytes)>| record.as_ref().is_ok_and(|(lsn, _)| *lsn < from);
        runs.into_iter().flat_map(Run::records).skip_while(is_before)
    }

    /// Writes the good prefix as a new log in `dir`, records at their positions, closes it, and
    /// reads it back. The damaged log stays as it is.
    ///
    /// # Errors
    /// [`Io`](Error::Io) with `AlreadyExists` if there is a log in `dir`; those of
    /// [`Wal::open`] and [`Wal::append`].
    pub fn write_to(&self, vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Report> {
        let options = || {
            let options = Options::default().writer(Writer::Caller).record_bytes_max(512 << 20);
            options.first_lsn(self.first)
        };
        let found = Wal::find(Arc::clone(&vfs), dir, options())?;
        if found.view().is_some() {
            return Err(Error::io("make a log in", dir, io::ErrorKind::AlreadyExists.into()));
        }
        let (wal, _) = found.open()?;
        let mut group: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        let flush = |group: &mut Vec<Bytes>| -> Result<()> {
            let records: Vec<&[u8]> = group.iter().map(|record| &record[..]).collect();
            // Closing waits for all of them.
            drop(wal.append(&records)?);
            group.clear();
            Ok(())
        };
        for record in self.records() {
            let (_, record) = record?;
            bytes += record.len();
            group.push(record);
            if bytes >= GROUP_BYTES {
                flush(&mut group)?;
                bytes = 0;
            }
        }
        flush(&mut group)?;
        wal.close()?;
        let view = Wal::open_read_only(vfs, dir, &Options::default().min_lsn(self.last))?;
        Ok(view.report().clone())
    }
}

impl Run {
    fn records(self) -> impl Iterator<Item = Result<(Lsn, Bytes)>> {
        let survey =
            Survey::between(Arc::clone(&self.file), self.seed, self.next, self.from..self.to);
        let mut survey = Some(survey);
        std::iter::from_fn(move || {
            loop {
                let next = self.next_record(survey.as_mut()?);
                if !matches!(next, Ok(Some(_))) {
                    survey = None;
                }
                match next {
                    Ok(Some(None)) => {}
                    Ok(Some(Some(record))) => return Some(Ok(record)),
                    Ok(None) => return None,
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    /// The next frame, if there is one, and its record, if it holds one.
    fn next_record(&self, survey: &mut Survey) -> Result<Option<Option<(Lsn, Bytes)>>> {
        let failed = |e| Error::io("read segment", &self.path, e);
        let lsn = survey.next_lsn();
        match survey.next().map_err(failed)? {
            None => Ok(None),
            Some(Piece::Frame { head, .. }) if !head.kind.is_record() => Ok(Some(None)),
            Some(Piece::Frame { offset, head, lsn }) => {
                let mut bytes = vec![0; head.len as usize];
                let at = offset + FRAME_HEAD_BYTES as u64;
                self.file.read_exact_at(&mut bytes, at).map_err(failed)?;
                Ok(Some(Some((lsn, bytes.into()))))
            }
            // It was sound when it was found.
            Some(Piece::Zeros { offset, .. }) => Err(self.corrupt(offset, lsn, Damage::Zeros)),
            Some(Piece::Gap { offset, reason, .. }) => Err(self.corrupt(offset, lsn, reason)),
        }
    }

    fn corrupt(&self, offset: u64, lsn: Lsn, reason: Damage) -> Error {
        Error::Corrupt { file: self.path.clone(), offset, lsn, reason }
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: at byte {}: {}", self.file.display(), self.offset, self.reason)?;
        if self.bytes > 0 {
            write!(f, ", {} bytes unusable", self.bytes)?;
        }
        match (self.first_lost, self.last_lost) {
            (Some(first), Some(last)) if first > last => f.write_str(", no record lost"),
            (Some(first), Some(last)) if first == last => write!(f, ", record {first} lost"),
            (Some(first), Some(last)) => write!(f, ", records {first} to {last} lost"),
            (Some(first), None) => write!(f, ", records from {first} on in doubt"),
            (None, Some(last)) => write!(f, ", records up to {last} lost"),
            (None, None) => f.write_str(", nobody knows which records lost"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Damage(damage) => damage.fmt(f),
            Loss::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}
