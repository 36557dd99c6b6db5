//! Reads a table.
//!
//! A point read asks the filter, finds the block among the fences, takes it from the cache and looks
//! into it; of these steps none allocates, and only the last two touch memory that is not the
//! table's own. Whatever was read from the file was checked once, on its way in.
//!
//! ```text
//!   get ─► filter ─ no ─► absent
//!            │ perhaps
//!          fences ─► place of the block ─ there ─► marks ─► entry
//!                        │ not there
//!                    read_at, checksum, unpack, check ─► cache
//! ```
//!
//! **Damage.** Filter, fences, range deletes and description are checked when the table is opened;
//! one that fails is not opened, because no answer of it could be trusted. A damaged block is
//! `Corrupt` whenever it is read, and the other blocks are as good as before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};

use crate::cache::{BlockCache, Shelf};
use crate::compress::Unpack;
use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo};
use crate::range_del::Fragments;
use crate::slice::Slice;
use crate::table::block::{Layout, mark};
use crate::table::fences::Fences;
use crate::table::filter::Filter;
use crate::table::footer::{Extent, FOOTER_BYTES, Footer, Unread};
use crate::table::seal::{SEAL_BYTES, Seal};
use crate::table::{TableCursor, TableId, TableMeta};

/// What a cursor does with the blocks it reads from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Puts them in the cache: short scans over what is asked for again.
    Cache,
    /// Keeps them to itself: long scans and compactions.
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
    file: Arc<dyn File>,
    seal: Seal,
    meta: TableMeta,
    footer: Footer,
    fences: Fences,
    filter: Filter,
    range_dels: Arc<Fragments>,
    cache: Arc<BlockCache>,
    shelf: Arc<Shelf>,
}

impl Table {
    /// Opens the table that the manifest describes as `meta`; another one in its place is
    /// [`Corrupt`](Error::Corrupt).
    pub fn open(
        vfs: &dyn Vfs,
        path: &Path,
        meta: &TableMeta,
        cache: &Arc<BlockCache>,
    ) -> Result<Arc<Table>> {
        let seal = Seal::new(meta.id, meta.salt);
        let ends = Ends::read(vfs, path, seal)?;
        let corrupt = |part: Extent, what| Error::corrupt(path, part.offset, what);
        let Footer { filter, ranges, fences, meta: described } = ends.footer;
        if ends.meta()? != meta.as_written() {
            return Err(corrupt(described, "table is not the one that the manifest describes"));
        }
        let filter_bytes = ends.part(filter)?;
        let fence_bytes = ends.part(fences)?;
        let range_bytes = ends.part(ranges)?;
        let found = Fences::decode(&fence_bytes, filter.offset).map_err(|w| corrupt(fences, w))?;
        if (found.count() == 0) != (meta.entries == 0) {
            return Err(corrupt(fences, "blocks and entries do not agree"));
        }
        let mut range_dels =
            Fragments::decode(&range_bytes).map_err(|what| corrupt(ranges, what))?;
        if meta.ingested != SeqNo::ZERO {
            range_dels = range_dels.renumbered(meta.ingested);
        }
        Ok(Arc::new(Table {
            filter: Filter::decode(&filter_bytes).map_err(|w| corrupt(filter, w))?,
            range_dels: Arc::new(range_dels),
            shelf: cache.shelf(found.count()),
            cache: Arc::clone(cache),
            fences: found,
            footer: ends.footer,
            meta: meta.clone(),
            seal,
            file: ends.file,
            path: path.to_path_buf(),
        }))
    }

    /// What a file says of itself: for files that no manifest knows.
    pub fn describe(vfs: &dyn Vfs, path: &Path) -> Result<TableMeta> {
        Ends::of_stranger(vfs, path)?.meta()
    }

    /// What the manifest knows of it.
    pub fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of memory that it takes while it is open, blocks in the cache not counted.
    pub fn bytes_open(&self) -> usize {
        self.fences.bytes() + self.filter.bytes() + self.fences.count() * Shelf::PLACE_BYTES
    }

    /// The newest entry of `user_key` up to write `seq`, whatever kind it is. `hash` is that of
    /// [`key::hash`](crate::key::hash). Range deletes are not looked at.
    #[inline]
    pub fn get(&self, user_key: &[u8], hash: u64, seq: SeqNo) -> Result<Option<Found>> {
        if !self.filter.may_contain(hash) || self.fences.count() == 0 {
            return Ok(None);
        }
        if seq < self.meta.ingested {
            return Ok(None);
        }
        let index = self.fences.find(user_key, seq);
        let block = self.block(index)?;
        let Some((seq, kind, value)) = Layout::new(&block).find(&block, user_key, mark(hash), seq)
        else {
            return Ok(None);
        };
        // An entry that was taken in is of write 0 in its block; of the two, the right one is higher.
        let seq = seq.max(self.meta.ingested);
        Ok(Some(Found { seq, kind, value: Slice::new(block, value) }))
    }

    /// A cursor over the entries.
    pub fn cursor(self: &Arc<Table>, fill: Fill) -> TableCursor {
        TableCursor::new(Arc::clone(self), fill)
    }

    /// The range deletes.
    pub fn range_dels(&self) -> &Arc<Fragments> {
        &self.range_dels
    }

