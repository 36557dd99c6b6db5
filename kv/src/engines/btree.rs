//! The records in a copy-on-write B+tree: one file of pages, of which a save writes those that
//! changed.
//!
//! ```text
//!     engine/records.btree    tree "meta"    Space::Meta
//!                             tree "record"  Space::Record: keys grow, so its pages are full
//!                             tree "lease"   Space::Lease
//!                             tree "alarm"   Space::Alarm
//! ```
//!
//! A batch is one transaction of the tree, which is not flushed when it commits
//! ([`Sync::OnRequest`]): the store's journal is the only one. [`Engine::persist`] flushes what has
//! gathered since, and the tree may do so earlier, in the background, when that gets large. Either
//! way the file shows a whole prefix of the batches.
//!
//! [`EngineStats::bytes_in_use`] counts pages, as etcd does, so a record takes its share of a page,
//! and a large value whole pages of its own.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drystone_btree::{Db, Error, Options, ReadTxn, Sync, TreeId, Writer};
use drystone_vfs::{Clock, OpenMode, Vfs};

use super::view::{EngineView, Shape, VIEW_BYTES};
use super::{AnySnapshot, EngineConfig};
use crate::engine::{
    Batch, Change, Direction, Engine, EngineError, EngineStats, Key, Progress, Records, Snapshot,
    Space,
};

/// The database's file in the engine's folder.
const FILE: &str = "records.btree";

/// An engine over a [`Db`].
pub struct BtreeEngine {
    db: Db,
    trees: Trees,
    /// How many records each space has. Changed by whoever writes, one at a time.
    records: [AtomicU64; Space::COUNT],
}

type Trees = [TreeId; Space::COUNT];

/// The name of a space's tree; never to be changed.
fn tree_name(space: Space) -> &'static str {
    match space {
        Space::Meta => "meta",
        Space::Record => "record",
        Space::Lease => "lease",
        Space::Alarm => "alarm",
    }
}

