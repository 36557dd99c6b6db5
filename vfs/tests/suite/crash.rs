//! The hostile disk: what a crash may do, and the little it may not.
//!
//! Claims of the form "this can happen" are searched for over seeds, so that a disk grown too kind
//! fails here rather than letting engines pass.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use drystone_vfs::{Fault, File, Harm, Op, OpenMode, SimVfs, Vfs};

pub(crate) const SEEDS: u64 = 400;

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/db")
}

pub(crate) fn disk() -> SimVfs {
    let disk = SimVfs::new(1);
    disk.create_dir_all(&dir()).unwrap();
    disk
}

pub(crate) fn write(file: &dyn File, bytes: &[u8], at: u64) {
    file.write_at(&[IoSlice::new(bytes)], at).unwrap();
}

pub(crate) fn content(disk: &SimVfs, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// A file whose name and bytes are durable.
pub(crate) fn durable(disk: &SimVfs, path: &Path, bytes: &[u8]) -> std::sync::Arc<dyn File> {
    let file = disk.open(path, OpenMode::Create).unwrap();
    write(&*file, bytes, 0);
    file.sync_data().unwrap();
    disk.sync_dir(&dir()).unwrap();
    file
}

// The whole of durability: bytes synced, name synced, nothing written over them since.
#[test]
fn what_was_synced_survives_every_crash() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[7; 1500]);
    write(&*file, &[8; 2000], 1500);
    for seed in 0..SEEDS {
        let found = content(&disk.crash_copy(seed), &path).unwrap();
        assert_eq!(&found[..1500], [7; 1500], "seed {seed}: a synced byte in a shared sector");
    }
}

// Each of these has been seen on real disks; a log must be ready for all of them.
#[test]
fn an_unsynced_write_can_be_lost_torn_zeroed_or_garbled() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 4 * 512]);
    write(&*file, &[2; 4 * 512], 0);
    let mut seen = [false; 6];
    for seed in 0..SEEDS {
        let found = content(&disk.crash_copy(seed), &path).unwrap();
        let whole = |byte: u8| found.chunks(512).filter(|s| s.iter().all(|b| *b == byte)).count();
        seen[0] |= whole(2) == 4;
        seen[1] |= whole(1) == 4;
        seen[2] |= found[..512] == [1; 512] && found[512..1024] == [2; 512];
        seen[3] |= whole(0) > 0;
        seen[4] |= found.iter().any(|b| *b > 2);
        seen[5] |= found.chunks(512).any(|s| s[0] == 2 && s[511] == 1);
    }
    assert_eq!(seen, [true; 6], "new, old, reordered, zeros, garbage, torn within a sector");
}

// Written twice without a sync: the first writing may have reached the disk, the second not.
#[test]
fn an_older_unsynced_version_can_surface() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 512]);
    write(&*file, &[2; 512], 0);
    write(&*file, &[3; 512], 0);
    let found = |byte: u8| {
        (0..SEEDS).any(|seed| content(&disk.crash_copy(seed), &path).unwrap() == [byte; 512])
    };
    assert!(found(1) && found(2) && found(3));
}

// The length is metadata with a will of its own: longer than the data, or shorter.
#[test]
fn length_and_bytes_are_lost_apart() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, b"");
    write(&*file, &[5; 1024], 0);
    let found: Vec<Vec<u8>> =
        (0..SEEDS).map(|seed| content(&disk.crash_copy(seed), &path).unwrap()).collect();
    assert!(found.iter().any(Vec::is_empty));
    assert!(found.contains(&vec![5; 1024]));
    assert!(found.contains(&vec![0; 1024]), "the length without the bytes");
}

// A synced file can vanish whole when its directory was not synced (scenario 12).
#[test]
fn a_name_needs_a_directory_sync() {
    let disk = disk();
    let path = dir().join("a");
    let file = disk.open(&path, OpenMode::Create).unwrap();
    write(&*file, b"safe", 0);
    file.sync_data().unwrap();
    let found = |disk: &SimVfs| -> Vec<Option<Vec<u8>>> {
        (0..50).map(|seed| content(&disk.crash_copy(seed), &path)).collect()
    };
    assert!(found(&disk).contains(&None));
    assert!(found(&disk).contains(&Some(b"safe".to_vec())));
    disk.sync_dir(&dir()).unwrap();
    assert!(found(&disk).iter().all(|bytes| bytes.as_deref() == Some(b"safe")));
}

