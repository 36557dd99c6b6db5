//! The in-memory engine keeps the promises of an engine, and those of its own.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use drystone_kv::engine::{Batch, Direction, Engine, EngineError, Snapshot, Space};
use drystone_kv::mem::Mem;
use drystone_vfs::{OpenMode, SimVfs, Vfs};

/// The suite that every engine passes.
mod conformance {
    use drystone_kv::mem::Mem;

    drystone_kv::engine_conformance!(Mem::open);
}

const DIR: &str = "data";

fn open(disk: &SimVfs) -> Result<Mem, EngineError> {
    Mem::open(Arc::new(disk.clone()), Path::new(DIR))
}

/// A batch with one put.
fn put(key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(Space::Record, key, Bytes::copy_from_slice(value));
    batch
}

/// The content of the one state file of a small engine, and the folder's disk.
fn saved() -> (SimVfs, std::path::PathBuf, Vec<u8>) {
    let disk = SimVfs::new(1);
    let engine = open(&disk).expect("a new disk");
    for n in 0..40_u32 {
        engine.write(put(&n.to_be_bytes(), &[7; 20])).expect("writable");
    }
    engine.persist().expect("the disk is in order");
    let mut files = disk.files();
    assert_eq!(files.len(), 1, "one state file and nothing else");
    let (path, bytes) = files.remove(0);
    (disk, path, bytes)
}

fn disk_with(path: &Path, bytes: &[u8]) -> SimVfs {
    let disk = SimVfs::new(2);
    disk.create_dir_all(Path::new(DIR)).expect("a new disk");
    let file = disk.open(path, OpenMode::CreateNew).expect("a new disk");
    file.write_at(&[IoSlice::new(bytes)], 0).expect("a new disk");
    disk
}

