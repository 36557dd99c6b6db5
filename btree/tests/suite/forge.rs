//! A forger: takes a sound file apart, lets a test change any byte of any page, and makes every
//! checksum right again.
//!
//! ```text
//!   record ──► catalog ──► trees ──► values          apart: who points to whom, and where
//!   record ◄── catalog ◄── trees ◄── changed page    sealed: checksums, from below upwards
//! ```
//!
//! It knows the format from its description alone and shares no code with the crate, so that it is
//! also a second opinion on what is written: [`Forge::pages`] says which pages a state needs.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a slot of the meta page, and of a record in it.
pub(crate) const SLOT: usize = 4096;
pub(crate) const RECORD: usize = 1536;

/// What a pointer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A page of the tree of names.
    Catalog,
    Branch,
    Leaf,
    /// A value of its own, of so many bytes.
    Run(usize),
    /// A page of the free map: a directory, or a chunk below one.
    Map,
}

/// Something a pointer leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// Steps from the record.
    pub(crate) depth: usize,
    /// Where the pointer is: a byte of the file.
    holder: usize,
    /// The page that is in; none if it is the record.
    parent: Option<u32>,
}

impl Node {
    /// The page that its pointer is in; none if that is the record.
    pub(crate) fn parent(self) -> Option<u32> {
        self.parent
    }

    /// Where in that page.
    pub(crate) fn place_in(self, forge: &Forge) -> usize {
        self.holder - self.parent.map_or(0, |parent| forge.offset(parent))
    }
}

/// A file in parts.
#[derive(Debug, Clone)]
pub(crate) struct Forge {
    pub(crate) bytes: Vec<u8>,
    pub(crate) page_bytes: usize,
    /// The slot of the record that counts.
    pub(crate) slot: usize,
    pub(crate) nodes: Vec<Node>,
    dirty: BTreeSet<u32>,
    /// The record does not list pages any more.
    is_plain: bool,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes")))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// What the pointer to a page says of its bytes.
pub(crate) fn seal_of(id: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(id);
    hasher.update(bytes);
    hasher.finalize()
}

/// The sequence number of a record if its checksum is right.
pub(crate) fn record_seq(record: &[u8]) -> Option<u64> {
    let len = u32_at(record, 12) as usize;
    let sound = record.starts_with(b"drybtree")
        && (96..=RECORD).contains(&len)
        && crc32fast::hash(&record[12..len]) == u32_at(record, 8);
    sound.then(|| u64_at(record, 32))
}

/// Makes the checksum of a record right, whatever it says.
pub(crate) fn seal_record(record: &mut [u8]) {
    let len = (u32_at(record, 12) as usize).clamp(12, RECORD);
    let crc = crc32fast::hash(&record[12..len]);
    put_u32(record, 8, crc);
}

/// Makes the checksum of a mark right, if it begins like one.
pub(crate) fn seal_mark(mark: &mut [u8]) {
    let crc = crc32fast::hash(&mark[12..40]);
    put_u32(mark, 8, crc);
}

/// Where the cells of a page begin, with the bytes of their keys that are not shared.
pub(crate) fn cells(page: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let slots = 20 + u16_at(page, 4);
    (0..u16_at(page, 2)).map(move |i| {
        let at = slots + 8 * i;
        (u16_at(page, at), u16_at(page, at + 2))
    })
}

impl Forge {
    /// Takes a sound file apart by its newest record.
    pub(crate) fn open(bytes: Vec<u8>) -> Forge {
        let seq = |slot: usize| record_seq(&bytes[slot * SLOT..]);
        let slot = usize::from(seq(1) > seq(0));
        Forge::of_slot(bytes, slot)
    }

    /// Takes a file apart by the record of one slot.
    pub(crate) fn of_slot(bytes: Vec<u8>, slot: usize) -> Forge {
        let record = slot * SLOT;
        assert!(record_seq(&bytes[record..]).is_some(), "slot {slot} holds a record");
        let page_bytes = u32_at(&bytes, record + 20) as usize;
        let (nodes, dirty) = (Vec::new(), BTreeSet::new());
        let mut forge = Forge { bytes, page_bytes, slot, nodes, dirty, is_plain: false };
        let level = forge.bytes[record + 60];
        forge.visit(record + 48, None, level, 1, true);
        forge.visit_map(record);
        forge
    }

    /// Notes the pages of the free map.
    fn visit_map(&mut self, record: usize) {
        let count = u16_at(&self.bytes, record + 84);
        for holder in (0..count).map(|i| record + 96 + 12 * i) {
            let id = u32_at(&self.bytes, holder);
            if id == 0 {
                continue;
            }
            self.nodes.push(Node { id, kind: Kind::Map, depth: 1, holder, parent: None });
            let entries = self.offset(id) + 64..self.offset(id + 1) - 11;
            for holder in entries.step_by(12) {
                let chunk = u32_at(&self.bytes, holder);
                if chunk != 0 {
                    let (kind, parent) = (Kind::Map, Some(id));
                    self.nodes.push(Node { id: chunk, kind, depth: 2, holder, parent });
                }
            }
        }
    }

