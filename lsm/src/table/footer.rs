//! The last bytes of a table: where everything else is.
//!
//! ```text
//!   filter   u64 + u32    offset and length in the file, wrapping included: all its pages
//!   leaves   u64 + u32    all of them
//!   ranges   u64 + u32
//!   root     u64 + u32
//!   meta     u64 + u32
//!   version  u32          1
//!   crc      u32          over all of the above, seeded as every checksum of the table
//!   magic    8 bytes      "drylsmtb"
//! ```
//!
//! The parts lie in this order without gaps between them, from the last block to the footer.

use crate::table::seal::{SEAL_BYTES, Seal};

pub(crate) const FOOTER_BYTES: usize = 76;
const MAGIC: &[u8; 8] = b"drylsmtb";
const VERSION: u32 = 1;

/// Where a part lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl Extent {
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }

    /// Takes in the piece that follows.
    pub(crate) fn grow(&mut self, piece: Extent) {
        self.len = self.len.checked_add(piece.len).expect("parts are smaller than 4 GiB");
    }
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Footer {
    pub(crate) filter: Extent,
    pub(crate) leaves: Extent,
    pub(crate) ranges: Extent,
    pub(crate) root: Extent,
    pub(crate) meta: Extent,
}

/// Why a footer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    Damaged(&'static str),
    Version,
}

impl Footer {
    fn parts(&self) -> [Extent; 5] {
        [self.filter, self.leaves, self.ranges, self.root, self.meta]
    }

    /// The bytes drawn above, to be written at `offset`.
    pub(crate) fn encode(&self, seal: Seal, offset: u64) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        for (at, part) in self.parts().iter().enumerate() {
            bytes[at * 12..][..8].copy_from_slice(&part.offset.to_le_bytes());
            bytes[at * 12 + 8..][..4].copy_from_slice(&part.len.to_le_bytes());
        }
        bytes[60..64].copy_from_slice(&VERSION.to_le_bytes());
        let crc = seal.crc(offset, &bytes[..64]);
        bytes[64..68].copy_from_slice(&crc.to_le_bytes());
        bytes[68..].copy_from_slice(MAGIC);
        bytes
    }

    /// Reads a footer found at `offset`, the parts of which must fill the file up to it.
    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES], offset: u64) -> Result<Footer, Unread> {
        if bytes[68..] != *MAGIC {
            return Err(Unread::Damaged("file does not end as a table does"));
        }
        if bytes[60..64] != VERSION.to_le_bytes() {
            return Err(Unread::Version);
        }
        let part = |at: usize| Extent {
            offset: u64::from_le_bytes(*bytes[at * 12..].first_chunk().expect("there are 76")),
            len: u32::from_le_bytes(*bytes[at * 12 + 8..].first_chunk().expect("there are 76")),
        };
        let footer = Footer {
            filter: part(0),
            leaves: part(1),
            ranges: part(2),
            root: part(3),
            meta: part(4),
        };
        let parts = footer.parts();
        let whole = parts.windows(2).all(|pair| pair[0].end() == pair[1].offset);
        // Only of leaves there may be none: in a table of range deletes alone.
        let room = |part: &Extent| part.len as usize > SEAL_BYTES;
        let room = parts.iter().all(|part| room(part) || *part == footer.leaves && part.len == 0);
        if !whole || !room || footer.meta.end() != offset {
            return Err(Unread::Damaged("parts of the table do not fill it"));
        }
        Ok(footer)
    }

    /// Whether the checksum of a footer found at `offset` is right.
    pub(crate) fn is_sound(bytes: &[u8; FOOTER_BYTES], seal: Seal, offset: u64) -> bool {
        seal.crc(offset, &bytes[..64]).to_le_bytes() == bytes[64..68]
    }
}
