//! Writes a table.

use std::path::Path;

use crate::compress::Compression;
use crate::error::Result;
use crate::key::{InternalKey, SeqNo};
use crate::table::{TableId, TableMeta};
use drystone_vfs::Vfs;

/// How a table is written.
#[derive(Debug, Clone, PartialEq)]
pub struct TableOptions {
    /// Number of the file.
    pub id: TableId,
    /// Salt of the database: a number drawn once, so that another database's table of the same
    /// number is refused.
    pub salt: u64,
    /// A block is closed when it has this many bytes, unpacked.
    pub block_bytes: usize,
    /// How blocks are packed.
    pub compression: Compression,
    /// Bits of filter for each user key; 0 for no filter.
    pub filter_bits: u32,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        let compression = Compression::default();
        TableOptions { id: TableId(0), salt: 0, block_bytes: 4096, compression, filter_bits: 10 }
    }
}

/// Writes one table from entries that come in order.
#[derive(Debug)]
pub struct TableBuilder {
    options: TableOptions,
}

impl TableBuilder {
    /// Makes the file; it must not be there yet.
    pub fn new(_vfs: &dyn Vfs, _path: &Path, options: TableOptions) -> Result<TableBuilder> {
        Ok(TableBuilder { options })
    }

    /// Appends an entry, which must come after the last one: user keys ascending, then numbers
    /// descending.
    pub fn add(&mut self, _key: InternalKey<'_>, _value: &[u8]) -> Result<()> {
        unreachable!("not built yet")
    }

    /// Adds the delete of `start..end`, in any order, before or after entries. An empty range does
    /// nothing.
    pub fn add_range_delete(&mut self, _start: &[u8], _end: &[u8], _seq: SeqNo) {
        unreachable!("not built yet")
    }

    /// Notes the time of an entry; the table's `time_max` is the latest.
    pub fn stamp(&mut self, _time: u64) {
        unreachable!("not built yet")
    }

    /// Bytes written or about to be: where a compaction decides to begin another table.
    pub fn bytes(&self) -> u64 {
        self.options.block_bytes as u64
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Writes the rest and syncs the file. The caller syncs the directory. Dropping the builder
    /// instead leaves a file that is no table, for the caller to remove.
    ///
    /// # Panics
    /// If nothing was added.
    pub fn finish(self) -> Result<TableMeta> {
        unreachable!("not built yet")
    }
}
