//! Writes a whole file from records that come in order.
//!
//! ```text
//!   put ──► leaf, when full ──► page      first key, page
//!                                 └──► branch of level 0, when full ──► page ──► level 1 ──► …
//!   finish: the leaf of the buckets, an empty freelist, then pages 0 and 1
//! ```
//!
//! Each level holds one page that is being filled, so what is in memory grows with the height of
//! the tree alone. Pages are as full as they can be: whoever opens the file for writing splits what
//! it touches.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use crate::format::{
    BUCKET_BYTES, ELEMENT_BUCKET, ELEMENT_BYTES, FLAG_BRANCH, FLAG_FREELIST, FLAG_LEAF, FLAG_META,
    Meta, PAGE_BYTES, PAGE_HEAD_BYTES, PageHead,
};

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 1 << 20;
/// The first page behind the two meta pages.
const PAGE_FIRST: u64 = 2;

/// Writes a whole file. Invariants:
///
/// - buckets come in the order of their names, and within each keys ascend;
/// - pages below `next` are written, but for the first two.
pub struct Writer<W: Write + Seek> {
    out: BufWriter<W>,
    /// Where the first page begins.
    start: u64,
    leaves_out_empty: bool,
    /// The number of the next page.
    next: u64,
    leaf: Leaf,
    /// The branches that are being filled, from the leaves up.
    levels: Vec<Branch>,
    /// The bucket that records go to.
    bucket: Option<Vec<u8>>,
    /// Name and root page of those that are done.
    buckets: Vec<(Vec<u8>, u64)>,
    /// The last key of the bucket.
    last: Option<Vec<u8>>,
}

#[derive(Default)]
struct Leaf {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

#[derive(Default)]
struct Branch {
    children: Vec<(Vec<u8>, u64)>,
    bytes: usize,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file where `out` stands, which is its end.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        let start = out.stream_position()?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        // What the meta pages say is known last.
        out.write_all(&[0; PAGE_FIRST as usize * PAGE_BYTES])?;
        Ok(Writer {
            out,
            start,
            leaves_out_empty: false,
            next: PAGE_FIRST,
            leaf: Leaf::default(),
            levels: Vec::new(),
            bucket: None,
            buckets: Vec::new(),
            last: None,
        })
    }

    /// Leaves out buckets without a record, each of which would take a page.
    #[must_use]
    pub fn leave_out_empty(mut self) -> Writer<W> {
        self.leaves_out_empty = true;
        self
    }

    /// Begins a bucket; what is put from here on is in it.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    ///
    /// # Panics
    ///
    /// If its name does not come after that of the bucket before.
    pub fn begin(&mut self, name: &[u8]) -> io::Result<()> {
        self.end_bucket()?;
        let ascends = self.buckets.last().is_none_or(|(last, _)| last.as_slice() < name);
        assert!(ascends && !name.is_empty(), "buckets come in the order of their names");
        self.bucket = Some(name.to_vec());
        Ok(())
    }

