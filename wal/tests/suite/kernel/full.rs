//! Real file systems without a byte to spare (scenario 18).
//!
//! A log fills its volume to the end again and again here, from different amounts of free space, so
//! that the last byte goes to a segment being zeroed, to a directory, to a copy. Then somebody
//! takes what the log itself gave back, so that opening, reading and cutting happen at nothing
//! free.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use drystone_vfs::{OsVfs, Vfs};
use drystone_wal::{Error, Lsn, Options, Recovered, Wal, Writer};

use super::volume::{Volume, on_each};

const TMPFS_BYTES: u64 = 1 << 20;
const EXT4_BYTES: u64 = 8 << 20;
const APPENDERS: u8 = 6;

/// Amounts of space to begin with: around one block, one segment, two, and between.
const SPARES: [u64; 10] = [0, 4096, 8192, 20_000, 33_000, 61_440, 65_536, 69_632, 140_000, 300_000];

type Records = BTreeMap<u64, Vec<u8>>;

fn options(writer: Writer) -> Options {
    Options::default().segment_bytes(64 << 10).writer(writer)
}

fn try_open(volume: &Volume, writer: Writer) -> drystone_wal::Result<(Wal, Recovered)> {
    Wal::open(Arc::new(OsVfs::new()), &volume.place("log"), options(writer))
}

/// Opens, and returns what was found.
fn open(volume: &Volume, writer: Writer) -> (Wal, Records) {
    let (wal, recovered) = try_open(volume, writer).unwrap();
    (wal, collect(recovered))
}

fn collect(records: impl Iterator<Item = drystone_wal::Result<(Lsn, bytes::Bytes)>>) -> Records {
    records.map(|record| record.unwrap()).map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect()
}

/// Every acknowledged record is there as it was; what else is there follows without a gap.
#[track_caller]
fn assert_holds(found: &Records, acknowledged: &Records) {
    for (lsn, record) in acknowledged {
        assert!(found.get(lsn) == Some(record), "record {lsn} was acknowledged");
    }
    let first = found.keys().next().copied().unwrap_or(1);
    assert!(found.keys().copied().eq(first..first + found.len() as u64), "a gap");
}

#[track_caller]
fn assert_full<T>(result: drystone_wal::Result<T>) {
    match result {
        Err(Error::NoSpace { .. }) => {}
        Err(error) => panic!("not told that the disk is full, but: {error}"),
        Ok(_) => panic!("the disk is full, and nobody minds"),
    }
}

/// Several threads append until there is no space. Returns what was acknowledged.
fn append_until_full(wal: &Wal) -> Records {
    let acknowledged = Mutex::new(Records::new());
    std::thread::scope(|scope| {
        // One who follows the log, and waits for a record that will never come.
        let follower = scope.spawn(|| wal.wait_durable(Lsn(u64::MAX >> 1)));
        for thread in 0..APPENDERS {
            let acknowledged = &acknowledged;
            scope.spawn(move || assert_full(append_endlessly(wal, thread, acknowledged)));
        }
        assert_full(follower.join().unwrap());
    });
    acknowledged.into_inner().unwrap()
}

/// Ends with the error.
fn append_endlessly(
    wal: &Wal,
    thread: u8,
    acknowledged: &Mutex<Records>,
) -> drystone_wal::Result<()> {
    let records: Vec<Vec<u8>> = (0..2).map(|i| vec![thread * 16 + i; 700]).collect();
    loop {
        let commit = wal.append(&[&records[0], &records[1]])?;
        // The second one is waited for, and stands behind the first.
        let next = wal.append(&[&records[0]])?;
        next.wait()?;
        let mut acknowledged = acknowledged.lock().unwrap();
        let lsn = commit.lsn().0;
        acknowledged.insert(lsn - 1, records[0].clone());
        acknowledged.insert(lsn, records[1].clone());
        acknowledged.insert(next.lsn().0, records[0].clone());
    }
}

/// A log that has run into the end of its volume, of which nothing is free.
fn full_log(volume: &Volume, spare: u64, writer: Writer) -> Records {
    let (wal, before) = open(volume, writer);
    volume.fill(spare);
    let mut acknowledged = append_until_full(&wal);
    assert!(!acknowledged.is_empty(), "the first segment had room");
    // Still there, still readable, and still of the same opinion.
    assert_holds(&collect(wal.iter(wal.first_lsn())), &acknowledged);
    assert_full(wal.append(&[b"one more"]).and_then(|commit| commit.wait()));
    assert_full(wal.truncate_prefix(wal.durable()));
    assert_full(wal.close());
    volume.fill(0);
    acknowledged.extend(before);
    acknowledged
}

/// Nothing but segments and the lock; nothing half made.
#[track_caller]
fn assert_clean(volume: &Volume) {
    let names = OsVfs::new().list(&volume.place("log")).unwrap();
    let odd = |name: &&std::ffi::OsString| {
        let name = name.to_string_lossy();
        !name.ends_with(".wal") && name != "LOCK"
    };
    assert_eq!(names.iter().find(odd), None);
}

