//! One file under the spare's name, and one thread that touches it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use drystone_vfs::{Call, Fault, Harm, MemVfs, Op, SimVfs, Tap, TapVfs};

use super::*;

const CAPACITY: u64 = 16 << 10;
const WANT: Want = Want { capacity: CAPACITY, ground: Ground::Zeros };

/// What is known of a disk whose syncs wait while it is held.
#[derive(Debug, Default)]
struct Shared {
    held: AtomicBool,
    waiting: AtomicU64,
    opened_meanwhile: AtomicU64,
}

impl Tap for Shared {
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        match call {
            Call::Open { .. } if self.waiting.load(Ordering::SeqCst) > 0 => {
                self.opened_meanwhile.fetch_add(1, Ordering::SeqCst);
            }
            Call::SyncData { .. } => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                while self.held.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
        go()
    }
}

fn spares() -> (Arc<Spares>, MemVfs, Arc<Shared>) {
    let (disk, shared) = (MemVfs::new(), Arc::<Shared>::default());
    disk.create_dir_all(Path::new("log")).unwrap();
    let held = Arc::new(TapVfs::sharing(Arc::new(disk.clone()), shared.clone()));
    (Arc::new(Spares::new(held, Path::new("log"), true)), disk, shared)
}

// Room is dear: nobody may begin a file for later, nor move one there.
#[test]
fn thrifty_ones_make_and_keep_nothing_ahead() {
    let (spares, disk, _) = spares();
    spares.be_thrifty(true);
    spares.want(WANT);
    assert!(matches!(spares.state.lock().place, Place::Empty), "nobody is asked for one");
    assert!(!spares.claim(), "nor is one kept");
    assert_eq!(disk.list(Path::new("log")).unwrap(), Vec::<std::ffi::OsString>::new());
    let spare = spares.take(WANT).unwrap();
    assert_eq!(spare.capacity, CAPACITY, "who needs one gets it");
    spares.be_thrifty(false);
    assert!(spares.claim());
    spares.settle(None);
}

// Two files under one name, one after the other: records would go to the one, the name to the
// other, and a crash would show which was which. Found by 64 threads, once in some ten thousand
// lives.
#[test]
fn a_file_that_is_being_moved_in_is_not_replaced_by_one_that_is_being_made() {
    let (spares, disk, _) = spares();
    spares.want(WANT);
    assert!(spares.claim(), "nobody has begun to make one");
    assert!(!spares.claim(), "and now it is taken");
    thread::scope(|scope| {
        scope.spawn(|| spares.prepare());
        let old = PathBuf::from("log/old");
        let file = disk.open(&old, OpenMode::Create).unwrap();
        file.write_at(&[IoSlice::new(&[7; CAPACITY as usize])], 0).unwrap();
        for _ in 0..1000 {
            thread::yield_now();
            let made = disk.open(&spares.path, OpenMode::Read);
            assert!(made.is_err(), "one was made in a place that was claimed");
        }
        disk.rename(&old, &spares.path).unwrap();
        spares.settle(Some(Spare { file, capacity: CAPACITY, filled: CAPACITY }));
        let taken = spares.take(WANT).unwrap();
        taken.file.write_at(&[IoSlice::new(b"mine")], 0).unwrap();
        let mut named = [0; 4];
        disk.open(&spares.path, OpenMode::Read).unwrap().read_exact_at(&mut named, 0).unwrap();
        assert_eq!(&named, b"mine", "the file taken is the one with the name");
        spares.stop();
    });
}

// A thread that is told to stop goes on filling its file with zeros for a while. Whoever took the
// file meanwhile would lose what it wrote there.
#[test]
fn a_spare_is_not_taken_while_it_is_being_filled_stopped_or_not() {
    let (spares, _disk, shared) = spares();
    shared.held.store(true, Ordering::SeqCst);
    spares.want(WANT);
    thread::scope(|scope| {
        scope.spawn(|| spares.prepare());
        while shared.waiting.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        spares.stop();
        let shared = Arc::clone(&shared);
        scope.spawn(move || {
            for _ in 0..10_000 {
                thread::yield_now();
            }
            shared.held.store(false, Ordering::SeqCst);
        });
        let taken = spares.take(WANT).unwrap();
        assert_eq!(taken.capacity, CAPACITY);
    });
    assert_eq!(shared.opened_meanwhile.load(Ordering::SeqCst), 0, "it was taken from its maker");
}

// A place that was claimed in vain is free again.
#[test]
fn a_claim_that_comes_to_nothing_is_given_back() {
    let (spares, disk, _) = spares();
    assert!(spares.claim());
    spares.settle(None);
    assert!(spares.claim());
    spares.settle(None);
    assert_eq!(spares.take(WANT).unwrap().capacity, CAPACITY);
    assert!(disk.open(&spares.path, OpenMode::Read).is_ok());
    spares.stop();
    assert!(!spares.claim(), "what is closed takes nothing in");
}

// A file that was given up halfway, or that is a hole, is not taken for one that has its blocks:
// the room for marks would be a promise that nobody can keep.
#[test]
fn what_is_said_to_be_filled_is_filled() {
    let disk = SimVfs::new(1);
    disk.create_dir_all("log".as_ref()).unwrap();
    let spares = Spares::new(Arc::new(disk.clone()), "log".as_ref(), false);
    let take = |capacity, ground| spares.take(Want { capacity, ground });
    let is_honest = |spare: &Spare, capacity| {
        assert_eq!((spare.capacity, spare.file.len().unwrap()), (capacity, capacity));
        assert_eq!(spare.filled, spare.file.allocated().unwrap());
    };
    for op in [Op::Write, Op::Sync, Op::SetLen] {
        disk.fail(Fault::new(op, Harm::NoSpace));
        let failed = take(CAPACITY, Ground::Zeros).is_err();
        disk.heal();
        assert!(failed || op == Op::SetLen, "a new file needs no cutting");
        is_honest(&take(CAPACITY, Ground::Hole).unwrap(), CAPACITY);
        is_honest(&take(2 * CAPACITY, Ground::Zeros).unwrap(), 2 * CAPACITY);
    }
    // One that lies ready and is too small.
    let small = take(CAPACITY, Ground::Hole).unwrap();
    assert!(spares.claim());
    spares.settle(Some(small));
    is_honest(&take(2 * CAPACITY, Ground::Zeros).unwrap(), 2 * CAPACITY);
    let large = take(2 * CAPACITY, Ground::Hole).unwrap();
    assert!(spares.claim());
    spares.settle(Some(large));
    is_honest(&take(CAPACITY, Ground::Zeros).unwrap(), 2 * CAPACITY);
}