/// Opens a damaged file and asserts that the damage is reported and left as it is.
fn check_damaged(path: &Path, bytes: &[u8], what: &str) {
    let disk = disk_with(path, bytes);
    let before = disk.files();
    match open(&disk) {
        Err(EngineError::Corrupt { file, offset, .. }) => {
            assert_eq!(file, path);
            assert!(offset <= bytes.len() as u64, "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
    assert_eq!(disk.files(), before, "{what}");
}

#[test]
fn every_flipped_bit_is_corrupt() {
    // Storage fault 6: the file has no byte that does not matter, so none may rot unseen.
    let (_, path, bytes) = saved();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check_damaged(&path, &flipped, &format!("bit {bit}"));
    }
}

#[test]
fn every_truncation_and_extension_is_corrupt() {
    // Storage fault 1: a state file is complete before it gets its name, so a short one is damage.
    let (_, path, bytes) = saved();
    for len in 0..bytes.len() {
        check_damaged(&path, &bytes[..len], &format!("cut to {len}"));
    }
    for extra in [&[0][..], &[0; 512], &bytes[32..]] {
        check_damaged(&path, &[&bytes, extra].concat(), "longer");
    }
}

#[test]
fn a_hostile_length_allocates_nothing() {
    // Storage fault 10: a length is compared with the file before memory is asked for.
    let (_, path, mut bytes) = saved();
    bytes[32 + 4..32 + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    check_damaged(&path, &bytes, "a block of 4 GiB");
}

#[test]
fn a_file_under_another_name_is_corrupt() {
    // Storage fault 26: the right bytes in the wrong place.
    let (_, path, bytes) = saved();
    let other = path.with_file_name("mem-00000000000000000009.snap");
    check_damaged(&other, &bytes, "another sequence");
}

#[test]
fn a_later_version_is_unsupported_and_left_alone() {
    // Storage fault 25: an old build must not touch a newer build's file.
    let (_, path, mut bytes) = saved();
    bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    let disk = disk_with(&path, &bytes);
    let before = disk.files();
    let result = open(&disk);
    assert!(
        matches!(&result, Err(EngineError::Unsupported { what, .. }) if what == "format version 9"),
        "{result:?}"
    );
    assert_eq!(disk.files(), before);
}

#[test]
fn leftovers_go_only_after_a_good_load_and_strangers_stay() {
    // Storage fault 27: what a crash left behind is removed, what others keep here is not.
    let (disk, path, bytes) = saved();
    let dir = Path::new(DIR);
    let names = ["mem-00000000000000000007.snap.tmp", "mem-00000000000000000000.snap", "notes"];
    for name in names {
        disk.open(&dir.join(name), OpenMode::CreateNew).expect("a new name");
    }
    let file = disk.open(&path, OpenMode::Write).expect("it exists");
    file.write_at(&[IoSlice::new(&[!bytes[50]])], 50).expect("writable");
    assert!(open(&disk).is_err(), "an older file is no substitute for a damaged one");
    assert_eq!(disk.files().len(), 1 + names.len(), "a failed open removes nothing");

    file.write_at(&[IoSlice::new(&[bytes[50]])], 50).expect("writable");
    let engine = open(&disk).expect("sound again");
    let left = disk.list(dir).expect("it exists");
    assert_eq!(left, [path.file_name().expect("a file"), "notes".as_ref()]);
    // The next file's name must be above that of the leftover.
    engine.write(put(b"k", b"v")).expect("writable");
    engine.persist().expect("the disk is in order");
    let left = disk.list(dir).expect("it exists");
    assert_eq!(left, ["mem-00000000000000000008.snap", "notes"]);
}

#[test]
fn blocks_in_another_order_are_corrupt() {
    // Storage fault 26: a block that is sound but not in its place, as a misdirected write leaves.
    let disk = SimVfs::new(1);
    let engine = open(&disk).expect("a new disk");
    for space in [Space::Lease, Space::Alarm] {
        let mut batch = Batch::new();
        batch.put(space, b"key", Bytes::from_static(b"value"));
        engine.write(batch).expect("writable");
    }
    engine.persist().expect("the disk is in order");
    let (path, bytes) = disk.files().remove(0);
    // Behind the header: two blocks of one length, for the two spaces, and the end block.
    let (header, blocks) = bytes.split_at(32);
    let block_bytes = 12 + 8 + 3 + 5;
    let (first, rest) = blocks.split_at(block_bytes);
    let (second, end) = rest.split_at(block_bytes);
    assert!(open(&disk_with(&path, &[header, first, second, end].concat())).is_ok());
    check_damaged(&path, &[header, second, first, end].concat(), "swapped");
    check_damaged(&path, &[header, first, first, end].concat(), "repeated");
    check_damaged(&path, &[header, first, end].concat(), "left out");
}

#[test]
fn a_failed_persist_gives_its_space_back() {
    // On a full disk a partial file would keep the journal from writing its next record.
    let (disk, path, bytes) = saved();
    let engine = open(&disk).expect("sound");
    disk.set_capacity_bytes(Some(bytes.len() as u64 * 3));
    engine.write(put(b"large", &vec![1; 300_000])).expect("writable");
    assert!(matches!(engine.persist(), Err(EngineError::NoSpace { .. })));
    assert_eq!(disk.files(), [(path, bytes)]);
}

#[test]
fn an_unchanged_state_is_not_written_again() {
    // Persist is called by the clock; an idle store must not wear out the disk.
    let (disk, _, _) = saved();
    let engine = open(&disk).expect("sound");
    let before = disk.counts();
    engine.persist().expect("nothing to do");
    assert_eq!(disk.counts().changes(), before.changes());
}

#[test]
fn a_volatile_engine_works_without_a_disk() {
    // Tests and caches use it; only a copy on disk is beyond it.
    let engine = Mem::volatile();
    engine.write(put(b"k", b"v")).expect("writable");
    engine.persist().expect("there is nothing to do");
    assert_eq!(engine.get(Space::Record, b"k").expect("readable").as_deref(), Some(&b"v"[..]));
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.range(Space::Record, b"", None, Direction::Forward).count(), 1);
    assert!(matches!(engine.checkpoint(Path::new("copy")), Err(EngineError::Io { .. })));
}
