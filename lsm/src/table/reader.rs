//! Reads a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::Vfs;

use crate::cache::BlockCache;
use crate::error::Result;
use crate::key::{Kind, SeqNo};
use crate::range_del::Fragments;
use crate::slice::Slice;
use crate::table::{TableCursor, TableMeta};

/// What a cursor does with the blocks it reads from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Puts them in the cache: short scans over what is asked for again.
    Cache,
    /// Keeps them to itself and reads ahead: long scans and compactions.
    Private,
}

/// An entry found by [`Table::get`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The write it came from.
    pub seq: SeqNo,
    /// What the write did.
    pub kind: Kind,
    /// The value; empty for a delete.
    pub value: Slice,
}

/// An open table. Any number of threads may read it at once.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    meta: TableMeta,
    range_dels: Arc<Fragments>,
    cache: Arc<BlockCache>,
}

impl Table {
    /// Opens the table that the manifest describes as `meta`; another one in its place is
    /// `Corrupt`.
    pub fn open(
        _vfs: &dyn Vfs,
        path: &Path,
        meta: &TableMeta,
        cache: &Arc<BlockCache>,
    ) -> Result<Arc<Table>> {
        let range_dels = Arc::new(Fragments::default());
        let (path, meta, cache) = (path.to_path_buf(), meta.clone(), Arc::clone(cache));
        Ok(Arc::new(Table { path, meta, range_dels, cache }))
    }

    /// What a file says of itself: for files that no manifest knows.
    pub fn describe(_vfs: &dyn Vfs, _path: &Path) -> Result<TableMeta> {
        unreachable!("not built yet")
    }

    /// What the manifest knows of it.
    pub fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// The newest entry of `user_key` up to write `seq`, whatever kind it is. `hash` is that of
    /// [`key::hash`](crate::key::hash). Range deletes are not looked at.
    pub fn get(&self, _user_key: &[u8], _hash: u64, _seq: SeqNo) -> Result<Option<Found>> {
        unreachable!("not built yet: {}, {:?}", self.path.display(), self.cache)
    }

    /// A cursor over the entries.
    pub fn cursor(self: &Arc<Table>, fill: Fill) -> TableCursor {
        TableCursor::new(Arc::clone(self), fill)
    }

    /// The range deletes.
    pub fn range_dels(&self) -> &Arc<Fragments> {
        &self.range_dels
    }

    /// Reads everything and checks it against everything else.
    pub fn verify(&self) -> Result<()> {
        unreachable!("not built yet")
    }
}
