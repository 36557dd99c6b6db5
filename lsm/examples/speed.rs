//! What does the whole tree cost, per record loaded, found, missed and walked over?
//!
//! **Method.** Release build, one thread of the caller's and two of the tree's, a real disk. Two
//! million records (`RECORDS=n`), keys of 16 to 24 bytes in random order, values of 150 bytes of
//! which half are random. The load goes to the journal without waiting for it, and counts until
//! nothing is left to be flushed or compacted. Processor time is that of the whole process,
//! background threads included; neighbours on the machine disturb it less than the clock.
//!
//! **Expected.** A record is inserted into a list of 300 000 (12 cache misses: 1 µs), flushed
//! (0.5 µs) and compacted one and a half times (0.7 µs each): 2.5 µs. A hit is one search in each
//! place there is, and one block: 1 µs. A row of a scan: 50 ns.
//!
//! ```text
//! cargo run --release -p drystone-lsm --example speed
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drystone_lsm::{Db, Keyspace, KeyspaceOptions, Options, Result};
use drystone_vfs::{Clock, OpenMode, OsClock, OsVfs, Vfs};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VALUE_BYTES: usize = 150;

/// The processor time that this process has used, in steps of 10 ms.
fn cpu() -> Duration {
    let file = OsVfs.open(Path::new("/proc/self/stat"), OpenMode::Read).expect("Linux");
    let mut buf = [0; 1024];
    let count = file.read_at(&mut buf, 0).expect("Linux");
    let text = String::from_utf8_lossy(&buf[..count]);
    // The name, in brackets, may hold spaces; user and system time are fields 14 and 15.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Record number `n`'s key: the same at every call, and nothing like its neighbour's.
fn key(n: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(n);
    let mut key = vec![0; 16 + (n % 9) as usize];
    rng.fill_bytes(&mut key);
    key
}

struct Phase {
    name: &'static str,
    clock: OsClock,
    wall: Duration,
    cpu: Duration,
}

impl Phase {
    fn begin(name: &'static str) -> Phase {
        let clock = OsClock::new();
        Phase { name, wall: clock.monotonic(), clock, cpu: cpu() }
    }

    fn end(self, ops: u64) {
        let (wall, cpu) = (self.clock.monotonic() - self.wall, cpu() - self.cpu);
        let each = |time: Duration| time.as_nanos() as f64 / 1000.0 / ops as f64;
        println!(
            "{:>12}: {:8.3} us/op of processor, {:8.3} us/op on the clock",
            self.name,
            each(cpu),
            each(wall)
        );
    }
}

fn main() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let records = number("RECORDS").unwrap_or(2_000_000);
    let dir = tempfile::tempdir_in(".").expect("a directory for the database");
    let memory = number("MEMORY_MIB").unwrap_or(1024) << 20;
    let options = Options::default().memory_bytes(memory).journal(number("JOURNAL") != Some(0));
    let db = Db::open(Arc::new(OsVfs), Arc::new(OsClock::new()), dir.path(), options)?;
    let keyspace = db.keyspace("kv", KeyspaceOptions::default())?;
    let keys: Vec<Vec<u8>> = (0..records).map(key).collect();
    load(&db, &keyspace, &keys)?;
    print(&db);
    read(&db, &keyspace, &keys)
}

fn load(db: &Db, keyspace: &Keyspace, keys: &[Vec<u8>]) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut values = vec![[b'v'; VALUE_BYTES]; 1000];
    for value in &mut values {
        rng.fill_bytes(&mut value[..VALUE_BYTES / 2]);
    }
    let clock = OsClock::new();
    let mut longest = Duration::ZERO;
    let phase = Phase::begin("load");
    let whole = Phase::begin("load, settled");
    let mut before = clock.monotonic();
    for (at, key) in keys.iter().enumerate() {
        drop(db.put(keyspace, key, &values[at % values.len()])?);
        let now = clock.monotonic();
        longest = longest.max(now - before);
        before = now;
    }
    phase.end(keys.len() as u64);
    db.flush()?;
    // The tree's own threads may be at the last one.
    while db.compact_once()? || db.stats().compacting > 0 {
        std::thread::yield_now();
    }
    whole.end(keys.len() as u64);
    println!("longest write: {longest:?}");
    Ok(())
}

fn print(db: &Db) {
    let stats = db.stats();
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    println!(
        "{:.0} MiB in {} tables; flushed {:.0} MiB, compacted {:.0} MiB in {} compactions",
        mib(stats.table_bytes),
        stats.tables,
        mib(stats.flushed_bytes),
        mib(stats.compacted_bytes),
        stats.compactions
    );
    for keyspace in &stats.keyspaces {
        println!("{}: {:?}", keyspace.name, keyspace.sublevels.len());
        for (level, stats) in keyspace.levels.iter().enumerate().filter(|(_, s)| s.tables > 0) {
            println!("  level {}: {} tables, {:.0} MiB", level + 1, stats.tables, mib(stats.bytes));
        }
    }
}

fn read(db: &Db, keyspace: &Keyspace, keys: &[Vec<u8>]) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let ops = 500_000;
    for name in ["first gets", "get hit"] {
        let phase = Phase::begin(name);
        for _ in 0..ops {
            let key = &keys[rng.random_range(0..keys.len())];
            assert!(db.get(keyspace, key)?.is_some(), "what was loaded is there");
        }
        phase.end(ops);
    }
    let absent: Vec<Vec<u8>> = (0..ops).map(|n| key(n + (1 << 40))).collect();
    let phase = Phase::begin("get miss");
    for key in &absent {
        assert!(db.get(keyspace, key)?.is_none(), "what was not loaded is not there");
    }
    phase.end(ops);
    for rows in [10, 100] {
        let scans = 20_000;
        let phase = Phase::begin(if rows == 10 { "scan 10" } else { "scan 100" });
        for _ in 0..scans {
            let start = &keys[rng.random_range(0..keys.len())];
            for record in db.range(keyspace, &start[..]..).take(rows) {
                record?;
            }
        }
        phase.end(scans);
    }
    Ok(())
}
