//! From a directory to a log: verify everything, then repair, never the other way round.
//!
//! ```text
//!     list ─► is there a finished cut.tmp? then it stands for its segment, and later ones are gone
//!          ─► last segment: header, walk, start segment
//!          ─► segments from the start on: headers chain, every frame sound up to "previous end"
//!          ─► the stop in the last segment: end of log, torn tail, or corruption; no next mark;
//!             a file that is shorter than made must show the log's end before its own
//!          ─► min_lsn
//!     ──────────────────────────────────────── nothing was written up to here ──────────────
//!          ─► rewrite what no later frame vouches for, zero what is cut, sync, names too
//!          ─► remove leftovers, finish the cut, sync the names
//! ```
//!
//! Two repairs need a word. **Zeroing**: bytes behind the cut are zeroed and synced before anything
//! is appended, because a sound frame left there could otherwise, once the log has grown up to it,
//! count as its continuation. **Rewriting**: frames that no later frame vouches for may be sound in
//! the page cache and absent from the disk (their sync failed, then the process died, and the
//! kernel has since called the pages clean). They are written again, unchanged, and synced; only
//! then are they called durable.
//!
//! Both are idempotent: a crash within leaves the same log, or the same torn tail, to the next
//! open.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};

use crate::error::{Damage, Error, Result};
use crate::format::{HEADER_BYTES, HeaderFault, SegmentHeader};
use crate::report::{Cut, Report, Short};
use crate::scan::{Scan, Scanner, Stop};
use crate::segment::Segment;
use crate::spare::fill;
use crate::types::{Lsn, SegmentId};
use crate::window::{WINDOW_BYTES, Window};

/// A segment that is being prepared, or one to be recycled.
pub(crate) const SPARE_NAME: &str = "spare.tmp";
/// The shorter edition of a segment whose suffix is being cut.
pub(crate) const CUT_NAME: &str = "cut.tmp";

/// A log that has been verified and not yet touched.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) last: Lsn,
    pub(crate) start_segment: SegmentId,
    pub(crate) creation: u64,
    pub(crate) report: Report,
    unproven_from: u64,
    leftovers: Vec<PathBuf>,
    /// The last segment is still called [`CUT_NAME`].
    cut_open: bool,
}

/// The files in a log's directory.
#[derive(Debug)]
struct Layout {
    dir: PathBuf,
    /// Ascending.
    ids: Vec<SegmentId>,
    /// The segment, the last one, for which a shorter edition stands ready.
    cut: Option<SegmentId>,
    /// Temporary files, and segments behind a cut.
    leftovers: Vec<PathBuf>,
}

impl Layout {
    /// Where the bytes of segment `id` are now.
    fn path(&self, id: SegmentId) -> PathBuf {
        if self.cut == Some(id) { self.dir.join(CUT_NAME) } else { self.final_path(id) }
    }

    fn final_path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(id.file_name())
    }
}

impl Verified {
    /// The segments under the names that their files have before the repair.
    pub(crate) fn segments_as_named(&self, dir: &Path) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.clone();
        if self.cut_open {
            let last = segments.last_mut().expect("a log has a segment");
            *last = Arc::new(last.at(dir.join(CUT_NAME)));
        }
        segments
    }

    /// A log that has just been made.
    pub(crate) fn fresh(segment: Arc<Segment>, report: Report) -> Verified {
        Verified {
            last: report.last,
            start_segment: segment.id(),
            creation: segment.header.creation,
            unproven_from: segment.end(),
            leftovers: Vec::new(),
            cut_open: false,
            segments: vec![segment],
            report,
        }
    }
}

