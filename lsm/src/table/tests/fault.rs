//! Tables on a disk that refuses, and what reads cost in memory.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allocation_counter::measure;
use drystone_vfs::{Call, Fault, Harm, MemVfs, Op, SimVfs, TapVfs, Vfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{PATH, build, cache, open};
use crate::cache::BlockCache;
use crate::compress::Compression;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::key::{InternalKey, Kind, SeqNo, hash};
use crate::merge::MergeCursor;
use crate::table::{Fill, Table, TableBuilder, TableMeta, TableOptions};
use crate::testing::Row;

/// A table of some write buffers.
fn write(disk: &SimVfs) -> Result<TableMeta> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
    let mut builder = TableBuilder::new(disk, Path::new(PATH), options)?;
    for n in 0..200u32 {
        let value: Vec<u8> = (0..5000).map(|_| rng.random()).collect();
        builder.add(InternalKey::new(&n.to_be_bytes(), SeqNo(1), Kind::Put), &value)?;
    }
    builder.finish()
}

// A table that is not whole must be known not to be, by the writer and by every reader.
#[test]
fn any_refused_call_is_reported_by_the_builder() {
    let harms = [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops];
    for (op, harm) in
        [Op::Create, Op::Write, Op::Sync].into_iter().flat_map(|op| harms.map(|h| (op, h)))
    {
        let mut calls = 0;
        loop {
            let disk = SimVfs::new(calls);
            disk.fail(Fault::new(op, harm).after(calls));
            let Err(error) = write(&disk) else { break };
            match (harm, &error) {
                (Harm::NoSpace, Error::NoSpace { .. }) | (_, Error::Io { .. }) => (),
                _ => panic!("{op:?} {harm:?}: {error}"),
            }
            if op != Op::Sync && disk.list(Path::new("")).is_ok_and(|names| !names.is_empty()) {
                let described = Table::describe(&disk, Path::new(PATH));
                assert!(described.is_err(), "half a table describes itself: {described:?}");
            }
            calls += 1;
        }
        assert!(calls >= if op == Op::Write { 4 } else { 1 }, "{op:?} failed {calls} times");
    }
}

// What `finish` promises: with its name made durable, the table survives the power.
#[test]
fn a_finished_table_survives_a_crash() {
    for seed in 0..10 {
        let disk = SimVfs::new(seed);
        let meta = write(&disk).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let disk = disk.crash();
        Table::open(&disk, Path::new(PATH), &meta, &cache()).unwrap().verify().unwrap();
    }
}

// A sector that cannot be read now is not damage, and not an absent key.
#[test]
fn a_refused_read_is_an_error_once_for_gets_and_for_ever_for_cursors() {
    let disk = SimVfs::new(1);
    let meta = write(&disk).unwrap();
    let table = Table::open(&disk, Path::new(PATH), &meta, &cache()).unwrap();
    let key = 77u32.to_be_bytes();
    disk.fail(Fault::new(Op::Read, Harm::Error));
    let refused = table.get(&key, hash(&key), SeqNo::MAX);
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(table.get(&key, hash(&key), SeqNo::MAX).unwrap().is_some(), "the disk is well again");
    let mut cursor = table.cursor(Fill::Private);
    disk.fail(Fault::new(Op::Read, Harm::Error).after(3));
    let mut result = cursor.first();
    let mut rows = 0;
    while result.is_ok() {
        assert!(cursor.entry().is_some());
        rows += 1;
        result = cursor.next();
    }
    assert!(rows < 200);
    assert!(matches!(cursor.next(), Err(Error::Io { .. })), "it is not stepped over");
    for skip in 0..4 {
        disk.fail(Fault::new(Op::Read, Harm::Error).after(skip));
        let opened = Table::open(&disk, Path::new(PATH), &meta, &cache());
        disk.heal();
        assert!(matches!(opened, Ok(_) | Err(Error::Io { .. })), "{opened:?}");
    }
}

