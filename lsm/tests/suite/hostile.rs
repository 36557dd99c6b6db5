//! Bytes made to kill (scenario 48): records, edits and tables forged with every checksum right, at
//! every edge of every field; and noise.
//!
//! A forger can make the database say anything; what he cannot have is a panic, an endless walk, or
//! memory out of proportion. Whether that is so is a matter of some thousands of forgeries, each
//! opened, read from end to end, verified, flushed and compacted. `SLOW=1` makes ten times as many.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_lsm::{Compression, Db, Result};
use drystone_vfs::{SimClock, SimVfs};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hurt::{
    End, SPACES, Specimen, journal_files, key, load, manifest_files, noise, open, rewrite, store,
    tables,
};
use crate::support::{dir, keyspace_options, options, seeds, try_open};

/// The most memory that any of this may take at once. The disk in memory, with all its logs, is a
/// part of it.
const MEMORY_BYTES_MAX: u64 = 24 << 20;

/// No forgery here has as many records as this.
const STEPS_MAX: usize = 200_000;

const EDGES: [u64; 18] = [
    0,
    1,
    2,
    3,
    8,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    (1 << 56) - 1,
    u64::MAX - 1,
    u64::MAX,
];

/// Changes some fields of `bytes` to what nobody would write.
fn forge(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, may_resize: bool) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return bytes.push(rng.random());
        }
        // Fields crowd at the front.
        let reach = if rng.random_bool(0.5) { bytes.len().min(64) } else { bytes.len() };
        let at = rng.random_range(0..reach);
        match rng.random_range(0..10) {
            0..5 => {
                let width = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len() - at);
                let edge = EDGES[rng.random_range(0..EDGES.len())].to_le_bytes();
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            5 => bytes[at] ^= 1 << rng.random_range(0..8),
            6 => bytes[at] = bytes[at].wrapping_add(1),
            7 => {
                let from = rng.random_range(0..bytes.len());
                let len = rng.random_range(0..40).min(bytes.len() - from.max(at));
                bytes.copy_within(from..from + len, at);
            }
            8 if may_resize => bytes.truncate(at),
            9 if may_resize => {
                let more = rng.random_range(1..60);
                bytes.extend((0..more).map(|i| (i * 37) as u8));
            }
            _ => {
                let len = rng.random_range(0..20).min(bytes.len() - at);
                rng.fill_bytes(&mut bytes[at..at + len]);
            }
        }
    }
}

/// Does with the database all that one can; errors are answers.
fn use_it(db: &Db, writes: bool) -> Result<()> {
    let snapshot = db.snapshot();
    for name in db.keyspaces() {
        let Ok(space) = db.keyspace(&name, keyspace_options()) else { continue };
        for n in 0..60 {
            drop(db.get(&space, &key(n)));
        }
        let steps = snapshot.iter(&space).take_while(Result::is_ok).take(STEPS_MAX).count();
        assert!(steps < STEPS_MAX, "a walk without end");
        let back = snapshot.iter(&space).rev().take_while(Result::is_ok).take(STEPS_MAX).count();
        assert!(back < STEPS_MAX, "a walk back without end");
        let mut cursor = snapshot.cursor(&space);
        for n in [5, 40, 17, 59, 0] {
            drop((cursor.seek(&key(n)), cursor.next(), cursor.prev(), cursor.seek_before(&key(n))));
            drop((cursor.prev(), cursor.last(), cursor.prev(), cursor.first()));
        }
        if writes {
            drop(db.put(&space, &key(3), b"written over it")?);
        }
    }
    drop(db.verify());
    drop(db.stats());
    if writes {
        db.flush()?;
        for _ in 0..20 {
            if !db.compact_once()? {
                break;
            }
        }
        db.compact(std::time::Duration::MAX)?;
    }
    Ok(())
}

/// Opens the disk for reading and for writing, and uses it, within bounds. Whether it opened.
fn survives(disk: &SimVfs, what: &str) -> bool {
    let mut opened = false;
    let info = allocation_counter::measure(|| {
        let clock = Arc::new(SimClock::new());
        let view = Db::open_read_only(Arc::new(disk.clone()), clock, &dir(), options());
        if let Ok(view) = view {
            drop(use_it(&view, false));
        }
        if let Ok(db) = try_open(disk, options()) {
            opened = true;
            drop(use_it(&db, true));
        }
        // What it has written can be read, or is refused.
        if let Ok(db) = try_open(&disk.kill_copy(), options()) {
            drop(use_it(&db, false));
        }
    });
    assert!(info.bytes_max < MEMORY_BYTES_MAX, "{what}: {} bytes at once", info.bytes_max);
    opened
}

// Scenario 48: a journal whose frames are all sound, and whose records say that there are four
// billion changes, of keyspaces that are not there, with keys longer than the record.
#[test]
fn hostile_journal_records_get_an_answer() {
    let specimen = Specimen::new(End::Closed);
    let mut opened = 0;
    for seed in seeds("hostile_journal", 400) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = specimen.disk.crash_copy(0);
        let victim = rng.random_range(0..40);
        rewrite(&disk, "journal", |number, record| {
            if number == victim {
                forge(&mut rng, record, true);
            }
        });
        opened += u32::from(survives(&disk, &format!("seed {seed}")));
    }
    assert!(opened > 20, "{opened} opened");
}