/// Reads the whole log in `dir`. `None` if there is none. Writes nothing.
pub(crate) fn verify(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Verified>> {
    let layout = list(vfs, dir)?;
    let Some(&last_id) = layout.ids.last() else {
        return Ok(None);
    };
    let tail = read_tail(vfs, &layout, last_id)?;
    let start = tail.scan.start_segment;
    let (old, needed) = layout.ids.split_at(layout.ids.partition_point(|id| *id < start));
    let mut headers: Vec<SegmentHeader> = Vec::with_capacity(needed.len());
    let mut at = start;
    // A start that lies behind the last segment is one that is missing, too.
    while at <= last_id.max(start) {
        if needed.get(headers.len()) != Some(&at) {
            let lsn =
                headers.last().map_or(Ok(Lsn::NONE), |header| next_after(vfs, &layout, header))?;
            let (file, reason) = (layout.final_path(at), Damage::SegmentMissing);
            return Err(Error::Corrupt { file, offset: 0, lsn, reason });
        }
        let is_last = at == last_id;
        headers.push(if is_last { tail.header.clone() } else { read_header(vfs, &layout, at)?.1 });
        at = at.next();
    }
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(needed.len());
    for pair in headers.windows(2) {
        segments.push(verify_sealed(vfs, &layout, &pair[0], &pair[1])?);
    }
    let report = Report {
        first: headers[0].first_lsn,
        last: tail.scan.last,
        segments: headers.len(),
        closed: tail.scan.closed && tail.cut.is_none(),
        fresh: false,
        cut: tail.cut,
        short: tail.short,
    };
    let SegmentHeader { creation, capacity, .. } = tail.header;
    let path = layout.final_path(last_id);
    let Scan { last, end, unproven_from, index, .. } = tail.scan;
    let segment = Segment::new(tail.header, path, capacity, end, index).filled_to(tail.filled);
    segments.push(Arc::new(segment));
    let old = old.iter().map(|id| layout.final_path(*id));
    let leftovers = layout.leftovers.iter().cloned().chain(old).collect();
    Ok(Some(Verified {
        segments,
        last,
        start_segment: start,
        creation,
        report,
        unproven_from,
        leftovers,
        cut_open: layout.cut.is_some(),
    }))
}

/// Checks what the caller knows against what was found.
pub(crate) fn check_min(verified: &Verified, min: Lsn) -> Result<()> {
    if verified.last >= min {
        return Ok(());
    }
    let tail = verified.segments.last().expect("a log has a segment");
    Err(Error::Corrupt {
        file: tail.path.clone(),
        offset: tail.end(),
        lsn: verified.last.next(),
        reason: Damage::EndsEarly { found: verified.last, expected: min },
    })
}

/// Makes the directory agree with what [`verify`] found, durably.
///
/// What the verdict rests on comes first: the tail's bytes and the names. They may be no further
/// than the page cache (the process before this one was killed, or its sync failed), and must not
/// be lost by a power cut once anything has been removed on their word.
pub(crate) fn repair(vfs: &dyn Vfs, dir: &Path, verified: &mut Verified) -> Result<()> {
    let sync_dir = || vfs.sync_dir(dir).map_err(|e| Error::io("sync", dir, e));
    let tail = verified.segments.last().expect("a log has a segment");
    // An unfinished cut vouches for its whole file, header and all.
    let (path, from) = match verified.cut_open {
        true => (dir.join(CUT_NAME), 0),
        false => (tail.path.clone(), verified.unproven_from),
    };
    let file = vfs.open(&path, OpenMode::Write).map_err(|e| Error::io("open segment", &path, e))?;
    settle(&file, from, tail).map_err(|e| Error::io("repair", &path, e))?;
    sync_dir()?;
    for path in &verified.leftovers {
        vfs.remove(path).map_err(|e| Error::io("remove", path, e))?;
    }
    if verified.cut_open {
        // See `truncate.rs` for why the removals must be durable first.
        sync_dir()?;
        vfs.rename(&path, &tail.path).map_err(|e| Error::io("rename to", &tail.path, e))?;
    }
    sync_dir()
}

/// Removes what an unfinished rotation or truncation left, where there is no log besides.
pub(crate) fn remove_leftovers(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    for path in list(vfs, dir)?.leftovers {
        vfs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    Ok(())
}

/// Rewrites unproven frames, zeroes everything behind the end, makes the file as long as it was
/// made, syncs.
fn settle(file: &Arc<dyn File>, from: u64, tail: &Segment) -> io::Result<()> {
    let end = tail.end();
    let length = file.len()?;
    let mut window = Window::new(Arc::clone(file), length);
    let mut at = from.min(end);
    while at < end {
        let piece = window.bytes(at, WINDOW_BYTES.min((end - at) as usize))?.to_vec();
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&[IoSlice::new(&piece)], at)?;
        at += piece.len() as u64;
    }
    let zeros = vec![0; WINDOW_BYTES];
    while at < length {
        let piece = window.bytes(at, WINDOW_BYTES)?;
        let count = piece.len();
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            file.write_at(&[IoSlice::new(&zeros[..=last])], at)?;
        }
        at += count as u64;
    }
    fill(&**file, length, tail.capacity)?;
    file.sync_data()
}

