//! Writes a table, in one pass and in large pieces.
//!
//! ```text
//!   add ──► block ─ full? ─► pack, seal ─► buffer ─ large? ─► write_at
//!    │                        │
//!    └─► hash of each key     └─► fence, length
//!
//!   finish:  last block · filter · leaves · ranges · root · meta · footer ─► write_at, sync_data
//! ```
//!
//! **Promises.** After [`finish`](TableBuilder::finish) the file survives a crash (its name does
//! when the directory is synced). Memory: a write buffer, eight bytes for each user key, and the
//! fences.

use std::fmt;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{File, OpenMode, Vfs};

use crate::compress::{Compression, Packer};
use crate::error::{Error, Result};
use crate::key::{InternalKey, KEY_BYTES_MAX, SeqNo, VALUE_BYTES_MAX, compare, hash};
use crate::range_del::{Fragments, RangeDelete};
use crate::table::block::{BlockBuilder, mark};
use crate::table::filter::Filter;
use crate::table::footer::{Extent, Footer};
use crate::table::index::IndexBuilder;
use crate::table::seal::Seal;
use crate::table::{TableId, TableMeta, Upper};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// How a table is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// Number of the file.
    pub id: TableId,
    /// Salt of the database: a number drawn once, so that another database's table of the same
    /// number is refused.
    pub salt: u64,
    /// A block is closed when it has about this many bytes, unpacked. At most 1 MiB.
    pub block_bytes: usize,
    /// How blocks are packed.
    pub compression: Compression,
    /// Bits of filter for each user key; 0 for a filter that lets everything pass.
    pub filter_bits: u32,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions {
            id: TableId(0),
            salt: 0,
            block_bytes: 4096,
            compression: Compression::default(),
            filter_bits: 10,
        }
    }
}

/// Writes one table from entries that come in order.
///
/// Invariants:
/// * `last` and `last_seq` are the last entry; all before it are in the block, the buffer or the
///   file.
/// * `written + buffer.len()` is where the next block will begin.
pub struct TableBuilder {
    options: TableOptions,
    path: PathBuf,
    file: Arc<dyn File>,
    seal: Seal,
    packer: Packer,
    block: BlockBuilder,
    raw: Vec<u8>,
    index: IndexBuilder,
    hashes: Vec<u64>,
    range_deletes: Vec<RangeDelete>,
    last: Vec<u8>,
    last_seq: SeqNo,
    last_hash: u64,
    buffer: Vec<u8>,
    written: u64,
    meta: TableMeta,
}

impl fmt::Debug for TableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableBuilder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TableBuilder {
    /// Makes the file; it must not be there yet.
    ///
    /// # Panics
    /// If `options` are beyond the limits they name.
    pub fn new(vfs: &dyn Vfs, path: &Path, options: TableOptions) -> Result<TableBuilder> {
        let file = vfs.open(path, OpenMode::CreateNew).map_err(|e| Error::io("create", path, e))?;
        Ok(TableBuilder::to(file, path, options))
    }

    /// Writes to the empty file `file`, which is at `path`.
    ///
    /// # Panics
    /// As [`new`](TableBuilder::new).
    pub(crate) fn to(file: Arc<dyn File>, path: &Path, options: TableOptions) -> TableBuilder {
        assert!(options.block_bytes <= 1 << 20, "blocks are closed at 1 MiB or before");
        let (id, salt) = (options.id, options.salt);
        TableBuilder {
            path: path.to_path_buf(),
            file,
            seal: Seal::new(id, salt),
            packer: Packer::new(options.compression),
            block: BlockBuilder::default(),
            raw: Vec::new(),
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            range_deletes: Vec::new(),
            last: Vec::new(),
            last_seq: SeqNo::ZERO,
            last_hash: 0,
            buffer: Vec::with_capacity(WRITE_BYTES + 2 * options.block_bytes),
            written: 0,
            meta: TableMeta { seq_min: SeqNo::MAX, ..TableMeta::empty(id, salt) },
            options,
        }
    }

    /// Appends an entry, which must come after the last one: user keys ascending, then numbers
    /// descending.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge) for a key or value beyond its limit, and what the disk says;
    /// the builder is of no use then.
    ///
    /// # Panics
    /// If the entry is out of order, or its number is not below [`SeqNo::MAX`].
    pub fn add(&mut self, key: InternalKey<'_>, value: &[u8]) -> Result<()> {
        limit(key.user.len(), KEY_BYTES_MAX)?;
        limit(value.len(), VALUE_BYTES_MAX)?;
        assert!(key.seq < SeqNo::MAX, "the highest number is for seeking");
        let same_key = if self.meta.entries == 0 {
            self.meta.smallest = Bytes::copy_from_slice(key.user);
            false
        } else {
            let order = compare((&self.last, self.last_seq), (key.user, key.seq));
            assert!(order.is_lt(), "entries are added in order");
            self.last == key.user
        };
        let full = self.block.bytes() >= self.options.block_bytes || self.block.is_full();
        if full && !self.block.is_empty() {
            self.close_block()?;
            self.index.fence((&self.last, self.last_seq), key.user);
        }
        if !same_key {
            self.last_hash = hash(key.user);
            self.hashes.push(self.last_hash);
            self.last.clear();
            self.last.extend_from_slice(key.user);
        }
        self.last_seq = key.seq;
        self.block.add(key, mark(self.last_hash), value);
        self.meta.count(key.user, key.seq, key.kind, value.len());
        Ok(())
    }

