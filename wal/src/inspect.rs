//! A look into the files of a log, for people: what stands where, sound or not.
//!
//! Everything here is lenient. Nothing is locked, nothing is changed, and no bytes, however bad,
//! are an error: they are shown. So it works on a damaged log, on one file of it, and beside a live
//! writer; then, however, what is seen is not of one moment, and frames at the end may be half
//! written. Verdicts about a whole log come from [`crate::Wal::open_read_only`] and
//! [`crate::Wal::salvage`].
//!
//! ```text
//!   files(dir) ─► [File]        names, sizes, roles
//!   segment(path) ─► Segment    the header, then its parts one by one:
//!                                  Frame ─ Frame ─ Damaged ─ Frame ─ Zeros ─ End
//! ```
//!
//! Each of them displays as one line.

mod text;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{File as _, OpenMode, Vfs};

use crate::error::{Error, Result};
use crate::format::{
    FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Kind, SegmentHeader, VERSION, u64_at,
};
use crate::found::LOCK_NAME;
use crate::patchy::Patchy;
use crate::recovery::{CUT_NAME, SPARE_NAME};
use crate::salvage::Loss;
use crate::salvage::source::{Kin, Source};
use crate::survey::{Piece, Survey};
use crate::types::{Lsn, SegmentId};

/// A file in a log's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its length; nothing if the disk does not say.
    pub bytes: Option<u64>,
    /// What it is for.
    pub role: Role,
}

/// What a file in a log's directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// The segment of this number.
    Segment(u64),
    /// A segment made ahead, or one to be used again. Holds nothing of the log.
    Spare,
    /// The shorter edition of a segment whose suffix is being cut.
    Cut,
    /// Its lock keeps a second opener out.
    Lock,
    /// Not the log's.
    Foreign,
}

/// The files in `dir`, by name.
///
/// # Errors
/// [`Io`](Error::Io) if the directory cannot be listed.
pub fn files(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<File>> {
    let names = vfs.list(dir).map_err(|e| Error::io("list", dir, e))?;
    let file = |name: std::ffi::OsString| {
        let path = dir.join(&name);
        let role = match name.to_str() {
            Some(SPARE_NAME) => Role::Spare,
            Some(CUT_NAME) => Role::Cut,
            Some(LOCK_NAME) => Role::Lock,
            Some(name) => SegmentId::from_file_name(name)
                .map_or(Role::Foreign, |SegmentId(id)| Role::Segment(id)),
            None => Role::Foreign,
        };
        let bytes = vfs.open(&path, OpenMode::Read).and_then(|file| file.len()).ok();
        File { path, bytes, role }
    };
    Ok(names.into_iter().map(file).collect())
}

/// The number that the log in `dir` was given when it was made, which every file of it carries; by
/// it a log is told from another one in its place. Nothing if no header can be read.
///
/// # Errors
/// [`Io`](Error::Io) if the directory cannot be listed, or a segment not be opened.
pub fn log_id(vfs: &dyn Vfs, dir: &Path) -> Result<Option<u64>> {
    for file in files(vfs, dir)? {
        if let Role::Segment(_) = file.role
            && let Header::Sound(fields) = segment(vfs, &file.path)?.header
        {
            return Ok(Some(fields.log_id));
        }
    }
    Ok(None)
}

/// The versions that the segments in `dir` say that they are of, each once. A segment whose header
/// cannot be read says nothing.
///
/// # Errors
/// [`Io`](Error::Io) if the directory cannot be listed, or a segment not be opened.
pub fn versions(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<u32>> {
    let mut versions = BTreeSet::new();
    for file in files(vfs, dir)? {
        if let Role::Segment(_) = file.role {
            match segment(vfs, &file.path)?.header {
                Header::Sound(_) => versions.insert(VERSION),
                Header::Unsupported { version } => versions.insert(version),
                Header::Damaged { .. } => false,
            };
        }
    }
    Ok(versions.into_iter().collect())
}

/// One segment file, as an iterator over its parts.
#[derive(Debug)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What its first block says.
    pub header: Header,
    file: Option<Arc<Patchy>>,
    survey: Option<Survey>,
    /// What has been seen so far.
    end: End,
    ended: bool,
}

/// A segment's first block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header {
    /// It passes its checksum.
    Sound(Fields),
    /// It does not; with the seed told by the first frames, the frames can be read nevertheless.
    Damaged {
        /// What is wrong.
        reason: String,
        /// Whether a seed was found.
        readable: bool,
    },
    /// Another version of this crate wrote it.
    Unsupported {
        /// Which.
        version: u32,
    },
}

