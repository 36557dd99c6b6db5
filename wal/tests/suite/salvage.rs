//! What is left of a damaged log: the good prefix, the holes, and what stands behind them.

use std::path::PathBuf;
use std::sync::Arc;

use drystone_vfs::{SimVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Salvage, Wal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    HEADER, dir, disk, drain, frame, hurt, load, numbered, open, options, put, segment, store,
    try_open,
};

const COUNT: u64 = 40;

fn text(lsn: u64) -> Vec<u8> {
    let mut text = format!("record {lsn} ").into_bytes();
    text.resize(500 + lsn as usize % 7 * 100, b'a' + (lsn % 26) as u8);
    text
}

/// A log of several segments, killed: groups of one, two and three records in turn.
fn killed() -> SimVfs {
    let disk = disk();
    let (wal, _) = open(&disk);
    while wal.next_lsn().0 <= COUNT {
        let next = wal.next_lsn().0;
        let count = (next % 3 + 1).min(COUNT + 1 - next);
        let texts: Vec<Vec<u8>> = (next..next + count).map(text).collect();
        let group: Vec<&[u8]> = texts.iter().map(|text| &text[..]).collect();
        wal.append(&group).unwrap().wait().unwrap();
    }
    disk.crash()
}

fn salvage(disk: &SimVfs) -> Salvage {
    let before = disk.files();
    let salvage = Wal::salvage(disk, &dir()).unwrap();
    for (lsn, bytes) in records(&salvage).into_iter().chain(remains(&salvage)) {
        assert!(bytes == text(lsn), "record {lsn} was never written");
    }
    let all: Vec<_> = records(&salvage).into_iter().chain(remains(&salvage)).collect();
    for from in [0, 1, 2, COUNT / 3, COUNT / 2, COUNT - 1, COUNT, COUNT + 1] {
        let tail = salvage.iter(Lsn(from)).map(|record| record.unwrap());
        let tail: Vec<_> = tail.map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect();
        let wanted: Vec<_> = all.iter().filter(|(lsn, _)| *lsn >= from).cloned().collect();
        assert!(tail == wanted, "records from {from} on");
    }
    assert!(disk.files() == before, "salvage has changed something");
    salvage
}

fn records(salvage: &Salvage) -> Vec<(u64, Vec<u8>)> {
    let records = salvage.records().map(|record| record.unwrap());
    let records: Vec<_> = records.map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect();
    let lsns: Vec<u64> = records.iter().map(|(lsn, _)| *lsn).collect();
    let named = salvage.first_lsn().0..=salvage.last_lsn().0;
    assert_eq!(lsns, named.collect::<Vec<_>>());
    records
}

fn remains(salvage: &Salvage) -> Vec<(u64, Vec<u8>)> {
    let remains: Vec<_> = salvage.remains().map(|remain| remain.unwrap()).collect();
    let lsns: Vec<u64> = remains.iter().map(|remain| remain.lsn.0).collect();
    assert!(lsns.is_sorted_by(|a, b| a < b), "{lsns:?} {:?}", salvage.holes());
    assert!(remains.windows(2).all(|pair| pair[0].hole <= pair[1].hole));
    assert!(remains.iter().all(|remain| remain.hole < salvage.holes().len()));
    remains.into_iter().map(|remain| (remain.lsn.0, remain.bytes.to_vec())).collect()
}

/// The positions that are in neither.
fn lost(salvage: &Salvage) -> Vec<u64> {
    let found = records(salvage).into_iter().chain(remains(salvage));
    let found: Vec<u64> = found.map(|(lsn, _)| lsn).collect();
    (1..=COUNT).filter(|lsn| !found.contains(lsn)).collect()
}

fn segments(disk: &SimVfs) -> Vec<PathBuf> {
    let paths = disk.list(&dir()).unwrap().into_iter().map(|name| dir().join(name));
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "wal")).collect()
}

/// Where record `lsn` begins: its file, and its first byte there.
fn place(disk: &SimVfs, lsn: u64) -> (PathBuf, u64) {
    for path in segments(disk) {
        let bytes = load(disk, &path);
        let text = text(lsn);
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
            return (path, at as u64 - 16);
        }
    }
    panic!("record {lsn} is not there")
}

