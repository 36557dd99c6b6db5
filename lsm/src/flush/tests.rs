//! What no disk can tell a flush: that a writer is still at it.

use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{MemVfs, SimClock};

use crate::batch::{Batch, Record};
use crate::config::{KeyspaceOptions, Options};
use crate::db::Db;
use crate::key::SeqNo;

/// How long a flush is given to do what it must not.
const TURNS: usize = 100_000;

// A writer has its place in the memtable and has not come to writing when the memtable is sealed
// and flushed: without the wait, what it then writes is in no table and in no memtable.
#[test]
fn a_flush_waits_for_the_last_writer() {
    for journal in [true, false] {
        let (disk, clock) = (Arc::new(MemVfs::new()), Arc::new(SimClock::new()));
        let options = Options::default().memory_bytes(64 << 10).threads(0).journal(journal);
        let db = Db::open(disk, clock, Path::new("db"), options).unwrap();
        let space = db.keyspace("left", KeyspaceOptions::default()).unwrap();
        let core = Arc::clone(db.core());
        drop(db.put(&space, b"before", b"1").unwrap());
        // A write, up to the point where it lets go of the lock.
        let mut batch = Batch::new();
        batch.put(&space, b"slow", b"2");
        let (memtable, ticket) = {
            let mut order = core.order.lock();
            assert!(order.active.reserve(batch.room()));
            order.last_seq = SeqNo(order.last_seq.0 + 1);
            batch.number(order.last_seq);
            (Arc::clone(&order.active), core.ratchet.enter(order.last_seq))
        };
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| db.flush());
            for _ in 0..TURNS {
                assert!(!flush.is_finished(), "the flush did not wait");
                std::thread::yield_now();
            }
            let record = Record::decode(batch.record()).unwrap();
            record.insert_into(&memtable, |_| true).unwrap();
            core.ratchet.report(ticket);
            flush.join().unwrap().unwrap();
        });
        assert_eq!(db.get(&space, b"slow").unwrap().unwrap(), b"2");
        assert_eq!(db.iter(&space).count(), 2);
    }
}
