//! Names of things: pages, runs of pages, transactions, trees, and the pointers between pages.
//!
//! A pointer carries the checksum of what it points to. So a page vouches for its children, the
//! meta page for the roots, and nothing on the path from there to a record has to be believed:
//!
//! ```text
//!   PagePtr, 12 bytes, little endian          RunPtr, 16 bytes
//!   ┌────────┬────────┬────────┐              ┌────────┬────────┬────────┬────────┐
//!   │ id u32 │ crc u32│ txn u32│              │ id u32 │ crc u32│ txn u32│bytes u32│
//!   └────────┴────────┴────────┘              └────────┴────────┴────────┴────────┘
//!     where    CRC-32 of the    low half of      first   of the     as      the value's
//!              whole page,      the txn that     page    value               length
//!              seeded by id     wrote it
//! ```
//!
//! The seed makes a page that was written to, or read from, the wrong place fail even if it is
//! sound in itself. `txn` lets recovery tell the pages a commit wrote from those it found.
//!
//! Page numbers have 32 bits: a file ends at 16 TiB with pages of 4 KiB, 64 TiB with 16 KiB.

use std::fmt;

/// A page's number: its place in the file is this times the page size. 0 and 1 are meta pages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId(pub u32);

impl PageId {
    /// Where the page begins in the file.
    pub(crate) fn offset(self, page_bytes: usize) -> u64 {
        u64::from(self.0) * page_bytes as u64
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A committed write transaction's number. The first is 1; 0 is the empty database.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u64);

impl TxnId {
    /// The half that pointers and page headers carry.
    pub(crate) fn low(self) -> u32 {
        self.0 as u32
    }

    /// The transaction after this one.
    pub(crate) fn next(self) -> TxnId {
        TxnId(self.0 + 1)
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A named tree's number, given at its creation and never to another tree.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId(pub u32);

/// Pages that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub first: PageId,
    pub pages: u32,
}

/// Where a committed page is, and what it must look like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PagePtr {
    pub id: PageId,
    pub crc: u32,
    pub txn: u32,
}

impl PagePtr {
    /// Encoded length.
    pub(crate) const BYTES: usize = 12;
    /// Points nowhere: the root of an empty tree.
    pub(crate) const NONE: PagePtr = PagePtr { id: PageId(0), crc: 0, txn: 0 };

    /// Decodes what [`encode`](Self::encode) made.
    pub(crate) fn decode(bytes: [u8; Self::BYTES]) -> PagePtr {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        PagePtr {
            id: PageId(u32::from_le_bytes([a, b, c, d])),
            crc: u32::from_le_bytes([e, f, g, h]),
            txn: u32::from_le_bytes([i, j, k, l]),
        }
    }

    /// See the picture above.
    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.id.0.to_le_bytes();
        let [e, f, g, h] = self.crc.to_le_bytes();
        let [i, j, k, l] = self.txn.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// A page of the write transaction at hand, which has no number yet: the place in the draft's
    /// slab. Never on disk, where page 0 is a meta page.
    pub(crate) fn draft(slot: u32) -> PagePtr {
        PagePtr { id: PageId(0), crc: slot, txn: u32::MAX }
    }

    /// The slot of a page that is not committed yet.
    pub(crate) fn slot(self) -> Option<u32> {
        (self.id.0 == 0 && self.txn == u32::MAX).then_some(self.crc)
    }

    pub(crate) fn is_none(self) -> bool {
        self == PagePtr::NONE
    }
}

/// Where a value too large for a leaf is: pages that follow one another and hold nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunPtr {
    pub id: PageId,
    /// Of the value's bytes, seeded by `id`; what fills the last page does not count.
    pub crc: u32,
    pub txn: u32,
    /// The value's length.
    pub bytes: u32,
}

impl RunPtr {
    /// Encoded length.
    pub(crate) const BYTES: usize = 16;

    /// Decodes what [`encode`](Self::encode) made.
    pub(crate) fn decode(bytes: [u8; Self::BYTES]) -> RunPtr {
        let [head @ .., m, n, o, p] = bytes;
        let PagePtr { id, crc, txn } = PagePtr::decode(head);
        RunPtr { id, crc, txn, bytes: u32::from_le_bytes([m, n, o, p]) }
    }

    /// See the picture above.
    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let head = PagePtr { id: self.id, crc: self.crc, txn: self.txn }.encode();
        bytes[..PagePtr::BYTES].copy_from_slice(&head);
        bytes[PagePtr::BYTES..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// A value of the write transaction at hand; see [`PagePtr::draft`].
    pub(crate) fn draft(slot: u32, bytes: u32) -> RunPtr {
        RunPtr { id: PageId(0), crc: slot, txn: u32::MAX, bytes }
    }

    /// The slot of a value that is not committed yet.
    pub(crate) fn slot(self) -> Option<u32> {
        (self.id.0 == 0 && self.txn == u32::MAX).then_some(self.crc)
    }

    /// The pages it takes.
    pub(crate) fn extent(self, page_bytes: usize) -> Extent {
        Extent { first: self.id, pages: (self.bytes as usize).div_ceil(page_bytes) as u32 }
    }
}

/// The root of a tree as the catalog (or, for the catalog itself, the meta page) keeps it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TreeRoot {
    /// The root page; [`PagePtr::NONE`] if the tree is empty.
    pub ptr: PagePtr,
    /// The root's height above the leaves: 0 if the root is a leaf.
    pub level: u8,
    /// How many records the tree holds.
    pub records: u64,
}

/// What a page that begins at `id` must have as its checksum.
pub(crate) fn crc(id: PageId, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(id.0);
    hasher.update(bytes);
    hasher.finalize()
}