// Nothing wrong, nothing said: a tool that cries wolf is not run twice.
#[test]
fn a_sound_log_has_no_holes() {
    let disk = killed();
    let found = salvage(&disk);
    assert!(found.holes().is_empty() && found.cut().is_none(), "{:?}", found.holes());
    assert_eq!((records(&found).len() as u64, remains(&found).len()), (COUNT, 0));
    drop(found);
    open(&disk).0.close().unwrap();
    assert!(salvage(&disk).holes().is_empty());
    let (file, at) = place(&disk, COUNT);
    let torn = hurt(&killed(), &file, |bytes| bytes[at as usize + 30] ^= 1);
    let found = salvage(&torn);
    assert!(found.holes().is_empty());
    assert_eq!(found.cut().unwrap().reason, Damage::Checksum);
}

// Scenario 5 seen from here: sound frames behind a torn one, all of one write. Nobody was told that
// any of them is safe, so nothing is lost, and none of them may come back as if it were.
#[test]
fn a_write_torn_at_its_start_is_the_end_and_not_a_hole() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, &text(1));
    // Two groups in one write, the first of two records.
    drop(wal.append(&[&text(2), &text(3)]).unwrap());
    wal.append(&[&text(4)]).unwrap().wait().unwrap();
    let (file, at) = place(&disk, 2);
    let torn = hurt(&disk.crash(), &file, |bytes| bytes[at as usize + 30] ^= 1);
    let found = salvage(&torn);
    assert!(found.holes().is_empty(), "{:?}", found.holes());
    assert_eq!((records(&found).len(), remains(&found).len()), (1, 0));
    assert_eq!(found.cut().unwrap().offset, at);
    drop(found);
    // Once there is a later write, all of that had been acknowledged.
    let (wal, _) = open(&torn);
    drop(wal.append(&[&text(2), &text(3)]).unwrap());
    wal.append(&[&text(4)]).unwrap().wait().unwrap();
    put(&wal, &text(5));
    let hurt = hurt(&torn.crash(), &file, |bytes| bytes[at as usize + 30] ^= 1);
    let found = salvage(&hurt);
    assert_eq!((records(&found).len(), found.holes().len()), (1, 1));
    let lsns: Vec<u64> = remains(&found).iter().map(|(lsn, _)| *lsn).collect();
    assert_eq!(lsns, [3, 4, 5]);
}

// Scenario 6, second half: one record is lost, and no more than one.
#[test]
fn a_damaged_record_is_a_hole_and_the_rest_remains() {
    let disk = killed();
    for lsn in 1..COUNT - 3 {
        let (file, at) = place(&disk, lsn);
        let hurt = hurt(&disk, &file, |bytes| bytes[at as usize + 17] ^= 1);
        let found = salvage(&hurt);
        assert_eq!(lost(&found), [lsn]);
        let [hole] = found.holes() else { panic!("{:?}", found.holes()) };
        let size = frame(text(lsn).len());
        assert_eq!((&hole.file, hole.offset, hole.bytes), (&file, at, size));
        assert_eq!((hole.first_lost, hole.last_lost), (Some(Lsn(lsn)), Some(Lsn(lsn))));
        assert!(hole.to_string().ends_with(&format!("record {lsn} lost")), "{hole}");
        // The good prefix is what the log would have been, had it ended before this group.
        assert!(found.last_lsn() < Lsn(lsn));
        let hole = hole.clone();
        drop(found);
        let error = try_open(&hurt, options()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { file: f, offset, .. }
            if f == hole.file && offset == hole.offset));
    }
}

// A flipped bit in a header, or a header that is gone altogether, costs no record: the frames tell
// their seed. It does not even end the good prefix.
#[test]
fn a_damaged_header_costs_no_record() {
    let disk = killed();
    let count = segments(&disk).len() as u64;
    for n in 1..=count {
        for at in [0, 9, 14, 16, 20, 24, 33, 40, 41, 56, 64, 72, 79, 500, 4000] {
            let hurt = hurt(&disk, &segment(n), |bytes| bytes[at] ^= 0x40);
            let found = salvage(&hurt);
            assert_eq!((lost(&found), found.holes().len()), (vec![], 1), "segment {n} byte {at}");
            let reason = found.holes()[0].reason.to_string();
            assert_eq!(reason, "segment header is damaged");
        }
        let zeroed = hurt(&disk, &segment(n), |bytes| bytes[..4096].fill(0));
        let found = salvage(&zeroed);
        assert_eq!(found.last_lsn(), Lsn(COUNT), "segment {n} zeroed: all is in the good prefix");
        assert!(found.holes()[0].to_string().ends_with("no record lost"), "{}", found.holes()[0]);
    }
}

