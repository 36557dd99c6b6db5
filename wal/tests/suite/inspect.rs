//! A look into files: it shows everything, whatever it is, and judges nothing.

use drystone_vfs::{OpenMode, SimVfs, Vfs};
use drystone_wal::inspect::{self, Frame, FrameKind, Header, Part, Role};
use drystone_wal::{Error, Lsn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    HEADER, dir, disk, frame, hurt, load, open, options, put, segment, store, try_open,
};

/// The parts of a segment, which must follow each other without a gap up to the file's end.
#[track_caller]
fn parts(disk: &SimVfs, n: u64) -> Vec<Part> {
    let before = disk.counts();
    let seen = inspect::segment(disk, &segment(n)).unwrap();
    let (readable, length) = match &seen.header {
        Header::Sound(_) | Header::Damaged { readable: true, .. } => (true, seen.bytes),
        _ => (false, seen.bytes),
    };
    let parts: Vec<Part> = seen.collect();
    assert_eq!(disk.counts().changes(), before.changes(), "a look has changed something");
    let mut at = HEADER.min(length);
    let mut frames = 0;
    for part in &parts[..parts.len() - 1] {
        let (offset, bytes) = match part {
            Part::Frame(found) => (found.offset, frame(found.len as usize)),
            Part::Zeros { offset, bytes } | Part::Damaged { offset, bytes, .. } => {
                (*offset, *bytes)
            }
            other => panic!("{other} before the end"),
        };
        assert_eq!(offset, at, "{part}");
        at += bytes;
        frames += usize::from(matches!(part, Part::Frame(_)));
        assert!(!part.to_string().contains('\n'), "one line each");
    }
    assert!(!readable || at == length, "{at} of {length} bytes shown");
    let Some(Part::End(end)) = parts.last() else { panic!("no end") };
    assert!(end.records as usize <= frames && end.frames_end <= length.max(HEADER));
    parts
}

fn frames(parts: &[Part]) -> Vec<Frame> {
    let frame = |part: &Part| if let Part::Frame(frame) = part { Some(*frame) } else { None };
    parts.iter().filter_map(frame).collect()
}

// Every kind of frame, in a log that has them all.
#[test]
fn every_frame_is_shown_with_what_it_says() {
    let disk = disk();
    let (wal, _) = open(&disk);
    wal.append(&[b"one", b"two"]).unwrap().wait().unwrap();
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    wal.truncate_prefix(Lsn(20)).unwrap();
    wal.close().unwrap();
    let files = inspect::files(&disk, &dir()).unwrap();
    let segments: Vec<u64> = files
        .iter()
        .filter_map(|file| if let Role::Segment(n) = file.role { Some(n) } else { None })
        .collect();
    assert!(files.iter().any(|file| file.role == Role::Lock));
    let (first, last) = (segments[0], segments[segments.len() - 1]);
    let kinds = |n| frames(&parts(&disk, n)).into_iter().map(|f| f.kind).collect::<Vec<_>>();
    assert_eq!(kinds(first).last(), Some(&FrameKind::Next), "another follows");
    let end = &kinds(last)[kinds(last).len() - 2..];
    assert_eq!(end, [FrameKind::Start(first), FrameKind::Close]);
    let newest = frames(&parts(&disk, last));
    let record = newest.iter().find(|frame| frame.kind == FrameKind::GroupEnd).unwrap();
    assert_eq!((record.len, record.durable), (1000, record.lsn.previous()));
    let seen = inspect::segment(&disk, &segment(last)).unwrap();
    assert_eq!(seen.payload(record).unwrap(), vec![record.lsn.0 as u8 - 3; 1000]);
}

// What a recycled file held before is no part of the log.
#[test]
fn old_frames_of_a_recycled_file_are_not_shown_as_frames() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    wal.truncate_prefix(Lsn(28)).unwrap();
    for i in 30..40_u8 {
        put(&wal, &[i; 1000]);
    }
    let newest = (1..20).rfind(|n| disk.open(&segment(*n), OpenMode::Read).is_ok()).unwrap();
    let shown = parts(&disk, newest);
    assert!(shown.iter().any(|part| matches!(part, Part::Damaged { .. })), "old bytes are there");
    let lsns: Vec<u64> = frames(&shown).iter().map(|frame| frame.lsn.0).collect();
    assert_eq!(lsns.last(), Some(&40));
    assert!(lsns.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{lsns:?}");
}

// A file that cannot be had is the only error; one of another version is named.
#[test]
fn only_a_file_that_is_not_there_is_an_error() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"one");
    let missing = inspect::segment(&disk, &segment(7)).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    let mut bytes = load(&disk, &segment(1));
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    bytes[12..16].fill(0);
    let crc = crc32fast::hash(&bytes[..HEADER as usize]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    store(&disk, &segment(1), &bytes);
    let newer = inspect::segment(&disk, &segment(1)).unwrap();
    assert_eq!(newer.header, Header::Unsupported { version: 7 });
    disk.break_sector(&segment(1), 600).unwrap();
    let unreadable = inspect::segment(&disk, &segment(1)).unwrap();
    assert!(unreadable.header.to_string().contains("cannot be read"), "{}", unreadable.header);
}

// Whatever the bytes: every one of them is accounted for. To replay one seed: SEED=n cargo test -p
// drystone-wal accounted
#[test]
fn any_bytes_are_accounted_for() {
    let disk = disk();
    let (wal, _) = try_open(&disk, options()).unwrap();
    for i in 0..10_u8 {
        put(&wal, &vec![i; 100 * usize::from(i)]);
    }
    let disk = disk.crash();
    let seeds = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..500_u64,
    };
    for seed in seeds {
        println!("replay: SEED={seed} cargo test -p drystone-wal accounted");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hurt = hurt(&disk, &segment(1), |bytes| {
            for _ in 0..rng.random_range(0..12) {
                let at = rng.random_range(0..bytes.len());
                let end = (at + rng.random_range(1..900)).min(bytes.len());
                match rng.random_range(0..4) {
                    0 => rng.fill(&mut bytes[at..end]),
                    1 => bytes[at..end].fill(0),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let to = rng.random_range(0..=bytes.len() - (end - at));
                        bytes.copy_within(at..end, to);
                    }
                }
            }
        });
        parts(&hurt, 1);
    }
}
