//! Bytes made to kill (scenario 48): records, edits and tables forged with every checksum right, at
//! every edge of every field; and noise.
//!
//! A forger can make the database say anything; what he cannot have is a panic, an endless walk, or
//! memory out of proportion. Whether that is so is a matter of some thousands of forgeries, each
//! opened, read from end to end, verified, flushed and compacted. `SLOW=1` makes ten times as many.

use std::path::{Path, PathBuf};

use drystone_lsm::Error;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::forge::{
    FOOTER_BYTES, FOOTER_FIELDS, SEAL_BYTES, parts, seal, seal_footer, sum_of, table_id, unpacked,
};
use crate::fuzz::entry::survives;
use crate::fuzz::specimens::packed;
use crate::hurt::{
    End, Specimen, journal_files, load, manifest_files, noise, rewrite, store, tables,
};
use crate::support::{options, seeds, try_open};

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

// Scenario 48: a journal whose frames are all sound, and whose records say that there are four
// billion changes, of keyspaces that are not there, with keys longer than the record.
#[test]
fn hostile_journal_records_get_an_answer() {
    let specimens = [(Specimen::new(End::Closed).disk, 40), (packed(), 6)];
    let mut opened = 0;
    for seed in seeds("hostile_journal", 600) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (disk, records) = &specimens[rng.random_range(0..2)];
        let disk = disk.crash_copy(0);
        let victim = rng.random_range(0..*records);
        rewrite(&disk, "journal", |number, record| {
            if number == victim {
                forge(&mut rng, record, true);
            }
        });
        opened += u32::from(survives(&disk, &format!("seed {seed}")));
    }
    assert!(opened > 20, "{opened} opened");
}

/// A packed record with these claims, of so many bytes of zeros, packed by hand.
fn forged(count: u32, claimed: u32, zeros: usize) -> Vec<u8> {
    let mut record = (1000_u64 | 1 << 63).to_le_bytes().to_vec();
    record.extend(count.to_le_bytes());
    record.extend(claimed.to_le_bytes());
    // One zero, the same again as often as asked for, and the five bytes that end a block.
    record.extend([0x1f, 0, 1, 0]);
    let rest = zeros - 1 - 19 - 5;
    record.extend(vec![0xff; rest / 255]);
    record.extend([(rest % 255) as u8, 0x50, 0, 0, 0, 0, 0]);
    record
}