// File systems reorder name changes: the later removal may survive alone (scenario 14).
#[test]
fn name_changes_survive_in_any_subset() {
    let disk = disk();
    for name in ["a", "b"] {
        durable(&disk, &dir().join(name), b"");
    }
    disk.remove(&dir().join("a")).unwrap();
    disk.remove(&dir().join("b")).unwrap();
    let left: Vec<_> = (0..SEEDS).map(|seed| disk.crash_copy(seed).list(&dir()).unwrap()).collect();
    for expected in [vec!["a", "b"], vec!["a"], vec!["b"], vec![]] {
        assert!(left.iter().any(|names| *names == expected), "{expected:?} never happened");
    }
}

// A rename is the one atomic act there is: the target is the old file or the new, never neither.
#[test]
fn rename_is_atomic() {
    let disk = disk();
    let (tmp, path) = (dir().join("tmp"), dir().join("current"));
    durable(&disk, &path, b"old");
    let file = disk.open(&tmp, OpenMode::Create).unwrap();
    write(&*file, b"new", 0);
    file.sync_data().unwrap();
    disk.rename(&tmp, &path).unwrap();
    let found: Vec<_> = (0..SEEDS).map(|s| content(&disk.crash_copy(s), &path).unwrap()).collect();
    assert!(found.iter().all(|bytes| bytes == b"old" || bytes == b"new"));
    assert!(found.contains(&b"old".to_vec()) && found.contains(&b"new".to_vec()));
}

// A test that keeps using a dead process's handles would test nothing.
#[test]
fn after_a_crash_the_old_process_is_dead() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, b"kept");
    let _lock = disk.lock(&dir().join("LOCK")).unwrap();
    let after = disk.crash();
    assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(file.sync_data().is_err() && file.len().is_err());
    assert!(disk.open(&path, OpenMode::Read).is_err() && disk.list(&dir()).is_err());
    after.lock(&dir().join("LOCK")).unwrap();
    assert_eq!(content(&after, &path).unwrap(), b"kept");
}

// Replay depends on it.
#[test]
fn the_same_seed_gives_the_same_crash() {
    let run = |seed| {
        let disk = SimVfs::new(seed);
        disk.create_dir_all(&dir()).unwrap();
        for name in ["a", "b", "c"] {
            let file = disk.open(&dir().join(name), OpenMode::Create).unwrap();
            write(&*file, &[9; 3000], 100);
        }
        disk.crash().files()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

// Every point of a workload can be the last one.
#[test]
fn the_power_can_fail_before_any_call() {
    for calls in 0..=5 {
        let disk = disk();
        assert!(disk.has_power());
        disk.power_cut_after(calls);
        let path = dir().join("a");
        let done = (|| {
            let file = disk.open(&path, OpenMode::Create)?;
            file.write_at(&[IoSlice::new(b"bytes")], 0)?;
            file.sync_data()?;
            disk.sync_dir(&dir())
        })();
        assert_eq!(done.is_ok(), calls >= 4);
        assert_eq!(disk.has_power(), calls > 4);
        assert_eq!(disk.counts().changes(), calls.min(4));
        drop(disk.crash());
    }
}

// The fsync surprise of 2018: the second call says "fine", the bytes are gone (scenario 16).
#[test]
fn a_failed_sync_can_drop_the_bytes_and_then_succeed() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, b"old");
    write(&*file, b"new", 0);
    disk.fail(Fault::new(Op::Sync, Harm::Drops));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(content(&disk, &path).unwrap(), b"old");
}

// The other surprise: the page cache shows what the disk never got, and calls it clean. Writing it
// again is the only cure.
#[test]
fn a_failed_sync_can_leave_bytes_that_are_seen_and_never_saved() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, b"old");
    write(&*file, b"new", 0);
    disk.fail(Fault::new(Op::Sync, Harm::Forgets));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(content(&disk, &path).unwrap(), b"new");
    assert_eq!(content(&disk.crash_copy(1), &path).unwrap(), b"old");
    write(&*file, b"new", 0);
    file.sync_data().unwrap();
    assert_eq!(content(&disk.crash_copy(1), &path).unwrap(), b"new");
}

