//! Every order in which two threads can insert into the list, and a third read it.
//!
//! Each node has a shadow cell that the model checker watches: a reader that comes to a node before
//! its writer is done with it is reported as a race. To run:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p drystone-lsm --lib --target-dir target/loom
//! ```

use loom::thread;

use super::*;

const SPACE: KeyspaceId = KeyspaceId(1);
const PREEMPTIONS_MAX: usize = 3;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

fn insert(memtable: &Memtable, key: &[u8], seq: u64) {
    memtable.insert(SPACE, key, SeqNo(seq), Kind::Put, key);
}

fn seqs(memtable: &Arc<Memtable>) -> Vec<u64> {
    let mut cursor = MemtableCursor::new(Arc::clone(memtable), SPACE);
    let mut found = Vec::new();
    cursor.first().unwrap();
    while let Some(entry) = cursor.entry() {
        assert_eq!(entry.key, entry.value, "an entry is found whole");
        found.push(entry.seq.0);
        cursor.next().unwrap();
    }
    found
}

// Two writers between the same neighbours: one exchange fails and must find its new place.
#[test]
fn two_insertions_side_by_side_are_both_there() {
    check(|| {
        let memtable = Arc::new(Memtable::new(1024, 0));
        let other = {
            let memtable = Arc::clone(&memtable);
            thread::spawn(move || insert(&memtable, b"b", 2))
        };
        insert(&memtable, b"a", 1);
        other.join().unwrap();
        assert_eq!(seqs(&memtable), [1, 2]);
    });
}

// Versions of one key stand newest first, whoever came first.
#[test]
fn two_versions_of_one_key_are_sorted() {
    check(|| {
        let memtable = Arc::new(Memtable::new(1024, 0));
        let other = {
            let memtable = Arc::clone(&memtable);
            thread::spawn(move || insert(&memtable, b"k", 2))
        };
        insert(&memtable, b"k", 1);
        other.join().unwrap();
        assert_eq!(seqs(&memtable), [2, 1]);
    });
}

// A reader sees an entry whole or not at all, and the old ones always.
#[test]
fn a_reader_beside_a_writer_sees_whole_entries() {
    check(|| {
        let memtable = Arc::new(Memtable::new(1024, 0));
        insert(&memtable, b"b", 1);
        let writer = {
            let memtable = Arc::clone(&memtable);
            thread::spawn(move || {
                insert(&memtable, b"a", 2);
                insert(&memtable, b"c", 3);
            })
        };
        let found = seqs(&memtable);
        assert!(found.contains(&1), "an old entry is always there: {found:?}");
        writer.join().unwrap();
        assert_eq!(seqs(&memtable), [2, 1, 3]);
    });
}