    pub(super) fn fences(&self) -> &Fences {
        &self.fences
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn footer(&self) -> &Footer {
        &self.footer
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Block `index`, from memory or from the file.
    #[inline]
    fn block(&self, index: usize) -> Result<Arc<[u8]>> {
        match self.shelf.look(index) {
            Some(block) => Ok(block),
            None => self.fetch(index),
        }
    }

    #[cold]
    fn fetch(&self, index: usize) -> Result<Arc<[u8]>> {
        let (offset, end) = self.fences.place(index);
        let mut bytes = vec![0; (end - offset) as usize];
        self.read(&mut bytes, offset)?;
        let block = self.unwrap(offset, &bytes)?;
        Ok(self.keep(index, block))
    }

    /// Puts block `index` in the cache.
    pub(super) fn keep(&self, index: usize, block: Arc<[u8]>) -> Arc<[u8]> {
        self.cache.insert(&self.shelf, index, block)
    }

    /// Fills `bytes` from `offset`, which is within the file.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        read(&*self.file, &self.path, bytes, offset)
    }

    /// The block that lies in the file as `bytes`, checked.
    pub(super) fn unwrap(&self, offset: u64, bytes: &[u8]) -> Result<Arc<[u8]>> {
        let block = unwrap(self.seal, &self.path, offset, bytes)?;
        Layout::check(&block).map_err(|what| Error::corrupt(&self.path, offset, what))?;
        Ok(block)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.cache.clear(&self.shelf);
    }
}

/// The end of a table's file: all parts but the blocks.
struct Ends {
    file: Arc<dyn File>,
    path: PathBuf,
    seal: Seal,
    footer: Footer,
    bytes: u64,
    /// From the filter on.
    parts: Vec<u8>,
}

impl Ends {
    fn read(vfs: &dyn Vfs, path: &Path, seal: Seal) -> Result<Ends> {
        let (file, bytes, raw) = last_bytes(vfs, path)?;
        let offset = bytes - FOOTER_BYTES as u64;
        if !Footer::is_sound(&raw, seal, offset) {
            // A version that is not known may have its checksum elsewhere: say so first.
            footer(&raw, path, offset)?;
            return Err(Error::corrupt(path, offset, "footer is damaged or of another table"));
        }
        let footer = footer(&raw, path, offset)?;
        let mut parts = vec![0; (offset - footer.filter.offset) as usize];
        read(&*file, path, &mut parts, footer.filter.offset)?;
        Ok(Ends { file, path: path.to_path_buf(), seal, footer, bytes, parts })
    }

    /// Of a file that says itself what its checksums are seeded with.
    fn of_stranger(vfs: &dyn Vfs, path: &Path) -> Result<Ends> {
        let (file, bytes, raw) = last_bytes(vfs, path)?;
        let at = footer(&raw, path, bytes - FOOTER_BYTES as u64)?.meta;
        let mut claimed = [0; 16];
        if at.len as usize <= claimed.len() + SEAL_BYTES {
            return Err(Error::corrupt(path, at.offset, "description is too short"));
        }
        read(&*file, path, &mut claimed, at.offset)?;
        let (id, salt) = claimed.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes"));
        Ends::read(vfs, path, Seal::new(TableId(number(id)), number(salt)))
    }

    fn part(&self, part: Extent) -> Result<Arc<[u8]>> {
        let start = (part.offset - self.footer.filter.offset) as usize;
        let bytes = &self.parts[start..start + part.len as usize];
        unwrap(self.seal, &self.path, part.offset, bytes)
    }

    fn meta(&self) -> Result<TableMeta> {
        let offset = self.footer.meta.offset;
        let raw = self.part(self.footer.meta)?;
        let mut rest = &*raw;
        let corrupt = |what| Error::corrupt(&self.path, offset, what);
        let meta = TableMeta::decode(&mut rest).map_err(corrupt)?;
        if !rest.is_empty() {
            return Err(corrupt("bytes are left behind the description"));
        }
        if meta.bytes != self.bytes {
            return Err(corrupt("file has another length than it says"));
        }
        Ok(meta)
    }
}

fn last_bytes(vfs: &dyn Vfs, path: &Path) -> Result<(Arc<dyn File>, u64, [u8; FOOTER_BYTES])> {
    let file = vfs.open(path, OpenMode::Read).map_err(|e| Error::io("open", path, e))?;
    let bytes = file.len().map_err(|e| Error::io("ask the length of", path, e))?;
    let Some(offset) = bytes.checked_sub(FOOTER_BYTES as u64) else {
        return Err(Error::corrupt(path, 0, "file is shorter than a footer"));
    };
    let mut raw = [0; FOOTER_BYTES];
    read(&*file, path, &mut raw, offset)?;
    Ok((file, bytes, raw))
}

fn footer(raw: &[u8; FOOTER_BYTES], path: &Path, offset: u64) -> Result<Footer> {
    Footer::decode(raw, offset).map_err(|unread| match unread {
        Unread::Damaged(what) => Error::corrupt(path, offset, what),
        Unread::Version => {
            Error::Unsupported { file: path.to_path_buf(), what: "the version of its format" }
        }
    })
}

fn read(file: &dyn File, path: &Path, bytes: &mut [u8], offset: u64) -> Result<()> {
    file.read_exact_at(bytes, offset).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::corrupt(path, offset, "file ends early"),
        _ => Error::io("read", path, e),
    })
}

fn unwrap(seal: Seal, path: &Path, offset: u64, bytes: &[u8]) -> Result<Arc<[u8]>> {
    seal.unwrap(offset, bytes).map_err(|why| match why {
        Unpack::Damaged(what) => Error::corrupt(path, offset, what),
        Unpack::Unsupported => {
            let file = path.to_path_buf();
            Error::Unsupported { file, what: "the compression of its blocks, zstd," }
        }
    })
}
