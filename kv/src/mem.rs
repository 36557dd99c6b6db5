//! An engine that holds everything in memory, and on request writes all of it to a file.
//!
//! # The problem
//!
//! A store of cluster state is small, a few gigabytes at most, and read far more than written.
//! Keeping it in memory is the simplest engine there is and the fastest, if only reads need not
//! wait for writes, and saving the state need not stop either.
//!
//! # The idea
//!
//! One copy-on-write tree for each space, all behind one lock. The lock is held for a few
//! pointers to be copied or a small batch to be applied, never while anything waits:
//!
//! ```text
//!     get ────────► lock (shared), search, clone the value
//!     snapshot ───► lock (shared), clone one Arc ─────────► read for as long as you like
//!     write ──────► lock (exclusive), change the trees where they lie
//!                   a large batch: change a copy, lock, put it in place
//!     persist ────► snapshot ─► file of its own ─► rename ─► remove the file before it
//! ```
//!
//! # Promises
//!
//! Those of [`Engine`]. Opening reads the newest complete file and nothing else; if that file is
//! damaged, opening fails, even if an older one should still be there: the journal may already
//! have been cut to fit the newer.
//!
//! # Left out
//!
//! Saving only what changed: a state file is always whole, so `persist` writes as much as
//! [`EngineStats::bytes_in_use`] says, and the disk must have room for the old file and the new one
//! side by side. Engines for states that are too large for that write pages instead.
//!
//! What old snapshots alone keep alive is not in the statistics.

mod file;
mod load;
mod save;
mod tree;
mod trees;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drystone_vfs::Vfs;
use parking_lot::{Mutex, RwLock};

use crate::engine::{
    Batch, Direction, Engine, EngineError, EngineStats, Progress, Records, Snapshot, Space,
};
use crate::engines::Visitor;
use file::Name;

pub(crate) use file::VERSION as FORMAT_VERSION;
use trees::Trees;

/// A batch with more changes than this is applied to a copy, so that readers do not wait for it.
/// At a third of a microsecond a change they wait for less than 100 microseconds otherwise.
const CHANGES_IN_PLACE_MAX: usize = 256;

/// The in-memory engine.
///
/// Invariants:
///
/// - `writer` is held while `trees` is replaced or changed.
/// - The trees on disk are those after a prefix of the batches.
pub struct Mem {
    trees: RwLock<Arc<Trees>>,
    writer: Mutex<()>,
    home: Option<Home>,
}

/// Where an engine that outlives the process keeps its file.
struct Home {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    disk: Mutex<Disk>,
}

/// What is known about the files.
struct Disk {
    /// Above the sequence of every file ever seen here.
    sequence_next: u64,
    /// `Trees::batches` of the state that is durable.
    batches_durable: u64,
}

impl Mem {
    /// An empty engine without a disk: `persist` does nothing, and nothing outlives the engine.
    #[must_use]
    pub fn volatile() -> Self {
        Self::with(Trees::empty(), None)
    }

    /// Opens the engine in the folder `dir`. If that is missing the engine is empty; the folder is
    /// made when there is something to save.
    ///
    /// Reads all of the newest state file. Afterwards removes what an interrupted
    /// [`Engine::persist`] left: partial files and files older than the newest.
    ///
    /// # Errors
    ///
    /// [`EngineError::Corrupt`] if the newest file is not, to the bit, what was written;
    /// [`EngineError::Unsupported`] if a later version wrote it. Nothing on disk was changed then.
    pub fn open(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Self, EngineError> {
        let names = names(&*vfs, dir)?;
        let newest = newest(&names);
        let trees = match newest {
            Some(sequence) => load::load(&*vfs, dir, sequence)?,
            None => Trees::empty(),
        };
        if names.len() > 1 {
            // A process may have died, with the machine running on, between the rename to the name
            // we keep and its sync. A power cut could then undo that rename but not our removals.
            vfs.sync_dir(dir).map_err(|error| EngineError::io(dir, error))?;
        }
        remove_others(&*vfs, dir, &names, newest)?;
        let sequence_next = names.iter().map(|name| name.sequence() + 1).max().unwrap_or(1);
        let disk = Mutex::new(Disk { sequence_next, batches_durable: trees.batches() });
        Ok(Self::with(trees, Some(Home { vfs, dir: dir.to_path_buf(), disk })))
    }

    /// The state in the newest file of the folder `dir`, but for the records of the history, which
    /// `visitor` is shown in order; how many records there are, and the file. `None` if there is no
    /// file. Changes nothing on disk, where another process may write meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`Mem::open`]; and [`EngineError::Io`] with `NotFound` if the file has just been
    /// replaced.
    pub(crate) fn view(
        vfs: &dyn Vfs,
        dir: &Path,
        mut visitor: Option<&mut dyn Visitor>,
    ) -> Result<Option<(MemSnapshot, [u64; Space::COUNT], PathBuf)>, EngineError> {
        let Some(sequence) = newest(&names(vfs, dir)?) else { return Ok(None) };
        let (totals, rest) = loop {
            let mut rest = Batch::new();
            let totals = load::scan(vfs, dir, sequence, |space, key, value| {
                match (space, &mut visitor) {
                    (Space::Record, Some(visitor)) => visitor.record(key, value),
                    (Space::Record, None) => {}
                    _ => rest.put(space, key, Bytes::copy_from_slice(value)),
                }
                Ok(())
            })?;
            if visitor.as_mut().is_none_or(|visitor| !visitor.again()) {
                break (totals, rest);
            }
        };
        let mut trees = Trees::empty();
        trees.apply(rest);
        let snapshot = MemSnapshot { trees: Arc::new(trees) };
        Ok(Some((snapshot, totals.records, file::path(dir, sequence))))
    }

    fn with(trees: Trees, home: Option<Home>) -> Self {
        Self { trees: RwLock::new(Arc::new(trees)), writer: Mutex::new(()), home }
    }

    fn trees(&self) -> Arc<Trees> {
        Arc::clone(&self.trees.read())
    }
}

/// The state files in `dir`, complete or not; none if there is no folder.
fn names(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<Name>, EngineError> {
    let names = match vfs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| EngineError::io(dir, error))?,
    };
    Ok(names.iter().filter_map(|name| Name::parse(name)).collect())
}

