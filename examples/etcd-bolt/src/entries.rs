//! The records of a bucket, by key.
//!
//! A walk down the tree that keeps one page for each level. That it ends, whatever the file says,
//! follows from two rules: a tree is at most [`DEPTH_MAX`] high, and each leaf has keys that come
//! after all that came before.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::file::{Bucket, File, Root};
use crate::format::{
    ELEMENT_BUCKET, ELEMENT_BYTES, FLAG_BRANCH, FLAG_LEAF, PAGE_HEAD_BYTES, PageHead, u32_at,
    u64_at,
};

/// No tree is higher: with two children a branch, it would have more pages than fit on any disk.
const DEPTH_MAX: usize = 48;

/// One record.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key; shares the memory of a page.
    pub key: Bytes,
    /// Its value, or a bucket's head; shares the memory of a page.
    pub value: Bytes,
    /// The bucket that it is, if it is one.
    pub bucket: Option<Bucket>,
    /// The page that it was found on.
    pub page: u64,
}

/// The records of a bucket, by key. After an error there are no more.
#[derive(Debug)]
pub struct Entries<'f> {
    file: &'f File,
    /// From the root down: a node, and which element of it comes next.
    path: Vec<(Node, usize)>,
    /// What is looked at first.
    start: Option<Root>,
    last: Option<Bytes>,
}

/// A page of a tree, whose head has been looked at.
#[derive(Debug)]
pub(crate) struct Node {
    id: u64,
    /// Head and content.
    bytes: Bytes,
    is_leaf: bool,
    count: usize,
}

impl Node {
    /// The node that `bytes` hold, found on page `id`; or the rule that they break.
    pub(crate) fn decode(bytes: Bytes, id: u64) -> std::result::Result<Node, &'static str> {
        let head = PageHead::decode(&bytes).ok_or("it is cut within its head")?;
        let is_leaf = match head.flags {
            FLAG_LEAF => true,
            FLAG_BRANCH => false,
            _ => return Err("it is neither a branch nor a leaf"),
        };
        let count = usize::from(head.count);
        if bytes.len() < PAGE_HEAD_BYTES + count * ELEMENT_BYTES {
            return Err("it has more elements than fit");
        }
        Ok(Node { id, bytes, is_leaf, count })
    }

    fn word(&self, at: usize) -> usize {
        u32_at(&self.bytes, at).map_or(usize::MAX, |word| word as usize)
    }

    /// `length` bytes, `skip` bytes behind the place that the word at `at` counts from `element`.
    fn part(&self, element: usize, at: usize, skip: usize, length: usize) -> Option<Bytes> {
        let start = element.checked_add(self.word(at))?.checked_add(skip)?;
        let end = start.checked_add(length)?;
        let elements_end = PAGE_HEAD_BYTES + self.count * ELEMENT_BYTES;
        // An empty value may lie behind the last byte; nothing may lie among the elements.
        let inside = elements_end <= start && end <= self.bytes.len();
        inside.then(|| self.bytes.slice(start..end))
    }

    /// Flags, key and value of an element of a leaf.
    fn record(&self, at: usize) -> Option<(u32, Bytes, Bytes)> {
        let element = PAGE_HEAD_BYTES + at * ELEMENT_BYTES;
        let flags = u32_at(&self.bytes, element)?;
        let (key_len, value_len) = (self.word(element + 8), self.word(element + 12));
        let key = self.part(element, element + 4, 0, key_len)?;
        Some((flags, key, self.part(element, element + 4, key_len, value_len)?))
    }

    /// The page that an element of a branch leads to.
    fn child(&self, at: usize) -> Option<u64> {
        let element = PAGE_HEAD_BYTES + at * ELEMENT_BYTES;
        self.part(element, element, 0, self.word(element + 4))?;
        u64_at(&self.bytes, element + 8)
    }
}

impl<'f> Entries<'f> {
    pub(crate) fn new(file: &'f File, bucket: &Bucket) -> Entries<'f> {
        Entries { file, path: Vec::new(), start: Some(bucket.root.clone()), last: None }
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        match self.start.take() {
            Some(Root::Page(page)) => self.enter(page)?,
            Some(Root::Inline { content, page }) => {
                let node = Node::decode(content, page);
                let node = node.map_err(|reason| self.file.damaged(page, reason))?;
                if !node.is_leaf {
                    return Err(self.file.damaged(page, "a bucket within it is not a leaf"));
                }
                self.path.push((node, 0));
            }
            None => {}
        }
        while let Some((node, next)) = self.path.last_mut() {
            if *next == node.count {
                self.path.pop();
                continue;
            }
            let at = *next;
            *next += 1;
            let page = node.id;
            if !node.is_leaf {
                let child = node.child(at);
                let cut = || self.file.damaged(page, "a key reaches beyond it");
                self.enter(child.ok_or_else(cut)?)?;
                continue;
            }
            let record = node.record(at);
            let cut = || self.file.damaged(page, "a record reaches beyond it");
            let (flags, key, value) = record.ok_or_else(cut)?;
            return self.entry(page, flags, key, value).map(Some);
        }
        Ok(None)
    }

    fn enter(&mut self, page: u64) -> Result<()> {
        if self.path.len() == DEPTH_MAX {
            return Err(self.file.damaged(page, "the tree is too high"));
        }
        let node = self.file.node(page)?;
        let is_root = self.path.is_empty();
        if node.count == 0 && !(is_root && node.is_leaf) {
            return Err(self.file.damaged(page, "it is empty"));
        }
        self.path.push((node, 0));
        Ok(())
    }

    fn entry(&mut self, page: u64, flags: u32, key: Bytes, value: Bytes) -> Result<Entry> {
        if key.is_empty() {
            return Err(self.file.damaged(page, "a key is empty"));
        }
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(self.file.damaged(page, "the keys do not ascend"));
        }
        let bucket = match flags {
            0 => None,
            ELEMENT_BUCKET => Some(self.file.bucket_of(&value, page)?),
            _ => return Err(self.file.damaged(page, "a record has unknown flags")),
        };
        self.last = Some(key.clone());
        Ok(Entry { key, value, bucket, page })
    }
}

impl Iterator for Entries<'_> {
    type Item = std::result::Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.path.clear();
        }
        step.transpose()
    }
}
