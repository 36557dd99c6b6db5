//! What a storage engine must do to be compared, and those who do it.
//!
//! | contender | a batch that is not synced | a durable put | settings beside the memory |
//! |---|---|---|---|
//! | `rocksdb` | log without sync, memtable | log with sync | LZ4, filters, hash index, two jobs |
//! | `fjall` | journal without sync, memtable | batch with `SyncData` | defaults: the same |
//! | `redb` | `Durability::None` | `Durability::Immediate`, 1 phase | defaults |
//! | `lmdb` | `MDB_NOSYNC` | synced commit | no memory to set: it maps its file |
//! | `lmdb-writemap` | `MDB_WRITEMAP`, `MDB_MAPASYNC` | synced commit | by request only |
//! | `btree`, `lsm` | ours | ours | defaults |
//! | `std` | `BTreeMap` under a lock | none | no store; what the harness itself costs |
//! | `raw` | none | our log's frame, written and synced in a loop | no store; the wall |

mod btree;
mod fjall;
mod lmdb;
mod lsm;
mod raw;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocks;
mod std_map;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Who takes part.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// RocksDB, the system's library.
    Rocksdb,
    /// fjall.
    Fjall,
    /// redb.
    Redb,
    /// LMDB, through heed.
    Lmdb,
    /// LMDB that writes into its mapping.
    LmdbWritemap,
    /// Ours: the B+tree.
    Btree,
    /// Ours: the log-structured merge tree.
    Lsm,
    /// The standard library's map, in memory alone.
    Std,
    /// A loop that writes and syncs.
    Raw,
}

impl Contender {
    /// What the tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Contender::Rocksdb => "rocksdb",
            Contender::Fjall => "fjall",
            Contender::Redb => "redb",
            Contender::Lmdb => "lmdb",
            Contender::LmdbWritemap => "lmdb-writemap",
            Contender::Btree => "btree",
            Contender::Lsm => "lsm",
            Contender::Std => "std",
            Contender::Raw => "raw",
        }
    }
}

/// What a write that returned is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sync {
    /// Nothing is promised until [`Store::persist`].
    Later,
    /// [`Store::put_durable`] is going to be called.
    Each,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Who.
    pub contender: Contender,
    /// For caches; what must be held beside them (memtables) comes on top where the store counts
    /// it apart.
    pub memory_bytes: u64,
    /// Whether writes are synced.
    pub sync: Sync,
    /// Keep this much in the log before anything is flushed, where there is a log.
    pub log_bytes: Option<u64>,
    /// The most that is ever stored, for whoever must know beforehand.
    pub store_bytes_max: u64,
}

/// Puts and deletes that become visible together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ops: Vec<(u32, u32, bool)>,
}

/// A part of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// The key has this value.
    Put(&'a [u8], &'a [u8]),
    /// The key has none.
    Delete(&'a [u8]),
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.ops.push((key.len() as u32, value.len() as u32, true));
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ops.push((key.len() as u32, 0, false));
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ops.clear();
    }

    /// Puts and deletes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of its keys and values, and about as much as it takes to tell them apart.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len() + 16 * self.ops.len()
    }

    /// In the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        let mut rest = self.bytes.as_slice();
        self.ops.iter().map(move |(key, value, put)| {
            let (key, after) = rest.split_at(*key as usize);
            let (value, after) = after.split_at(*value as usize);
            rest = after;
            if *put { Op::Put(key, value) } else { Op::Delete(key) }
        })
    }
}

/// How far a store has come in giving space back.
#[derive(Clone, Copy, Debug)]
pub struct Shrunk {
    /// Nothing is left to do.
    pub done: bool,
    /// Bytes of the file that hold something, where the store can tell.
    pub used_bytes: u64,
}

/// An open store. What is called a failure is one of the store; a missing key is none.
#[expect(clippy::missing_errors_doc, reason = "each fails if the store does, as the trait says")]
pub trait Store: Send + std::marker::Sync {
    /// Applies a batch: visible on return, durable after the next [`persist`](Store::persist).
    fn write(&self, batch: &Batch) -> Result<()>;

    /// As [`write`](Store::write), of puts whose keys ascend and are all above what is stored.
    fn append(&self, batch: &Batch) -> Result<()> {
        self.write(batch)
    }

    /// Puts one pair; durable on return.
    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Makes all that is visible durable.
    fn persist(&self) -> Result<()>;

    /// As [`persist`](Store::persist); then does or awaits all the work that was put off.
    fn settle(&self) -> Result<()>;

    /// A view of all that is visible now.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;

    /// Spends about `budget` on giving space back to the file system, beside readers and writers;
    /// `None` if the store cannot.
    fn shrink(&self, budget: Duration) -> Result<Option<Shrunk>> {
        let _ = budget;
        Ok(None)
    }

    /// Closes it cleanly.
    fn close(self: Box<Self>) -> Result<()>;
}

/// A view of a store.
#[expect(clippy::missing_errors_doc, reason = "each fails if the store does, as the trait says")]
pub trait Reader {
    /// Shows the value of `key`; whether there is one.
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Shows up to `limit` pairs, in order, from the first whose key is not below `from`; how many
    /// there were.
    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        show: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize>;
}

/// Opens, or makes, the store in the folder `dir`.
///
/// # Errors
/// If the store refuses, or was not built in.
pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
    Ok(match settings.contender {
        #[cfg(feature = "rocksdb")]
        Contender::Rocksdb => Box::new(rocks::Rocks::open(dir, settings)?),
        #[cfg(not(feature = "rocksdb"))]
        Contender::Rocksdb => anyhow::bail!("built without RocksDB"),
        Contender::Fjall => Box::new(fjall::Fjall::open(dir, settings)?),
        Contender::Redb => Box::new(redb::Redb::open(dir, settings)?),
        Contender::Lmdb | Contender::LmdbWritemap => Box::new(lmdb::Lmdb::open(dir, settings)?),
        Contender::Btree => Box::new(btree::Btree::open(dir, settings)?),
        Contender::Lsm => Box::new(lsm::Lsm::open(dir, settings)?),
        Contender::Std => Box::new(std_map::StdMap::default()),
        Contender::Raw => Box::new(raw::RawLoop::open(dir)?),
    })
}
