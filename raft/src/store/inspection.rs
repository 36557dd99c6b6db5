//! A look into a store for people, while its node may be writing to it.
//!
//! **The problem.** What a log says decides who is right after an accident, and nobody stops a
//! cluster to find out. A survey needs the log's lock, and stops at damage.
//!
//! **The idea.** Two passes over whatever is sound. The first keeps positions alone: who wrote an
//! index last is known only at the end. The second reads the entries that stand, one by one.
//!
//! ```text
//!     pass 1    Head │ 5 6 7 │ ░░░ │ 9 │ Cut 6 │ 7' 8' …     ──► book: 5–6 at a, 7'–8' at d
//!     pass 2                                                ──► 5, 6, 7', 8'
//! ```
//!
//! Positions are kept of whole stretches (`book.rs`), and one record is in memory at a time: a log
//! may be as long as it likes.
//!
//! Nothing is locked, so what is read may be of several moments. A half-written end is an end. A
//! hole is believed only if it is there again when one looks again: writers do not leave any, but
//! a look can fall between two of their steps.
//!
//! **What is committed** is not for one log to say. Here it is known of all that a head says was
//! (`record.rs`); of what is compacted away; and, where one member votes alone, of everything. The
//! rest may be, too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{AsideVfs, Vfs};
use drystone_wal::inspect::{self, Role};
use drystone_wal::{Cut, Hole, Lsn, Salvage, Wal};

use crate::boot::{HardState, SnapshotMeta};
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::store::book::{Book, Extent};
use crate::store::error::{Error, Result};
use crate::store::record::{GroupId, Record};
use crate::store::recovery::{Reading, current, log_dir};
use crate::store::snapshots::Snapshots;
use crate::store::{SnapshotFile, Store, home, last};
use crate::types::{Index, NodeId, Position};

/// How often it is looked for a moment at which nothing changes.
const LOOKS_MAX: usize = 10;

/// Records that are read over rather than finding the place anew.
const NEAR: u64 = 64 << 10;

/// Records that cannot be, of which each is named. Where one is, all behind it may be.
const NONSENSE_MAX: usize = 100;

/// What a store holds, as it was found.
#[derive(Debug)]
pub struct Inspection {
    log: PathBuf,
    salvage: Salvage,
    noted: Lsn,
    last: Lsn,
    reading: Reading,
    nonsense: Vec<Error>,
    segments: usize,
    bytes: u64,
    formats: Vec<u32>,
    snapshots: Vec<SnapshotFile>,
}

/// What the log says of one group.
#[derive(Debug, Clone, Copy)]
pub struct GroupLog<'a> {
    inspection: &'a Inspection,
    group: GroupId,
    book: &'a Book,
}

impl Store {
    /// Looks into the store in `dir`, which may be open here or in another process. Locks nothing
    /// and changes nothing. `None` if there is none. A log that is kept apart is found where it is;
    /// if that folder was moved since, `log_dir` says to where.
    ///
    /// Takes 40 bytes of memory for some 65,000 entries in a row, and for each place where the log
    /// was cut and went on. Damage is no error: what is sound is shown, and [`Inspection::holes`]
    /// says what is not.
    ///
    /// # Errors
    /// [`Error::Log`] or [`Error::Io`] if the disk refuses.
    pub fn inspect(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        log_dir: Option<&Path>,
    ) -> Result<Option<Inspection>> {
        let vfs: Arc<dyn Vfs> = Arc::new(AsideVfs::over(Arc::clone(vfs)));
        match vfs.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => drop(names.map_err(|e| Error::io("list", dir, e))?),
        }
        let mut before = None;
        for look in 1.. {
            let found = Inspection::look(&vfs, dir, log_dir);
            let trouble = match &found {
                Ok(None) => None,
                Ok(Some(found)) => found.trouble(),
                Err(error) => Some(format!("{error:?}")),
            };
            if trouble.is_none() || trouble == before || look == LOOKS_MAX {
                return found;
            }
            before = trouble;
        }
        unreachable!("the last look returns")
    }
}

impl Inspection {
    fn look(vfs: &Arc<dyn Vfs>, dir: &Path, asked: Option<&Path>) -> Result<Option<Inspection>> {
        let kept = home::apart(&**vfs, dir)?;
        // Of a log that is inside nothing else is true.
        let asked = kept.as_deref().map(|kept| asked.unwrap_or(kept));
        let logs = home::find(&**vfs, dir, asked)?;
        let log = log_dir(&logs, current(&**vfs, &logs)?);
        // Before the log is read: a note that is older than what it is about is always true.
        let noted = last::noted(&**vfs, &log);
        let salvage = match Wal::salvage(&**vfs, &log) {
            Err(drystone_wal::Error::NoLog { .. }) => return Ok(None),
            salvage => salvage?,
        };
        let (segments, bytes) = sizes(&**vfs, &log)?;
        let formats = inspect::versions(&**vfs, &log)?;
        let mut inspection = Inspection {
            snapshots: Snapshots::survey(vfs, &dir.join("snapshots"))?,
            log,
            salvage,
            noted,
            last: Lsn::NONE,
            reading: Reading::coarse(),
            nonsense: Vec::new(),
            segments,
            bytes,
            formats,
        };
        inspection.read()?;
        Ok(Some(inspection))
    }

