//! Many threads, one disk: they share syncs, and each is woken once.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use drystone_vfs::{MemVfs, OpenMode, OsVfs, Vfs};
use drystone_wal::{Commit, Lsn, Options, Result, Wal};

use crate::gate::Gate;
use crate::support::put;

/// A log over a gated memory disk, with one append held up in its sync.
pub(crate) fn held_up() -> (Gate, Wal, Commit) {
    let gate = Gate::over(MemVfs::new());
    let (wal, _) = Wal::open(gate.disk.clone(), Path::new("log"), Options::default()).unwrap();
    gate.set_shut(true);
    let first = wal.append(&[b"first"]).unwrap();
    gate.wait_for_sync();
    (gate, wal, first)
}

// The heart of group commit: what arrives during one sync shares the next.
#[test]
fn all_that_arrives_during_one_sync_shares_the_next() {
    let (gate, wal, first) = held_up();
    let before = gate.syncs();
    let commits: Vec<Commit> = (0..16_u8).map(|i| wal.append(&[&[i]]).unwrap()).collect();
    assert!(first.try_wait().is_none() && commits[0].try_wait().is_none());
    std::thread::scope(|scope| {
        for commit in &commits {
            scope.spawn(|| assert_eq!(commit.wait().unwrap(), Lsn(17)));
        }
        gate.set_shut(false);
    });
    assert_eq!(gate.syncs() - before, 2, "one for the first, one for all the others");
}

// The same without the gate, on the real disk: sharing happens by itself.
#[test]
fn sixteen_threads_need_fewer_syncs_than_appends() {
    let temp = tempfile::tempdir().unwrap();
    let gate = Gate::over(OsVfs::new());
    let (wal, _) = Wal::open(gate.disk.clone(), temp.path(), Options::default()).unwrap();
    let before = gate.syncs();
    std::thread::scope(|scope| {
        for i in 0..16_u8 {
            let wal = wal.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    let commit = wal.append(&[&[i; 180]]).unwrap();
                    assert!(commit.wait().unwrap() >= commit.lsn());
                }
            });
        }
    });
    let syncs = gate.syncs() - before;
    assert!(syncs < 800 / 2, "{syncs} syncs for 800 appends");
    assert_eq!(wal.durable(), Lsn(800));
    println!("{syncs} syncs for 800 appends");
}

#[derive(Default)]
struct CountWakes(AtomicU64);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// A task woken for every sync but its own would make group commit quadratic; one polled often must
// not queue up wakers.
#[test]
fn an_awaited_commit_is_woken_once_however_often_it_is_polled() {
    let (gate, wal, first) = held_up();
    let mut second = pin!(wal.append(&[b"second"]).unwrap());
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    for _ in 0..10 {
        assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    gate.set_shut(false);
    first.wait().unwrap();
    wal.wait_durable(Lsn(2)).unwrap();
    wal.append(&[b"third"]).unwrap().wait().unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    let outcome = second.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(outcome, Poll::Ready(Ok(lsn)) if lsn >= Lsn(2)));
}

// No runtime is needed, and any will do: this one is nine lines.
#[test]
fn a_commit_can_be_awaited_without_a_runtime() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }
    for writer in [drystone_wal::Writer::Thread, drystone_wal::Writer::Caller] {
        let options = Options::default().writer(writer);
        let (wal, _) = Wal::open(Arc::new(MemVfs::new()), Path::new("log"), options).unwrap();
        let last: Result<Lsn> = block_on(async {
            wal.append(&[b"one"])?.await?;
            wal.append(&[b"two", b"three"])?.await
        });
        assert_eq!(last.unwrap(), Lsn(3));
    }
}

// How a store applies its log: wait for more to be durable, read it, again. Through rotations, and
// with the prefix being let go of behind the follower.
#[test]
fn a_follower_sees_every_record_once_and_in_order() {
    const COUNT: u64 = 3000;
    let options = Options::default().segment_bytes(32 << 10).buffer_bytes_max(4 << 10);
    let (wal, _) = Wal::open(Arc::new(MemVfs::new()), Path::new("log"), options).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let wal = wal.clone();
            scope.spawn(move || {
                for _ in 0..COUNT / 3 {
                    drop(wal.append(&[&[7; 100]]).unwrap());
                }
            });
        }
        let mut seen = 0;
        let mut iter = wal.iter(Lsn(1));
        while seen < COUNT {
            wal.wait_durable(Lsn(seen + 1)).unwrap();
            for record in iter.by_ref() {
                let (lsn, payload) = record.unwrap();
                assert_eq!((lsn.0, payload.len()), (seen + 1, 100));
                seen = lsn.0;
            }
            wal.truncate_prefix(Lsn(seen)).unwrap();
        }
    });
    assert!(wal.bytes() < COUNT * 116, "the prefix went");
}

// Backpressure: memory for waiting records is two buffers, however fast the appenders are.
#[test]
fn appenders_block_while_the_buffer_is_full_and_go_on_after() {
    let gate = Gate::over(MemVfs::new());
    let options = Options::default().buffer_bytes_max(1024);
    let (wal, _) = Wal::open(gate.disk.clone(), Path::new("log"), options).unwrap();
    gate.set_shut(true);
    drop(wal.append(&[&[0; 900]]).unwrap());
    gate.wait_for_sync();
    drop(wal.append(&[&[1; 900]]).unwrap());
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(wal.append(&[&[2; 900]]).unwrap());
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(wal.next_lsn(), Lsn(3));
        assert_eq!(done.load(Ordering::SeqCst), 0, "the third has no room");
        gate.set_shut(false);
    });
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(wal.wait_durable(Lsn(3)).unwrap(), Lsn(3));
}

// The next segment is made ahead: when the log gets there, a rename is all it takes.
#[test]
fn segments_are_prepared_ahead() {
    let gate = Gate::over(MemVfs::new());
    let options = Options::default().segment_bytes(16 << 10);
    let (wal, _) = Wal::open(gate.disk.clone(), Path::new("log"), options).unwrap();
    for _ in 0..7 {
        put(&wal, &[7; 1000]);
    }
    let spare = Path::new("log/spare.tmp");
    while gate.disk.open(spare, OpenMode::Read).and_then(|file| file.len()).unwrap_or(0) < 16 << 10
    {
        std::thread::yield_now();
    }
    for _ in 0..7 {
        put(&wal, &[7; 1000]);
    }
    assert!(gate.disk.open(Path::new("log/0000000000000002.wal"), OpenMode::Read).is_ok());
}
