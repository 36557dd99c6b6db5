//! Whole tables against sorted lists, and against damage.

mod fault;
mod hostile;

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{MemVfs, OpenMode, Vfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Fill, Table, TableBuilder, TableId, TableMeta, TableOptions, Upper};
use crate::cache::BlockCache;
use crate::compress::Compression;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::key::{InternalKey, Kind, SeqNo, compare, hash};
use crate::testing::{Row, seeds, walk};

const PATH: &str = "7.table";

pub(super) fn options(rng: &mut ChaCha8Rng) -> TableOptions {
    TableOptions {
        id: TableId(rng.random_range(0..9)),
        salt: rng.random(),
        block_bytes: [1, 100, 1000, 4096, 70_000][rng.random_range(0..5)],
        compression: Compression::ALL[rng.random_range(0..Compression::ALL.len())],
        filter_bits: [0, 1, 10][rng.random_range(0..3)],
    }
}

fn key(rng: &mut ChaCha8Rng, shape: usize) -> Vec<u8> {
    let few = |rng: &mut ChaCha8Rng, len: usize| -> Vec<u8> {
        (0..rng.random_range(0..len))
            .map(|_| [0, 1, b'a', 254, 255][rng.random_range(0..5)])
            .collect()
    };
    match shape {
        0 => few(rng, 4),
        1 => [b"/registry/pods/default/".to_vec(), few(rng, 5)].concat(),
        2 => [vec![7; rng.random_range(250..260)], few(rng, 3)].concat(),
        3 => rng.random_range(0..500u32).to_be_bytes().to_vec(),
        _ => [vec![b'k'; 8], few(rng, 300)].concat(),
    }
}

/// Rows for a table, sorted; several versions of some keys.
pub(super) fn rows(rng: &mut ChaCha8Rng) -> Vec<Row> {
    let shape = rng.random_range(0..5);
    let count = [1, 3, 30, 300][rng.random_range(0..4)];
    let versions = [1, 1, 3, 400][rng.random_range(0..4)];
    let numbers = [1, 200, 1 << 20, SeqNo::MAX.0 - 1][rng.random_range(0..4)];
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < count {
        let key = key(rng, shape);
        for _ in 0..rng.random_range(1..=versions) {
            let kind = Kind::from_u8(rng.random_range(0..3)).unwrap();
            let len = [0, 1, 8, 150, 5000][rng.random_range(0..if count > 100 { 4 } else { 5 })];
            let len = if kind == Kind::Delete { 0 } else { len };
            let value = vec![rng.random(); len];
            rows.push((key.clone(), SeqNo(rng.random_range(0..=numbers)), kind, value));
        }
    }
    rows.sort_by(|a, b| compare((&a.0, a.1), (&b.0, b.1)));
    rows.dedup_by(|a, b| a.0 == b.0 && a.1 == b.1);
    rows
}

pub(super) fn build(disk: &MemVfs, options: TableOptions, rows: &[Row]) -> TableMeta {
    let mut builder = TableBuilder::new(disk, Path::new(PATH), options).unwrap();
    for (key, seq, kind, value) in rows {
        builder.add(InternalKey::new(key, *seq, *kind), value).unwrap();
    }
    builder.finish().unwrap()
}

fn cache() -> Arc<BlockCache> {
    Arc::new(BlockCache::new(1 << 20))
}

/// With filter and fences whole in memory.
fn open(disk: &MemVfs, meta: &TableMeta) -> Result<Arc<Table>> {
    let table = Table::open(disk, Path::new(PATH), meta, &cache())?;
    assert!(table.fences().is_some(), "there is memory for small tables");
    Ok(table)
}

/// In every form: with filter and fences whole in memory, page by page in a cache, and not at all.
fn forms(disk: &MemVfs, meta: &TableMeta) -> impl Iterator<Item = Result<Arc<Table>>> {
    [1 << 20, 20 << 10, 0].into_iter().map(|bytes| {
        let cache = Arc::new(BlockCache::new(bytes));
        if bytes < 1 << 20 {
            cache.pin(bytes / 2);
        }
        let table = Table::open(disk, Path::new(PATH), meta, &cache)?;
        assert_eq!(table.fences().is_some(), bytes == 1 << 20);
        Ok(table)
    })
}

