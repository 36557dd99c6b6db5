//! The wrapping of a part of a table: how it is packed, how long it was, and a checksum that knows
//! where it belongs.
//!
//! ```text
//!   bytes   len     the part, packed or not
//!   codec   u8      0 as it is, 1 LZ4, 2 zstd
//!   raw     u32     its length unpacked
//!   crc     u32     CRC-32 over all of the above, begun with the seed below
//! ```
//!
//! The checksum begins with a number made of the database's salt, the table's id and the part's
//! offset in the file. A part that a disk wrote to the wrong place, or that was copied in from
//! another table, fails it as surely as one with a changed bit: CRC-32 maps different beginnings of
//! the same bytes to different ends.

use std::sync::Arc;

use crc32fast::Hasher;

use crate::compress::{Codec, Packer, Unpack, unpack};
use crate::table::TableId;

/// Bytes that follow a packed part.
pub(crate) const SEAL_BYTES: usize = 9;

/// Makes and checks the checksums of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    seed: u32,
}

impl Seal {
    pub(crate) fn new(id: TableId, salt: u64) -> Seal {
        let mut hasher = Hasher::new();
        hasher.update(&salt.to_le_bytes());
        hasher.update(&id.0.to_le_bytes());
        Seal { seed: hasher.finalize() }
    }

    /// The checksum of `bytes` at `offset`.
    pub(crate) fn crc(self, offset: u64, bytes: &[u8]) -> u32 {
        // Below 4 GiB every offset has a start of its own.
        let start = self.seed.wrapping_add(offset as u32) ^ (offset >> 32) as u32;
        let mut hasher = Hasher::new_with_initial(start);
        hasher.update(bytes);
        hasher.finalize()
    }

    /// Appends `raw` to `out`, wrapped; it will lie at `offset`. Returns the bytes appended.
    pub(crate) fn wrap(
        self,
        packer: &mut Packer,
        offset: u64,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        let codec = packer.pack(raw, out);
        let raw_len = u32::try_from(raw.len()).expect("parts are smaller than 4 GiB");
        out.push(codec as u8);
        out.extend_from_slice(&raw_len.to_le_bytes());
        let crc = self.crc(offset, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.len() - start
    }

    /// The part that was wrapped as `bytes` and lies at `offset`.
    pub(crate) fn unwrap(self, offset: u64, bytes: &[u8]) -> Result<Arc<[u8]>, Unpack> {
        let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(Unpack::Damaged("block is too short"));
        };
        if self.crc(offset, covered) != u32::from_le_bytes(*crc) {
            return Err(Unpack::Damaged("block checksum does not match"));
        }
        let Some((rest, raw_len)) = covered.split_last_chunk::<4>() else {
            return Err(Unpack::Damaged("block is too short"));
        };
        let Some((codec, packed)) = rest.split_last() else {
            return Err(Unpack::Damaged("block is too short"));
        };
        let codec = Codec::from_u8(*codec).ok_or(Unpack::Damaged("block codec is unknown"))?;
        unpack(codec, packed, u32::from_le_bytes(*raw_len) as usize)
    }
}