// Scenario 48: a manifest whose edits name tables that are not there, levels that do not exist,
// numbers at the end of their range, bounds in the wrong order.
#[test]
fn hostile_manifest_records_get_an_answer() {
    let specimen = Specimen::new(End::Closed);
    let mut opened = 0;
    for seed in seeds("hostile_manifest", 500) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = specimen.disk.crash_copy(0);
        let victim = rng.random_range(0..12);
        rewrite(&disk, "manifest.a", |number, record| {
            if number == victim || record.len() > 60 && rng.random_bool(0.1) {
                forge(&mut rng, record, true);
            }
        });
        opened += u32::from(survives(&disk, &format!("seed {seed}")));
    }
    assert!(opened > 10, "{opened} opened");
}

/// Where a sealed part lies in a table.
#[derive(Debug, Clone, Copy)]
struct Part {
    offset: usize,
    len: usize,
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
const FOOTER_BYTES: usize = 76;
const FOOTER_FIELDS: usize = 64;
const SEAL_BYTES: usize = 9;
/// A page of the filter, which has a seal of its own; the last one may be shorter.
const PAGE_BYTES: usize = 64 * 64;

/// All that is sealed in a table, none of it packed.
struct Parts {
    /// Pages of the filter, leaves, range deletes, root, description.
    others: Vec<Part>,
    blocks: Vec<Part>,
}

impl Parts {
    fn all(&self) -> Vec<Part> {
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
fn parts(table: &[u8]) -> Parts {
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

/// Tables of which no part is packed, so that a forger can get at the fields.
fn unpacked() -> SimVfs {
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

/// Forges one part, or the wrapping of it, and seals it again.
fn forge_table(rng: &mut ChaCha8Rng, path: &Path, table: &mut [u8]) {
    let id = u64::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap();
    let salt = options_salt();
    let parts = parts(table);
    let all = parts.all();
    for _ in 0..rng.random_range(1..3) {
        // What is not a block is looked at when the table is opened, and most of it is refused.
        let first = if rng.random_bool(0.8) { parts.others.len() } else { 0 };
        let Part { offset, len } = all[rng.random_range(first..all.len())];
        let wrapped = offset + len;
        if rng.random_bool(0.9) {
            let mut raw = table[offset..wrapped - SEAL_BYTES].to_vec();
            forge(rng, &mut raw, false);
            table[offset..wrapped - SEAL_BYTES].copy_from_slice(&raw);
        } else {
            let mut wrapping = table[wrapped - SEAL_BYTES..wrapped - 4].to_vec();
            forge(rng, &mut wrapping, false);
            table[wrapped - SEAL_BYTES..wrapped - 4].copy_from_slice(&wrapping);
        }
        let sum = crc(salt, id, offset, &table[offset..wrapped - 4]);
        table[wrapped - 4..wrapped].copy_from_slice(&sum.to_le_bytes());
    }
    if rng.random_bool(0.03) {
        let at = table.len() - FOOTER_BYTES;
        let fields = at + FOOTER_FIELDS;
        let mut footer = table[at..fields].to_vec();
        forge(rng, &mut footer, false);
        table[at..fields].copy_from_slice(&footer);
        let sum = crc(salt, id, at, &footer);
        table[fields..fields + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The laboratory's databases have their seed for a salt.
fn options_salt() -> u64 {
    42
}

// Scenario 48: every part of a table, forged and sealed again: blocks whose entries are out of
// order or reach beyond their end, fences that send a search in circles, filters of no lines,
// descriptions of another table. Reads, walks, compactions and verify get over all of them.
#[test]
fn hostile_tables_get_an_answer() {
    let base = unpacked();
    let paths: Vec<PathBuf> = tables(&base);
    assert!(paths.len() >= 2, "{paths:?}");
    // The seal is understood: sealed anew without a change, a table is what it was.
    for path in &paths {
        let bytes = load(&base, path);
        let id = u64::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap();
        for Part { offset, len } in parts(&bytes).all() {
            let end = offset + len;
            let sum = crc(options_salt(), id, offset, &bytes[offset..end - 4]);
            assert_eq!(sum.to_le_bytes(), bytes[end - 4..end], "{}", path.display());
        }
    }
    let mut opened = 0;
    for seed in seeds("hostile_tables", 1200) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = base.crash_copy(0);
        for path in &paths {
            if rng.random_bool(0.4) {
                let mut bytes = load(&base, path);
                forge_table(&mut rng, path, &mut bytes);
                store(&disk, path, &bytes);
            }
        }
        opened += u32::from(survives(&disk, &format!("seed {seed}")));
    }
    assert!(opened > 100, "{opened} opened");
}

// Scenario 48: files of the right names with anything in them, pieces of each other among it, in
// whatever combination.
#[test]
fn noise_in_the_place_of_any_file_gets_an_answer() {
    let specimen = Specimen::new(End::Killed);
    let disk = &specimen.disk;
    let files: Vec<PathBuf> = [tables(disk), journal_files(disk), manifest_files(disk)].concat();
    for seed in seeds("noise_in_the_place", 250) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = disk.crash_copy(0);
        for path in &files {
            if rng.random_bool(0.6) {
                continue;
            }
            let mut bytes = load(&disk, path);
            match rng.random_range(0..5) {
                0 => bytes = noise(seed, rng.random_range(0..9000)),
                1 => bytes = load(&disk, &files[rng.random_range(0..files.len())]),
                2 => bytes.clear(),
                3 => {
                    let other = load(&disk, &files[rng.random_range(0..files.len())]);
                    let at = rng.random_range(0..=bytes.len().min(other.len()));
                    bytes = [&bytes[..at], &other[at..]].concat();
                }
                _ => forge(&mut rng, &mut bytes, true),
            }
            store(&disk, path, &bytes);
        }
        survives(&disk, &format!("seed {seed}"));
    }
}
