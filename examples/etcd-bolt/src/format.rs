//! The bytes of a file, field by field. All numbers are little endian.
//!
//! A file is a row of pages of one size, a power of two that the meta page names: the size of a
//! page of memory where it was made, 4 KiB nearly everywhere. A page whose content does not fit
//! goes on over the `overflow` pages behind it.
//!
//! ```text
//! page     id u64 │ flags u16 │ count u16 │ overflow u32 │ content
//!          flags: 1 branch, 2 leaf, 4 meta, 16 freelist
//!
//! meta     magic u32 = 0xed0cdaed │ version u32 = 2 │ page size u32 │ flags u32 = 0
//!          │ root bucket: page u64, sequence u64 │ freelist page u64 │ pages u64
//!          │ transaction u64 │ checksum u64
//!          The checksum is FNV-1a, 64 bits wide, of the 56 bytes before it. Pages 0 and 1 are meta
//!          pages, written in turn; of the valid ones that of the newer transaction counts.
//!
//! leaf     count elements, then keys and values
//!          element: flags u32 (1: the value is a bucket) │ pos u32 │ key len u32 │ value len u32
//!          `pos` is where the key begins, counted from the element itself; the value follows it.
//!
//! branch   count elements, then keys
//!          element: pos u32 │ key len u32 │ page u64
//!          The child holds keys that are not below this one, and below the next.
//!
//! bucket   root page u64 │ sequence u64          the value of a leaf's element
//!          A root page of 0 means that a small leaf follows here, head and all: an inline bucket.
//!
//! freelist count page numbers, u64 each, ascending; if count is 0xffff the first number is the
//!          true count. Without one (page 0xffff_ffff_ffff_ffff) whoever writes has to look for
//!          what is free. A reader needs neither.
//! ```

/// The size of the pages that are written here.
pub const PAGE_BYTES: usize = 4096;
/// The sizes that are read.
pub const PAGE_BYTES_READ: std::ops::RangeInclusive<usize> = 1 << 10..=64 << 10;
/// Width of a page's header.
pub const PAGE_HEAD_BYTES: usize = 16;
/// Width of an element of a leaf or a branch.
pub const ELEMENT_BYTES: usize = 16;
/// Width of a bucket's head.
pub const BUCKET_BYTES: usize = 16;
/// Width of a meta page's content.
pub const META_BYTES: usize = 64;

pub(crate) const FLAG_BRANCH: u16 = 1;
pub(crate) const FLAG_LEAF: u16 = 2;
pub(crate) const FLAG_META: u16 = 4;
pub(crate) const FLAG_FREELIST: u16 = 16;
/// The flag of an element whose value is a bucket.
pub(crate) const ELEMENT_BUCKET: u32 = 1;

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;
/// Where in a meta page's content its checksum is, which covers all before.
const CHECKSUM_AT: usize = META_BYTES - 8;

/// The head of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageHead {
    pub(crate) id: u64,
    pub(crate) flags: u16,
    pub(crate) count: u16,
    pub(crate) overflow: u32,
}

impl PageHead {
    pub(crate) fn encode(self) -> [u8; PAGE_HEAD_BYTES] {
        let mut bytes = [0; PAGE_HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.flags.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }

    /// The head that `bytes` begin with, if they are long enough.
    pub(crate) fn decode(bytes: &[u8]) -> Option<PageHead> {
        let bytes = bytes.get(..PAGE_HEAD_BYTES)?;
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Some(PageHead {
            id: u64_at(bytes, 0)?,
            flags: half(8),
            count: half(10),
            overflow: u32_at(bytes, 12)?,
        })
    }
}

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_bytes: u32,
    /// The root of the bucket that holds the buckets.
    pub(crate) root: u64,
    pub(crate) freelist: u64,
    /// How many pages there are, or were.
    pub(crate) pages: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    pub(crate) fn encode(self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.page_bytes.to_le_bytes());
        for (at, number) in
            [(16, self.root), (32, self.freelist), (40, self.pages), (48, self.transaction)]
        {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = fnv1a(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// What `bytes` say, or the rule that they break.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Meta, &'static str> {
        let bytes = bytes.get(..META_BYTES).ok_or("the file ends within its meta page")?;
        let word = |at| u32_at(bytes, at).unwrap_or_default();
        let long = |at| u64_at(bytes, at).unwrap_or_default();
        if word(0) != MAGIC {
            return Err("it does not begin with bbolt's magic number");
        }
        if word(4) != VERSION {
            return Err("it is of another version of the format");
        }
        if long(CHECKSUM_AT) != fnv1a(&bytes[..CHECKSUM_AT]) {
            return Err("the meta page fails its checksum");
        }
        let meta = Meta {
            page_bytes: word(8),
            root: long(16),
            freelist: long(32),
            pages: long(40),
            transaction: long(48),
        };
        let sane = PAGE_BYTES_READ.contains(&(meta.page_bytes as usize))
            && meta.page_bytes.is_power_of_two();
        if sane { Ok(meta) } else { Err("the page size is none that is read here") }
    }
}

/// FNV-1a, 64 bits wide.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let end = at.checked_add(8)?;
    Some(u64::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test vectors of the hash's authors: a wrong constant would only show in real bbolt.
    #[test]
    fn hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    // Every bit of a meta page counts: it is all that stands between a torn write and nonsense.
    #[test]
    fn meta_page_notices_every_bit() {
        let meta = Meta { page_bytes: 4096, root: 9, freelist: 10, pages: 11, transaction: 1 };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes), Ok(meta));
        for bit in 0..META_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::decode(&bytes).is_err(), "bit {bit}");
        }
        assert!(Meta::decode(&bytes[..META_BYTES - 1]).is_err());
    }
}
