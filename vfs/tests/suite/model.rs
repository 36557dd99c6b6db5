//! The rest of the crash model, claim by claim: what the blocks of a new file may hold, which name
//! changes may survive together, how a full disk and a short write look, and what is left when the
//! one kindness is taken away.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::path::PathBuf;

use drystone_vfs::{Fault, Harm, Op, OpenMode, Overwrite, SimVfs, Vfs};

use crate::crash::{SEEDS, content, dir, disk, durable, write};

// Blocks are handed out dirty: a new file may show what another one held, and a log must not take
// its own old frames for new ones (scenario 4).
#[test]
fn new_blocks_can_hold_bytes_of_another_file() {
    let disk = disk();
    durable(&disk, &dir().join("secret"), &[0xab; 4096]);
    let path = dir().join("new");
    let file = durable(&disk, &path, b"");
    write(&*file, &[1; 4096], 0);
    let leaked = |bytes: &[u8]| bytes.chunks(512).any(|s| s.iter().all(|b| *b == 0xab));
    assert!((0..SEEDS).any(|seed| leaked(&content(&disk.crash_copy(seed), &path).unwrap())));
    disk.remove(&dir().join("secret")).unwrap();
    disk.sync_dir(&dir()).unwrap();
    let found = |seed| content(&disk.crash_copy(seed), &path).unwrap();
    assert!((0..SEEDS).any(|seed| leaked(&found(seed))), "of a removed one, too");
}

// Creates, renames and removals survive in any combination, whatever their order was.
#[test]
fn every_combination_of_name_changes_happens() {
    let disk = disk();
    for name in ["old", "tmp"] {
        durable(&disk, &dir().join(name), name.as_bytes());
    }
    disk.open(&dir().join("fresh"), OpenMode::CreateNew).unwrap();
    disk.rename(&dir().join("tmp"), &dir().join("named")).unwrap();
    disk.remove(&dir().join("old")).unwrap();
    let left: BTreeSet<Vec<_>> =
        (0..SEEDS).map(|seed| disk.crash_copy(seed).list(&dir()).unwrap()).collect();
    assert_eq!(left.len(), 8, "three changes, each kept or lost: {left:?}");
}

// The kernel may write a part and then fail: the part is a prefix of any length, and stays.
#[test]
fn a_failed_write_leaves_any_prefix() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimVfs::new(seed);
        let path = PathBuf::from("a");
        let file = disk.open(&path, OpenMode::Create).unwrap();
        disk.fail(Fault::new(Op::Write, Harm::Torn));
        assert!(file.write_at(&[IoSlice::new(&[1; 5]), IoSlice::new(&[2; 5])], 0).is_err());
        let found = content(&disk, &path).unwrap();
        assert_eq!(found, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2][..found.len()]);
        seen.insert(found.len());
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
}

// A thin volume promises space it does not have. The write is accepted, the sync is not, and the
// bytes are gone, even where the file was filled with zeros before (scenario 18).
#[test]
fn a_full_thin_volume_fails_the_sync_and_drops_the_bytes() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[0; 4096]);
    disk.set_thin_bytes(Some(1024));
    write(&*file, &[1; 1024], 0);
    file.sync_data().unwrap();
    write(&*file, &[2; 512], 1024);
    assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, &path).unwrap()[1024..1536], [0; 512], "as the kernel does it");
    file.sync_data().unwrap();
    write(&*file, &[3; 1024], 0);
    file.sync_data().unwrap();
    disk.set_thin_bytes(None);
    write(&*file, &[2; 512], 1024);
    file.sync_data().unwrap();
    assert_eq!(
        content(&disk.crash_copy(0), &path).unwrap()[..1536],
        [[3; 1024].as_slice(), &[2; 512]].concat()
    );
}

// A disk that is full may say so at the sync without losing anything yet; the next one saves it.
#[test]
fn a_sync_refused_for_space_can_be_repeated() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 512]);
    write(&*file, &[2; 512], 0);
    disk.fail(Fault::new(Op::Sync, Harm::NoSpace));
    assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::StorageFull);
    assert!((0..SEEDS).any(|seed| content(&disk.crash_copy(seed), &path).unwrap() == [1; 512]));
    file.sync_data().unwrap();
    assert_eq!(content(&disk.crash_copy(1), &path).unwrap(), [2; 512]);
}

