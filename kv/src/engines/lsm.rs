//! The records in a log-structured merge tree: a folder of sorted tables that are merged in the
//! background.
//!
//! ```text
//!     engine/     keyspace "meta"    Space::Meta
//!                 keyspace "record"  Space::Record: keys grow, so its tables hardly overlap
//!                 keyspace "lease"   Space::Lease
//!                 keyspace "alarm"   Space::Alarm
//!                 keyspace "tally"   one record, the sum of all others: see `tally`
//! ```
//!
//! A batch is one batch of the tree, which has no journal of its own: the store's is the only one.
//! [`Engine::persist`] flushes what has gathered in memory since, and the tree does so itself
//! whenever its memory is full. Either way the tables show a whole prefix of the batches.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drystone_lsm::{
    Batch as LsmBatch, Db, Error, Keyspace, KeyspaceOptions, KeyspaceStats, LevelStats, Options,
    Slice,
};
use drystone_vfs::{Clock, Vfs};
use parking_lot::Mutex;

use super::tally::{Miscount, Tally, Teller};
use super::view::{EngineView, Level, LevelsOf, Shape, VIEW_BYTES};
use super::{AnySnapshot, EngineConfig};
use crate::engine::{
    Batch, Change, Direction, Engine, EngineError, EngineStats, Key, Progress, Records, Snapshot,
    Space,
};

/// The keyspace of the sum, and its one key.
const TALLY: &str = "tally";
const TALLY_KEY: &[u8] = b"";

/// An engine over a [`Db`].
pub struct LsmEngine {
    db: Db,
    dir: PathBuf,
    spaces: Spaces,
    tally_space: Keyspace,
    /// Held while a batch is written: its sum follows from the one before.
    writer: Mutex<Teller>,
    /// The sum of what is visible.
    tally: Mutex<Tally>,
}

type Spaces = Arc<[Keyspace; Space::COUNT]>;

/// The name of a space's keyspace; never to be changed.
fn space_name(space: Space) -> &'static str {
    match space {
        Space::Meta => "meta",
        Space::Record => "record",
        Space::Lease => "lease",
        Space::Alarm => "alarm",
    }
}

/// Memory for the newest writes and for blocks of the tables, half each, if nobody says otherwise.
/// With four times as much, a server of a million small keys takes a quarter more memory and puts
/// cost the same.
const MEMORY_BYTES: u64 = 128 << 20;