    fn read(&mut self) -> Result<()> {
        for record in self.salvage.iter(Lsn::NONE) {
            let (lsn, bytes) = record?;
            self.last = lsn;
            if let Err(what) = self.reading.take(lsn, &bytes) {
                match self.nonsense.len() {
                    0..NONSENSE_MAX => self.nonsense.push(Error::corrupt(&self.log, lsn.0, what)),
                    NONSENSE_MAX => {
                        let what = "it cannot be, and others behind it, which are not named";
                        self.nonsense.push(Error::corrupt(&self.log, lsn.0, what));
                    }
                    _ => {}
                }
            }
        }
        if self.reading.lost > 0 && self.salvage.holes().is_empty() {
            let what = "records are missing that the log does not miss";
            self.nonsense.push(Error::corrupt(&self.log, 0, what));
        }
        Ok(())
    }

    /// All that is wrong, if anything is.
    fn trouble(&self) -> Option<String> {
        let sound = self.holes().is_empty() && self.nonsense.is_empty();
        let sound = sound && self.ends_early().is_none();
        (!sound).then(|| format!("{:?} {:?} {:?}", self.holes(), self.nonsense, self.ends_early()))
    }

    /// Where the log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its segment files, and the bytes that they take.
    pub fn segments(&self) -> (usize, u64) {
        (self.segments, self.bytes)
    }

    /// The versions that its segments say that they are of, each once.
    pub fn formats(&self) -> &[u32] {
        &self.formats
    }

    /// Where it is damaged.
    pub fn holes(&self) -> &[Hole] {
        self.salvage.holes()
    }

    /// Records that pass their checksums and cannot be.
    pub fn nonsense(&self) -> &[Error] {
        &self.nonsense
    }

    /// The last record, and one behind it that is known to have been there.
    pub fn ends_early(&self) -> Option<(Lsn, Lsn)> {
        (self.last < self.noted).then_some((self.last, self.noted))
    }

    /// Where the last sound record ends: the segment file, and the byte behind it. `None` if there
    /// is no record.
    pub fn end(&self) -> Option<(&Path, u64)> {
        self.salvage.end()
    }

    /// What stands behind the last write that is whole: one that is being made, or was under way
    /// when the node ended. Nobody was told that it is durable.
    pub fn torn(&self) -> Option<&Cut> {
        self.salvage.cut()
    }

    /// The snapshots beside the log.
    pub fn snapshots(&self) -> &[SnapshotFile] {
        &self.snapshots
    }

    /// The groups that the log knows of, by name.
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.reading.books.keys().copied().collect();
        groups.sort_unstable();
        groups
    }

    /// What the log says of a group.
    pub fn group(&self, group: GroupId) -> Option<GroupLog<'_>> {
        let book = self.reading.books.get(&group)?;
        Some(GroupLog { inspection: self, group, book })
    }
}

impl<'a> GroupLog<'a> {
    /// The term and the vote that were last written.
    pub fn hard(&self) -> HardState {
        self.book.hard
    }

