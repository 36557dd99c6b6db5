//! Segments that are gone, copied or renamed (scenario 11): people, backups and repair tools do
//! that. The log names the gap.

use drystone_vfs::{SimVfs, Vfs};
use drystone_wal::{Damage, Error};

use crate::hurt::{Hurt, check_all, names};
use crate::support::{
    assert_corrupt, dir, disk, load, open, options, put, segment, store, try_open,
};

const SEGMENTS: u64 = 5;
const LAST: u64 = 55;

/// A killed log of five segments.
fn five() -> SimVfs {
    let disk = disk();
    let (wal, _) = open(&disk);
    for lsn in 1..=LAST {
        put(&wal, &[lsn as u8; 1000]);
    }
    let disk = disk.crash();
    assert_eq!(names(&disk).len() as u64, SEGMENTS + 1);
    disk
}

fn without(disk: &SimVfs, gone: &[u64]) -> SimVfs {
    let copy = disk.crash_copy(0);
    for n in gone {
        copy.remove(&segment(*n)).unwrap();
    }
    copy.sync_dir(&dir()).unwrap();
    copy
}

/// Scenario 11: every set of segments missing; every copy under every name.
pub(crate) fn gaps_and_doubles() -> Vec<Hurt> {
    let disk = five();
    let mut disks = Vec::new();
    for set in 1..16_u32 {
        let gone: Vec<u64> = (1..=4).filter(|n| set & (1 << (n - 1)) != 0).collect();
        disks.push(Hurt::refused(format!("{gone:?} missing"), without(&disk, &gone)));
    }
    for from in 1..=SEGMENTS {
        // Over another one, and beside it: two files then say they are the same segment.
        for to in (1..=SEGMENTS + 2).filter(|to| *to != from) {
            let copy = disk.crash_copy(0);
            store(&copy, &segment(to), &load(&disk, &segment(from)));
            disks.push(Hurt::refused(format!("{from} copied to {to}"), copy));
        }
        let copy = without(&disk, &[from]);
        store(&copy, &segment(SEGMENTS + 1), &load(&disk, &segment(from)));
        disks.push(Hurt::refused(format!("{from} renamed to 6"), copy));
    }
    // The last one gone is noticed too: the one before knows that it had a successor.
    disks.push(Hurt::refused("the last missing", without(&disk, &[SEGMENTS])));
    disks
}

// Scenario 11: a gap, a double or a misplaced segment is corruption, and is named.
#[test]
fn a_missing_doubled_or_misplaced_segment_is_refused() {
    check_all(gaps_and_doubles());
}

// Scenario 11: the error says which segment, and from which record on.
#[test]
fn the_gap_is_named() {
    let disk = five();
    for gone in 1..=SEGMENTS {
        let error = assert_corrupt(&without(&disk, &[gone]), options());
        let named = matches!(&error, Error::Corrupt { file, reason: Damage::SegmentMissing, .. }
            if *file == segment(gone));
        assert!(named, "{error}");
    }
    let copy = disk.crash_copy(0);
    store(&copy, &segment(2), &load(&disk, &segment(3)));
    let error = assert_corrupt(&copy, options());
    let named = matches!(&error, Error::Corrupt { file, reason: Damage::Misplaced, .. }
        if *file == segment(2));
    assert!(named, "{error}");
}

// A segment of another log under the right name and number.
#[test]
fn a_segment_of_another_log_is_named() {
    let other = SimVfs::new(5);
    let (wal, _) = try_open(&other, options().log_id(7)).unwrap();
    for i in 0..60 {
        put(&wal, &[i as u8; 1000]);
    }
    for n in 1..=SEGMENTS {
        let copy = five();
        store(&copy, &segment(n), &load(&other, &segment(n)));
        let error = assert_corrupt(&copy, options());
        assert!(matches!(error, Error::Corrupt { reason: Damage::Misplaced, .. }), "{n}: {error}");
    }
}
