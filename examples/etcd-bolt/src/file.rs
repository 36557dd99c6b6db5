//! A file, opened for reading.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::entries::{Entries, Node};
use crate::error::{Error, Result};
use crate::format::{BUCKET_BYTES, FLAG_META, META_BYTES, Meta, PAGE_HEAD_BYTES, PageHead, u64_at};

/// Sizes at which a second meta page is looked for, if the first is damaged.
const PAGE_BYTES_USUAL: [u64; 7] = [4096, 8192, 16384, 32768, 65536, 2048, 1024];

/// A file, opened for reading. Nothing in it is believed before it has been checked.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
    /// Where the first page begins.
    start: u64,
    /// From there to the end.
    bytes: u64,
    meta: Meta,
}

/// A bucket of a [`File`]: a tree of records.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(crate) root: Root,
    sequence: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// The page that it begins with.
    Page(u64),
    /// A small leaf that was found on that page, header and all.
    Inline { content: Bytes, page: u64 },
}

impl Bucket {
    /// The bucket's counter, of which its users make what they like.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl File {
    /// Opens a file as it is now. What is behind its last page is not looked at.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or neither meta page is valid.
    pub fn open(path: &Path) -> Result<File> {
        File::open_behind(path, 0)
    }

    /// Opens one that begins behind so many bytes of something else.
    ///
    /// # Errors
    ///
    /// As [`File::open`].
    pub fn open_behind(path: &Path, start: u64) -> Result<File> {
        let io = |source| Error::Io { file: path.to_path_buf(), source };
        let file = fs::File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len().saturating_sub(start);
        let meta_at = |page_bytes: u64, id: u64| -> Result<std::result::Result<Meta, _>> {
            let mut page = [0; PAGE_HEAD_BYTES + META_BYTES];
            let at = page_bytes * id;
            if at + page.len() as u64 > bytes {
                return Ok(Err("the file ends within its meta page"));
            }
            file.read_exact_at(&mut page, start + at).map_err(io)?;
            let meta = Meta::decode(&page[PAGE_HEAD_BYTES..]);
            let head = PageHead::decode(&page);
            let is_meta = head.is_some_and(|head| head.flags == FLAG_META);
            Ok(meta.and_then(|meta| if is_meta { Ok(meta) } else { Err("it is no meta page") }))
        };
        let first = meta_at(0, 0)?;
        let meta = match first {
            Ok(first) => match meta_at(u64::from(first.page_bytes), 1)? {
                Ok(second) if second.page_bytes == first.page_bytes => newer(first, second),
                Ok(_) | Err(_) => first,
            },
            Err(reason) => {
                let mut found = None;
                for size in PAGE_BYTES_USUAL {
                    let second = meta_at(size, 1)?.ok();
                    found = found.or(second.filter(|meta| u64::from(meta.page_bytes) == size));
                }
                let damaged = || Error::Damaged { file: path.to_path_buf(), page: 0, reason };
                found.ok_or_else(damaged)?
            }
        };
        Ok(File { path: path.to_path_buf(), file, start, bytes, meta })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of its pages, bytes.
    pub fn page_bytes(&self) -> u64 {
        u64::from(self.meta.page_bytes)
    }

    /// What its pages take, bytes; the file may be longer.
    pub fn bytes(&self) -> u64 {
        self.meta.pages.saturating_mul(self.page_bytes())
    }

    /// The bucket that holds the others.
    pub fn root(&self) -> Bucket {
        Bucket { root: Root::Page(self.meta.root), sequence: 0 }
    }

    /// The bucket of that name, if there is one.
    ///
    /// # Errors
    ///
    /// If the file is damaged on the way to it.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>> {
        for entry in self.entries(&self.root()) {
            let entry = entry?;
            if entry.key == name {
                return Ok(entry.bucket);
            }
        }
        Ok(None)
    }

    /// The records of a bucket of this file, by key.
    pub fn entries(&self, bucket: &Bucket) -> Entries<'_> {
        Entries::new(self, bucket)
    }

    pub(crate) fn damaged(&self, page: u64, reason: &'static str) -> Error {
        Error::Damaged { file: self.path.clone(), page, reason }
    }

    /// The bucket whose head is the value of an element on that page.
    pub(crate) fn bucket_of(&self, value: &Bytes, page: u64) -> Result<Bucket> {
        let (Some(root), Some(sequence)) = (u64_at(value, 0), u64_at(value, 8)) else {
            return Err(self.damaged(page, "a bucket's head is cut"));
        };
        let root = match root {
            0 => Root::Inline { content: value.slice(BUCKET_BYTES..), page },
            page => Root::Page(page),
        };
        Ok(Bucket { root, sequence })
    }

    /// Reads the branch or leaf with that number.
    pub(crate) fn node(&self, id: u64) -> Result<Node> {
        let size = self.page_bytes();
        if id < 2 || id >= self.meta.pages {
            return Err(self.damaged(id, "there is no such page"));
        }
        let end = |pages: u64| id.checked_add(pages)?.checked_mul(size);
        if end(1).is_none_or(|end| end > self.bytes) {
            return Err(self.damaged(id, "the file ends before it"));
        }
        let io = |source| Error::Io { file: self.path.clone(), source };
        let at = id * size;
        let mut head = [0; PAGE_HEAD_BYTES];
        self.file.read_exact_at(&mut head, self.start + at).map_err(io)?;
        let head = PageHead::decode(&head).expect("it is as long as a head");
        if head.id != id {
            return Err(self.damaged(id, "it says that it is another page"));
        }
        let pages = 1 + u64::from(head.overflow);
        let in_file = end(pages).is_some_and(|end| end <= self.bytes);
        if !in_file || id + pages > self.meta.pages {
            return Err(self.damaged(id, "it goes on beyond the end of the file"));
        }
        let length = usize::try_from(pages * size);
        let length = length.map_err(|_| self.damaged(id, "it is larger than memory"))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.start + at).map_err(io)?;
        Node::decode(bytes.into(), id).map_err(|reason| self.damaged(id, reason))
    }
}

fn newer(first: Meta, second: Meta) -> Meta {
    if second.transaction > first.transaction { second } else { first }
}
