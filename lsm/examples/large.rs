//! Does memory stay flat when the data is many times larger?
//!
//! **Method.** Loads `GIB` (2) of records, keys of 16 to 24 random bytes and values of 150 of which
//! half are random, with `MEMORY_MIB` (32) for the database; then reads at random, hits and misses,
//! and walks over everything once. After each phase it prints the memory of the whole process, what
//! the database says of it, and how many files are open.
//!
//! **Expected.** At 1:64 filters and fences are twice the memory given, so most of them are read
//! when they are needed. The process stays below twice the memory given and 40 MiB for all else.
//!
//! ```text
//! cargo run --release -p drystone-lsm --example large
//! ```

use std::path::Path;
use std::sync::Arc;

use drystone_lsm::{Db, Keyspace, KeyspaceOptions, Options, Result};
use drystone_vfs::{Clock, OpenMode, OsClock, OsVfs, Vfs};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VALUE_BYTES: usize = 150;
const BATCH: u64 = 100;

/// A number of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let file = OsVfs.open(Path::new("/proc/self/status"), OpenMode::Read).expect("Linux");
    let mut buf = [0; 4096];
    let count = file.read_at(&mut buf, 0).expect("Linux");
    let text = String::from_utf8_lossy(&buf[..count]).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn key(n: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(n);
    let mut key = vec![0; 16 + (n % 9) as usize];
    rng.fill_bytes(&mut key);
    key
}

struct Run {
    db: Db,
    keyspace: Keyspace,
    clock: OsClock,
    rss_max: u64,
}

impl Run {
    fn say(&self, phase: &str, started: std::time::Duration, ops: u64) {
        let wall = self.clock.monotonic() - started;
        let stats = self.db.stats();
        let rss = status("RssAnon") >> 10;
        println!(
            "{phase:>8}: {:7.2} us/op, {rss} MiB anonymous; tables {} of {} MiB, cache {} + {} of \
             {} MiB, memtables {} MiB",
            wall.as_nanos() as f64 / 1000.0 / ops as f64,
            stats.tables,
            stats.table_bytes >> 20,
            stats.cache.bytes >> 20,
            stats.cache.pinned >> 20,
            stats.cache.bytes_max >> 20,
            stats.memtable_bytes >> 20,
        );
        assert!(rss <= self.rss_max, "{rss} MiB of memory, {} were expected", self.rss_max);
    }

    fn get(&self, phase: &str, range: std::ops::Range<u64>, found: bool) -> Result<()> {
        const GETS: u64 = 100_000;
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let started = self.clock.monotonic();
        for _ in 0..GETS {
            let key = key(rng.random_range(range.clone()));
            assert_eq!(self.db.get(&self.keyspace, &key)?.is_some(), found);
        }
        self.say(phase, started, GETS);
        Ok(())
    }
}

fn main() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let records = (number("GIB").unwrap_or(2) << 30) / (VALUE_BYTES as u64 + 20);
    let memory_mib = number("MEMORY_MIB").unwrap_or(32);
    let dir = tempfile::tempdir_in(".").expect("a directory for the database");
    let options = Options::default().memory_bytes(memory_mib << 20);
    let db = Db::open(Arc::new(OsVfs), Arc::new(OsClock::new()), dir.path(), options)?;
    let keyspace = db.keyspace("kv", KeyspaceOptions::default())?;
    let run = Run { db, keyspace, clock: OsClock::new(), rss_max: 2 * memory_mib + 40 };

    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let started = run.clock.monotonic();
    let mut value = [0; VALUE_BYTES];
    for batch in 0..records / BATCH {
        let mut writes = drystone_lsm::Batch::new();
        for n in batch * BATCH..(batch + 1) * BATCH {
            rng.fill_bytes(&mut value[..VALUE_BYTES / 2]);
            writes.put(&run.keyspace, &key(n), &value);
        }
        drop(run.db.write(writes)?);
        if batch % (records / BATCH / 10) == 0 {
            run.say("loading", started, (batch + 1) * BATCH);
        }
    }
    run.say("loaded", started, records);
    let records = records / BATCH * BATCH;
    run.get("hits", 0..records, true)?;
    run.get("misses", records..2 * records, false)?;
    let started = run.clock.monotonic();
    let mut count = 0;
    for row in run.db.iter(&run.keyspace) {
        row?;
        count += 1;
    }
    assert_eq!(count, records, "a walk meets every record");
    run.say("walk", started, records);
    run.db.close()
}
