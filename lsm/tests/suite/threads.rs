//! Many threads at once, with the tree's own threads at work: what one schedule cannot show.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use drystone_lsm::{Batch, CompactionFilter, Db, KeyspaceOptions, Options, Policy};
use drystone_vfs::{Fault, Harm, MemVfs, Op, OsClock, SimVfs, Vfs};

use crate::hurt::noise;
use crate::support::dir;

const WRITERS: u64 = 4;
const BATCHES: u64 = 1500;

fn open(disk: Arc<dyn Vfs>, options: Options) -> Db {
    Db::open(disk, Arc::new(OsClock::new()), &dir(), options).unwrap()
}

fn options() -> Options {
    Options::default().memory_bytes(1 << 20).threads(2)
}

/// Every batch of a writer sets its counter in both keyspaces: no reader may ever see them differ,
/// nor go back.
fn hammer(journal: bool) {
    let disk = Arc::new(MemVfs::new());
    let db = open(disk.clone(), options().journal(journal));
    let left = db.keyspace("left", KeyspaceOptions::default()).unwrap();
    let right = db.keyspace("right", KeyspaceOptions::default()).unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (db, left, right, done) = (&db, &left, &right, &done);
            scope.spawn(move || {
                for i in 1..=BATCHES {
                    let mut batch = Batch::new();
                    batch.put(left, &writer.to_be_bytes(), &i.to_be_bytes());
                    batch.put(right, &writer.to_be_bytes(), &i.to_be_bytes());
                    let own = [writer.to_be_bytes(), i.to_be_bytes()].concat();
                    batch.put(left, &own, &vec![i as u8; 300]);
                    let commit = db.write(batch).unwrap();
                    let found = db.get(left, &own).unwrap();
                    assert!(found.is_some_and(|value| value.len() == 300), "visible on return");
                    if i % 100 == 0 {
                        commit.wait().unwrap();
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut before = [0; WRITERS as usize];
                while done.load(Ordering::Relaxed) < WRITERS {
                    let snapshot = db.snapshot();
                    for writer in 0..WRITERS {
                        let read = |keyspace| {
                            let found = snapshot.get(keyspace, &writer.to_be_bytes()).unwrap();
                            found.map_or(0, |v| u64::from_be_bytes((&*v).try_into().unwrap()))
                        };
                        let (a, b) = (read(&left), read(&right));
                        assert_eq!(a, b, "a batch was seen in part");
                        assert!(before[writer as usize] <= a, "a write was seen and then was not");
                        before[writer as usize] = a;
                    }
                }
            });
        }
    });
    db.persist().unwrap();
    db.verify().unwrap();
    db.close().unwrap();
    let db = open(disk, options().threads(0));
    let left = db.keyspace("left", KeyspaceOptions::default()).unwrap();
    assert_eq!(db.iter(&left).count() as u64, WRITERS * (BATCHES + 1));
}

// A batch in part, a write that shows and hides again, an entry lost between memtable and table:
// each would be seen here.
#[test]
fn readers_see_whole_batches_while_all_threads_are_at_work() {
    hammer(true);
    hammer(false);
}

// Scenario 37. A flush that fails for ever must neither hang writers nor keep a processor busy, and
// reads go on.
#[test]
fn a_flush_that_fails_for_ever_ends_in_an_error_for_writers() {
    let disk = SimVfs::new(3);
    let options = Options::default().memory_bytes(256 << 10).threads(2).journal(false);
    let db = open(Arc::new(disk.clone()), options);
    let keyspace = db.keyspace("kv", KeyspaceOptions::default()).unwrap();
    disk.fail(Fault::new(Op::Sync, Harm::Error).forever());
    let mut written: u32 = 0;
    let error = loop {
        match db.put(&keyspace, &written.to_be_bytes(), &[7; 500]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100_000, "memory is bounded");
    };
    assert!(matches!(error, drystone_lsm::Error::Io { .. }), "{error}");
    assert!(db.background_error().is_some());
    assert_eq!(db.iter(&keyspace).count(), written as usize, "reads go on");
    let before = disk.counts();
    // A second refusal takes the time of many retries, if retries were made without a pause.
    assert!(db.put(&keyspace, b"more", &[7; 500]).is_err());
    let calls = disk.counts().changes() - before.changes();
    assert!(calls < 1000, "{calls} calls to a disk that fails: a busy loop");
    disk.heal();
    while db.put(&keyspace, b"healed", b"yes").is_err() {}
    db.flush().unwrap();
    db.verify().unwrap();
    assert_eq!(db.iter(&keyspace).count(), written as usize + 1);
}

// Snapshots are taken and dropped while compactions decide what may go.
#[test]
fn snapshots_hold_while_the_tree_is_rewritten() {
    let db = open(Arc::new(MemVfs::new()), options().memory_bytes(256 << 10).journal(false));
    let keyspace = db.keyspace("kv", KeyspaceOptions::default()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One generation after another of the same keys.
            for generation in 0..60_u32 {
                let mut batch = Batch::new();
                for key in 0..200_u32 {
                    batch.put(&keyspace, &key.to_be_bytes(), &generation.to_be_bytes().repeat(20));
                }
                drop(db.write(batch).unwrap());
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let snapshot = db.snapshot();
            let read = || -> Vec<Vec<u8>> {
                snapshot.iter(&keyspace).map(|record| record.unwrap().1.to_vec()).collect()
            };
            let first = read();
            assert!(first.windows(2).all(|pair| pair[0] == pair[1]), "one generation");
            assert!(first.is_empty() || first.len() == 200);
            assert!(read() == first, "a snapshot never changes");
        }
    });
}

/// Keeps everything, once two threads have come by; or after a long while.
#[derive(Default)]
struct Meeting {
    threads: Mutex<HashSet<std::thread::ThreadId>>,
    met: Condvar,
    missed: AtomicBool,
}

impl CompactionFilter for Meeting {
    fn keep(&self, _: &[u8], _: &[u8]) -> bool {
        let mut threads = self.threads.lock().unwrap();
        if threads.insert(std::thread::current().id()) && threads.len() < 2 {
            let long = std::time::Duration::from_secs(30);
            let waited = self.met.wait_timeout_while(threads, long, |threads| threads.len() < 2);
            let (threads, waited) = waited.unwrap();
            drop(threads);
            self.missed.store(waited.timed_out(), Ordering::Relaxed);
        } else {
            self.met.notify_all();
        }
        true
    }
}

// A large compaction is not one thread's alone, while another has nothing to do: the first waits
// here until a second is at it.
#[test]
fn an_idle_thread_helps_with_a_compaction() {
    let db = open(Arc::new(MemVfs::new()), options().memory_bytes(64 << 10).journal(false));
    let meeting = Arc::new(Meeting::default());
    // Of so few runs none is merged before it is asked for.
    let filtered = KeyspaceOptions::default().policy(Policy::Tiered).filter(meeting.clone());
    let keyspace = db.keyspace("kv", filtered).unwrap();
    for round in 0..3_u32 {
        let mut batch = Batch::new();
        for key in 0..200_u32 {
            batch.put(&keyspace, &key.to_be_bytes(), &noise(u64::from(200 * round + key), 120));
        }
        drop(db.write(batch).unwrap());
        db.flush().unwrap();
    }
    while db.compact(std::time::Duration::MAX).unwrap() == drystone_lsm::Progress::More {}
    assert!(!meeting.missed.load(Ordering::Relaxed), "nobody came to help");
    assert!(meeting.threads.lock().unwrap().len() >= 2, "there was something to do");
    assert_eq!(db.iter(&keyspace).count(), 200);
    db.verify().unwrap();
}
