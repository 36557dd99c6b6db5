//! Code that panics, or drops or forgets what it holds (scenario 46).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use drystone_lsm::{Batch, CompactionFilter, Db, MergeOperator, Options};
use drystone_vfs::{MemVfs, OsClock, SimVfs};

use crate::hurt::{contents, key, noise, open, settle};
use crate::support::{dir, keyspace, keyspace_options, options, try_open};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `act`, which must come to an end.
fn must_end<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || done.send(act()).unwrap());
    match ended.recv_timeout(PATIENCE) {
        Ok(value) => {
            thread.join().unwrap();
            value
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err());
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: somebody waits for ever"),
    }
}

/// Panics while told to.
#[derive(Debug, Default)]
struct Moody {
    panics: AtomicBool,
    met: AtomicU64,
}

impl Moody {
    fn act(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.load(Ordering::Acquire), "in a mood");
    }
}

impl MergeOperator for Moody {
    fn merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Vec<u8> {
        self.act();
        crate::support::concat(base, operands)
    }
}

impl CompactionFilter for Moody {
    fn keep(&self, _key: &[u8], _value: &[u8]) -> bool {
        self.act();
        true
    }
}

// Scenario 46: the operator or the filter that the user gave panics, in a read, in a flush, in a
// compaction that the user called. The call panics; the database goes on, and so does the next call.
#[test]
fn a_panicking_operator_harms_the_call_alone() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let moody = Arc::new(Moody::default());
    let given = keyspace_options().merge(Arc::clone(&moody) as _).filter(Arc::clone(&moody) as _);
    let left = db.keyspace("left", given.clone()).unwrap();
    for round in 0..6 {
        for n in 0..20 {
            drop(db.put(&left, &key(n), &noise(n + round, 60)).unwrap());
            let mut batch = Batch::new();
            batch.merge(&left, &key(n), b"+");
            drop(db.write(batch).unwrap());
        }
        moody.panics.store(true, Ordering::Release);
        assert!(catch_unwind(AssertUnwindSafe(|| db.get(&left, &key(1)))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| db.iter(&left).count())).is_err());
        let flushed = catch_unwind(AssertUnwindSafe(|| db.flush()));
        let compacted = catch_unwind(AssertUnwindSafe(|| db.compact(Duration::MAX)));
        assert!(flushed.is_err() || compacted.is_err(), "the operator was asked");
        moody.panics.store(false, Ordering::Release);
        assert_eq!(db.iter(&left).count(), 20);
        db.flush().unwrap();
        db.compact(Duration::MAX).unwrap();
        let stats = db.stats();
        assert!(
            stats.tables <= 2,
            "the tables of the panicked call are claimed for ever: {stats:?}"
        );
    }
    let expected = contents_with(&db, &given);
    db.verify().unwrap();
    db.close().unwrap();
    let db = open(&disk.crash());
    assert_eq!(contents_with(&db, &given), expected);
}