/// What a read at `seq` should find.
fn expected<'a>(rows: &'a [Row], key: &[u8], seq: SeqNo) -> Option<&'a Row> {
    let at = rows.partition_point(|row| compare((&row.0, row.1), (key, seq)).is_lt());
    rows.get(at).filter(|row| row.0 == key)
}

fn found(table: &Table, key: &[u8], seq: SeqNo) -> Result<Option<Row>> {
    let found = table.get(key, hash(key), seq)?;
    Ok(found.map(|f| (key.to_vec(), f.seq, f.kind, f.value.to_vec())))
}

// Every shape of key, block and number must come back as it went in, by every way in.
#[test]
fn a_table_says_what_was_put_into_it() {
    for seed in seeds("a_table_says", 150) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (options, rows) = (options(&mut rng), rows(&mut rng));
        let disk = MemVfs::new();
        let meta = build(&disk, options, &rows);
        assert_eq!(meta.entries, rows.len() as u64);
        assert_eq!(*meta.smallest, *rows[0].0);
        assert_eq!(meta.largest, Upper::At(rows[rows.len() - 1].0.clone().into()));
        assert_eq!(Table::describe(&disk, Path::new(PATH)).unwrap(), meta);
        for table in forms(&disk, &meta) {
            says(&mut rng, &table.unwrap(), &rows);
        }
    }
}

fn says(rng: &mut ChaCha8Rng, table: &Arc<Table>, rows: &[Row]) {
    for (key, seq, ..) in rows {
        for seq in [*seq, SeqNo(seq.0.saturating_sub(1)), SeqNo(seq.0 + 1), SeqNo::MAX] {
            assert_eq!(found(table, key, seq).unwrap().as_ref(), expected(rows, key, seq));
        }
        for other in [[&key[..], &[0]].concat(), key[..key.len() / 2].to_vec()] {
            let there = expected(rows, &other, SeqNo::MAX);
            assert_eq!(found(table, &other, SeqNo::MAX).unwrap().as_ref(), there);
        }
    }
    for fill in [Fill::Cache, Fill::Private] {
        walk(rng, &mut table.cursor(fill), rows, 300);
    }
    table.verify().unwrap();
}

// A table written outside has to look as if one write had made it, or a snapshot from before would
// see it and a later write would not hide it.
#[test]
fn a_table_that_was_taken_in_counts_as_one_write() {
    for seed in seeds("taken_in", 60) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = rows(&mut rng);
        rows.dedup_by(|a, b| a.0 == b.0);
        rows.iter_mut().for_each(|row| row.1 = SeqNo::ZERO);
        let disk = MemVfs::new();
        let mut builder = TableBuilder::new(&disk, Path::new(PATH), options(&mut rng)).unwrap();
        for (key, seq, kind, value) in &rows {
            builder.add(InternalKey::new(key, *seq, *kind), value).unwrap();
        }
        builder.add_range_delete(b"b", b"c", SeqNo::ZERO);
        let meta = builder.finish().unwrap();
        assert!(meta.is_timeless());
        let taken = SeqNo(100);
        let meta = meta.ingested_at(taken);
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        assert_eq!(TableMeta::decode(&mut &*bytes).unwrap(), meta);
        rows.iter_mut().for_each(|row| row.1 = taken);
        for table in forms(&disk, &meta).map(Result::unwrap) {
            assert_eq!(table.range_dels().covering(b"b", SeqNo::MAX).unwrap().seq, taken);
            for row in &rows {
                assert_eq!(found(&table, &row.0, SeqNo(99)).unwrap(), None);
                for seq in [taken, SeqNo(101), SeqNo::MAX] {
                    assert_eq!(found(&table, &row.0, seq).unwrap().as_ref(), Some(row));
                }
            }
            walk(&mut rng, &mut table.cursor(Fill::Cache), &rows, 300);
            table.verify().unwrap();
        }
    }
}

// A block that holds one large value must not be mistaken for damage, nor cut.
#[test]
fn values_of_any_size_come_back() {
    let disk = MemVfs::new();
    let sizes = [0, 65_533, 65_534, 65_535, 65_536, 3 << 20];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let value = |len: usize, fill: u8| vec![fill; len];
    let mut rows: Vec<Row> = Vec::new();
    for (at, len) in sizes.into_iter().enumerate() {
        rows.push((vec![at as u8], SeqNo(9), Kind::Put, value(len, rng.random())));
        rows.push((vec![at as u8], SeqNo(2), Kind::Merge, value(len, rng.random())));
    }
    let meta = build(&disk, TableOptions::default(), &rows);
    let table = open(&disk, &meta).unwrap();
    for row in &rows {
        assert!(found(&table, &row.0, row.1).unwrap().as_ref() == Some(row));
    }
    walk(&mut rng, &mut table.cursor(Fill::Private), &rows, 100);
    table.verify().unwrap();
}