// A lying directory sync loses names just as a lying file sync loses bytes.
#[test]
fn a_lying_directory_sync_saves_no_name() {
    let disk = disk();
    let path = dir().join("a");
    disk.open(&path, OpenMode::CreateNew).unwrap();
    disk.fail(Fault::new(Op::SyncDir, Harm::Lies).forever());
    disk.sync_dir(&dir()).unwrap();
    assert!((0..SEEDS).any(|seed| content(&disk.crash_copy(seed), &path).is_none()));
}

// The kindness: appending into a half-filled sector, or writing the same bytes again, endangers
// nothing that was there.
#[test]
fn bytes_that_no_write_changes_are_safe() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 1000]);
    write(&*file, &[1; 300], 600);
    write(&*file, &[2; 500], 1000);
    for seed in 0..SEEDS {
        let found = content(&disk.crash_copy(seed), &path).unwrap();
        assert_eq!(found[..1000], [1; 1000], "seed {seed}");
    }
}

// And without it: the whole sector goes, but never one that no write touched.
#[test]
fn a_disk_without_power_safe_overwrite_loses_whole_sectors() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 1500]);
    disk.set_overwrite(Overwrite::WholeSector);
    write(&*file, &[2; 24], 1000);
    let mut harmed = false;
    for seed in 0..SEEDS {
        let after = disk.crash_copy(seed);
        let found = content(&after, &path).unwrap();
        assert_eq!(found[..512], [1; 512], "seed {seed}");
        assert_eq!(found[1024..], [1; 476], "seed {seed}");
        harmed |= found[512..1000] != [1; 488];
    }
    assert!(harmed);
    assert!(after_two_crashes_too(&disk), "the disk stays what it is");
}

fn after_two_crashes_too(disk: &SimVfs) -> bool {
    let path = dir().join("a");
    let whole = |seed: u64| {
        let after = disk.crash_copy(seed);
        let file = after.open(&path, OpenMode::Write).unwrap();
        let before = content(&after, &path).unwrap();
        write(&*file, &[9; 8], 0);
        content(&after.crash_copy(seed), &path).unwrap()[8..512] != before[8..512]
    };
    (0..SEEDS).any(whole)
}

// A killed process loses nothing that it wrote; the power can still fail afterwards.
#[test]
fn the_page_cache_outlives_a_killed_process() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 512]);
    write(&*file, &[2; 512], 0);
    disk.open(&dir().join("b"), OpenMode::CreateNew).unwrap();
    let _lock = disk.lock(&dir().join("LOCK")).unwrap();
    disk.fail(Fault::new(Op::Write, Harm::Error).forever());
    let after = disk.kill_copy();
    assert_eq!(content(&after, &path).unwrap(), [2; 512]);
    assert!(after.lock(&dir().join("LOCK")).is_ok(), "its locks are gone");
    let file = after.open(&path, OpenMode::Write).unwrap();
    assert!((0..SEEDS).any(|seed| content(&after.crash_copy(seed), &path).unwrap() == [1; 512]));
    assert!((0..SEEDS).any(|seed| content(&after.crash_copy(seed), &dir().join("b")).is_none()));
    write(&*file, &[3; 512], 0);
    assert_eq!(content(&disk, &path).unwrap(), [2; 512], "the copy is a copy");
}

// A read error is one call's, not the file's.
#[test]
fn a_read_can_fail_once() {
    let disk = disk();
    let path = dir().join("a");
    let file = durable(&disk, &path, &[1; 8]);
    disk.fail(Fault::new(Op::Read, Harm::Error).after(1));
    let mut buf = [0; 8];
    assert!(file.read_at(&mut buf, 0).is_ok());
    assert!(file.read_at(&mut buf, 0).is_err());
    assert!(file.read_at(&mut buf, 0).is_ok());
}
