//! Corruption: acknowledged bytes that changed. Never absorbed, always named, nothing touched.

use drystone_vfs::{OpenMode, SimVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Wal};

use crate::hurt::{Hurt, check_all};
use crate::support::{
    HEADER, assert_corrupt, dir, disk, frame, hurt, load, open, options, put, segment, store,
};

/// A log of several segments, killed. Each record is its own write.
fn long(count: u64) -> SimVfs {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..count {
        put(&wal, &[i as u8; 1000]);
    }
    disk.crash()
}

/// Four records, each its own write, and where each one's frame starts.
fn four() -> (SimVfs, Vec<u64>) {
    let disk = disk();
    let (wal, _) = open(&disk);
    let (mut at, mut starts) = (HEADER, Vec::new());
    for text in ["one", "two two", "three three three", "four"] {
        put(&wal, text.as_bytes());
        starts.push(at);
        at += frame(text.len());
    }
    (disk.crash(), starts)
}

/// Scenario 6: every bit before the last write of the last segment, every sector of zeros, and
/// damage all over a segment that has a successor.
pub(crate) fn promised_bytes_changed() -> Vec<Hurt> {
    let (short, starts) = four();
    let mut disks = Vec::new();
    for bit in 8 * starts[0]..8 * starts[3] {
        let edit = |bytes: &mut Vec<u8>| bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        disks.push(Hurt::refused(format!("bit {bit}"), hurt(&short, &segment(1), edit)));
    }
    let one = long(12);
    let end = (HEADER + 10 * frame(1000)) as usize;
    for sector in (HEADER as usize..end).step_by(512) {
        let zeroed = hurt(&one, &segment(1), |bytes| bytes[sector..sector + 512].fill(0));
        disks.push(Hurt::refused(format!("zeros at {sector}"), zeroed));
    }
    let many = long(40);
    assert!(many.list(&dir()).unwrap().len() > 4);
    let used = (HEADER + 11 * frame(1000)) as usize;
    for at in (0..used).step_by(37) {
        let flipped = hurt(&many, &segment(2), |bytes| bytes[at] ^= 0x80);
        disks.push(Hurt::refused(format!("segment 2, byte {at}"), flipped));
    }
    for len in [0, 100, 4096, 4097, used / 2, used - 1] {
        let cut = hurt(&many, &segment(2), |bytes| bytes.truncate(len));
        disks.push(Hurt::refused(format!("segment 2 cut to {len}"), cut));
    }
    disks
}

// Scenario 6: what a later frame, or a later segment, knows to have been durable is never absorbed,
// whichever bit of it changed.
#[test]
fn any_change_to_promised_bytes_is_corruption() {
    check_all(promised_bytes_changed());
}

// Scenario 6: the error says where, and which record is the first in doubt.
#[test]
fn the_damaged_record_is_named() {
    let (disk, starts) = four();
    for (i, pair) in starts.windows(2).enumerate() {
        for offset in pair[0]..pair[1] {
            let hurt = hurt(&disk, &segment(1), |bytes| bytes[offset as usize] ^= 0x04);
            let error = assert_corrupt(&hurt, options());
            let named = matches!(&error, Error::Corrupt { file, offset, lsn, .. }
                if *file == segment(1) && *offset == pair[0] && *lsn == Lsn(i as u64 + 1));
            assert!(named, "byte {offset}: {error}");
        }
    }
}

// The first write of a segment was synced before the segment had a name.
#[test]
fn the_first_write_of_a_segment_is_promised_though_nothing_follows() {
    let disk = disk();
    let (wal, _) = open(&disk);
    let mut count = 0;
    while disk.open(&segment(3), OpenMode::Read).is_err() {
        put(&wal, &[5; 1000]);
        count += 1;
    }
    let disk = disk.crash();
    let hurt = hurt(&disk, &segment(3), |bytes| bytes[HEADER as usize + 30] ^= 1);
    let error = assert_corrupt(&hurt, options());
    assert!(matches!(error, Error::Corrupt { lsn, .. } if lsn == Lsn(count)), "{error}");
}