/// What is in `dir`. Names that are not ours are passed over.
fn list(vfs: &dyn Vfs, dir: &Path) -> Result<Layout> {
    let mut layout =
        Layout { dir: dir.to_path_buf(), ids: Vec::new(), cut: None, leftovers: Vec::new() };
    let mut cut_found = false;
    for name in vfs.list(dir).map_err(|e| Error::io("list", dir, e))? {
        let Some(name) = name.to_str() else { continue };
        if let Some(id) = SegmentId::from_file_name(name) {
            layout.ids.push(id);
        } else if name == SPARE_NAME {
            layout.leftovers.push(dir.join(name));
        }
        cut_found |= name == CUT_NAME;
    }
    layout.ids.sort_unstable();
    if cut_found {
        match decode_header(vfs, &dir.join(CUT_NAME))?.1 {
            Ok(header) => {
                let id = header.segment;
                let behind = layout.ids.split_off(layout.ids.partition_point(|other| *other < id));
                let later = behind.into_iter().filter(|other| *other > id);
                layout.leftovers.extend(later.map(|other| dir.join(other.file_name())));
                layout.ids.push(id);
                layout.cut = Some(id);
            }
            // It was not finished, so the cut has not happened.
            Err(HeaderFault::Damaged) => layout.leftovers.push(dir.join(CUT_NAME)),
            Err(HeaderFault::Version(version)) => {
                return Err(Error::Unsupported { file: dir.join(CUT_NAME), version });
            }
        }
    }
    Ok(layout)
}

type Decoded = std::result::Result<SegmentHeader, HeaderFault>;

fn decode_header(vfs: &dyn Vfs, path: &Path) -> Result<(Arc<dyn File>, Decoded)> {
    let file = vfs.open(path, OpenMode::Read).map_err(|e| Error::io("open segment", path, e))?;
    let mut block = vec![0; HEADER_BYTES as usize];
    let count = file.read_at(&mut block, 0).map_err(|e| Error::io("read segment", path, e))?;
    Ok((file, SegmentHeader::decode(&block[..count])))
}

fn read_header(
    vfs: &dyn Vfs,
    layout: &Layout,
    id: SegmentId,
) -> Result<(Arc<dyn File>, SegmentHeader)> {
    let path = layout.path(id);
    let (file, decoded) = decode_header(vfs, &path)?;
    let reason = match decoded {
        Ok(header) if header.segment == id => return Ok((file, header)),
        Ok(_) => Damage::Misplaced,
        Err(HeaderFault::Damaged) => Damage::Header,
        Err(HeaderFault::Version(version)) => {
            return Err(Error::Unsupported { file: path, version });
        }
    };
    Err(Error::Corrupt { file: path, offset: 0, lsn: Lsn::NONE, reason })
}

struct Tail {
    header: SegmentHeader,
    filled: u64,
    scan: Scan,
    cut: Option<Cut>,
    short: Option<Short>,
}