    /// Adds a record to the bucket that was begun last.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    ///
    /// # Panics
    ///
    /// If no bucket was begun, if the key is empty, or does not come after the one before; if key
    /// and value are larger than 1 GiB.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert!(self.bucket.is_some(), "a record is in a bucket");
        assert!(!key.is_empty(), "a key is not empty");
        assert!(self.last.as_deref().is_none_or(|last| last < key), "keys ascend");
        assert!(key.len() + value.len() <= 1 << 30, "a page's parts are counted in 32 bits");
        let bytes = ELEMENT_BYTES + key.len() + value.len();
        if !self.leaf.records.is_empty() && self.leaf.bytes + bytes > PAGE_BYTES - PAGE_HEAD_BYTES {
            self.flush_leaf()?;
        }
        self.leaf.bytes += bytes;
        self.leaf.records.push((key.to_vec(), value.to_vec()));
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(())
    }

    /// Ends the file, and returns what it was written to.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_bucket()?;
        let mut leaf = Leaf::default();
        for (name, root) in std::mem::take(&mut self.buckets) {
            let mut head = [0; BUCKET_BYTES];
            head[..8].copy_from_slice(&root.to_le_bytes());
            leaf.records.push((name, head.to_vec()));
        }
        let root = self.write_leaf(&leaf, ELEMENT_BUCKET)?;
        let freelist = self.write_page(FLAG_FREELIST, 0, &[])?;
        let pages = self.next;
        let page_bytes = u32::try_from(PAGE_BYTES).expect("it is 4096");
        self.out.seek(SeekFrom::Start(self.start))?;
        // Both are valid; bbolt's own first pages are these transactions, too.
        for id in 0..PAGE_FIRST {
            let meta = Meta { page_bytes, root, freelist, pages, transaction: id };
            let head = PageHead { id, flags: FLAG_META, count: 0, overflow: 0 };
            let mut page = vec![0; PAGE_BYTES];
            page[..PAGE_HEAD_BYTES].copy_from_slice(&head.encode());
            let meta = meta.encode();
            page[PAGE_HEAD_BYTES..PAGE_HEAD_BYTES + meta.len()].copy_from_slice(&meta);
            self.out.write_all(&page)?;
        }
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn end_bucket(&mut self) -> io::Result<()> {
        let Some(name) = self.bucket.take() else { return Ok(()) };
        self.last = None;
        if self.leaves_out_empty && self.leaf.records.is_empty() && self.levels.is_empty() {
            return Ok(());
        }
        if !self.leaf.records.is_empty() || self.levels.is_empty() {
            self.flush_leaf()?;
        }
        let mut level = 0;
        let root = loop {
            let is_top = level + 1 == self.levels.len();
            let children = &self.levels[level].children;
            if let ([(_, child)], true) = (&children[..], is_top) {
                break *child;
            }
            if !children.is_empty() {
                self.flush_branch(level)?;
            }
            level += 1;
        };
        self.levels.clear();
        self.buckets.push((name, root));
        Ok(())
    }

    fn flush_leaf(&mut self) -> io::Result<()> {
        let leaf = std::mem::take(&mut self.leaf);
        let first = leaf.records.first().map(|(key, _)| key.clone()).unwrap_or_default();
        let page = self.write_leaf(&leaf, 0)?;
        self.push(0, first, page)
    }

    /// Adds a page to the branches over it.
    fn push(&mut self, level: usize, first: Vec<u8>, page: u64) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Branch::default());
        }
        let bytes = ELEMENT_BYTES + first.len();
        let branch = &self.levels[level];
        // Two children at least, however long their keys: else the tree would have no end.
        if branch.children.len() >= 2 && branch.bytes + bytes > PAGE_BYTES - PAGE_HEAD_BYTES {
            self.flush_branch(level)?;
        }
        let branch = &mut self.levels[level];
        branch.bytes += bytes;
        branch.children.push((first, page));
        Ok(())
    }

    fn flush_branch(&mut self, level: usize) -> io::Result<()> {
        let branch = std::mem::take(&mut self.levels[level]);
        let first = branch.children[0].0.clone();
        let count = branch.children.len();
        let mut content = Vec::with_capacity(branch.bytes);
        let mut pos = count * ELEMENT_BYTES;
        for (key, child) in &branch.children {
            content.extend_from_slice(&narrow(pos).to_le_bytes());
            content.extend_from_slice(&narrow(key.len()).to_le_bytes());
            content.extend_from_slice(&child.to_le_bytes());
            pos += key.len();
            pos -= ELEMENT_BYTES;
        }
        branch.children.iter().for_each(|(key, _)| content.extend_from_slice(key));
        let page = self.write_page(FLAG_BRANCH, count, &content)?;
        self.push(level + 1, first, page)
    }

    fn write_leaf(&mut self, leaf: &Leaf, flags: u32) -> io::Result<u64> {
        let count = leaf.records.len();
        let mut content = Vec::with_capacity(leaf.bytes);
        let mut pos = count * ELEMENT_BYTES;
        for (key, value) in &leaf.records {
            for word in [flags, narrow(pos), narrow(key.len()), narrow(value.len())] {
                content.extend_from_slice(&word.to_le_bytes());
            }
            // Counted from the next element on, which lies further behind.
            pos += key.len() + value.len();
            pos -= ELEMENT_BYTES;
        }
        for (key, value) in &leaf.records {
            content.extend_from_slice(key);
            content.extend_from_slice(value);
        }
        self.write_page(FLAG_LEAF, count, &content)
    }

    /// Writes a page, and as many behind it as it takes; returns its number.
    fn write_page(&mut self, flags: u16, count: usize, content: &[u8]) -> io::Result<u64> {
        let pages = (PAGE_HEAD_BYTES + content.len()).div_ceil(PAGE_BYTES);
        let id = self.next;
        let count = u16::try_from(count).expect("a page of 4096 bytes has few elements");
        let head = PageHead { id, flags, count, overflow: narrow(pages - 1) };
        self.out.write_all(&head.encode())?;
        self.out.write_all(content)?;
        let rest = pages * PAGE_BYTES - PAGE_HEAD_BYTES - content.len();
        self.out.write_all(&[0; PAGE_BYTES][..rest])?;
        self.next += pages as u64;
        Ok(id)
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("a record is at most 1 GiB, and a page has one large one")
}
