//! One file under the spare's name, and one thread that touches it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use drystone_vfs::{Lock, MemVfs};

use super::*;

const CAPACITY: u64 = 16 << 10;

/// A disk whose syncs wait while it is held, and which counts the files opened meanwhile.
#[derive(Debug, Default)]
struct Held {
    disk: MemVfs,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    held: AtomicBool,
    waiting: AtomicU64,
    opened_meanwhile: AtomicU64,
}

#[derive(Debug)]
struct HeldFile {
    file: Arc<dyn File>,
    shared: Arc<Shared>,
}

impl Vfs for Held {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if self.shared.waiting.load(Ordering::SeqCst) > 0 {
            self.shared.opened_meanwhile.fetch_add(1, Ordering::SeqCst);
        }
        let (file, shared) = (self.disk.open(path, mode)?, Arc::clone(&self.shared));
        Ok(Arc::new(HeldFile { file, shared }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock(path)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock_shared(path)
    }
}

impl File for HeldFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_at(bufs, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        while self.shared.held.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

fn spares() -> (Arc<Spares>, MemVfs, Arc<Shared>) {
    let held = Held::default();
    let (disk, shared) = (held.disk.clone(), Arc::clone(&held.shared));
    disk.create_dir_all(Path::new("log")).unwrap();
    (Arc::new(Spares::new(Arc::new(held), Path::new("log"), true)), disk, shared)
}

// Two files under one name, one after the other: records would go to the one, the name to the
// other, and a crash would show which was which. Found by 64 threads, once in some ten thousand
// lives.
#[test]
fn a_file_that_is_being_moved_in_is_not_replaced_by_one_that_is_being_made() {
    let (spares, disk, _) = spares();
    spares.want(CAPACITY);
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
        spares.settle(Some(Spare { file, capacity: CAPACITY }));
        let taken = spares.take(CAPACITY).unwrap();
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
    spares.want(CAPACITY);
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
        let taken = spares.take(CAPACITY).unwrap();
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
    assert_eq!(spares.take(CAPACITY).unwrap().capacity, CAPACITY);
    assert!(disk.open(&spares.path, OpenMode::Read).is_ok());
    spares.stop();
    assert!(!spares.claim(), "what is closed takes nothing in");
}