    /// Adds the delete of `start..end`, in any order, before or after entries. An empty range does
    /// nothing.
    ///
    /// # Panics
    /// If a bound is longer than a key may be, or the number is not below [`SeqNo::MAX`].
    pub fn add_range_delete(&mut self, start: &[u8], end: &[u8], seq: SeqNo) {
        assert!(seq < SeqNo::MAX, "the highest number is for seeking");
        assert!(start.len().max(end.len()) <= KEY_BYTES_MAX, "bounds are keys");
        if start < end {
            let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
            self.range_deletes.push(RangeDelete { start, end, seq });
            self.meta.seq_min = self.meta.seq_min.min(seq);
            self.meta.seq_max = self.meta.seq_max.max(seq);
        }
    }

    /// Notes the time of an entry; the table's `time_max` is the latest.
    pub fn stamp(&mut self, time: u64) {
        self.meta.time_max = self.meta.time_max.max(time);
    }

    /// About the length of the file if it ended here: where a compaction decides to begin another.
    pub fn bytes(&self) -> u64 {
        let filter = self.hashes.len() * self.options.filter_bits as usize / 8;
        let pending = self.buffer.len() + self.block.bytes() + self.index.bytes() + filter;
        self.written + pending as u64
    }

    /// Entries added so far.
    pub fn entries(&self) -> u64 {
        self.meta.entries
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.meta.entries == 0 && self.range_deletes.is_empty()
    }

    /// Writes the rest and syncs the file. The caller syncs the directory. Dropping the builder
    /// instead leaves a file that is no table, for the caller to remove.
    ///
    /// # Panics
    /// If nothing was added.
    pub fn finish(mut self) -> Result<TableMeta> {
        assert!(!self.is_empty(), "a table has a smallest key");
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let fragments = Fragments::build(std::mem::take(&mut self.range_deletes));
        let last = Bytes::copy_from_slice(&self.last);
        self.meta.bound(&fragments, Upper::At(last));
        let mut footer = Footer::default();
        let mut part = Vec::new();
        let filter = Filter::build(&self.hashes, self.options.filter_bits);
        footer.filter.offset = self.position();
        for page in 0..filter.shape().pages() {
            filter.encode(page, &mut part);
            // Half of its bits are set: there is nothing to pack.
            footer.filter.grow(self.part(&part, Compression::None));
        }
        footer.leaves.offset = self.position();
        if self.meta.entries > 0 {
            for leaf in self.index.finish(&self.last) {
                let place = self.part(&leaf, self.options.compression);
                self.index.put(place.len);
                footer.leaves.grow(place);
            }
        }
        part.clear();
        fragments.encode(&mut part);
        footer.ranges = self.part(&part, self.options.compression);
        part.clear();
        self.index.encode(&filter, &mut part);
        footer.root = self.part(&part, self.options.compression);
        part.clear();
        // The length of the description does not depend on the number that is not known yet.
        self.meta.encode(&mut part);
        let wrapped = part.len() + crate::table::seal::SEAL_BYTES;
        self.meta.bytes = self.position() + (wrapped + crate::table::footer::FOOTER_BYTES) as u64;
        part.clear();
        self.meta.encode(&mut part);
        footer.meta = self.part(&part, Compression::None);
        let end = footer.encode(self.seal, self.position());
        self.buffer.extend_from_slice(&end);
        self.write()?;
        assert_eq!(self.written, self.meta.bytes, "the description knows the length of its file");
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path, e))?;
        Ok(self.meta)
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn close_block(&mut self) -> Result<()> {
        self.block.finish(&mut self.raw);
        let offset = self.written + self.buffer.len() as u64;
        let len = self.seal.wrap(&mut self.packer, offset, &self.raw, &mut self.buffer);
        self.index.block(offset, u32::try_from(len).expect("a block is smaller than 4 GiB"));
        // A merge is long, and whoever waits for a core meanwhile mostly wants it for microseconds.
        std::thread::yield_now();
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn part(&mut self, raw: &[u8], compression: Compression) -> Extent {
        let offset = self.position();
        let mut packer = Packer::new(compression);
        let len = self.seal.wrap(&mut packer, offset, raw, &mut self.buffer);
        Extent { offset, len: u32::try_from(len).expect("parts are smaller than 4 GiB") }
    }

    fn write(&mut self) -> Result<()> {
        self.file
            .write_at(&[IoSlice::new(&self.buffer)], self.written)
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn limit(bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Error::TooLarge { bytes: bytes as u64, bytes_max: bytes_max as u64 })
}