// Scenario 48: a few bytes that claim to be the largest batch there can be, or that are one. What
// they ask for is refused before it is given.
#[test]
fn a_small_record_that_unpacks_into_a_large_one_is_refused_at_no_cost() {
    // Deletes of the empty key are eleven zeros, but for the keyspace: as many as the bytes hold.
    let sound = forged(10_000, 110_000, 110_000);
    let most = 300_usize << 20;
    let cases = [
        ("too many for a memtable", forged((most / 11) as u32, most as u32, most)),
        ("too many for the bytes", forged(10_001, 110_000, 110_000)),
        ("all that there are", forged(u32::MAX, 110_000, 110_000)),
        ("longer than LZ4 can come to", forged(1, 255 << 20, 110_000)),
        ("longer than any", forged(1, u32::MAX, 20 << 20)),
        ("longer than it is", forged(10_000, 110_001, 110_000)),
        ("shorter than it is", forged(9_000, 109_999, 110_000)),
        ("without a change", forged(0, 110_000, 110_000)),
    ];
    for (what, forgery) in [("sound", sound)].into_iter().chain(cases) {
        let disk = packed();
        rewrite(&disk, "journal", |number, record| {
            if number == 5 {
                record.clone_from(&forgery);
            }
        });
        assert_eq!(survives(&disk, what), what == "sound", "{what}");
    }
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

// Scenario 48: the manifest says that there have been as many tables, keyspaces, writes or epochs
// as can be counted, or fewer than there are. What is made next has a number all the same, or there
// is an error.
#[test]
fn counters_at_the_end_of_their_range_get_an_answer() {
    // Of a base: where each begins, and how wide it is. In an edit they stand earlier.
    const EPOCH: (usize, usize) = (13, 8);
    const COUNTERS: [(usize, usize); 7] =
        [(21, 8), (29, 4), (33, 8), (41, 8), (49, 8), (57, 8), (65, 8)];
    const EARLIER: usize = 20;
    let specimen = Specimen::new(End::Closed);
    let mut opened = 0;
    for (at, width) in COUNTERS.into_iter().chain([EPOCH]) {
        for edge in EDGES.into_iter().chain([(1 << 56) - 2, 1 << 56, (1 << 63) - 1, 1 << 63]) {
            let disk = specimen.disk.crash_copy(0);
            rewrite(&disk, "manifest.a", |_, record| {
                let at = match record[0] {
                    1 => at,
                    2 if at > EPOCH.0 => at - EARLIER,
                    _ => return,
                };
                record[at..at + width].copy_from_slice(&edge.to_le_bytes()[..width]);
            });
            opened += u32::from(survives(&disk, &format!("{edge:x} at {at}")));
        }
    }
    assert!(opened > 20, "{opened} opened");
}

/// Forges one part, or the wrapping of it, and seals it again.
fn forge_table(rng: &mut ChaCha8Rng, path: &Path, table: &mut [u8]) {
    let id = table_id(path);
    let parts = parts(table);
    let all = parts.all();
    for _ in 0..rng.random_range(1..3) {
        // What is not a block is looked at when the table is opened, and most of it is refused.
        let first = if rng.random_bool(0.8) { parts.others.len() } else { 0 };
        let part = all[rng.random_range(first..all.len())];
        let (offset, wrapped) = (part.offset, part.offset + part.len);
        if rng.random_bool(0.9) {
            let mut raw = table[offset..wrapped - SEAL_BYTES].to_vec();
            forge(rng, &mut raw, false);
            table[offset..wrapped - SEAL_BYTES].copy_from_slice(&raw);
        } else {
            let mut wrapping = table[wrapped - SEAL_BYTES..wrapped - 4].to_vec();
            forge(rng, &mut wrapping, false);
            table[wrapped - SEAL_BYTES..wrapped - 4].copy_from_slice(&wrapping);
        }
        seal(id, table, part);
    }
    if rng.random_bool(0.03) {
        let at = table.len() - FOOTER_BYTES;
        let fields = at + FOOTER_FIELDS;
        let mut footer = table[at..fields].to_vec();
        forge(rng, &mut footer, false);
        table[at..fields].copy_from_slice(&footer);
        seal_footer(id, table);
    }
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
        for part in parts(&bytes).all() {
            let end = part.offset + part.len;
            let sum = sum_of(table_id(path), &bytes, part);
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

// Scenario 48: tables and manifest agree on counts that no table can come to. Whoever adds them up,
// for statistics or to find what is worth a compaction, does so without an overflow.
#[test]
fn counts_that_no_table_comes_to_get_an_answer() {
    // Of a description: entries, deletes, merges, ranges, bytes of keys and of values.
    const COUNTS: std::ops::Range<usize> = 3..9;
    let base = unpacked();
    let mut opened = 0;
    for (field, edge) in COUNTS.flat_map(|field| EDGES.map(|edge| (field, edge))) {
        let disk = base.crash_copy(0);
        let mut changed = Vec::new();
        for path in tables(&base) {
            let mut table = load(&base, &path);
            let part = *parts(&table).others.last().unwrap();
            let place = part.offset..part.offset + part.len - SEAL_BYTES;
            let before = table[place.clone()].to_vec();
            table[place.start + field * 8..][..8].copy_from_slice(&edge.to_le_bytes());
            seal(table_id(&path), &mut table, part);
            changed.push((before, table[place].to_vec()));
            store(&disk, &path, &table);
        }
        rewrite(&disk, "manifest.a", |_, record| {
            for (before, after) in &changed {
                if let Some(at) = record.windows(before.len()).position(|at| at == before) {
                    record[at..at + after.len()].copy_from_slice(after);
                }
            }
        });
        opened += u32::from(survives(&disk, &format!("{edge:x} in field {field}")));
    }
    assert!(opened > 20, "{opened} opened");
}

// Scenario 48: a block of writes that are newer than its table says, and than any there has been. A
// compaction that took them over would make tables that the next opening refuses.
#[test]
fn entries_newer_than_their_table_says_go_no_further() {
    // Of a block: where its lowest number is.
    const SEQ_BASE: usize = 8;
    let base = unpacked();
    let disk = base.crash_copy(0);
    for path in tables(&base) {
        let mut table = load(&base, &path);
        for part in parts(&table).blocks {
            let at = part.offset + SEQ_BASE;
            let low = u64::from_le_bytes(table[at..at + 8].try_into().unwrap());
            table[at..at + 8].copy_from_slice(&(low + 1_000_000).to_le_bytes());
            seal(table_id(&path), &mut table, part);
        }
        store(&disk, &path, &table);
    }
    let before = tables(&disk);
    let db = try_open(&disk, options()).unwrap();
    let outcome = db.compact(std::time::Duration::MAX);
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
    drop(db);
    assert_eq!(tables(&disk), before, "inputs stay, and nothing else");
    try_open(&disk, options()).unwrap();
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
