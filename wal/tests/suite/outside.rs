//! What no crash does: files cut short, files gone. The log knows how long its files were made, and
//! which of them have a successor.

use std::path::PathBuf;

use drystone_vfs::{SimVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Recovered, Wal};

use crate::support::{
    HEADER, assert_corrupt, assert_recovers, dir, disk, drain, frame, hurt, load, numbered, open,
    options, put, segment, store, try_open,
};

const LEN: usize = 100;
const COUNT: u64 = 20;

fn records() -> Vec<(u64, Vec<u8>)> {
    let records: Vec<Vec<u8>> = (1..=COUNT).map(|i| vec![i as u8; LEN]).collect();
    numbered(&records.iter().map(|r| &r[..]).collect::<Vec<_>>())
}

/// One segment, each record its own write.
fn live() -> (SimVfs, Wal) {
    let disk = disk();
    let (wal, _) = open(&disk);
    for (_, record) in records() {
        put(&wal, &record);
    }
    (disk, wal)
}

fn length(disk: &SimVfs) -> u64 {
    load(disk, &segment(1)).len() as u64
}

/// The reason of a refusal that names the first segment and this place.
#[track_caller]
fn refused(disk: &SimVfs, at: u64, record: u64) -> Damage {
    match assert_corrupt(disk, options()) {
        Error::Corrupt { file, offset, lsn, reason } => {
            assert_eq!((file, offset, lsn), (segment(1), at, Lsn(record)));
            reason
        }
        error => panic!("{error}"),
    }
}

// A file cut where records stood, or right behind the last, may have held more of them: nobody can
// say, so nobody may be told that all is well.
#[test]
fn a_file_cut_before_the_log_visibly_ends_is_corruption() {
    let (disk, _wal) = live();
    let disk = disk.crash();
    let end = HEADER + COUNT * frame(LEN);
    for len in (HEADER..=end).step_by(4).chain(end..end + 8) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes.truncate(len as usize));
        let whole = ((len - HEADER) / frame(LEN)).min(COUNT);
        let reason = refused(&hurt, HEADER + whole * frame(LEN), whole + 1);
        assert_eq!(reason, Damage::FileEnds, "cut at {len}");
    }
}

// Zeros behind the last record show that the log ended there: nothing is lost but room, and that
// is given back, so that later writes go over bytes that are there.
#[test]
fn a_file_cut_behind_the_end_of_the_log_opens_and_is_made_whole() {
    let (disk, _wal) = live();
    let disk = disk.crash();
    let (end, full) = (HEADER + COUNT * frame(LEN), length(&disk));
    for len in [end + 8, end + 9, end + 16, end + 17, end + 500, full - 8, full - 1] {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes.truncate(len as usize));
        let (wal, recovered) = try_open(&hurt, options()).unwrap();
        let short = recovered.report().short.clone().unwrap();
        assert_eq!((short.file, short.bytes, short.capacity), (segment(1), len, full));
        assert_eq!(recovered.report().cut, None);
        assert_eq!(drain(recovered), records());
        assert_eq!(length(&hurt), full);
        drop(wal);
        let (_wal, again) = try_open(&hurt, options()).unwrap();
        assert_eq!(again.report().short, None, "it is repaired once");
        assert_recovers(&hurt.crash_copy(1), &records());
    }
    let (_wal, recovered) = try_open(&disk, options()).unwrap();
    assert_eq!(recovered.report().short, None, "nothing is reported of a log that is whole");
}

// What follows the cut is zeros again, durably: a second crash finds no hole in the file.
#[test]
fn a_repair_of_a_short_file_survives_a_crash_at_every_call() {
    let (disk, _wal) = live();
    let end = HEADER + COUNT * frame(LEN);
    let cut = hurt(&disk.crash(), &segment(1), |bytes| bytes.truncate(end as usize + 24));
    for calls in 0..8 {
        for seed in 0..20 {
            let once = cut.crash_copy(seed);
            once.power_cut_after(calls);
            drop(try_open(&once, options()));
            assert_recovers(&once.crash_copy(seed + 1), &records());
        }
    }
}

// After a clean close the mark stands where the log ends; a cut that takes it is seen, and so is
// one right behind it, for the log may have been opened again and gone on.
#[test]
fn a_cut_that_takes_the_close_mark_is_corruption() {
    let (disk, wal) = live();
    wal.close().unwrap();
    let mark = HEADER + COUNT * frame(LEN);
    for len in (HEADER..mark + frame(0) + 8).step_by(4) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes.truncate(len as usize));
        let error = assert_corrupt(&hurt, options());
        let named = matches!(error, Error::Corrupt { reason: Damage::FileEnds, .. });
        assert!(named, "cut at {len}: {error}");
    }
    let spared = mark + frame(0) + 8;
    let hurt = hurt(&disk, &segment(1), |bytes| bytes.truncate(spared as usize));
    let (_wal, recovered) = try_open(&hurt, options()).unwrap();
    assert!(recovered.report().closed && recovered.report().short.is_some());
    assert_eq!(drain(recovered), records());
}