fn start_over(volume: &Volume) {
    let vfs = OsVfs::new();
    volume.drain();
    for name in vfs.list(&volume.place("log")).unwrap() {
        vfs.remove(&volume.place("log").join(name)).unwrap();
    }
}

/// Runs `check` on a full log with nothing free, for each writer and amount of space to begin with,
/// then looks whether the log goes on once there is space again.
fn with_full_log(test: &str, check: impl Fn(&Volume, Writer, Records) -> Records) {
    on_each(&format!("kernel::full::{test}"), TMPFS_BYTES, EXT4_BYTES, |volume| {
        for (i, spare) in SPARES.into_iter().enumerate() {
            let writer = if i % 3 == 2 { Writer::Caller } else { Writer::Thread };
            println!("{}: {spare} bytes to begin with, {writer:?}", volume.kind);
            let acknowledged = full_log(volume, spare, writer);
            let acknowledged = check(volume, writer, acknowledged);
            volume.drain();
            goes_on(volume, writer, acknowledged);
            volume.fill(0);
            start_over(volume);
        }
    });
}

/// There is space: whatever happened, the log opens, takes records and keeps them.
fn goes_on(volume: &Volume, writer: Writer, mut acknowledged: Records) {
    let (wal, found) = open(volume, writer);
    assert_holds(&found, &acknowledged);
    for i in 0..200 {
        let commit = wal.append(&[&[i; 600]]).unwrap();
        commit.wait().unwrap();
        acknowledged.insert(commit.lsn().0, vec![i; 600]);
    }
    wal.close().unwrap();
    let (_wal, found) = open(volume, writer);
    assert_holds(&found, &acknowledged);
    assert_clean(volume);
}

// A caller that is not told waits for ever; one that is told "poisoned" replaces a good disk.
#[test]
fn a_full_disk_is_told_to_everyone_and_loses_nothing() {
    with_full_log("a_full_disk_is_told_to_everyone_and_loses_nothing", |volume, writer, known| {
        // Twice: what the first opener gave back, the volume no longer has for the second.
        for _ in 0..2 {
            let (wal, found) = open(volume, writer);
            assert_holds(&found, &known);
            volume.fill(0);
            assert_clean(volume);
            assert_holds(&collect(wal.iter(Lsn(1))), &known);
            // The end of a segment has room for a mark.
            wal.close().unwrap();
        }
        let (wal, found) = open(volume, writer);
        volume.fill(0);
        assert_full(append_endlessly(&wal, 15, &Mutex::default()));
        found
    });
}

// Cutting the prefix is how an operator makes space: it must not take any.
#[test]
fn the_prefix_can_be_cut_with_nothing_free() {
    with_full_log("the_prefix_can_be_cut_with_nothing_free", |volume, writer, _| {
        let (wal, _) = open(volume, writer);
        volume.fill(0);
        let free = volume.free();
        let last = wal.durable();
        let bytes = wal.bytes();
        wal.truncate_prefix(last).unwrap();
        assert!(wal.first_lsn() <= last);
        // A log of one segment has nothing to give.
        if wal.bytes() < bytes {
            assert!(volume.free() >= free + (bytes - wal.bytes()) / 2, "space comes back");
        }
        drop(wal);
        let (wal, mut known) = open(volume, writer);
        if volume.free() > 100 << 10 {
            let lsn = wal.append(&[b"in the space that came back"]).unwrap().wait().unwrap();
            known.insert(lsn.0, b"in the space that came back".to_vec());
        }
        known
    });
}

// A suffix is cut by way of a copy. Where there is no space for one, the cut must not have
// happened: half a cut would be records that come and go.
#[test]
fn a_suffix_cut_without_space_has_not_happened() {
    with_full_log("a_suffix_cut_without_space_has_not_happened", |volume, writer, known| {
        let (wal, found) = open(volume, writer);
        assert_holds(&found, &known);
        volume.fill(0);
        let last = Lsn(wal.durable().0 / 2);
        assert_full(wal.truncate_suffix(last));
        assert_full(wal.append(&[b"after"]));
        drop(wal);
        volume.fill(0);
        let (wal, again) = open(volume, writer);
        assert!(again == found, "the log is as it was");
        assert_clean(volume);
        drop(wal);
        found
    });
}

// The first start on a full disk: an error that says so, and no ruins that stop the second start.
#[test]
fn a_fresh_log_without_space_is_refused_and_can_be_made_later() {
    let test = "kernel::full::a_fresh_log_without_space_is_refused_and_can_be_made_later";
    on_each(test, TMPFS_BYTES, EXT4_BYTES, |volume| {
        for spare in [0, 4096, 8192, 12_288, 20_000, 33_000, 61_440] {
            println!("{}: {spare} bytes to begin with", volume.kind);
            volume.fill(spare);
            for _ in 0..2 {
                assert_full(try_open(volume, Writer::Thread));
            }
            volume.drain();
            let (wal, found) = open(volume, Writer::Thread);
            assert!(found.is_empty());
            wal.append(&[b"first"]).unwrap().wait().unwrap();
            wal.close().unwrap();
            assert_clean(volume);
            volume.fill(0);
            start_over(volume);
            std::fs::remove_dir(volume.place("log")).unwrap();
        }
    });
}