fn contents_with(db: &Db, given: &drystone_lsm::KeyspaceOptions) -> crate::hurt::Records {
    let left = db.keyspace("left", given.clone()).unwrap();
    let records = db.iter(&left).map(|record| record.unwrap());
    records.map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

// Scenario 46: the filter panics on a thread of the database's own. Whoever writes, flushes or closes
// is served or told; nobody waits for a thread that is dead.
#[test]
fn a_panic_in_the_background_stops_nobody_for_ever() {
    for threads in [1, 2] {
        must_end(&format!("{threads} threads"), move || {
            let options = Options::default().memory_bytes(256 << 10).threads(threads);
            let disk = Arc::new(MemVfs::new());
            let db = Db::open(disk, Arc::new(OsClock::new()), &dir(), options).unwrap();
            let moody = Arc::new(Moody::default());
            moody.panics.store(true, Ordering::Release);
            let given = keyspace_options().filter(Arc::clone(&moody) as _);
            let left = db.keyspace("left", given).unwrap();
            let mut refused = 0;
            for n in 0..6000 {
                refused += u32::from(db.put(&left, &key(n % 300), &noise(n, 300)).is_err());
                if refused > 20 {
                    break;
                }
            }
            assert!(moody.met.load(Ordering::Relaxed) > 0, "no compaction came to the filter");
            drop(db.flush());
            assert_eq!(db.iter(&left).count(), 300);
            moody.panics.store(false, Ordering::Release);
            drop(db.put(&left, &key(1), b"later"));
            drop(db.flush());
            drop(db.close());
        });
    }
}

// Scenario 46: commits, batches, iterators and snapshots that are dropped halfway, in any order, leave
// nothing behind.
#[test]
fn what_is_dropped_halfway_leaves_nothing() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    for n in 0..60 {
        // Nobody waits for the commit.
        drop(db.put(&left, &key(n), &noise(n, 200)).unwrap());
    }
    settle(&db);
    for n in 0..40 {
        let snapshot = db.snapshot();
        let mut range = snapshot.iter(&left);
        let mut cursor = snapshot.cursor(&left);
        if n % 2 == 0 {
            drop(snapshot);
        }
        drop((range.next(), range.next_back(), cursor.seek(&key(n))));
        let mut batch = Batch::new();
        batch.put(&left, b"never written", b"v");
        drop(batch);
        if n % 3 == 0 {
            drop(cursor);
            drop(range);
        }
        drop(db.put(&left, &key(n), &noise(n + 100, 200)).unwrap());
    }
    assert_eq!(db.stats().snapshots, 0, "a dropped snapshot counts on");
    settle(&db);
    db.compact(Duration::MAX).unwrap();
    let tables = db.stats().tables;
    drop(db);
    assert_eq!(
        crate::hurt::tables(&disk).len() as u64,
        tables,
        "tables that nobody needs are there"
    );
    assert_eq!(contents(&open(&disk.crash()), "left").len(), 60);
}

// Scenario 46: a snapshot is forgotten. It pins old versions and nothing else; the statistics show it,
// and its age; and the next opening is rid of it.
#[test]
fn a_forgotten_snapshot_shows_in_the_statistics() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    drop(db.put(&left, &key(1), b"old").unwrap());
    std::mem::forget(db.snapshot());
    std::mem::forget(db.snapshot().iter(&left));
    for n in 0..300 {
        drop(db.put(&left, &key(n % 10), &noise(n, 100)).unwrap());
    }
    settle(&db);
    db.compact(Duration::MAX).unwrap();
    let stats = db.stats();
    assert_eq!(stats.snapshots, 2);
    assert!(stats.oldest_snapshot.is_some());
    // What they pin is one version more a key, however often it was written.
    assert!(stats.table_bytes < 12_000, "{} bytes are pinned", stats.table_bytes);
    db.persist().unwrap();
    drop((left, db));
    let db = try_open(&disk.crash(), options()).unwrap();
    assert_eq!(db.stats().snapshots, 0);
    db.compact(Duration::MAX).unwrap();
    assert!(db.get(&keyspace(&db, "left"), &key(1)).unwrap().is_some());
}

// Scenario 46: the last handle goes while a snapshot, a range and a commit live on.
#[test]
fn what_outlives_the_database_goes_on_or_says_why_not() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    for n in 0..60 {
        drop(db.put(&left, &key(n), &noise(n, 200)).unwrap());
    }
    let commit = db.put(&left, &key(60), b"last").unwrap();
    let snapshot = db.snapshot();
    let range = snapshot.iter(&left);
    drop(db);
    commit.wait().unwrap();
    assert_eq!(range.map(|record| record.unwrap()).count(), 61);
    assert!(snapshot.get(&left, &key(60)).unwrap().is_some());
    let copy = disk.crash();
    assert_eq!(contents(&open(&copy), "left").len(), 61);
}