/// What a header says; see the crate's `format.rs` for each field's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are explained in one place")]
pub struct Fields {
    pub log_id: u64,
    pub segment: u64,
    pub first_lsn: Lsn,
    pub creation: u64,
    pub previous_end: u64,
    pub start_segment: u64,
    pub born_end: u64,
    pub capacity: u64,
}

/// A stretch of a segment behind its header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A frame that passes its checksum.
    Frame(Frame),
    /// Zeros where a frame could be.
    Zeros {
        /// Where, from the file's start.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// No sound frame of this segment: damage, a torn write, or what a recycled file held before.
    Damaged {
        /// Where, from the file's start.
        offset: u64,
        /// How many bytes to the next part.
        bytes: u64,
        /// The record expected there.
        expected: Lsn,
        /// What is wrong with the first frame.
        reason: String,
    },
    /// The last part: what it comes to.
    End(End),
}

/// A frame that passes its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Where, from the file's start.
    pub offset: u64,
    /// What it is.
    pub kind: FrameKind,
    /// The record in it; for a mark, the last one before it.
    pub lsn: Lsn,
    /// The last record known durable when it was written.
    pub durable: Lsn,
    /// Bytes of its payload.
    pub len: u32,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// A record that is followed by more of its group.
    Record,
    /// The last record of its group.
    GroupEnd,
    /// Written by a clean close.
    Close,
    /// Segments before this one are not needed.
    Start(u64),
    /// There is a segment after this one.
    Next,
}

/// What a segment comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// The file's length.
    pub bytes: u64,
    /// Sound records.
    pub records: u64,
    /// Places that are damaged, and followed by sound frames.
    pub holes: u64,
    /// Behind the last sound frame.
    pub frames_end: u64,
    /// The last frame is a close mark.
    pub closed: bool,
    /// There is a next mark.
    pub succeeded: bool,
    /// The file is shorter than its header says it was made.
    pub short: bool,
}

/// Looks into one segment file.
///
/// # Errors
/// [`Io`](Error::Io) if it cannot be opened at all.
pub fn segment(vfs: &dyn Vfs, path: &Path) -> Result<Segment> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let id = SegmentId::from_file_name(name).unwrap_or(SegmentId(0));
    let (header, source) = match Source::open(vfs, id, path.to_path_buf()) {
        Ok(source) => (None, Some(source)),
        Err(Error::Unsupported { version, .. }) => (Some(Header::Unsupported { version }), None),
        Err(error) => return Err(error),
    };
    let bytes = match &source {
        Some(source) => source.length,
        None => {
            let file = vfs.open(path, OpenMode::Read);
            file.and_then(|file| file.len()).map_err(|e| Error::io("open segment", path, e))?
        }
    };
    let end = End {
        bytes,
        records: 0,
        holes: 0,
        frames_end: HEADER_BYTES.min(bytes),
        closed: false,
        succeeded: false,
        short: false,
    };
    let mut segment = Segment {
        path: path.to_path_buf(),
        bytes,
        header: header.unwrap_or(Header::Damaged { reason: String::new(), readable: false }),
        file: None,
        survey: None,
        end,
        ended: false,
    };
    if let Some(source) = source {
        segment.read(source)?;
    }
    Ok(segment)
}

