//! What an engine has on disk, for whoever looks while another process writes.
//!
//! An engine's files show a whole prefix of its batches, whatever the moment: that is what it must
//! find after a crash. So they can be read beside the process that writes them, if nothing that a
//! reader has found is taken from under it. How likely that is differs:
//!
//! | engine | reads | what may happen |
//! |---|---|---|
//! | memory | all of the newest file | it is replaced before it is opened |
//! | btree | pages, when they are asked for | a page is used again by the second flush after |
//! | lsm | tables, all opened at once | one is merged away before it is opened |
//!
//! Checksums tell of each. It is an error then, and not damage unless it stays when one looks
//! again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{AsideVfs, Clock, OpenMode, Vfs};

use super::{AnySnapshot, EngineKind, btree, lsm};
use crate::engine::{Direction, EngineError, EngineStats, Snapshot, Space};
use crate::mem::{FORMAT_VERSION, Mem};

/// Memory that a look may take for pages and blocks: they are read in order, and hardly twice.
pub(super) const VIEW_BYTES: usize = 8 << 20;

/// Who is shown the keys and values of records.
pub trait Visitor {
    /// A record.
    fn record(&mut self, key: &[u8], value: &[u8]);

    /// All records have been shown: says whether to show them once more, to one who cannot keep
    /// all that matters in memory.
    fn again(&mut self) -> bool;
}

/// What an engine has on disk.
#[derive(Debug)]
pub struct EngineView {
    /// The state that was saved last, but for the history ([`Space::Record`]): that may be more
    /// than fits into memory, and was shown to the visitor.
    pub snapshot: AnySnapshot,
    /// How much it is. [`EngineStats::persist_bytes`] is 0: that is in another's memory.
    pub stats: EngineStats,
    /// The version of the files' format, which was read from them.
    pub format: u32,
    /// How its files are laid out.
    pub shape: Shape,
}

/// How an engine's files are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// One file with all records.
    Memory {
        /// The newest.
        file: PathBuf,
        /// Its length.
        file_bytes: u64,
    },
    /// One file of pages.
    Btree {
        /// Which.
        file: PathBuf,
        /// The last transaction that was flushed.
        txn: u64,
        /// Bytes in a page.
        page_bytes: u64,
        /// Pages of the file.
        pages: u64,
        /// Those in which nothing is.
        pages_free: u64,
    },
    /// A folder of tables.
    Lsm {
        /// How many.
        tables: u64,
        /// Where they lie.
        spaces: Vec<LevelsOf>,
    },
}

/// The levels of one keyspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LevelsOf {
    /// Its name.
    pub name: String,
    /// The sub-levels of level 0, from the oldest.
    pub sublevels: Vec<Level>,
    /// Levels 1 and on.
    pub levels: Vec<Level>,
}

/// One level of tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Tables.
    pub tables: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries in them, old versions included.
    pub entries: u64,
    /// Of these, deletes.
    pub deletes: u64,
}

impl EngineView {
    /// Looks at the engine in the folder `dir`; `None` if nothing was saved there yet. Locks
    /// nothing and changes nothing. A `visitor` is shown every record of the history, the oldest
    /// first; without one they are not read, as far as the engine can do without.
    ///
    /// # Errors
    ///
    /// Those of the engine. While somebody else writes, also errors that are gone when one looks
    /// again: see the table above.
    pub fn open(
        vfs: &Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        kind: EngineKind,
        visitor: Option<&mut dyn Visitor>,
    ) -> Result<Option<EngineView>, EngineError> {
        let vfs: Arc<dyn Vfs> = Arc::new(AsideVfs::over(Arc::clone(vfs)));
        let view = match kind {
            EngineKind::Memory => return memory(&*vfs, dir, visitor),
            EngineKind::Btree => btree::view(vfs, clock, dir)?,
            EngineKind::Lsm => lsm::view(vfs, clock, dir)?,
        };
        if let (Some(view), Some(visitor)) = (&view, visitor) {
            loop {
                for record in view.snapshot.range(Space::Record, &[], None, Direction::Forward) {
                    let (key, value) = record?;
                    visitor.record(&key, &value);
                }
                if !visitor.again() {
                    break;
                }
            }
        }
        Ok(view)
    }
}

fn memory(
    vfs: &dyn Vfs,
    dir: &Path,
    visitor: Option<&mut dyn Visitor>,
) -> Result<Option<EngineView>, EngineError> {
    let Some((snapshot, records, file)) = Mem::view(vfs, dir, visitor)? else { return Ok(None) };
    let len = vfs.open(&file, OpenMode::Read).and_then(|file| file.len());
    let file_bytes = len.map_err(|error| EngineError::io(&file, error))?;
    // A file has nothing in it but records that count.
    let (bytes, bytes_in_use) = (file_bytes, file_bytes);
    let stats = EngineStats { bytes, bytes_in_use, records, ..EngineStats::default() };
    let (snapshot, shape) = (AnySnapshot::Memory(snapshot), Shape::Memory { file, file_bytes });
    Ok(Some(EngineView { snapshot, stats, format: FORMAT_VERSION, shape }))
}
