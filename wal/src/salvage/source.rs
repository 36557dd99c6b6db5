//! The files of a damaged log, and what their headers say or must have said.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};

use crate::crc::seed_of;
use crate::error::{Damage, Error, Result};
use crate::format::{
    FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, HeaderFault, LSN_BITS, POSITION_END, SegmentHeader,
    creation_of,
};
use crate::patchy::Patchy;
use crate::recovery::CUT_NAME;
use crate::salvage::Loss;
use crate::survey::{Piece, Survey};
use crate::types::{Lsn, SegmentId};
use crate::window::Window;

/// One segment file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    /// Nothing if it cannot be opened.
    pub(crate) file: Option<Arc<Patchy>>,
    pub(crate) length: u64,
    pub(crate) header: std::result::Result<SegmentHeader, Loss>,
    /// The fields of a damaged header, for what they are worth.
    fields: Option<SegmentHeader>,
}

/// Opens every segment file in `dir`, in the order of their numbers. A finished suffix cut is taken
/// into account.
pub(crate) fn sources(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<Source>> {
    let names = vfs.list(dir).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::NoLog { dir: dir.to_path_buf() },
        _ => Error::io("list", dir, e),
    })?;
    let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
    let mut ids: Vec<SegmentId> =
        names.iter().filter_map(|name| SegmentId::from_file_name(name)).collect();
    ids.sort_unstable();
    let mut sources = Vec::with_capacity(ids.len());
    for id in ids {
        sources.push(Source::open(vfs, id, dir.join(id.file_name()))?);
    }
    if names.contains(&CUT_NAME) {
        let mut cut = Source::open(vfs, SegmentId::FIRST, dir.join(CUT_NAME))?;
        if let Ok(header) = &cut.header {
            cut.id = header.segment;
            sources.retain(|source| source.id < cut.id);
            sources.push(cut);
        }
    }
    Ok(sources)
}

impl Source {
    pub(crate) fn open(vfs: &dyn Vfs, id: SegmentId, path: PathBuf) -> Result<Source> {
        let unreadable = |path, e| {
            let header = Err(Loss::Unreadable(Arc::new(e)));
            Ok(Source { id, path, file: None, length: 0, header, fields: None })
        };
        let file = match vfs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) => return unreadable(path, e),
        };
        let length = match file.len() {
            Ok(length) => length,
            Err(e) => return unreadable(path, e),
        };
        let file = Patchy::new(file);
        let mut block = vec![0; HEADER_BYTES as usize];
        let count = match file.read_at(&mut block, 0) {
            Ok(count) => count,
            Err(e) => return unreadable(path, e),
        };
        let header = match SegmentHeader::decode(&block[..count]) {
            Ok(header) => Ok(header),
            Err(HeaderFault::Version(version)) => {
                return Err(Error::Unsupported { file: path, version });
            }
            Err(HeaderFault::Damaged) => match file.bad_in(0, HEADER_BYTES) {
                Some(error) => Err(Loss::Unreadable(error)),
                None => Err(Loss::Damage(Damage::Header)),
            },
        };
        let fields = header.is_err().then(|| SegmentHeader::fields(&block));
        Ok(Source { id, path, file: Some(file), length, header, fields })
    }

    /// Where its bytes end: the file's length, or what its header says it was made, if less.
    pub(crate) fn end(&self) -> u64 {
        self.header.as_ref().map_or(self.length, |header| header.capacity.min(self.length))
    }

    /// Why bytes of this file are not what they should be.
    pub(crate) fn loss(&self, from: u64, to: u64, reason: Damage) -> Loss {
        let bad = self.file.as_ref().and_then(|file| file.bad_in(from, to));
        bad.map_or(Loss::Damage(reason), Loss::Unreadable)
    }

    /// What a damaged header must have said, as far as it takes to read the frames.
    ///
    /// Either the header's own fields are right, and the damage is elsewhere in its block; or the
    /// first frame tells its seed, and the seed is one of this log, or a second frame confirms it.
    pub(crate) fn guess(&self, kin: &Kin) -> Option<Guess> {
        let (fields, file) = (self.fields.as_ref()?, self.file.clone()?);
        let mut window = Window::new(file, self.length);
        let bytes = window.bytes(HEADER_BYTES, FRAME_HEAD_BYTES).ok()?;
        let head = FrameHead::decode(bytes.get(..FRAME_HEAD_BYTES)?).ok()?;
        let unseeded = window.crc(HEADER_BYTES, &head, 0).ok()??;
        let first = kin.first(&head, fields.first_lsn);
        let akin = fields.segment == self.id && kin.log_id.is_none_or(|id| id == fields.log_id);
        let own = Guess { seed: fields.seed(), first };
        if akin && self.frames_under(own, 1) {
            return Some(own);
        }
        let told = Guess { seed: seed_of(&head, unseeded), first };
        let created = |id| u64::from(creation_of(told.seed, id));
        // Any frame tells a seed, but hardly one that this log can have had.
        let (believed, count) = match kin.log_id {
            Some(id) => (kin.made.contains(&created(id)), 1),
            None => (true, 2),
        };
        (head.kind.is_record() && believed && self.frames_under(told, count)).then_some(told)
    }

    /// Whether the file begins with so many frames that are sound if `guess` is right.
    fn frames_under(&self, guess: Guess, count: usize) -> bool {
        let Some(file) = self.file.clone() else {
            return false;
        };
        let mut survey = Survey::new(file, guess.seed, guess.first, self.length);
        (0..count).all(|_| matches!(survey.next(), Ok(Some(Piece::Frame { .. }))))
    }
}

/// What the rest of the log says about a segment whose header is damaged.
#[derive(Debug)]
pub(crate) struct Kin {
    pub(crate) log_id: Option<u64>,
    /// The creations of which the segment's can be one.
    pub(crate) made: Range<u64>,
    /// Its first record, if the segment before it ends well.
    pub(crate) first: Option<Lsn>,
    /// The first record of a later segment.
    pub(crate) below: Option<Lsn>,
}

impl Kin {
    /// The segment's first record, of which `head` has the low bits, and the header says `said`.
    fn first(&self, head: &FrameHead, said: Lsn) -> Lsn {
        let fits = |lsn: Lsn| lsn.0 < POSITION_END && head.lsn_from(lsn) == lsn;
        let said_fits = fits(said) && said > Lsn::NONE && self.below.is_none_or(|lsn| said < lsn);
        match (self.first, self.below) {
            (Some(first), _) => first,
            (None, _) if said_fits => said,
            // The highest that fits: a segment holds no more than the low bits can tell apart.
            (None, Some(below)) => head.lsn_from(Lsn(below.0.saturating_sub(1 << LSN_BITS).max(1))),
            (None, None) => head.lsn_from(Lsn(1)),
        }
    }
}

/// What it takes to read frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess {
    pub(crate) seed: u32,
    pub(crate) first: Lsn,
}
