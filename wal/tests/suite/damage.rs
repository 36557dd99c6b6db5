//! Corruption: acknowledged bytes that changed. Never absorbed, always named, nothing touched.

use drystone_vfs::{OpenMode, SimVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    HEADER, assert_corrupt, dir, disk, drain, frame, hurt, load, numbered, open, options, put,
    segment, store, try_open,
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

// Scenario 6, within the last segment: a later frame testifies. Every byte counts.
#[test]
fn any_flipped_byte_before_the_last_write_is_corruption() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for text in ["one", "two two", "three three three", "four"] {
        put(&wal, text.as_bytes());
    }
    let disk = disk.crash();
    let frames = [frame(3), frame(7), frame(17)];
    let mut at = HEADER;
    for (i, bytes) in frames.into_iter().enumerate() {
        for offset in at..at + bytes {
            let hurt = hurt(&disk, &segment(1), |bytes| bytes[offset as usize] ^= 0x04);
            let error = assert_corrupt(&hurt, options());
            let named = matches!(&error, Error::Corrupt { file, offset, lsn, .. }
                if *file == segment(1) && *offset == at && *lsn == Lsn(i as u64 + 1));
            assert!(named, "byte {offset}: {error}");
        }
        at += bytes;
    }
}

// Scenario 6 with zeros, where naive readers see the end of the log.
#[test]
fn zeroed_sectors_before_the_last_write_are_corruption() {
    let disk = long(12);
    let end = (HEADER + 10 * frame(1000)) as usize;
    for sector in (HEADER as usize..end).step_by(512) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[sector..sector + 512].fill(0));
        assert_corrupt(&hurt, options());
    }
}

// Scenario 6, before the last segment: the next segment testifies, for all of it.
#[test]
fn any_damage_before_the_last_segment_is_corruption() {
    let disk = long(40);
    assert!(disk.list(&dir()).unwrap().len() > 4);
    let used = (HEADER + 11 * frame(1000)) as usize;
    for at in (0..used).step_by(37) {
        let hurt = hurt(&disk, &segment(2), |bytes| bytes[at] ^= 0x80);
        assert_corrupt(&hurt, options());
    }
    for len in [0, 100, 4096, 4097, used / 2, used - 1] {
        let hurt = hurt(&disk, &segment(2), |bytes| bytes.truncate(len));
        assert_corrupt(&hurt, options());
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

// Scenario 11: files get lost, copied and renamed by people.
#[test]
fn a_missing_or_misplaced_segment_is_named() {
    let disk = long(60);
    for gone in [1, 2, 3] {
        let copy = disk.crash_copy(0);
        copy.remove(&segment(gone)).unwrap();
        let error = assert_corrupt(&copy, options());
        let named = matches!(&error, Error::Corrupt { file, reason: Damage::SegmentMissing, .. }
            if *file == segment(gone));
        assert!(named, "{error}");
    }
    let copy = disk.crash_copy(0);
    store(&copy, &segment(2), &load(&disk, &segment(3)));
    let error = assert_corrupt(&copy, options());
    assert!(matches!(error, Error::Corrupt { reason: Damage::Misplaced, .. }), "{error}");
}

// A segment of another log under the right name and number.
#[test]
fn a_segment_of_another_log_is_named() {
    let other = SimVfs::new(5);
    let (wal, _) = try_open(&other, options().log_id(77)).unwrap();
    for i in 0..40_u8 {
        put(&wal, &[i; 1000]);
    }
    let disk = long(40);
    store(&disk, &segment(2), &load(&other, &segment(2)));
    let error = assert_corrupt(&disk, options());
    assert!(matches!(error, Error::Corrupt { reason: Damage::Misplaced, .. }), "{error}");
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

// Scenario 48: whatever the bytes, an answer: no panic, no wild allocation, no endless loop. To
// replay one seed: SEED=n cargo test -p drystone-wal arbitrary
#[test]
fn arbitrary_bytes_are_refused_or_read_but_never_fatal() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..300).collect(),
    };
    let disk = long(15);
    for seed in seeds {
        println!("replay: SEED={seed} cargo test -p drystone-wal arbitrary");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hurt = hurt(&disk, &segment(rng.random_range(1..=2)), |bytes| {
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..bytes.len());
                let end = (at + rng.random_range(1..600)).min(bytes.len());
                match rng.random_range(0..5) {
                    0 => rng.fill(&mut bytes[at..end]),
                    1 => bytes[at..end].fill(0),
                    2 => bytes[at] ^= 1 << rng.random_range(0..8),
                    3 => bytes.truncate(at.max(1)),
                    _ => {
                        let to = rng.random_range(0..=bytes.len() - (end - at));
                        bytes.copy_within(at..end, to);
                    }
                }
            }
        });
        if let Ok((_wal, recovered)) = try_open(&hurt, options()) {
            let found = drain(recovered);
            let written: Vec<Vec<u8>> = (0..15_u8).map(|i| vec![i; 1000]).collect();
            let written: Vec<&[u8]> = written.iter().map(|r| &r[..]).collect();
            assert_eq!(
                found,
                numbered(&written[..found.len()]),
                "seed {seed}: nothing is invented"
            );
        }
    }
}