/// The sequence of the newest complete file.
fn newest(names: &[Name]) -> Option<u64> {
    let complete = |name: &Name| match name {
        Name::Complete(sequence) => Some(*sequence),
        Name::Partial(_) => None,
    };
    names.iter().filter_map(complete).max()
}

/// Removes all state files but the complete one with the sequence `keep`, whose name is durable.
fn remove_others(
    vfs: &dyn Vfs,
    dir: &Path,
    names: &[Name],
    keep: Option<u64>,
) -> Result<(), EngineError> {
    let keep = keep.map(Name::Complete);
    for name in names.iter().filter(|name| Some(**name) != keep) {
        let path = name.path(dir);
        vfs.remove(&path).map_err(|error| EngineError::io(&path, error))?;
    }
    Ok(())
}

impl Engine for Mem {
    type Snapshot = MemSnapshot;

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.trees.read().get(space, key))
    }

    fn snapshot(&self) -> MemSnapshot {
        MemSnapshot { trees: self.trees() }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        let _writer = self.writer.lock();
        if batch.len() <= CHANGES_IN_PLACE_MAX {
            Arc::make_mut(&mut *self.trees.write()).apply(batch);
            return Ok(());
        }
        let mut trees = self.trees();
        Arc::make_mut(&mut trees).apply(batch);
        let old = std::mem::replace(&mut *self.trees.write(), trees);
        // Frees what only the old state held, which takes time, and no lock that readers need.
        drop(old);
        Ok(())
    }

    fn persist(&self) -> Result<(), EngineError> {
        let Some(home) = &self.home else { return Ok(()) };
        let (vfs, dir) = (&*home.vfs, &*home.dir);
        let mut disk = home.disk.lock();
        let trees = self.trees();
        if disk.batches_durable == trees.batches() {
            return Ok(());
        }
        let sequence = disk.sequence_next;
        disk.sequence_next += 1;
        vfs.create_dir_all(dir).map_err(|error| EngineError::io(dir, error))?;
        save::save(vfs, dir, sequence, &trees)?;
        remove_others(vfs, dir, &names(vfs, dir)?, Some(sequence))?;
        disk.batches_durable = trees.batches();
        Ok(())
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        let refused = |kind| Err(EngineError::io(dir, io::Error::from(kind)));
        let Some(home) = &self.home else { return refused(io::ErrorKind::Unsupported) };
        let vfs = &*home.vfs;
        vfs.create_dir_all(dir).map_err(|error| EngineError::io(dir, error))?;
        if dir == home.dir || !names(vfs, dir)?.is_empty() {
            return refused(io::ErrorKind::AlreadyExists);
        }
        save::save(vfs, dir, 1, &self.trees())
    }

    fn stats(&self) -> EngineStats {
        self.trees.read().stats()
    }

    fn maintain(&self, _budget: Duration) -> Result<Progress, EngineError> {
        // Deletes join thin nodes at once, and a state file is always whole: nothing piles up.
        Ok(Progress::Done)
    }
}

impl fmt::Debug for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.home.as_ref().map(|home| &home.dir);
        f.debug_struct("Mem").field("dir", &dir).field("stats", &self.stats()).finish()
    }
}

/// The state of a [`Mem`] at one instant.
#[derive(Clone)]
pub struct MemSnapshot {
    trees: Arc<Trees>,
}

impl Snapshot for MemSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.trees.get(space, key))
    }

    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_> {
        let records = self.trees.space(space).range(start, end, direction);
        Box::new(records.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

impl fmt::Debug for MemSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemSnapshot").field("stats", &self.trees.stats()).finish()
    }
}