// Flushes may consist of range deletes alone, and bounds must take them in.
#[test]
fn range_deletes_travel_with_the_table() {
    let disk = MemVfs::new();
    let mut builder = TableBuilder::new(&disk, Path::new(PATH), TableOptions::default()).unwrap();
    assert!(builder.is_empty());
    builder.add_range_delete(b"x", b"x", SeqNo(99));
    assert!(builder.is_empty(), "an empty range deletes nothing");
    builder.add_range_delete(b"m", b"t", SeqNo(7));
    builder.add_range_delete(b"b", b"p", SeqNo(5));
    let meta = builder.finish().unwrap();
    assert_eq!((meta.entries, meta.range_deletes), (0, 4));
    assert_eq!((meta.seq_min, meta.seq_max), (SeqNo(5), SeqNo(7)));
    assert_eq!((&*meta.smallest, &meta.largest), (&b"b"[..], &Upper::Before("t".into())));
    assert!(meta.overlaps(b"a", b"b") && !meta.overlaps(b"t", b"z") && !meta.contains(b"t"));
    let table = open(&disk, &meta).unwrap();
    assert_eq!(table.range_dels().covering(b"n", SeqNo::MAX).unwrap().seq, SeqNo(7));
    assert_eq!(found(&table, b"n", SeqNo::MAX).unwrap(), None);
    let mut cursor = table.cursor(Fill::Cache);
    for backward in [false, true] {
        if backward { cursor.last() } else { cursor.first() }.unwrap();
        assert_eq!(cursor.entry(), None);
        cursor.seek(b"n", SeqNo::MAX).unwrap();
        cursor.seek_back(b"n", SeqNo::MAX).unwrap();
        assert_eq!(cursor.entry(), None);
    }
    table.verify().unwrap();
}

fn flip(disk: &MemVfs, at: u64, mask: u8) {
    let file = disk.open(Path::new(PATH), OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_at(&[IoSlice::new(&[byte[0] ^ mask])], at).unwrap();
}

fn is_damage<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    match result {
        Err(Error::Corrupt { file, .. }) => assert_eq!(file, Path::new(PATH)),
        // The version is looked at before the checksum, or no later one could be told.
        Err(Error::Unsupported { .. }) => (),
        other => panic!("{what}: {other:?}"),
    }
}

// Scenario 31: whichever byte is damaged, a read says so or is right. A filter or a fence that lost
// a bit must never become "there is no such key".
#[test]
fn any_damaged_byte_is_reported_or_harmless() {
    for seed in seeds("any_damaged_byte", 4) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows: Vec<Row> = loop {
            let rows = rows(&mut rng);
            if (5..60).contains(&rows.len()) {
                break rows;
            }
        };
        let disk = MemVfs::new();
        let options = TableOptions { block_bytes: 256, ..options(&mut rng) };
        let meta = build(&disk, options, &rows);
        let step = if meta.bytes > 3000 { 7 } else { 1 };
        for at in (0..meta.bytes).step_by(step) {
            let mask = 1 << rng.random_range(0..8);
            flip(&disk, at, mask);
            for table in forms(&disk, &meta) {
                match table {
                    Err(error) => is_damage(Err::<(), _>(error), "open"),
                    Ok(table) => damaged(&table, &rows, at),
                }
            }
            flip(&disk, at, mask);
        }
        open(&disk, &meta).unwrap().verify().unwrap();
    }
}

/// Byte `at` of the table is damaged, and is not one that is read when it is opened.
fn damaged(table: &Arc<Table>, rows: &[Row], at: u64) {
    let mut refused = 0;
    for row in rows {
        match found(table, &row.0, row.1) {
            Ok(got) => assert_eq!(got.as_ref(), Some(row), "byte {at}"),
            Err(error) => {
                refused += 1;
                is_damage(Err::<(), _>(error), "get");
            }
        }
    }
    assert!(refused > 0, "byte {at} belongs to some block, leaf or page");
    is_damage(table.verify(), "verify");
    let footer = table.footer();
    if at < footer.filter.offset || footer.leaves.offset <= at {
        scan_until_damage(table, rows);
    }
}

