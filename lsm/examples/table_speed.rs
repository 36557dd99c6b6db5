//! What does one table cost, per entry written, per key looked up, per row walked over?
//!
//! **Method.** One thread, release build. Tables of 1 M entries (`ENTRIES=n`), keys of 16 bytes in
//! random order of look-up, values of 150 bytes of which half are random, LZ4, everything cached.
//! Each figure is the median and the least of 41 rounds (`ROUNDS=n`), because neighbours on the machine only
//! ever add.
//!
//! **Expected.** A hit touches about eight cache lines that are not in the cache: 8 × 80 ns, and
//! 150 ns to compute. A miss touches one. A row of a scan is two copies of a few bytes: 20 ns, and 40
//! in a merge. Building packs 166 bytes at 400 MB/s: 0.5 µs.
//!
//! ```text
//! cargo run --release -p drystone-lsm --example table_speed [part of a figure's name]
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drystone_lsm::cursor::Cursor;
use drystone_lsm::key::{InternalKey, Kind, SeqNo, hash};
use drystone_lsm::merge::MergeCursor;
use drystone_lsm::table::{Fill, Table, TableBuilder, TableCursor, TableId, TableOptions};
use drystone_lsm::{BlockCache, Compression, Result};
use drystone_vfs::{Clock, OsClock, OsVfs};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VALUE_BYTES: usize = 150;
const OPS: usize = 20_000;

struct Bench {
    dir: tempfile::TempDir,
    clock: OsClock,
    rng: ChaCha8Rng,
    keys: Vec<[u8; 16]>,
}

impl Bench {
    fn new(entries: usize) -> Bench {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut keys: Vec<[u8; 16]> = (0..entries)
            .map(|_| {
                let mut key = [0; 16];
                rng.fill_bytes(&mut key);
                key
            })
            .collect();
        keys.sort_unstable();
        let dir = tempfile::tempdir().expect("a directory for the tables");
        Bench { dir, clock: OsClock::new(), rng, keys }
    }