impl Segment {
    fn read(&mut self, source: Source) -> Result<()> {
        let key = match &source.header {
            Ok(header) => {
                self.header = Header::Sound(Fields::of(header));
                self.end.short = self.bytes < header.capacity;
                Some((header.seed(), header.first_lsn))
            }
            Err(Loss::Unreadable(error)) if source.file.is_none() => {
                return Err(Error::Io {
                    action: "open segment",
                    path: source.path,
                    source: Arc::clone(error),
                });
            }
            Err(loss) => {
                let made = 0..u64::MAX;
                let kin = Kin { log_id: None, made, first: None, below: None };
                let guess = source.guess(&kin);
                let readable = guess.is_some();
                self.header = Header::Damaged { reason: loss.to_string(), readable };
                guess.map(|guess| (guess.seed, guess.first))
            }
        };
        if let (Some((seed, first)), Some(file)) = (key, source.file) {
            self.survey = Some(Survey::new(Arc::clone(&file) as _, seed, first, self.bytes));
            self.file = Some(file);
        }
        Ok(())
    }

    /// The payload of one of its frames, as it is now.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if the file has become shorter meanwhile.
    pub fn payload(&self, frame: &Frame) -> Result<Bytes> {
        let mut bytes = vec![0; frame.len as usize];
        let at = frame.offset + FRAME_HEAD_BYTES as u64;
        let file = self.file.as_ref().ok_or_else(|| io::ErrorKind::InvalidInput.into());
        file.and_then(|file| file.read_exact_at(&mut bytes, at))
            .map_err(|e| Error::io("read segment", &self.path, e))?;
        Ok(bytes.into())
    }

    fn frame(&mut self, offset: u64, head: &FrameHead, lsn: Lsn) -> io::Result<Frame> {
        let kind = match head.kind {
            Kind::Record => FrameKind::Record,
            Kind::GroupEnd => FrameKind::GroupEnd,
            Kind::Close => FrameKind::Close,
            Kind::Next => FrameKind::Next,
            Kind::Start => {
                let mut payload = [0; 8];
                let file = self.file.as_ref().expect("frames come from a file");
                file.read_exact_at(&mut payload, offset + FRAME_HEAD_BYTES as u64)?;
                FrameKind::Start(u64_at(&payload, 0))
            }
        };
        self.end.records += u64::from(head.kind.is_record());
        // What was damaged before this frame was not the end.
        self.end.holes += u64::from(self.end.frames_end < offset);
        self.end.frames_end = offset + head.bytes();
        self.end.closed = kind == FrameKind::Close;
        self.end.succeeded |= kind == FrameKind::Next;
        let durable = Lsn(lsn.0.saturating_sub(u64::from(head.behind)));
        Ok(Frame { offset, kind, lsn, durable, len: head.len })
    }

    fn part(&mut self) -> io::Result<Option<Part>> {
        let Some(survey) = &mut self.survey else {
            return Ok(None);
        };
        let expected = survey.next_lsn();
        Ok(match survey.next()? {
            None => None,
            Some(Piece::Frame { offset, head, lsn }) => {
                Some(Part::Frame(self.frame(offset, &head, lsn)?))
            }
            Some(Piece::Zeros { offset, bytes }) => Some(Part::Zeros { offset, bytes }),
            Some(Piece::Gap { offset, bytes, reason }) => {
                let bad = self.file.as_ref().and_then(|f| f.bad_in(offset, offset + bytes));
                let loss = bad.map_or(Loss::Damage(reason), Loss::Unreadable);
                Some(Part::Damaged { offset, bytes, expected, reason: loss.to_string() })
            }
        })
    }
}

impl Iterator for Segment {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        if self.ended {
            return None;
        }
        match self.part() {
            Ok(Some(part)) => Some(part),
            // A file that has been cut under our feet ends there.
            Ok(None) | Err(_) => {
                self.ended = true;
                Some(Part::End(self.end))
            }
        }
    }
}

impl Fields {
    fn of(header: &SegmentHeader) -> Fields {
        Fields {
            log_id: header.log_id,
            segment: header.segment.0,
            first_lsn: header.first_lsn,
            creation: header.creation,
            previous_end: header.previous_end,
            start_segment: header.start_segment.0,
            born_end: header.born_end,
            capacity: header.capacity,
        }
    }
}