    /// What is compacted away, and the members then; `None` if that is lost.
    pub fn base(&self) -> Option<&'a SnapshotMeta> {
        self.book.mark.as_ref().filter(|mark| mark.last == self.book.base)
    }

    /// The last entry that the log should have.
    pub fn last(&self) -> Position {
        self.book.last
    }

    /// How many entries are here.
    pub fn count(&self) -> u64 {
        self.book.extents().map(|extent| u64::from(extent.count)).sum()
    }

    /// The entries between the base and the end that are missing: the first and the last of each
    /// row.
    pub fn missing(&self) -> Vec<(Index, Index)> {
        let holes = self.book.holes().into_iter();
        let mut missing: Vec<_> =
            holes.map(|hole| (hole.after.next(), hole.anchor.index.prev())).collect();
        let here = self.book.extents().last().map_or(self.book.base.index, |end| end.end().prev());
        if here < self.book.last.index {
            missing.push((here.next(), self.book.last.index));
        }
        missing
    }

    /// The newest members that the log names, committed or not, and the entry that does.
    pub fn members(&self) -> Option<(Index, Arc<Configuration>)> {
        self.book.newest_configuration()
    }

    /// Entries up to here are known to be committed, by what is in the log of `me`. Others may be.
    pub fn committed(&self, me: NodeId) -> Index {
        let last = self.book.last.index;
        let said = self.book.commit.max(self.book.base.index).min(last);
        if self.book.is_alone(me) { last } else { said }
    }

    /// The entries from `from` to `through` that are here, in order, read one record at a time.
    ///
    /// After an error the iterator goes on with what can be read behind it; a node that runs may
    /// have let go of the old records meanwhile.
    pub fn entries(&self, from: Index, through: Index) -> impl Iterator<Item = Result<Entry>> + 'a {
        let end = Index(through.0.saturating_add(1));
        let mut wanted = self.book.extents().filter_map(move |extent| extent.part(from, end));
        let mut reader = Reader::new(self.inspection, self.group);
        let mut row = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = row.next() {
                    return Some(Ok(entry));
                }
                if !reader.is_within() {
                    reader.begin(wanted.next()?);
                }
                let (error, entries) = reader.row();
                row = entries.into_iter();
                if let Some(error) = error {
                    return Some(Err(error));
                }
            }
        })
    }
}

/// Reads the stretches of one group, each behind the last as a rule.
struct Reader<'a> {
    inspection: &'a Inspection,
    group: GroupId,
    records: Option<Records>,
    /// The record that comes next, at least.
    next: Lsn,
    /// What is to be read of the stretch that was begun last, if anything: what is there already is
    /// cut off its front.
    left: Option<Extent>,
    /// It was said that something is missing before what comes next.
    excused: bool,
}

type Records = Box<dyn Iterator<Item = drystone_wal::Result<(Lsn, Bytes)>>>;

impl<'a> Reader<'a> {
    fn new(inspection: &'a Inspection, group: GroupId) -> Reader<'a> {
        Reader { inspection, group, records: None, next: Lsn::NONE, left: None, excused: false }
    }

    fn is_within(&self) -> bool {
        self.left.is_some()
    }

    fn begin(&mut self, stretch: Extent) {
        let near = self.next <= stretch.lsn && stretch.lsn.0 - self.next.0 <= NEAR;
        if self.records.is_none() || !near {
            self.records = Some(Box::new(self.inspection.salvage.iter(stretch.lsn)));
            self.next = stretch.lsn;
        }
        (self.left, self.excused) = (Some(stretch), false);
    }

    /// The next entries of the stretch, those of one record; before them, why some are missing. It
    /// goes on with what can be read behind that.
    fn row(&mut self) -> (Option<Error>, Vec<Entry>) {
        while let (Some(left), Some(records)) = (self.left, &mut self.records) {
            let (lsn, bytes) = match records.next() {
                Some(Ok(record)) => record,
                Some(Err(error)) => {
                    self.excused = true;
                    return (Some(error.into()), Vec::new());
                }
                None => {
                    (self.left, self.records) = (None, None);
                    let error = (!self.excused).then(|| self.gone(left));
                    return (error, Vec::new());
                }
            };
            self.next = lsn.next();
            let row = self.of_stretch(left, lsn, &bytes);
            if let (Some(first), Some(last)) = (row.first(), row.last()) {
                let misses = first.index > left.first && !self.excused;
                self.left = left.part(last.index.next(), left.end());
                self.excused = false;
                return (misses.then(|| self.gone(left)), row);
            }
        }
        (None, Vec::new())
    }

    /// The entries of a record that are in the rest of a stretch.
    ///
    /// No older edition of them is among the records of a stretch: where it was cut it ends, and
    /// what was written over it begins another one.
    fn of_stretch(&self, left: Extent, lsn: Lsn, record: &[u8]) -> Vec<Entry> {
        let entries = match Record::decode(record) {
            Ok((group, _, Record::Run(entries))) if group == self.group => entries,
            Ok((group, _, Record::Mended(entry))) if group == self.group && lsn == left.lsn => {
                vec![entry]
            }
            _ => return Vec::new(),
        };
        let is_left = |entry: &Entry| {
            entry.term == left.term && left.first <= entry.index && entry.index < left.end()
        };
        entries.into_iter().filter(is_left).collect()
    }

    fn gone(&self, left: Extent) -> Error {
        let what = "a record that is not there any more";
        Error::corrupt(&self.inspection.log, left.lsn.0, what)
    }
}

/// The segment files of a log: how many, and their bytes.
fn sizes(vfs: &dyn Vfs, log: &Path) -> Result<(usize, u64)> {
    let files = inspect::files(vfs, log)?;
    let segments = files.iter().filter(|file| matches!(file.role, Role::Segment(_)));
    Ok(segments.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes.unwrap_or(0))))
}
