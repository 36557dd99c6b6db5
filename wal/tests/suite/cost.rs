//! What an append costs in memory: nothing.
//!
//! Buffers, lists of waiters and the group under way keep their memory from one turn to the next.
//! What grows with the log is one entry of a segment's sparse index for each 64 KiB of frames. The
//! counts are those of the thread that appends, waits and thereby also writes.

use std::sync::Arc;
use std::task::{Context, Waker};

use allocation_counter::measure;
use drystone_vfs::OsVfs;
use drystone_wal::{Options, Wal};

const APPENDS: u64 = 2000;
/// Doublings of the index's list.
const GROWTHS_MAX: u64 = 3;

fn warm() -> (tempfile::TempDir, Wal) {
    let dir = tempfile::tempdir().unwrap();
    let vfs = Arc::new(OsVfs::new());
    let (wal, _) = Wal::open(vfs, dir.path(), Options::default()).unwrap();
    for _ in 0..10 {
        wal.append(&[&[7; 180][..]; 20]).unwrap().wait().unwrap();
    }
    (dir, wal)
}

// An allocator shared by many threads is a lock shared by many threads.
#[test]
fn an_append_that_waits_allocates_nothing() {
    let (_dir, wal) = warm();
    let used = measure(|| {
        for _ in 0..APPENDS {
            wal.append(&[&[7; 180]]).unwrap().wait().unwrap();
        }
    });
    let count = used.count_total;
    assert!(count <= GROWTHS_MAX, "{count} allocations in {APPENDS} appends");
}

// The same for the asynchronous face, whose waiters are wakers in a list.
#[test]
fn an_append_that_is_polled_allocates_nothing() {
    let (_dir, wal) = warm();
    let round = |count: u64| {
        for _ in 0..count {
            let mut commit = std::pin::pin!(wal.append(&[&[7; 180]]).unwrap());
            let mut context = Context::from_waker(Waker::noop());
            while commit.as_mut().poll(&mut context).is_pending() {
                std::thread::yield_now();
            }
        }
    };
    round(100);
    let count = measure(|| round(APPENDS)).count_total;
    assert!(count <= GROWTHS_MAX, "{count} allocations in {APPENDS} appends");
}
