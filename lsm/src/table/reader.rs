//! Reads a table.
//!
//! A point read asks the filter, finds the block among the fences, takes it from the cache and
//! looks into it; of these steps none allocates, and only the last two touch memory that is not the
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
//! Where the cache does not grant the memory for a whole filter and all fences, a page of the
//! filter and a leaf of the fences take their places; they come through the cache as blocks do.
//!
//! **Damage.** Root, range deletes and description are checked when the table is opened, and what
//! else is kept of it; one that fails is not opened, because no answer of it could be trusted. A
//! damaged block, leaf or page is `Corrupt` whenever it is read, and the others are as good as
//! before. None is ever taken for "there is no such key".

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
use crate::table::index::{Root, block_place, find_block};
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
    root: Root,
    whole: Option<Whole>,
    range_dels: Arc<Fragments>,
    cache: Arc<BlockCache>,
    /// Places for all blocks, then pages of the filter, then leaves.
    shelf: Arc<Shelf>,
    /// Bytes of memory that the cache was told of.
    pinned: u64,
}

/// What is kept of a table if memory allows.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) fences: Fences,
    pub(super) filter: Filter,
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
        let Footer { ranges, root: rooted, meta: described, .. } = ends.footer;
        if ends.meta()? != meta.as_written() {
            return Err(corrupt(described, "table is not the one that the manifest describes"));
        }
        let root = Root::decode(&ends.part(rooted)?, &ends.footer);
        let root = root.map_err(|what| corrupt(rooted, what))?;
        if (root.blocks() == 0) != (meta.entries == 0) {
            return Err(corrupt(rooted, "blocks and entries do not agree"));
        }
        let range_bytes = ends.part(ranges)?;
        let mut range_dels =
            Fragments::decode(&range_bytes).map_err(|what| corrupt(ranges, what))?;
        if meta.ingested != SeqNo::ZERO {
            range_dels = range_dels.renumbered(meta.ingested);
        }
        let mut table = Table {
            range_dels: Arc::new(range_dels),
            shelf: cache.sparse_shelf(),
            pinned: (size_of::<Table>() + root.bytes() + ranges.len as usize) as u64,
            cache: Arc::clone(cache),
            whole: None,
            root,
            footer: ends.footer,
            meta: meta.clone(),
            seal,
            file: ends.file,
            path: path.to_path_buf(),
        };
        cache.pin(table.pinned);
        table.keep_whole()?;
        Ok(Arc::new(table))
    }

    /// Reads filter and fences to keep them, if the cache grants the memory.
    fn keep_whole(&mut self) -> Result<()> {
        let blocks = self.root.blocks();
        // The leaves are packed keys and twelve bytes for each block; unpacked, in memory and with
        // a place on the shelf it comes to about this much more.
        let fences = 2 * self.footer.leaves.len as usize + blocks * (24 + Shelf::PLACE_BYTES);
        let asked = (self.root.shape().bytes() + fences) as u64;
        if !self.cache.try_pin(asked) {
            return Ok(());
        }
        self.pinned += asked;
        let whole = self.load_whole()?;
        let bytes = whole.fences.bytes() + whole.filter.shape().bytes();
        let taken = (bytes + blocks * Shelf::PLACE_BYTES) as u64;
        self.cache.pin(taken);
        self.cache.unpin(asked);
        self.pinned = self.pinned - asked + taken;
        self.shelf = self.cache.shelf(blocks);
        self.whole = Some(whole);
        Ok(())
    }

    /// Filter and fences from the file, all checked, whatever is in memory.
    pub(super) fn load_whole(&self) -> Result<Whole> {
        let Footer { filter: pages, leaves: leafs, .. } = self.footer;
        let mut raw = vec![0; (leafs.end() - pages.offset) as usize];
        self.read(&mut raw, pages.offset)?;
        let part = |(offset, end): (u64, u64)| {
            let bytes = &raw[(offset - pages.offset) as usize..(end - pages.offset) as usize];
            unwrap(self.seal, &self.path, offset, bytes)
        };
        let mut filter = Filter::empty(self.root.shape());
        for page in 0..self.root.shape().pages() {
            let bytes = part(self.root.page_place(page))?;
            self.check_page(page, &bytes)?;
            filter.fill(page, &bytes);
        }
        let mut leaves = Vec::new();
        for leaf in 0..self.root.leaves() {
            let bytes = part(self.root.place(leaf))?;
            self.check_leaf(leaf, &bytes)?;
            leaves.push(bytes);
        }
        let fences = self.root.gather(&leaves);
        let fences = fences.map_err(|what| Error::corrupt(&self.path, leafs.offset, what))?;
        Ok(Whole { fences, filter })
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
        self.pinned as usize
    }

    /// The newest entry of `user_key` up to write `seq`, whatever kind it is. `hash` is that of
    /// [`key::hash`](crate::key::hash). Range deletes are not looked at.
    #[inline]
    pub fn get(&self, user_key: &[u8], hash: u64, seq: SeqNo) -> Result<Option<Found>> {
        let index = match &self.whole {
            Some(whole) if !whole.filter.may_contain(hash) => return Ok(None),
            _ if self.root.blocks() == 0 || seq < self.meta.ingested => return Ok(None),
            Some(whole) => whole.fences.find(user_key, seq),
            None if !self.page_may_contain(hash)? => return Ok(None),
            None => self.find(user_key, seq)?,
        };
        let block = self.block(index)?;
        let Some((seq, kind, value)) = Layout::new(&block).find(&block, user_key, mark(hash), seq)
        else {
            return Ok(None);
        };
        // An entry that was taken in is of write 0 in its block; of the two, the right one is
        // higher.
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

    /// Keys from all over the table, each with about how many bytes of the file there are from it
    /// on up to the next.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let leaves = self.root.leaves().max(1);
        let each = self.meta.bytes / leaves as u64;
        let borders = (1..leaves).map(move |leaf| (self.root.border(leaf), each));
        std::iter::once((&self.meta.smallest[..], each)).chain(borders)
    }

    /// How many blocks there are.
    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.root.blocks()
    }

    /// All fences, if they are in memory.
    #[inline]
    pub(super) fn fences(&self) -> Option<&Fences> {
        self.whole.as_ref().map(|whole| &whole.fences)
    }

    /// The block in which the first entry at or after `(user_key, seq)` is, if there is one. There
    /// must be blocks.
    #[inline]
    pub(super) fn find(&self, user_key: &[u8], seq: SeqNo) -> Result<usize> {
        match &self.whole {
            Some(whole) => Ok(whole.fences.find(user_key, seq)),
            None => {
                let (leaf, first) = self.root.find(user_key, seq);
                Ok(first + find_block(&self.leaf(leaf)?, user_key, seq))
            }
        }
    }

    /// Where block `index` lies in the file, from byte to byte.
    pub(super) fn place(&self, index: usize) -> Result<(u64, u64)> {
        match &self.whole {
            Some(whole) => Ok(whole.fences.place(index)),
            None => {
                let (leaf, slot) = self.root.leaf_of(index);
                Ok(block_place(&self.leaf(leaf)?, slot))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn root(&self) -> &Root {
        &self.root
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
        let (offset, end) = self.place(index)?;
        let mut bytes = vec![0; (end - offset) as usize];
        self.read(&mut bytes, offset)?;
        let block = self.unwrap(offset, &bytes)?;
        Ok(self.keep(index, block))
    }

    /// Whether the key with this hash may be there, from its page of the filter.
    #[inline(never)]
    fn page_may_contain(&self, hash: u64) -> Result<bool> {
        let shape = self.root.shape();
        let page = shape.page_of(hash);
        let number = self.root.blocks() + page;
        let place = self.root.page_place(page);
        let bytes = self.part(number, place, |bytes| self.check_page(page, bytes))?;
        Ok(shape.may_contain(&bytes, hash))
    }

    fn leaf(&self, leaf: usize) -> Result<Arc<[u8]>> {
        let number = self.root.blocks() + self.root.shape().pages() + leaf;
        self.part(number, self.root.place(leaf), |bytes| self.check_leaf(leaf, bytes))
    }

    /// The part that is number `number` on the shelf, from memory or from the file.
    fn part(
        &self,
        number: usize,
        (offset, end): (u64, u64),
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Arc<[u8]>> {
        if let Some(part) = self.shelf.look(number) {
            return Ok(part);
        }
        let mut bytes = vec![0; (end - offset) as usize];
        self.read(&mut bytes, offset)?;
        let part = unwrap(self.seal, &self.path, offset, &bytes)?;
        check(&part)?;
        Ok(self.keep(number, part))
    }

    fn check_page(&self, page: usize, bytes: &[u8]) -> Result<()> {
        let damaged = |what| Error::corrupt(&self.path, self.root.page_place(page).0, what);
        self.root.check_page(page, bytes).map_err(damaged)
    }

    fn check_leaf(&self, leaf: usize, bytes: &[u8]) -> Result<()> {
        let damaged = |what| Error::corrupt(&self.path, self.root.place(leaf).0, what);
        self.root.check_leaf(leaf, bytes).map_err(damaged)
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
        self.cache.unpin(self.pinned);
    }
}

/// The end of a table's file, from the range deletes on.
struct Ends {
    file: Arc<dyn File>,
    path: PathBuf,
    seal: Seal,
    footer: Footer,
    bytes: u64,
    /// From the range deletes on.
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
        let mut parts = vec![0; (offset - footer.ranges.offset) as usize];
        read(&*file, path, &mut parts, footer.ranges.offset)?;
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
        let start = (part.offset - self.footer.ranges.offset) as usize;
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