    /// Where a page begins in the file.
    pub(crate) fn offset(&self, id: u32) -> usize {
        id as usize * self.page_bytes
    }

    /// Notes what a pointer leads to, and everything below.
    fn visit(&mut self, holder: usize, parent: Option<u32>, level: u8, depth: usize, names: bool) {
        let id = u32_at(&self.bytes, holder);
        if id == 0 {
            return;
        }
        let kind = match (names, level) {
            (true, _) => Kind::Catalog,
            (false, 0) => Kind::Leaf,
            (false, _) => Kind::Branch,
        };
        self.nodes.push(Node { id, kind, depth, holder, parent });
        let start = self.offset(id);
        let page = self.bytes[start..start + self.page_bytes].to_vec();
        for (at, suffix) in cells(&page) {
            if level > 0 {
                self.visit(start + at, Some(id), level - 1, depth + 1, names);
                continue;
            }
            let (size, value) = (u16_at(&page, at), at + 2 + suffix);
            if size & 0x8000 != 0 {
                let (run, len) = (u32_at(&page, value), u32_at(&page, value + 12) as usize);
                let (kind, holder) = (Kind::Run(len), start + value);
                self.nodes.push(Node { id: run, kind, depth: depth + 1, holder, parent: Some(id) });
            } else if names && size == 28 {
                let level = page[value + 4];
                self.visit(start + value + 8, Some(id), level, depth + 1, false);
            }
        }
    }

    /// The nodes of one kind.
    pub(crate) fn of_kind(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Node> {
        self.nodes.iter().copied().filter(|node| wanted(node.kind)).collect()
    }

    /// The pages that a node takes.
    fn span(&self, node: Node) -> std::ops::Range<u32> {
        let pages = match node.kind {
            Kind::Run(len) => len.div_ceil(self.page_bytes) as u32,
            _ => 1,
        };
        node.id..node.id + pages
    }

    /// Every page that the state needs, those of the free map among them.
    pub(crate) fn pages(&self) -> BTreeSet<u32> {
        self.nodes.iter().flat_map(|node| self.span(*node)).collect()
    }

    /// The bytes that a node's pointer takes, as they stand.
    pub(crate) fn pointer(&self, node: Node) -> &[u8] {
        let len = if matches!(node.kind, Kind::Run(_)) { 16 } else { 12 };
        &self.bytes[node.holder..node.holder + len]
    }

    /// A page, or a value.
    pub(crate) fn node_bytes(&self, node: Node) -> &[u8] {
        let start = self.offset(node.id);
        &self.bytes[start..start + self.len_of(node)]
    }

    fn len_of(&self, node: Node) -> usize {
        match node.kind {
            Kind::Run(len) => len,
            _ => self.page_bytes,
        }
    }

    /// A page, or a value, to be changed.
    pub(crate) fn edit(&mut self, node: Node) -> &mut [u8] {
        self.dirty.insert(node.id);
        let (start, len) = (self.offset(node.id), self.len_of(node));
        &mut self.bytes[start..start + len]
    }

    /// The record that counts, to be changed; it says from now on that all pages were there before.
    pub(crate) fn record(&mut self) -> &mut [u8] {
        self.plain_record();
        &mut self.bytes[self.slot * SLOT..][..RECORD]
    }

    /// Takes the list of pages written with it out of the record: they do not look the same now.
    fn plain_record(&mut self) {
        if std::mem::replace(&mut self.is_plain, true) {
            return;
        }
        let record = &mut self.bytes[self.slot * SLOT..][..RECORD];
        let (written, directories) = (u16_at(record, 80), u16_at(record, 84));
        if written == 0xffff {
            return;
        }
        let (from, len) = (96 + 12 * directories, u32_at(record, 12) as usize);
        record.copy_within(from + 8 * written..len, from);
        record[len - 8 * written..len].fill(0);
        put_u32(record, 12, (len - 8 * written) as u32);
        put_u32(record, 76, 0);
        record[80..82].fill(0xff);
    }

    /// The file with every checksum right: of the changed pages, of those above, of the record.
    pub(crate) fn seal(mut self) -> Vec<u8> {
        let nodes: BTreeMap<u32, Node> = self.nodes.iter().map(|node| (node.id, *node)).collect();
        let mut by_depth: Vec<Node> = nodes.values().copied().collect();
        by_depth.sort_by_key(|node| std::cmp::Reverse(node.depth));
        for node in by_depth {
            if !self.dirty.contains(&node.id) {
                continue;
            }
            let (start, len) = (self.offset(node.id), self.len_of(node));
            let crc = seal_of(node.id, &self.bytes[start..start + len]);
            put_u32(&mut self.bytes, node.holder + 4, crc);
            self.dirty.extend(node.parent);
        }
        self.plain_record();
        self.seal_slot();
        self.bytes
    }

    /// Makes the record's checksum right, and its copy the same.
    fn seal_slot(&mut self) {
        let slot = self.slot * SLOT;
        seal_record(&mut self.bytes[slot..slot + RECORD]);
        self.bytes.copy_within(slot..slot + RECORD, slot + RECORD);
    }
}