    fn value(&mut self) -> [u8; VALUE_BYTES] {
        let mut value = [b'v'; VALUE_BYTES];
        self.rng.fill_bytes(&mut value[..VALUE_BYTES / 2]);
        value
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("{id}.table"))
    }

    /// A table of every `step`th key from `first` on, opened, and how long writing it took.
    fn table(
        &mut self,
        options: TableOptions,
        (first, step): (usize, usize),
        cache: &Arc<BlockCache>,
    ) -> Result<(Arc<Table>, Duration)> {
        let path = self.path(options.id.0);
        let keys: Vec<[u8; 16]> = self.keys.iter().skip(first).step_by(step).copied().collect();
        let values: Vec<_> = (0..1000).map(|_| self.value()).collect();
        let start = self.clock.monotonic();
        let mut builder = TableBuilder::new(&OsVfs, &path, options)?;
        for (at, key) in keys.iter().enumerate() {
            let seq = SeqNo(1 + (at as u64).wrapping_mul(0x9e37_79b9) % 2_000_000);
            builder.add(InternalKey::new(key, seq, Kind::Put), &values[at % values.len()])?;
        }
        let meta = builder.finish()?;
        let took = self.clock.monotonic() - start;
        Ok((Table::open(&OsVfs, &path, &meta, cache)?, took))
    }

    /// Prints what one `op` costs; `rows` are what it is divided by.
    fn measure(&mut self, name: &str, rows: usize, mut op: impl FnMut(&[u8; 16])) {
        if std::env::args().nth(1).is_some_and(|part| !name.contains(&part)) {
            return;
        }
        let mut costs: Vec<f64> = Vec::new();
        for _ in 0..number("ROUNDS", 41) {
            let ops = OPS / rows;
            let count = self.keys.len();
            let keys: Vec<_> = (0..ops).map(|_| self.rng.random_range(0..count)).collect();
            let keys: Vec<[u8; 16]> = keys.into_iter().map(|at| self.keys[at]).collect();
            let start = self.clock.monotonic();
            keys.iter().for_each(&mut op);
            costs.push((self.clock.monotonic() - start).as_secs_f64() * 1e6 / ops as f64);
        }
        costs.sort_by(f64::total_cmp);
        let (median, least) = (costs[costs.len() / 2], costs[0]);
        println!("{name:<44} {median:>8.3} µs   least {least:>8.3}");
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn scan(cursor: &mut impl Cursor, key: &[u8]) -> usize {
    cursor.seek(key, SeqNo::MAX).expect("nothing is damaged");
    let mut bytes = 0;
    for _ in 0..100 {
        let Some(entry) = cursor.entry() else { break };
        bytes += entry.key.len() + entry.value.len();
        cursor.next().expect("nothing is damaged");
    }
    bytes
}

fn main() -> Result<()> {
    let entries = number("ENTRIES", 1_000_000);
    let mut bench = Bench::new(entries);
    let cache = Arc::new(BlockCache::new(2 << 30));
    let options =
        |id, compression| TableOptions { id: TableId(id), compression, ..TableOptions::default() };

    let (_, took) = bench.table(options(1, Compression::None), (0, 1), &cache)?;
    let per = |took: Duration| took.as_secs_f64() * 1e6 / entries as f64;
    println!("build without compression, sync included     {:>8.3} µs an entry", per(took));
    let (table, took) = bench.table(options(2, Compression::Lz4), (0, 1), &cache)?;
    println!("build with LZ4, sync included                {:>8.3} µs an entry", per(took));
    let raw = entries * (16 + VALUE_BYTES);
    println!(
        "file {} MiB of {} MiB; {} KiB of memory while open",
        table.meta().bytes >> 20,
        raw >> 20,
        table.bytes_open() >> 10
    );

    let start = bench.clock.monotonic();
    let mut cursor = table.cursor(Fill::Private);
    cursor.first()?;
    let mut count = 0;
    while cursor.entry().is_some() {
        count += 1;
        cursor.next()?;
    }
    assert_eq!(count, entries);
    println!(
        "walk from the file                           {:>8.3} µs a row",
        per(bench.clock.monotonic() - start)
    );

    let mut cursor = table.cursor(Fill::Cache);
    cursor.first()?;
    while cursor.entry().is_some() {
        cursor.next()?;
    }
    let start = bench.clock.monotonic();
    cursor.first()?;
    while cursor.entry().is_some() {
        cursor.next()?;
    }
    println!(
        "walk in the cache                            {:>8.3} µs a row",
        per(bench.clock.monotonic() - start)
    );

    bench.measure("get, hit", 1, |key| {
        let found = table.get(key, hash(key), SeqNo::MAX).expect("nothing is damaged");
        assert_eq!(found.map(|f| f.value.len()), Some(VALUE_BYTES));
    });
    bench.measure("get, hit, always the same key", 1, |key| {
        let key = table.meta().smallest.as_ref().max(&key[..0]);
        let found = table.get(key, hash(key), SeqNo::MAX).expect("nothing is damaged");
        assert!(found.is_some());
    });
    bench.measure("get, absent", 1, |key| {
        let mut key = *key;
        key[15] ^= 1;
        let found = table.get(&key, hash(&key), SeqNo::MAX).expect("nothing is damaged");
        assert!(found.is_none());
    });
    bench.measure("seek and 100 rows of one table", 100, |key| {
        assert!(scan(&mut cursor, key) > 0);
    });
    let parts: Vec<TableCursor> = (0..4)
        .map(|part| {
            let (table, _) =
                bench.table(options(3 + part, Compression::Lz4), (part as usize, 4), &cache)?;
            let mut cursor = table.cursor(Fill::Cache);
            cursor.first()?;
            while cursor.entry().is_some() {
                cursor.next()?;
            }
            Ok(cursor)
        })
        .collect::<Result<_>>()?;
    let mut merge = MergeCursor::new(parts);
    bench.measure("seek and 100 rows of a merge of four", 100, |key| {
        assert!(scan(&mut merge, key) > 0);
    });
    println!("{:?}", cache.stats());
    Ok(())
}
