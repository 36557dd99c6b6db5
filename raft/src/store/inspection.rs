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
use crate::store::record::GroupId;
use crate::store::recovery::{Reading, current, log_dir};
use crate::store::snapshots::Snapshots;
use crate::store::{SnapshotFile, Store, last};
use crate::types::{Index, NodeId, Position};

/// How often it is looked for a moment at which nothing changes.
const LOOKS_MAX: usize = 10;

/// Records that are read over rather than finding the place anew.
const NEAR: u64 = 64 << 10;

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
    snapshots: Vec<SnapshotFile>,
}

/// What the log says of one group.
#[derive(Debug, Clone, Copy)]
pub struct GroupLog<'a> {
    inspection: &'a Inspection,
    book: &'a Book,
}

impl Store {
    /// Looks into the store in `dir`, which may be open here or in another process. Locks nothing
    /// and changes nothing. `None` if there is none.
    ///
    /// Takes 32 bytes of memory for each write that is not compacted away. Damage is no error: what
    /// is sound is shown, and [`Inspection::holes`] says what is not.
    ///
    /// # Errors
    /// [`Error::Log`] or [`Error::Io`] if the disk refuses.
    pub fn inspect(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Option<Inspection>> {
        let vfs: Arc<dyn Vfs> = Arc::new(AsideVfs::over(Arc::clone(vfs)));
        match vfs.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => drop(names.map_err(|e| Error::io("list", dir, e))?),
        }
        let mut before = None;
        for look in 1.. {
            let found = Inspection::look(&vfs, dir);
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
    fn look(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Option<Inspection>> {
        let log = log_dir(dir, current(&**vfs, dir)?);
        // Before the log is read: a note that is older than what it is about is always true.
        let noted = last::noted(&**vfs, &log);
        let salvage = match Wal::salvage(&**vfs, &log) {
            Err(drystone_wal::Error::NoLog { .. }) => return Ok(None),
            salvage => salvage?,
        };
        let (segments, bytes) = sizes(&**vfs, &log)?;
        let mut inspection = Inspection {
            snapshots: Snapshots::survey(vfs, &dir.join("snapshots"))?,
            log,
            salvage,
            noted,
            last: Lsn::NONE,
            reading: Reading::default(),
            nonsense: Vec::new(),
            segments,
            bytes,
        };
        inspection.read()?;
        Ok(Some(inspection))
    }

    fn read(&mut self) -> Result<()> {
        for record in self.salvage.iter(Lsn::NONE) {
            let (lsn, bytes) = record?;
            self.last = lsn;
            if let Err(what) = self.reading.take(lsn, &bytes) {
                self.nonsense.push(Error::corrupt(&self.log, lsn.0, what));
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
        Some(GroupLog { inspection: self, book })
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
    /// After an error the iterator goes on with the next record; a node that runs may have let go
    /// of the old ones meanwhile.
    pub fn entries(&self, from: Index, through: Index) -> impl Iterator<Item = Result<Entry>> + 'a {
        let within = move |extent: &&Extent| extent.end() > from && extent.first <= through;
        let extents = self.book.extents().filter(within).copied();
        let mut reader = Reader { inspection: self.inspection, records: None, next: Lsn::NONE };
        let rows = extents.map(move |extent| reader.row(extent));
        rows.flat_map(move |row| {
            let (row, error) =
                row.map_or_else(|error| (Vec::new(), Some(error)), |row| (row, None));
            let wanted = move |entry: &Entry| (from..=through).contains(&entry.index);
            row.into_iter().filter(wanted).map(Ok).chain(error.map(Err))
        })
    }
}

/// Reads records, each behind the last as a rule.
struct Reader<'a> {
    inspection: &'a Inspection,
    records: Option<Records>,
    /// The record that comes next, at least.
    next: Lsn,
}

type Records = Box<dyn Iterator<Item = drystone_wal::Result<(Lsn, Bytes)>>>;

impl Reader<'_> {
    fn row(&mut self, extent: Extent) -> Result<Vec<Entry>> {
        let Inspection { log, salvage, .. } = self.inspection;
        let gone = || Error::corrupt(log, extent.lsn.0, "a record that is not there any more");
        let near = self.next <= extent.lsn && extent.lsn.0 - self.next.0 <= NEAR;
        let records = self.records.take().filter(|_| near);
        let mut records = records.unwrap_or_else(|| Box::new(salvage.iter(extent.lsn)));
        for record in &mut records {
            let (lsn, bytes) = record?;
            if lsn >= extent.lsn {
                (self.records, self.next) = (Some(records), lsn.next());
                let row = (lsn == extent.lsn).then(|| extent.of(&bytes)).flatten();
                return row.ok_or_else(gone);
            }
        }
        Err(gone())
    }
}

/// The segment files of a log: how many, and their bytes.
fn sizes(vfs: &dyn Vfs, log: &Path) -> Result<(usize, u64)> {
    let files = inspect::files(vfs, log)?;
    let segments = files.iter().filter(|file| matches!(file.role, Role::Segment(_)));
    Ok(segments.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes.unwrap_or(0))))
}
