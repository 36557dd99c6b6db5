//! A forger of tables: takes one apart into all that has a checksum, and makes the checksums right
//! again.
//!
//! It knows the format from its description alone and shares no code with the crate.

use std::path::Path;

use drystone_lsm::Compression;
use drystone_vfs::SimVfs;

use crate::hurt::{SPACES, key, noise, open};
use crate::support::{keyspace_options, options, try_open};

/// Where a sealed part lies in a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

/// The checksum that the table's own reader computes; see `seal.rs`.
fn crc(salt: u64, id: u64, offset: usize, bytes: &[u8]) -> u32 {
    let mut seed = crc32fast::Hasher::new();
    seed.update(&salt.to_le_bytes());
    seed.update(&id.to_le_bytes());
    let mut hasher =
        crc32fast::Hasher::new_with_initial(seed.finalize().wrapping_add(offset as u32));
    hasher.update(bytes);
    hasher.finalize()
}

fn field(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut field = [0; 8];
    field[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(field)
}

/// The footer of a table, with its checksum and its magic; the fields before them are forged.
pub(crate) const FOOTER_BYTES: usize = 76;
pub(crate) const FOOTER_FIELDS: usize = 64;
pub(crate) const SEAL_BYTES: usize = 9;
/// A page of the filter, which has a seal of its own; the last one may be shorter.
const PAGE_BYTES: usize = 64 * 64;

/// All that is sealed in a table, none of it packed.
pub(crate) struct Parts {
    /// Pages of the filter, leaves, range deletes, root, description.
    pub(crate) others: Vec<Part>,
    pub(crate) blocks: Vec<Part>,
}

impl Parts {
    pub(crate) fn all(&self) -> Vec<Part> {
        [&self.others[..], &self.blocks].concat()
    }
}

/// Lays pieces of these lengths one behind the other, which must fill `whole`.
fn fill(whole: Part, lens: impl Iterator<Item = usize>, what: &str) -> Vec<Part> {
    let mut offset = whole.offset;
    let mut pieces = Vec::new();
    for len in lens {
        pieces.push(Part { offset, len });
        offset += len;
    }
    assert_eq!(offset, whole.offset + whole.len, "{what} fill their part of the table");
    pieces
}

/// The parts of a table, read without the table's own code, which may be wrong about them.
pub(crate) fn parts(table: &[u8]) -> Parts {
    let footer = table.len() - FOOTER_BYTES;
    let [filter, leaves, ranges, root, meta] = [0, 1, 2, 3, 4].map(|at| Part {
        offset: field(table, footer + at * 12, 8) as usize,
        len: field(table, footer + at * 12 + 8, 4) as usize,
    });
    let bits = 64 * field(table, root.offset, 4) as usize;
    let pages =
        (0..bits).step_by(PAGE_BYTES).map(|begin| PAGE_BYTES.min(bits - begin) + SEAL_BYTES);
    let mut others = fill(filter, pages, "pages");
    let count = field(table, root.offset + 9, 4) as usize;
    // Behind the first block of each leaf the fences begin, with the number of leaves once more.
    let lens = root.offset + 13 + 4 * count + 4;
    let lens = (0..count).map(|leaf| field(table, lens + 4 * leaf, 4) as usize);
    let leaves = fill(leaves, lens, "leaves");
    let blocks: Vec<Part> = leaves.iter().flat_map(|leaf| places(table, *leaf)).collect();
    let mut offset = 0;
    for block in &blocks {
        assert_eq!(offset, block.offset, "a block begins where the one before it ends");
        offset += block.len;
    }
    assert_eq!(offset, filter.offset, "the blocks end where the filter begins");
    assert_eq!(blocks.len(), field(table, root.offset + 5, 4) as usize, "the root counts blocks");
    others.extend(leaves);
    others.extend([ranges, root, meta]);
    Parts { others, blocks }
}

/// Where the blocks of a leaf lie: the last twelve bytes of each of its entries say it.
fn places(table: &[u8], leaf: Part) -> Vec<Part> {
    let word = |at: usize| field(table, leaf.offset + at, 2) as usize;
    let (count, prefix, widths) = (word(0), word(2), word(6));
    let width = if widths & 16 == 0 { 2 } else { 4 };
    let offsets = leaf.offset + 16 + count + prefix + count * (widths & 15);
    let entries = offsets + (count + 1) * width;
    let end = |slot: usize| entries + field(table, offsets + (slot + 1) * width, width) as usize;
    let place = |end: usize| Part {
        offset: field(table, end - 12, 8) as usize,
        len: field(table, end - 4, 4) as usize,
    };
    (0..count).map(|slot| place(end(slot))).collect()
}

/// The number of a table, by its file's name.
pub(crate) fn table_id(path: &Path) -> u64 {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a table's name is text");
    u64::from_str_radix(stem, 16).expect("it is a number")
}

/// The checksum that ends a sealed part.
pub(crate) fn sum_of(id: u64, table: &[u8], part: Part) -> u32 {
    let end = part.offset + part.len;
    crc(options_salt(), id, part.offset, &table[part.offset..end - 4])
}

/// Makes the checksum of a part fit.
pub(crate) fn seal(id: u64, table: &mut [u8], part: Part) {
    let (sum, end) = (sum_of(id, table, part), part.offset + part.len);
    table[end - 4..end].copy_from_slice(&sum.to_le_bytes());
}

/// Makes the checksum of the footer fit.
pub(crate) fn seal_footer(id: u64, table: &mut [u8]) {
    let at = table.len() - FOOTER_BYTES;
    let fields = at + FOOTER_FIELDS;
    let sum = crc(options_salt(), id, at, &table[at..fields]);
    table[fields..fields + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Tables of which no part is packed, so that a forger can get at the fields.
pub(crate) fn unpacked() -> SimVfs {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    for name in SPACES {
        let options = keyspace_options().compression(Compression::None);
        let space = db.keyspace(name, options).unwrap();
        for round in 0..2 {
            for n in 0..60 {
                drop(db.put(&space, &key(n), &noise(n, 130)).unwrap());
            }
            let mut batch = drystone_lsm::Batch::new();
            batch.delete_range(&space, &key(7 + round), &key(9 + 20 * round));
            batch.merge(&space, &key(30), b"operand");
            batch.delete(&space, &key(40));
            drop(db.write(batch).unwrap());
            db.flush().unwrap();
        }
    }
    db.close().unwrap();
    disk
}

/// A table with many blocks, some leaves, and more than one page of filter.
pub(crate) fn unpacked_large() -> SimVfs {
    let disk = SimVfs::new(1);
    let db = try_open(&disk, options().memory_bytes(4 << 20)).unwrap();
    let space = db.keyspace(SPACES[0], keyspace_options().compression(Compression::None)).unwrap();
    for group in 0..120 {
        drop(db.put(&space, &key(group), &noise(group, 30)).unwrap());
        // What tells two blocks apart comes late in their keys, so that fences are long.
        let tail = noise(group, 150);
        for n in 0..30_u8 {
            let long = [&key(group)[..], &tail, &[n]].concat();
            drop(db.put(&space, &long, &[n; 12]).unwrap());
        }
    }
    let mut batch = drystone_lsm::Batch::new();
    for group in (10..100).step_by(20) {
        batch.delete_range(&space, &key(group), &key(group + 5));
        batch.merge(&space, &key(group + 7), b"operand");
    }
    drop(db.write(batch).unwrap());
    db.flush().unwrap();
    db.close().unwrap();
    disk
}

/// The laboratory's databases have their seed for a salt.
fn options_salt() -> u64 {
    42
}