impl LsmEngine {
    /// Opens the engine in the folder `dir`, or makes it there.
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`]; nothing on disk was changed then.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        config: &EngineConfig,
    ) -> Result<LsmEngine, EngineError> {
        let memory_bytes = config.memory_bytes.unwrap_or(MEMORY_BYTES);
        let mut options = Options::default().journal(false).memory_bytes(memory_bytes);
        if let Some(room) = &config.room {
            options = options.room(Arc::clone(room));
        }
        if !config.background {
            options = options.threads(0);
        }
        let db = Db::open(vfs, clock, dir, options)?;
        let space = |name| db.keyspace(name, KeyspaceOptions::default());
        let [meta, record, lease, alarm] = Space::ALL.map(|named| space(space_name(named)));
        let spaces = Arc::new([meta?, record?, lease?, alarm?]);
        let tally_space = space(TALLY)?;
        let tally = match db.get(&tally_space, TALLY_KEY)? {
            Some(bytes) => Tally::decode(&bytes).ok_or_else(|| miscounted(dir))?,
            None => Tally::default(),
        };
        let newest = db.iter(&spaces[Space::Record.index()]).next_back().transpose()?;
        let newest = newest.map(|(key, _)| Key::new(&key));
        let writer = Mutex::new(Teller::new(tally, newest));
        let dir = dir.to_path_buf();
        Ok(LsmEngine { db, dir, spaces, tally_space, writer, tally: Mutex::new(tally) })
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space.index()]
    }
}

/// The state that is in the tables of the folder `dir`, how much it is, and how they lie; `None` if
/// there is none yet. Changes nothing.
///
/// While another process merges tables, one of them may be gone before it is opened: the error is
/// [`EngineError::Corrupt`]. Once opened, they stay.
pub(super) fn view(
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    dir: &Path,
) -> Result<Option<EngineView>, EngineError> {
    let options = Options::default().journal(false).threads(0).memory_bytes(VIEW_BYTES as u64);
    let db = match Db::open_read_only(vfs, clock, dir, options) {
        Err(Error::NoDatabase { .. }) => return Ok(None),
        db => db?,
    };
    let names = db.keyspaces();
    let wanted = Space::ALL.map(space_name).into_iter().chain([TALLY]);
    if !wanted.into_iter().all(|name| names.iter().any(|known| known == name)) {
        return Ok(None);
    }
    let space = |name| db.keyspace(name, KeyspaceOptions::default());
    let [meta, record, lease, alarm] = Space::ALL.map(|named| space(space_name(named)));
    let spaces = Arc::new([meta?, record?, lease?, alarm?]);
    let tally = match db.get(&space(TALLY)?, TALLY_KEY)? {
        Some(bytes) => Tally::decode(&bytes).ok_or_else(|| miscounted(dir))?,
        None => Tally::default(),
    };
    let found = db.stats();
    let level = |level: &LevelStats| Level {
        tables: level.tables,
        bytes: level.bytes,
        entries: level.entries,
        deletes: level.deletes,
    };
    let tree = |space: &KeyspaceStats| LevelsOf {
        name: space.name.clone(),
        sublevels: space.sublevels.iter().map(level).collect(),
        levels: space.levels.iter().map(level).collect(),
    };
    let spaces_found = found.keyspaces.iter().map(tree).collect();
    let shape = Shape::Lsm { tables: found.tables, spaces: spaces_found };
    let bytes = found.table_bytes;
    let bytes_in_use = tally.bytes_in_use().min(bytes);
    let (records, none) = (tally.records, EngineStats::default());
    let stats = EngineStats { bytes, bytes_in_use, records, ..none };
    let snapshot = AnySnapshot::Lsm(LsmSnapshot { snapshot: db.snapshot(), spaces });
    Ok(Some(EngineView { snapshot, stats, format: drystone_lsm::FORMAT_VERSION, shape }))
}

/// The sum is not that of the records: one of the two is not what was written.
fn miscounted(dir: &Path) -> EngineError {
    EngineError::corrupt(dir, 0, "the sum of all records is not that of the records")
}

impl Engine for LsmEngine {
    type Snapshot = LsmSnapshot;

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.db.get(self.space(space), key)?;
        Ok(found.map(|value| value.to_bytes()))
    }

    fn snapshot(&self) -> LsmSnapshot {
        LsmSnapshot { snapshot: self.db.snapshot(), spaces: Arc::clone(&self.spaces) }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        let mut teller = self.writer.lock();
        let len_of = |space, key: &[u8]| {
            let found = self.db.get(self.space(space), key)?;
            Ok(found.map(|value| value.len()))
        };
        let (tally, next) = teller.after(&batch, len_of).map_err(|miscount| match miscount {
            Miscount::Engine(error) => error,
            Miscount::Wrong => miscounted(&self.dir),
        })?;
        let mut changes = LsmBatch::with_capacity(batch.bytes() + tally.encode().len());
        for change in &batch {
            match change {
                Change::Put { space, key, value } => changes.put(self.space(*space), key, value),
                Change::Delete { space, key } => changes.delete(self.space(*space), key),
            }
        }
        changes.put(&self.tally_space, TALLY_KEY, &tally.encode());
        // Nobody waits for it to be durable: that is asked of `persist`.
        drop(self.db.write(changes)?);
        *teller = next;
        *self.tally.lock() = tally;
        Ok(())
    }

    fn persist(&self) -> Result<(), EngineError> {
        Ok(self.db.persist()?)
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        Ok(self.db.checkpoint(dir)?)
    }

    fn stats(&self) -> EngineStats {
        let tally = *self.tally.lock();
        let bytes = self.db.bytes();
        EngineStats {
            bytes,
            // Blocks are compressed: records may take more than all there is.
            bytes_in_use: tally.bytes_in_use().min(bytes),
            // A flush writes what is in memory, and memory is bounded.
            persist_bytes: 0,
            growth_bytes: 0,
            records: tally.records,
        }
    }

    fn maintain(&self, budget: Duration) -> Result<Progress, EngineError> {
        Ok(progress(self.db.compact(budget)?))
    }

    fn lighten(&self, budget: Duration) -> Result<Progress, EngineError> {
        Ok(progress(self.db.compact_deletes(budget)?))
    }

    fn verify_next(
        &self,
        after: Option<u64>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>, EngineError> {
        Ok(self.db.verify_next(after, pace)?)
    }
}

fn progress(progress: drystone_lsm::Progress) -> Progress {
    match progress {
        drystone_lsm::Progress::Done => Progress::Done,
        drystone_lsm::Progress::More => Progress::More,
    }
}

impl fmt::Debug for LsmEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("LsmEngine").field("dir", &self.dir).field("stats", &stats).finish()
    }
}

/// The state of an [`LsmEngine`] at one instant.
pub struct LsmSnapshot {
    snapshot: drystone_lsm::Snapshot,
    spaces: Spaces,
}

impl Snapshot for LsmSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.snapshot.get(&self.spaces[space.index()], key)?;
        Ok(found.map(|value| value.to_bytes()))
    }

    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_> {
        let space = &self.spaces[space.index()];
        let range = match end {
            Some(end) if end <= start => return Box::new(std::iter::empty()),
            Some(end) => self.snapshot.range(space, start..end),
            None => self.snapshot.range(space, start..),
        };
        let record = |record: drystone_lsm::Result<(Slice, Slice)>| {
            let (key, value) = record?;
            Ok((Key::new(&key), value.to_bytes()))
        };
        match direction {
            Direction::Forward => Box::new(range.map(record)),
            Direction::Backward => Box::new(range.rev().map(record)),
        }
    }
}

impl fmt::Debug for LsmSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LsmSnapshot").field("seq", &self.snapshot.seq()).finish_non_exhaustive()
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> EngineError {
        let text = error.to_string();
        match error {
            Error::Corrupt { file, offset, what } => EngineError::corrupt(&file, offset, what),
            Error::Unsupported { file, what } => {
                EngineError::Unsupported { file, what: what.into() }
            }
            Error::NoSpace { file, .. } => EngineError::NoSpace { file },
            Error::Locked { dir } => EngineError::Locked { file: dir },
            Error::Poisoned { file, cause } => EngineError::Io { file, source: cause },
            Error::Io { path, source, .. } => EngineError::Io { file: path, source },
            Error::NotEmpty { dir } => EngineError::io(&dir, io::ErrorKind::AlreadyExists.into()),
            // What no call of ours can come to; should one all the same, it is told as it is.
            _ => EngineError::io(Path::new("lsm"), io::Error::other(text)),
        }
    }
}
