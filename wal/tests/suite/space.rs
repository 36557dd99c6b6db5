//! Full disks (scenario 18): at every call that can need space, at the write or only at the sync.
//! An error to the caller, never the end of the data, and truncation always works.

use std::io::ErrorKind;
use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, SimVfs};
use drystone_wal::{Error, Lsn, Wal};

use crate::hurt::{Hurt, Records, check_all};
use crate::support::{assert_recovers, disk, open, options, put, try_open};

fn text(lsn: u64) -> Vec<u8> {
    vec![lsn as u8 | 1; 1000]
}

fn texts(first: u64, last: u64) -> Records {
    (first..=last).map(|lsn| (lsn, text(lsn))).collect()
}

/// Appends until the disk is full. Returns how many were acknowledged.
fn fill(wal: &Wal) -> u64 {
    loop {
        let lsn = wal.next_lsn();
        match wal.append(&[&text(lsn.0)]).and_then(|commit| commit.wait()) {
            Ok(_) => assert!(lsn.0 < 500, "the disk is never full"),
            Err(error) => {
                assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                assert!(matches!(wal.append(&[b"x"]), Err(Error::NoSpace { .. })));
                return wal.durable().0;
            }
        }
    }
}

/// Where the space runs out.
#[derive(Debug, Clone, Copy)]
enum Full {
    /// The n-th call of a kind fails: appends, preallocation and rotation all come up.
    At(Op, u64),
    /// The file system has this many bytes.
    Disk(u64),
    /// The thin volume under it has.
    Thin(u64),
}

fn fulls() -> Vec<Full> {
    let mut fulls = Vec::new();
    for op in [Op::Write, Op::Sync, Op::Create, Op::Rename, Op::SyncDir] {
        fulls.extend((0..40).map(|n| Full::At(op, n)));
    }
    fulls.extend((1..14).map(|n| Full::Disk(n * 5_000)));
    fulls.extend((1..60).map(|n| Full::Thin(n * 1024)));
    fulls
}

/// Runs a log into a full disk. `None` if it was full before there was a log, or never.
fn run_full(full: Full) -> Option<(SimVfs, Wal, u64)> {
    let disk = disk();
    match full {
        Full::At(op, n) => disk.fail(Fault::new(op, Harm::NoSpace).after(n).forever()),
        Full::Disk(bytes) => disk.set_capacity_bytes(Some(bytes)),
        Full::Thin(bytes) => disk.set_thin_bytes(Some(bytes)),
    }
    let (wal, _) = match try_open(&disk, options()) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(is_full(&error), "{full:?}: {error}");
            make_space(&disk);
            assert_recovers(&disk, &[]);
            return None;
        }
    };
    let stored = fill(&wal);
    Some((disk, wal, stored))
}

/// The lock file may be what finds no room; that is the one call not on the log's behalf.
fn is_full(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == ErrorKind::StorageFull,
        other => matches!(other, Error::NoSpace { .. }),
    }
}

fn make_space(disk: &SimVfs) {
    disk.heal();
    disk.set_capacity_bytes(None);
    disk.set_thin_bytes(None);
}

/// Scenario 18: every kind of full disk, once there is space again; with a power cut and without.
pub(crate) fn full_disks() -> Vec<Hurt> {
    let mut disks = Vec::new();
    for full in fulls() {
        let Some((disk, wal, stored)) = run_full(full) else { continue };
        let records = wal.iter(Lsn(1)).map(|record| record.unwrap());
        let readable: Records = records.map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect();
        assert!(readable == texts(1, stored), "{full:?}: still readable");
        drop(wal);
        make_space(&disk);
        // The record that was refused may have landed.
        let any: Arc<[Records]> = Arc::from([texts(1, stored), texts(1, stored + 1)]);
        let cut = Hurt::one_of(format!("{full:?}, power cut"), disk.crash_copy(stored), &any);
        disks.extend([Hurt::one_of(format!("{full:?}"), disk, &any), cut]);
    }
    disks
}

// Scenario 18: on append, preallocation, rotation and at the sync. The caller gets an error,
// nothing acknowledged is lost, the log stays readable, and with space it opens and goes on.
#[test]
fn a_full_disk_is_reported_and_survived() {
    let disks = full_disks();
    assert!(disks.len() > 200, "{}", disks.len());
    check_all(disks);
}

// Scenario 18: while the disk is still full, the log opens, and its prefix can be let go of: that
// needs no byte of new space, and makes room for what comes next.
#[test]
fn a_full_disk_can_be_reopened_and_truncated() {
    for bytes in (38_000..60_000).step_by(2_000) {
        let (disk, wal, stored) = run_full(Full::Disk(bytes)).unwrap();
        drop(wal);
        let used = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        disk.set_capacity_bytes(Some(used));
        let (wal, found) = open(&disk);
        assert!(found == texts(1, stored), "{bytes}: opens with no byte free");
        // Whatever reopening removed (half a segment) is not given back.
        let used = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        disk.set_capacity_bytes(Some(used));
        wal.truncate_prefix(Lsn(stored)).unwrap();
        let first = wal.first_lsn().0;
        assert!(first > 1, "{bytes}: something went");
        for lsn in stored + 1..=stored + 12 {
            put(&wal, &text(lsn));
        }
        drop(wal);
        let (_wal, found) = open(&disk.crash());
        assert!(found == texts(first, stored + 12), "{bytes}");
    }
}

// Scenario 18: the log's own last reserve. A segment that is full to the brim still takes the mark
// that a truncation needs.
#[test]
fn truncation_needs_no_space_however_full_the_segment_is() {
    for len in (8..1200).step_by(8) {
        let disk = disk();
        let (wal, _) = open(&disk);
        // Two segments, the second filled up to the last byte that fits.
        while wal.first_lsn() == Lsn(1) && crate::hurt::names(&disk).len() < 4 {
            put(&wal, &vec![7; len]);
        }
        let used = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        disk.set_capacity_bytes(Some(used));
        while wal.append(&[&vec![7; len]]).unwrap().wait().is_ok() {}
        let last = wal.durable();
        drop(wal);
        let (wal, _) = open(&disk);
        wal.truncate_prefix(last).unwrap();
        wal.close().unwrap();
        let (wal, found) = open(&disk);
        assert!(found[0].0 > 1 && found.last().unwrap().0 == last.0, "payloads of {len}");
        drop(wal);
    }
}

// Scenario 18 on a thin volume: even overwriting zeros may find no room, and the error comes with
// the sync. What was acknowledged stays.
#[test]
fn a_full_thin_volume_is_noticed_at_the_sync() {
    let (disk, wal, stored) = run_full(Full::Thin(20_000)).unwrap();
    assert!(stored > 8);
    assert_eq!(wal.iter(Lsn(1)).filter(Result::is_ok).count() as u64, stored);
    drop(wal);
    let (wal, found) = open(&disk);
    assert!(found == texts(1, stored), "opens while the volume is full");
    drop(wal);
    assert!(open(&disk.crash()).1 == texts(1, stored));
}