/// A log of several segments, killed, and the paths of its files, oldest first.
fn long() -> (SimVfs, Vec<PathBuf>) {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..60_u8 {
        put(&wal, &[i; 1000]);
    }
    let files = segments(&disk);
    assert!(files.len() > 4);
    (disk.crash(), files)
}

fn segments(disk: &SimVfs) -> Vec<PathBuf> {
    let names = disk.list(&dir()).unwrap().into_iter();
    let paths = names.map(|name| dir().join(name));
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "wal")).collect()
}

#[track_caller]
fn missing(disk: &SimVfs, gone: &PathBuf) {
    let error = assert_corrupt(disk, options());
    let named = matches!(&error, Error::Corrupt { file, reason: Damage::SegmentMissing, .. }
        if file == gone);
    assert!(named, "{error}");
}

// The newest files gone leave a log that is sound in itself and short. The one before remembers.
#[test]
fn a_log_without_its_newest_segments_is_corruption() {
    let (killed, files) = long();
    let closed = killed.crash_copy(0);
    open(&closed).0.close().unwrap();
    for disk in [killed, closed] {
        for keep in 1..files.len() {
            let copy = disk.crash_copy(0);
            files[keep..].iter().for_each(|file| copy.remove(file).unwrap());
            missing(&copy, &files[keep]);
        }
    }
}

// A power cut may come between a rotation and the mark. Then there is no mark, and nothing wrong:
// what is known from elsewhere decides (scenario 47: a lying disk ends the same way).
#[test]
fn without_a_next_mark_only_outside_knowledge_tells_of_a_lost_segment() {
    let (disk, files) = long();
    let (before, newest) = (&files[files.len() - 2], &files[files.len() - 1]);
    let unmarked = hurt(&disk, before, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes[end.next_multiple_of(8) - 16..].fill(0);
    });
    assert_eq!(open(&unmarked.crash_copy(2)).1.len(), 60, "its absence says nothing");
    unmarked.remove(newest).unwrap();
    let error = assert_corrupt(&unmarked, options().min_lsn(Lsn(60)));
    assert!(error.to_string().contains("but record 60 was durable"), "{error}");
    assert!(matches!(
        error,
        Error::Corrupt { reason: Damage::EndsEarly { expected: Lsn(60), .. }, .. }
    ));
    try_open(&unmarked, options()).unwrap();
}

// A suffix cut removes segments on purpose: no mark may accuse it, at any point, ever after.
#[test]
fn a_cut_suffix_is_never_taken_for_a_lost_segment() {
    for last in 1..60 {
        let (disk, _) = long();
        open(&disk).0.truncate_suffix(Lsn(last)).unwrap();
        let (wal, found) = open(&disk);
        assert_eq!(found.len() as u64, last);
        for i in 0..20 {
            put(&wal, &[i; 1000]);
        }
        assert_eq!(open(&disk.crash_copy(last)).1.len() as u64, last + 20);
    }
}

// Marks also fill segments. Opening and letting go of prefixes, again and again, must leave room
// for the mark that says "there is more".
#[test]
fn segments_left_because_of_marks_have_a_next_mark_too() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    drop(wal);
    let (mut files, mut rotations) = (segments(&disk), 0);
    for i in 0..40 {
        let (wal, _) = open(&disk);
        put(&wal, &[0; 3000 - 16 - 24]);
        wal.truncate_prefix(Lsn(28 + i)).unwrap();
        wal.close().unwrap();
        let now = segments(&disk);
        if now.last() != files.last() && now.len() > 1 {
            let copy = disk.crash_copy(0);
            copy.remove(now.last().unwrap()).unwrap();
            missing(&copy, now.last().unwrap());
            rotations += 1;
        }
        files = now;
    }
    assert!(rotations > 5, "{rotations}");
}

// A reader never meets the mark, and a log made longer by hand is still itself.
#[test]
fn a_file_longer_than_made_is_read_as_made() {
    let (disk, wal) = live();
    wal.close().unwrap();
    let mut bytes = load(&disk, &segment(1));
    bytes.extend([7; 5000]);
    store(&disk, &segment(1), &bytes);
    let (_wal, recovered): (Wal, Recovered) = try_open(&disk, options()).unwrap();
    assert!(recovered.report().closed && recovered.report().cut.is_none());
    assert_eq!(drain(recovered), records());
}