// Every byte of a header matters, reserved ones included.
#[test]
fn a_damaged_header_is_corruption() {
    let disk = long(3);
    for at in (0..100).chain((100..4096).step_by(61)) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at] ^= 0x20);
        let error = assert_corrupt(&hurt, options());
        assert!(matches!(error, Error::Corrupt { offset: 0, reason: Damage::Header, .. }));
    }
}

// Marks hold no record, but what follows one was acknowledged: cutting there would lose it.
#[test]
fn a_damaged_mark_before_a_record_is_corruption() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"one");
    wal.close().unwrap();
    let (wal, _) = open(&disk);
    put(&wal, b"after the mark");
    let mark = HEADER + frame(3);
    for at in mark..mark + frame(0) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at as usize] ^= 1);
        let error = assert_corrupt(&hurt, options());
        assert!(matches!(error, Error::Corrupt { offset, .. } if offset == mark), "{error}");
    }
}

// A lost start mark must not be taken for a log without a prefix cut.
#[test]
fn a_lost_start_mark_is_corruption() {
    let disk = long(30);
    let (wal, _) = open(&disk);
    let before = load(&disk, &segment(3));
    wal.truncate_prefix(Lsn(28)).unwrap();
    let after = load(&disk, &segment(3));
    let mark = (0..after.len()).find(|&i| before[i] != after[i]).unwrap();
    let hurt = hurt(&disk, &segment(3), |bytes| bytes[mark..].fill(0));
    let error = assert_corrupt(&hurt, options());
    assert!(matches!(error, Error::Corrupt { reason: Damage::SegmentMissing, .. }), "{error}");
}

// A disk that writes the right bytes to the wrong place passes every checksum (scenario 26).
#[test]
fn a_sound_frame_in_the_wrong_place_is_corruption() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for text in [b"one", b"two", b"six", b"ten"] {
        put(&wal, text);
    }
    let (size, start) = (frame(3) as usize, HEADER as usize);
    for (from, to) in [(0, 1), (0, 2), (1, 2), (2, 0), (3, 1)] {
        let hurt = hurt(&disk, &segment(1), |bytes| {
            bytes.copy_within(start + from * size..start + (from + 1) * size, start + to * size);
        });
        let error = assert_corrupt(&hurt, options());
        let named = matches!(&error, Error::Corrupt { reason: Damage::Sequence, lsn, .. }
            if lsn.0 == to as u64 + 1);
        assert!(named, "{error}");
    }
}

// The last write went to the wrong place, over the one before it: nothing follows that could
// testify but the misplaced frame itself.
#[test]
fn a_sound_frame_in_the_place_of_another_testifies_for_it() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for text in [b"one", b"two", b"six", b"ten"] {
        put(&wal, text);
    }
    let (size, start) = (frame(3) as usize, HEADER as usize);
    let hurt = hurt(&disk, &segment(1), |bytes| {
        bytes.copy_within(start + 3 * size..start + 4 * size, start + 2 * size);
        bytes[start + 3 * size..start + 4 * size].fill(0);
    });
    let error = assert_corrupt(&hurt, options());
    let named = matches!(&error, Error::Corrupt { reason: Damage::Sequence, lsn: Lsn(3), .. });
    assert!(named, "{error}");
    let salvage = Wal::salvage(&hurt, &dir()).unwrap();
    assert_eq!((salvage.last_lsn(), salvage.holes().len()), (Lsn(2), 1));
}

// Damage that appears while the log is open is noticed by whoever reads it.
#[test]
fn an_iterator_reports_damage_and_keeps_reporting_it() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for text in [b"one", b"two", b"six"] {
        put(&wal, text);
    }
    let mut bytes = load(&disk, &segment(1));
    bytes[(HEADER + frame(3)) as usize + 17] ^= 1;
    store(&disk, &segment(1), &bytes);
    let mut iter = wal.iter(Lsn(1));
    assert_eq!(iter.next().unwrap().unwrap().1, "one"[..]);
    for _ in 0..3 {
        let error = iter.next().unwrap().unwrap_err();
        assert!(matches!(error, Error::Corrupt { lsn: Lsn(2), .. }), "{error}");
    }
}