impl BtreeEngine {
    /// Opens the engine in the folder `dir`, or makes it there.
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`]; nothing on disk was changed then, but for making what was not there.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        config: &EngineConfig,
    ) -> Result<BtreeEngine, EngineError> {
        vfs.create_dir_all(dir).map_err(|error| EngineError::io(dir, error))?;
        let writer = if config.background { Writer::Thread } else { Writer::Caller };
        let mut options = Options::default().sync(Sync::OnRequest).writer(writer).clock(clock);
        if let Some(bytes) = config.memory_bytes {
            options = options.memory_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        let db = Db::open(vfs, &dir.join(FILE), options)?;
        let trees = trees(&db)?;
        let now = db.read();
        let mut records = [const { AtomicU64::new(0) }; Space::COUNT];
        for space in Space::ALL {
            *records[space.index()].get_mut() = now.len(trees[space.index()])?;
        }
        Ok(BtreeEngine { db, trees, records })
    }
}

/// The state that is flushed to the file in the folder `dir`, how much it is, and how it is laid
/// out; `None` if nothing was flushed yet. Changes nothing.
///
/// While another process flushes, a page may be written over under a reader: its checksum then
/// tells, and the error is [`EngineError::Corrupt`].
pub(super) fn view(
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    dir: &Path,
) -> Result<Option<EngineView>, EngineError> {
    let path = dir.join(FILE);
    match vfs.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => drop(file.map_err(|error| EngineError::io(&path, error))?),
    }
    let options = Options::default().sync(Sync::OnRequest).writer(Writer::Caller).clock(clock);
    let db = Db::open_read_only(vfs, &path, options.memory_bytes(VIEW_BYTES))?;
    let (txn, stats) = (db.read(), db.stats());
    let known = Space::ALL.map(|space| txn.tree(tree_name(space)));
    let [Some(meta), Some(record), Some(lease), Some(alarm)] = known else { return Ok(None) };
    let trees = [meta, record, lease, alarm];
    let mut records = [0; Space::COUNT];
    for (records, tree) in records.iter_mut().zip(trees) {
        *records = txn.len(tree)?;
    }
    let shape = Shape::Btree {
        file: path,
        txn: txn.txn().0,
        page_bytes: stats.page_bytes as u64,
        pages: stats.pages,
        pages_free: stats.pages_free,
    };
    let (bytes, bytes_in_use) = (stats.sizes.file_bytes, stats.sizes.used_bytes);
    let stats = EngineStats { bytes, bytes_in_use, records, ..EngineStats::default() };
    let snapshot = AnySnapshot::Btree(BtreeSnapshot { txn, trees });
    Ok(Some(EngineView { snapshot, stats, format: drystone_btree::FORMAT_VERSION, shape }))
}

/// The tree of each space. Those that are not there yet are made, in memory: until something is
/// persisted, a fresh engine has an empty file.
fn trees(db: &Db) -> Result<Trees, Error> {
    let now = db.read();
    let known = Space::ALL.map(|space| now.tree(tree_name(space)));
    if let [Some(meta), Some(record), Some(lease), Some(alarm)] = known {
        return Ok([meta, record, lease, alarm]);
    }
    let mut txn = db.write()?;
    let mut trees = Vec::with_capacity(Space::COUNT);
    for space in Space::ALL {
        trees.push(txn.create_tree(tree_name(space))?);
    }
    drop(txn.commit()?);
    Ok(trees.try_into().expect("one for each space"))
}

impl Engine for BtreeEngine {
    type Snapshot = BtreeSnapshot;

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.db.get(self.trees[space.index()], key)?)
    }

    fn snapshot(&self) -> BtreeSnapshot {
        BtreeSnapshot { txn: self.db.read(), trees: self.trees }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        let mut txn = self.db.write()?;
        for change in &batch {
            match change {
                Change::Put { space, key, value } => {
                    txn.put(self.trees[space.index()], key, value)?;
                }
                Change::Delete { space, key } => {
                    txn.delete(self.trees[space.index()], key)?;
                }
            }
        }
        let mut counts = [0; Space::COUNT];
        for (count, tree) in counts.iter_mut().zip(self.trees) {
            *count = txn.len(tree)?;
        }
        // Nobody waits for it to be durable: that is asked of `persist`.
        drop(txn.commit()?);
        for (count, records) in counts.into_iter().zip(&self.records) {
            records.store(count, Ordering::Relaxed);
        }
        Ok(())
    }

    fn persist(&self) -> Result<(), EngineError> {
        self.db.persist()?;
        Ok(())
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        self.db.checkpoint(&dir.join(FILE))?;
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        let sizes = self.db.sizes();
        EngineStats {
            // What is not flushed yet has its place in a file that has not grown yet.
            bytes: sizes.file_bytes.max(sizes.used_bytes),
            bytes_in_use: sizes.used_bytes,
            persist_bytes: sizes.unflushed_bytes,
            growth_bytes: sizes.growth_bytes,
            records: std::array::from_fn(|space| self.records[space].load(Ordering::Relaxed)),
        }
    }

    fn maintain(&self, budget: Duration) -> Result<Progress, EngineError> {
        Ok(match self.db.compact(budget)? {
            drystone_btree::Progress::Done => Progress::Done,
            drystone_btree::Progress::More => Progress::More,
        })
    }

    /// All there is, in one piece: pages that are freed meanwhile are used again afterwards.
    fn verify_next(
        &self,
        _: Option<u64>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>, EngineError> {
        self.db.verify_paced(pace)?;
        Ok(None)
    }
}

impl fmt::Debug for BtreeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BtreeEngine").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The state of a [`BtreeEngine`] at one instant.
pub struct BtreeSnapshot {
    txn: ReadTxn,
    trees: Trees,
}

impl Snapshot for BtreeSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.txn.get(self.trees[space.index()], key)?;
        Ok(found.map(|value| value.to_bytes()))
    }

    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_> {
        let tree = self.trees[space.index()];
        let range = match end {
            // The tree would call it a mistake.
            Some(end) if end <= start => return Box::new(std::iter::empty()),
            Some(end) => self.txn.range(tree, start..end),
            None => self.txn.range(tree, start..),
        };
        let record = |record: drystone_btree::Result<(_, _)>| {
            let (key, value): (drystone_btree::Slice<'_>, drystone_btree::Slice<'_>) = record?;
            Ok((Key::new(&key), value.to_bytes()))
        };
        match direction {
            Direction::Forward => Box::new(range.map(record)),
            Direction::Backward => Box::new(range.rev().map(record)),
        }
    }
}

impl fmt::Debug for BtreeSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BtreeSnapshot").field("txn", &self.txn.txn()).finish_non_exhaustive()
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> EngineError {
        let text = error.to_string();
        match error {
            Error::Corrupt { file, offset, what } => {
                EngineError::corrupt(&file, offset, what.to_string())
            }
            Error::Unsupported { file, version } => {
                let what = format!("format version {version}").into();
                EngineError::Unsupported { file, what }
            }
            Error::NoSpace { file, .. } => EngineError::NoSpace { file },
            Error::Locked { file } => EngineError::Locked { file },
            Error::Poisoned { file, cause } => EngineError::Io { file, source: cause },
            Error::Io { path, source, .. } => EngineError::Io { file: path, source },
            // What no call of ours can come to; should one all the same, it is told as it is.
            _ => EngineError::io(Path::new(FILE), io::Error::other(text)),
        }
    }
}