// An allocator shared by many threads is a lock shared by many threads.
#[test]
fn reads_in_the_cache_allocate_nothing() {
    let disk = MemVfs::new();
    let rows: Vec<Row> = (0..2000u32)
        .map(|n| {
            ([&[b'k'; 9][..], &n.to_be_bytes()].concat(), SeqNo(n.into()), Kind::Put, vec![1; 90])
        })
        .collect();
    let meta = build(&disk, TableOptions::default(), &rows);
    let table = open(&disk, &meta).unwrap();
    let warm = |cursor: &mut dyn Cursor| {
        cursor.first().unwrap();
        while cursor.entry().is_some() {
            cursor.next().unwrap();
        }
    };
    let mut cursor = table.cursor(Fill::Cache);
    warm(&mut cursor);
    let cursors = vec![table.cursor(Fill::Cache), table.cursor(Fill::Cache)];
    let mut merge = MergeCursor::new(cursors);
    let counted = measure(|| {
        for (key, seq, ..) in &rows {
            assert!(table.get(key, hash(key), SeqNo::MAX).unwrap().is_some());
            cursor.seek(key, *seq).unwrap();
            cursor.seek_back(key, SeqNo::MAX).unwrap();
        }
        warm(&mut cursor);
    });
    assert_eq!(counted.count_total, 0, "reads of one table");
    merge.first().unwrap();
    let counted = measure(|| {
        for _ in 0..1000 {
            merge.next().unwrap();
        }
        for _ in 0..900 {
            merge.next().unwrap();
        }
    });
    assert_eq!(counted.count_total, 0, "steps of a merge");
}

/// A table of 2000 blocks, and a count of the reads of its file.
fn counted() -> (Arc<Table>, Arc<BlockCache>, Arc<AtomicU64>) {
    let reads = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&reads);
    let tap = move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
        if matches!(call, Call::Read { .. }) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        go()
    };
    let disk = TapVfs::over(MemVfs::new(), tap);
    let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
    let mut builder = TableBuilder::new(&disk, Path::new(PATH), options).unwrap();
    for n in 0..4000u32 {
        let key = n.to_be_bytes();
        builder.add(InternalKey::new(&key, SeqNo(1), Kind::Put), &[7; 2500]).unwrap();
    }
    let meta = builder.finish().unwrap();
    let cache = Arc::new(BlockCache::new(64 << 20));
    let table = Table::open(&disk, Path::new(PATH), &meta, &cache).unwrap();
    assert_eq!(table.blocks(), 2000);
    (table, cache, reads)
}

// A long scan that filled the cache would throw out what everybody else needs.
#[test]
fn only_who_says_so_fills_the_cache() {
    let (table, cache, _) = counted();
    for (fill, blocks) in [(Fill::Private, 0), (Fill::Cache, 2000)] {
        let mut cursor = table.cursor(fill);
        cursor.first().unwrap();
        while cursor.entry().is_some() {
            cursor.next().unwrap();
        }
        assert_eq!(cache.stats().blocks, blocks);
    }
    table.verify().unwrap();
    drop(table);
    assert_eq!(cache.stats().bytes, 0, "a closed table leaves nothing behind");
}

// A disk answers a large request nearly as fast as a small one.
#[test]
fn a_walk_reads_large_pieces_and_a_seek_one_block() {
    let (table, _, reads) = counted();
    let used = |act: &mut dyn FnMut()| {
        let before = reads.load(Ordering::Relaxed);
        act();
        reads.load(Ordering::Relaxed) - before
    };
    for backward in [false, true] {
        let mut cursor = table.cursor(Fill::Private);
        let walk = used(&mut || {
            if backward { cursor.last() } else { cursor.first() }.unwrap();
            while cursor.entry().is_some() {
                if backward { cursor.prev() } else { cursor.next() }.unwrap();
            }
        });
        // Ten megabytes in pieces of 256 KiB, after some smaller ones.
        assert!((38..50).contains(&walk), "{walk} reads for a walk, backward: {backward}");
    }
    let mut cursor = table.cursor(Fill::Private);
    for n in [77u32, 3000, 5] {
        assert_eq!(used(&mut || cursor.seek(&n.to_be_bytes(), SeqNo::MAX).unwrap()), 1);
        assert_eq!(used(&mut || cursor.seek(&n.to_be_bytes(), SeqNo(1)).unwrap()), 0);
    }
    let key = 77u32.to_be_bytes();
    let get = || drop(table.get(&key, hash(&key), SeqNo::MAX).unwrap());
    assert_eq!((used(&mut { get }), used(&mut { get })), (1, 0));
}