// The log of most programs is one file.
#[test]
fn a_log_of_one_file_survives_the_loss_of_its_header() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for lsn in 1..=5 {
        put(&wal, &text(lsn));
    }
    let disk = hurt(&disk, &segment(1), |bytes| bytes[..4096].fill(0xa5));
    let found = salvage(&disk);
    assert_eq!(records(&found), (1..=5).map(|lsn| (lsn, text(lsn))).collect::<Vec<_>>());
    assert_eq!(found.holes().len(), 1);
}

// An open refuses a lost mark, for more than a mark may have stood there. Here it can be seen that
// no record is missing, so the good prefix goes on behind it.
#[test]
fn a_damaged_mark_costs_no_record() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, &text(1));
    wal.close().unwrap();
    let (wal, _) = open(&disk);
    put(&wal, &text(2));
    let (file, at) = place(&disk, 2);
    let disk = hurt(&disk.crash(), &file, |bytes| bytes[at as usize - 5] ^= 1);
    let found = salvage(&disk);
    assert_eq!((records(&found).len(), found.holes().len()), (2, 1));
    let hole = &found.holes()[0];
    assert_eq!((hole.offset, hole.bytes), (at - 16, 16));
    assert!(hole.to_string().ends_with("no record lost"), "{hole}");
}

// Scenario 11: what is missing is named with all that is known of it.
#[test]
fn a_missing_segment_is_a_hole_between_its_neighbours() {
    let disk = killed();
    let files = segments(&disk);
    for (i, file) in files.iter().enumerate() {
        let copy = disk.crash_copy(0);
        copy.remove(file).unwrap();
        let found = salvage(&copy);
        let [hole] = found.holes() else { panic!("{:?}", found.holes()) };
        assert_eq!((&hole.file, hole.offset, hole.bytes), (file, 0, 0));
        assert_eq!(hole.reason.to_string(), "segment is missing");
        let lost = lost(&found);
        let first = (i > 0).then_some(Lsn(lost[0]));
        let last = (i + 1 < files.len()).then_some(Lsn(lost[lost.len() - 1]));
        assert_eq!((hole.first_lost, hole.last_lost), (first, last));
        assert_eq!(lost, (lost[0]..=lost[lost.len() - 1]).collect::<Vec<_>>());
    }
}

// Files under each other's names, and files of another log.
#[test]
fn misplaced_segments_are_holes_and_none_of_them_invents_a_record() {
    let disk = killed();
    let copy = disk.crash_copy(0);
    store(&copy, &segment(2), &load(&disk, &segment(3)));
    store(&copy, &segment(3), &load(&disk, &segment(2)));
    let found = salvage(&copy);
    assert_eq!((lost(&found), found.holes().len()), (vec![], 2));

    let other = SimVfs::new(5);
    let (wal, _) = try_open(&other, options().log_id(77)).unwrap();
    for i in 0..40_u8 {
        put(&wal, &[i; 1000]);
    }
    let copy = disk.crash_copy(0);
    store(&copy, &segment(2), &load(&other, &segment(2)));
    let found = salvage(&copy);
    assert_eq!(found.holes()[0].reason.to_string(), "segment header belongs elsewhere");
    assert!(!lost(&found).is_empty());
}

// Scenario 19: a bad sector costs the records on it, and says so.
#[test]
fn an_unreadable_sector_is_a_hole() {
    let disk = killed();
    let (file, at) = place(&disk, 9);
    disk.break_sector(&file, at + 20).unwrap();
    let found = Wal::salvage(&disk, &dir()).unwrap();
    let lost = lost(&found);
    assert!(lost.contains(&9) && lost.len() <= 3, "{lost:?}");
    let hole = &found.holes()[0];
    assert!(hole.reason.to_string().starts_with("cannot be read: "), "{hole}");
    let header = killed();
    header.break_sector(&segment(2), 0).unwrap();
    let found = Wal::salvage(&header, &dir()).unwrap();
    assert!(found.holes()[0].to_string().contains("cannot be read"), "{}", found.holes()[0]);
    assert_eq!(self::lost(&found), [0; 0]);
}