/// Walks the last segment and judges its stop.
fn read_tail(vfs: &dyn Vfs, layout: &Layout, id: SegmentId) -> Result<Tail> {
    let (file, header) = read_header(vfs, layout, id)?;
    let path = layout.path(id);
    let failed = |e| Error::io("read segment", &path, e);
    let corrupt = |Stop { offset, lsn, .. }, reason| {
        Err(Error::Corrupt { file: path.clone(), offset, lsn, reason })
    };
    let length = file.len().map_err(failed)?.min(header.capacity);
    let filled = filled(&*file, length).map_err(failed)?;
    let mut scanner = Scanner::new(Arc::clone(&file), &header, length);
    let scan = scanner.run().map_err(failed)?;
    let damage = scan.stop.damage;
    if scan.succeeded {
        let (file, reason) = (layout.final_path(id.next()), Damage::SegmentMissing);
        return Err(Error::Corrupt { file, offset: 0, lsn: scan.last.next(), reason });
    }
    if length < header.capacity && !scan.stop.before_end(length) {
        return corrupt(scan.stop, Damage::FileEnds);
    }
    let mut cut = None;
    if let Some(reason) = damage {
        // A group that the file was born with has no end: only a forger's checksums say so.
        let born_torn = scan.end < header.born_end;
        if born_torn || scanner.was_promised(scan.stop).map_err(failed)? {
            return corrupt(scan.stop, reason);
        }
        let stale = scanner.is_stale(&scan).map_err(failed)?;
        let dirty = Window::new(file, length).dirty_end(scan.end).map_err(failed)?;
        let bytes = dirty - scan.end;
        let file = path.clone();
        cut = (bytes > 0 && !stale).then_some(Cut { file, offset: scan.end, bytes, reason });
    }
    let capacity = header.capacity;
    let short = (length < capacity).then_some(Short { file: path, bytes: length, capacity });
    Ok(Tail { header, filled, scan, cut, short })
}

/// How far a file of this length is known to have its blocks.
fn filled(file: &dyn File, length: u64) -> io::Result<u64> {
    Ok(if file.allocated()? < length { 0 } else { length })
}

/// The record after those that stand in a segment whose successor is gone.
fn next_after(vfs: &dyn Vfs, layout: &Layout, header: &SegmentHeader) -> Result<Lsn> {
    let path = layout.path(header.segment);
    let file = vfs.open(&path, OpenMode::Read);
    let scan = file.and_then(|file| Scanner::new(file, header, header.capacity).run());
    scan.map(|scan| scan.last.next()).map_err(|e| Error::io("read segment", &path, e))
}

/// Walks a segment that has a successor: every frame must be there, up to the byte the successor's
/// header names.
fn verify_sealed(
    vfs: &dyn Vfs,
    layout: &Layout,
    header: &SegmentHeader,
    next: &SegmentHeader,
) -> Result<Arc<Segment>> {
    let path = layout.path(header.segment);
    if next.log_id != header.log_id || next.creation <= header.creation {
        let (file, reason) = (layout.path(next.segment), Damage::Misplaced);
        return Err(Error::Corrupt { file, offset: 0, lsn: next.first_lsn, reason });
    }
    let (file, _) = read_header(vfs, layout, header.segment)?;
    let failed = |e| Error::io("read segment", &path, e);
    let length = file.len().map_err(failed)?;
    let filled = filled(&*file, length).map_err(failed)?;
    let end = next.previous_end;
    let scan = Scanner::new(file, header, end.min(length)).run().map_err(failed)?;
    let Stop { offset, lsn, damage } = scan.stop;
    let damage = damage.or((end > length).then_some(Damage::FileEnds));
    let linked = scan.last.next() == next.first_lsn && !scan.succeeded;
    let damage = damage.or((!linked).then_some(Damage::Sequence));
    match damage {
        Some(reason) => Err(Error::Corrupt { file: path, offset, lsn, reason }),
        None => {
            let capacity = length.min(header.capacity);
            let segment = Segment::new(header.clone(), path, capacity, end, scan.index);
            Ok(Arc::new(segment.filled_to(filled)))
        }
    }
}
