//! What does it bring to cut a compaction into parts?
//!
//! **Method.** Release build, a real disk. The same records (`RECORDS=n`, one million), keys of 16
//! bytes in random order, values of 150 bytes of which half are random, are written into tables of
//! level 0, and nothing is compacted. Then the database is opened with one thread and, in another
//! copy, with two, and nobody does anything: the time counts until no compaction is under way. Of
//! two threads the first takes no compaction by itself, only parts of the other's: what two gain
//! over one, the parts have gained. `ROUNDS=n` times, three if not said, in turns.
//!
//! **Expected.** Parts are independent but for the disk, so two threads on two processors take
//! half as long, but for a last part that one of them does alone: with eight of them, at most an
//! eighth more. With less than three tables' bytes to a compaction there is one part, and no gain.
//!
//! ```text
//! cargo run --release -p drystone-lsm --example parts_speed
//! ```

use std::path::Path;
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

use drystone_lsm::{Batch, Db, KeyspaceOptions, Options, Result};
use drystone_vfs::{Clock, OsClock, OsVfs};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BATCH: u64 = 1000;
/// How often to look, and how often nothing must be seen to be under way: a thread that has ended
/// a compaction may be about to begin another.
const LOOK: Duration = Duration::from_millis(2);
const QUIET: u32 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn open(dir: &Path, threads: usize) -> Result<Db> {
    // Small tables: enough of them for parts, in a database that is made in seconds.
    let options = Options::default().memory_bytes(64 << 20).journal(false).threads(threads);
    Db::open(Arc::new(OsVfs), Arc::new(OsClock::new()), dir, options)
}

/// Level 0 with all records.
fn load(dir: &Path, records: u64) -> Result<()> {
    let db = open(dir, 0)?;
    let keyspace = db.keyspace("kv", KeyspaceOptions::default())?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..records / BATCH {
        let mut batch = Batch::new();
        for _ in 0..BATCH {
            let (mut key, mut value) = ([0; 16], [b'.'; 150]);
            rng.fill_bytes(&mut key);
            rng.fill_bytes(&mut value[..75]);
            batch.put(&keyspace, &key, &value);
        }
        drop(db.write(batch)?);
    }
    db.flush()?;
    db.close()
}

/// How long `threads` take until nothing is left to be compacted, and how much they have written.
fn settle(dir: &Path, threads: usize) -> Result<(Duration, u64)> {
    let clock = OsClock::new();
    let db = open(dir, threads)?;
    let begin = clock.monotonic();
    let (mut busy, mut quiet) = (begin, 0);
    while quiet < QUIET {
        park_timeout(LOOK);
        quiet += 1;
        if db.stats().compacting > 0 {
            (busy, quiet) = (clock.monotonic(), 0);
        }
    }
    let written = db.stats().compacted_bytes;
    db.close()?;
    Ok((busy - begin, written))
}

fn main() -> Result<()> {
    let records = number("RECORDS").unwrap_or(1_000_000);
    for round in 0..number("ROUNDS").unwrap_or(3) {
        for turn in 0..2 {
            let threads = 1 + ((round + turn) % 2) as usize;
            let dir = tempfile::tempdir_in(".").expect("a directory for the database");
            load(dir.path(), records)?;
            let (time, written) = settle(dir.path(), threads)?;
            let mib = written as f64 / (1 << 20) as f64;
            let pace = mib / time.as_secs_f64();
            println!("{threads} thread(s): {time:8.3?} for {mib:.0} MiB written, {pace:.0} MiB/s");
        }
    }
    Ok(())
}