// Scenario 32.
fn scan_until_damage(table: &Arc<Table>, rows: &[Row]) {
    let mut cursor = table.cursor(Fill::Private);
    let mut result = cursor.first();
    let mut good = rows.iter();
    while result.is_ok() {
        let entry = cursor.entry().expect("the damage is met before the end");
        assert_eq!(entry.key, good.next().unwrap().0);
        result = cursor.next();
    }
    is_damage(result, "scan");
    assert_eq!(cursor.entry(), None);
    is_damage(cursor.next(), "next after an error");
    is_damage(cursor.first(), "first after an error");
    is_damage(cursor.seek_back(b"zzz", SeqNo::MAX), "seek after an error");
}

// A file that ends early, or goes on, is not the table.
#[test]
fn a_table_of_another_length_is_damage() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let disk = MemVfs::new();
    let meta = build(&disk, options(&mut rng), &rows(&mut rng));
    let file = disk.open(Path::new(PATH), OpenMode::Write).unwrap();
    let mut whole = vec![0; meta.bytes as usize];
    file.read_exact_at(&mut whole, 0).unwrap();
    for len in (0..meta.bytes).step_by(1 + meta.bytes as usize / 500).chain([meta.bytes + 1]) {
        file.set_len(len).unwrap();
        is_damage(open(&disk, &meta), "open");
        is_damage(Table::describe(&disk, Path::new(PATH)), "describe");
        file.write_at(&[IoSlice::new(&whole)], 0).unwrap();
    }
    file.set_len(meta.bytes).unwrap();
    open(&disk, &meta).unwrap();
}

// Scenario 26: a sound table of another database, or of another number, in this one's place; and a
// sound block of this table in the place of another.
#[test]
fn what_is_sound_but_elsewhere_is_damage() {
    let rows: Vec<Row> = (0..64u8).map(|n| (vec![n], SeqNo(1), Kind::Put, vec![n; 90])).collect();
    let disk = MemVfs::new();
    let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
    let options = TableOptions { block_bytes: 1000, id: TableId(4), salt: 5, ..options };
    let meta = build(&disk, options.clone(), &rows);
    let file = disk.open(Path::new(PATH), OpenMode::Write).unwrap();
    let read = |from: u64, to: u64| {
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, from).unwrap();
        bytes
    };
    let whole = read(0, meta.bytes);
    for (id, salt) in [(4, 6), (3, 5)] {
        let other = MemVfs::new();
        let theirs =
            build(&other, TableOptions { id: TableId(id), salt, ..options.clone() }, &rows);
        is_damage(open(&other, &meta), "a stranger");
        is_damage(open(&disk, &theirs), "a table that is not there");
    }
    let table = open(&disk, &meta).unwrap();
    let ((a, b), (c, d)) = (table.place(1).unwrap(), table.place(2).unwrap());
    assert_eq!(b - a, d - c, "blocks are as alike as they can be");
    file.write_at(&[IoSlice::new(&read(c, d))], a).unwrap();
    is_damage(table.get(&[13], hash(&[13]), SeqNo::MAX), "a misdirected block");
    file.write_at(&[IoSlice::new(&whole)], 0).unwrap();
    assert!(table.get(&[13], hash(&[13]), SeqNo::MAX).unwrap().is_some());
}

// Scenario 25: a file of a later version is left alone and said to be one.
#[test]
fn a_later_version_is_unsupported() {
    let disk = MemVfs::new();
    let rows = [(vec![1], SeqNo(1), Kind::Put, vec![2])];
    let meta = build(&disk, TableOptions::default(), &rows);
    flip(&disk, meta.bytes - 16, 2);
    assert!(matches!(open(&disk, &meta), Err(Error::Unsupported { .. })));
    assert!(matches!(Table::describe(&disk, Path::new(PATH)), Err(Error::Unsupported { .. })));
}

// An entry out of order would be lost to every search.
#[test]
#[should_panic(expected = "entries are added in order")]
fn entries_out_of_order_are_a_bug() {
    let rows = [(vec![1], SeqNo(1), Kind::Put, vec![]), (vec![1], SeqNo(2), Kind::Put, vec![])];
    build(&MemVfs::new(), TableOptions::default(), &rows);
}