// What is salvaged is a log again, with the same positions, and sound.
#[test]
fn the_good_prefix_becomes_a_new_log() {
    let disk = killed();
    open(&disk).0.truncate_prefix(Lsn(20)).unwrap();
    let (file, at) = place(&disk, 33);
    let hurt = hurt(&disk, &file, |bytes| bytes[at as usize + 2] ^= 1);
    let found = salvage(&hurt);
    assert!(found.first_lsn() > Lsn(1) && found.last_lsn() < Lsn(33));
    let new = Arc::new(SimVfs::new(3));
    let report = found.write_to(new.clone(), &dir()).unwrap();
    assert_eq!((report.first, report.last), (found.first_lsn(), found.last_lsn()));
    assert!(report.closed && report.cut.is_none());
    let again = found.write_to(new.clone(), &dir()).unwrap_err();
    assert!(again.to_string().contains("cannot make a log in"), "{again}");
    let (wal, recovered) = try_open(&new, options()).unwrap();
    assert_eq!(drain(recovered), records(&found));
    assert_eq!(wal.next_lsn(), found.last_lsn().next());
}

// Nothing good is a result too.
#[test]
fn a_log_without_a_good_prefix_is_salvaged_as_an_empty_one() {
    let disk = hurt(&killed(), &segment(1), |bytes| bytes[HEADER as usize + 1] ^= 1);
    let found = salvage(&disk);
    assert_eq!((found.first_lsn(), found.last_lsn()), (Lsn(1), Lsn::NONE));
    let report = found.write_to(Arc::new(SimVfs::new(3)), &dir()).unwrap();
    assert_eq!((report.first, report.last), (Lsn(1), Lsn::NONE));
    assert!(matches!(Wal::salvage(&SimVfs::new(1), &dir()), Err(Error::NoLog { .. })));
}

// A live log is not damaged, only unfinished: nobody may call that a hole.
#[test]
fn a_log_in_use_is_not_salvaged() {
    let disk = disk();
    let (wal, _) = open(&disk);
    assert!(matches!(Wal::salvage(&disk, &dir()), Err(Error::Locked { .. })));
    put(&wal, b"one");
    drop(wal);
    let found = Wal::salvage(&disk, &dir()).unwrap();
    let records: Vec<_> = found.records().map(|r| r.unwrap()).collect();
    assert_eq!(records, [(Lsn(1), b"one"[..].into())]);
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })), "it is being read");
    drop(found);
    assert_eq!(open(&disk).1, numbered(&[b"one"]));
}

fn wound(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..3000)).min(bytes.len());
        match rng.random_range(0..6) {
            0 => rng.fill(&mut bytes[at..end]),
            1 => bytes[at..end].fill(0),
            2 | 3 => bytes[at] ^= 1 << rng.random_range(0..8),
            4 => bytes.truncate(at.max(1)),
            _ => {
                let to = rng.random_range(0..=bytes.len() - (end - at));
                bytes.copy_within(at..end, to);
            }
        }
    }
}

// Whatever the bytes: no panic, nothing invented, nothing changed, and the same verdict as an open.
// To replay one seed: SEED=n cargo test -p drystone-wal agree
#[test]
fn an_open_and_a_salvage_agree_about_any_damage() {
    let disk = killed();
    let closed = disk.crash_copy(0);
    open(&closed).0.close().unwrap();
    let files = segments(&disk);
    let slow = std::env::var_os("SLOW").is_some();
    let seeds = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..if slow { 60_000 } else { 1500 },
    };
    let mut refused = 0;
    for seed in seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let base = if rng.random_bool(0.5) { &disk } else { &closed };
        let mut hurt = base.crash_copy(0);
        for _ in 0..rng.random_range(1..3) {
            let file = &files[rng.random_range(0..files.len())];
            if rng.random_bool(0.1) {
                hurt.remove(file).ok();
            } else if hurt.open(file, drystone_vfs::OpenMode::Read).is_ok() {
                hurt = crate::support::hurt(&hurt, file, |bytes| wound(&mut rng, bytes));
            }
        }
        let what = format!("replay: SEED={seed} cargo test -p drystone-wal agree");
        println!("{what}");
        let found = salvage(&hurt);
        let (holes, records) = (found.holes().to_vec(), records(&found));
        drop(found);
        match try_open(&hurt, options()) {
            Ok((_wal, recovered)) => {
                assert!(holes.is_empty(), "{holes:?}");
                assert_eq!(drain(recovered), records);
            }
            Err(error) => {
                refused += 1;
                assert!(!holes.is_empty(), "{error}");
            }
        }
    }
    assert!(refused > 0 || std::env::var("SEED").is_ok());
}