// A disk that lies cannot be survived, only noticed (scenario 47): the test needs one that does.
#[test]
fn a_lying_sync_says_yes_and_saves_nothing() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 512]);
    disk.fail(Fault::new(Op::Sync, Harm::Lies).forever());
    write(&*file, &[2; 512], 0);
    file.sync_data().unwrap();
    assert!((0..50).any(|seed| content(&disk.crash_copy(seed), &path).unwrap() == [1; 512]));
}

// Failures strike the call that was named, and no other.
#[test]
fn faults_strike_where_they_are_aimed() {
    let disk = disk();
    let a = durable(&disk, &dir().join("a"), b"aaaa");
    let b = durable(&disk, &dir().join("b"), b"bbbb");
    disk.fail(Fault::new(Op::Write, Harm::NoSpace).named("b").after(1).times(2));
    let attempt = |file: &dyn File| file.write_at(&[IoSlice::new(b"x")], 0).map_err(|e| e.kind());
    assert_eq!(attempt(&*b), Ok(()));
    assert_eq!(attempt(&*b), Err(ErrorKind::StorageFull));
    assert_eq!(attempt(&*a), Ok(()));
    assert_eq!(attempt(&*b), Err(ErrorKind::StorageFull));
    assert_eq!(attempt(&*b), Ok(()));
    disk.fail(Fault::new(Op::Write, Harm::Torn).forever());
    assert!(attempt(&*a).is_err());
    disk.heal();
    assert_eq!(attempt(&*a), Ok(()));
}

// A sector that cannot be read is not the end of a file (scenario 19).
#[test]
fn a_bad_sector_fails_only_reads_that_touch_it() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 2048]);
    disk.break_sector(&path, 600).unwrap();
    let mut buf = [0; 512];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 512);
    assert!(file.read_at(&mut buf, 1).is_err());
    assert_eq!(file.read_at(&mut buf, 1024).unwrap(), 512);
}

// To fill a hole is to be given a block: until the sync, somebody else's old bytes may be found in
// it, and what lies around it stays a hole.
#[test]
fn a_hole_that_is_filled_is_new_space() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 1024]);
    file.set_len(8192).unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.allocated().unwrap(), 1024);
    write(&*file, &[0; 512], 2048);
    assert_eq!(file.allocated().unwrap(), 1536);
    let found: Vec<_> = (0..SEEDS).map(|s| content(&disk.crash_copy(s), &path).unwrap()).collect();
    assert!(found.iter().any(|bytes| bytes[2048..2560].iter().any(|byte| *byte != 0)));
    assert!(found.iter().all(|bytes| bytes[..1024] == [1; 1024] && bytes.len() == 8192));
    assert!(found.iter().all(|bytes| bytes[2560..].iter().all(|byte| *byte == 0)));
    file.sync_data().unwrap();
    let after = disk.crash();
    assert!(content(&after, &path).unwrap()[1024..].iter().all(|byte| *byte == 0));
    assert_eq!(after.open(&path, OpenMode::Read).unwrap().allocated().unwrap(), 1536);
}

// A hole is a promise that nobody keeps: the disk may be full when it is written to (scenario 18).
#[test]
fn a_full_disk_refuses_to_fill_a_hole() {
    let disk = disk();
    let file = durable(&disk, &dir().join("a"), &[1; 1000]);
    file.set_len(4096).unwrap();
    disk.set_capacity_bytes(Some(2000));
    // The rest of the last sector is not one: it has its block.
    write(&*file, &[2; 24], 1000);
    write(&*file, &[2; 512], 2048);
    let full = file.write_at(&[IoSlice::new(b"x")], 3000).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    write(&*file, &[3; 1024], 0);
    write(&*file, &[3; 512], 2048);
}

// Overwriting needs no new space; growing does (scenario 18).
#[test]
fn a_full_disk_refuses_growth_alone() {
    let disk = disk();
    let file = durable(&disk, &dir().join("a"), &[1; 1000]);
    disk.set_capacity_bytes(Some(1000));
    write(&*file, &[2; 1000], 0);
    let full = file.write_at(&[IoSlice::new(b"x")], 1000).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.set_capacity_bytes(None);
    write(&*file, b"x", 1000);
}
