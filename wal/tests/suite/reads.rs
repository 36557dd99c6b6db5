//! Disks that cannot be read (scenario 19), and bytes that an older program does not understand
//! (scenario 25): refused, and left as they are.

use drystone_vfs::{Fault, Harm, Op, SimVfs, Vfs};
use drystone_wal::{Error, Lsn};

use crate::hurt::names;
use crate::support::{HEADER, dir, disk, load, open, options, put, segment, store, try_open};

/// A killed log of three segments.
fn three_segments() -> SimVfs {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    let disk = disk.crash();
    assert_eq!(names(&disk).len(), 4);
    disk
}

#[track_caller]
fn assert_io(disk: &SimVfs, what: &str) {
    let before = disk.files();
    let error = try_open(disk, options()).expect_err("read on as if nothing had happened");
    assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
    assert!(disk.files() == before, "{what}: something was changed");
}

// Scenario 19: "cannot read" is not "nothing there". Every sector of every segment is tried, the
// empty ones behind the end as well: what they hold decides between torn and corrupt.
#[test]
fn an_unreadable_sector_is_an_error_not_the_end() {
    let disk = three_segments();
    let mut refused = 0;
    for n in 1..=3 {
        let path = segment(n);
        let length = load(&disk, &path).len() as u64;
        // Frames of a segment that has a successor end where that one says; nothing behind counts.
        let used = if n == 3 { length } else { HEADER + 12 * 1016 };
        for offset in (0..length).step_by(512) {
            let copy = disk.crash_copy(0);
            copy.break_sector(&path, offset).unwrap();
            if offset < used {
                assert_io(&copy, &format!("segment {n} byte {offset}"));
                refused += 1;
            } else {
                drop(try_open(&copy, options()));
            }
        }
    }
    assert!(refused > 90, "{refused}");
}

// Scenario 19 as a passing fault: whichever read fails, opening fails, and the next opening works.
#[test]
fn any_single_failing_read_fails_the_open_and_nothing_else() {
    let disk = three_segments();
    let (_wal, expected) = open(&disk.crash_copy(0));
    for nth in 0.. {
        let copy = disk.crash_copy(0);
        copy.fail(Fault::new(Op::Read, Harm::Error).after(nth));
        let before = copy.files();
        match try_open(&copy, options()) {
            Err(error) => {
                assert!(matches!(error, Error::Io { .. }), "read {nth}: {error}");
                copy.heal();
                if copy.counts().writes == 0 {
                    assert!(copy.files() == before, "read {nth}");
                }
                assert_eq!(open(&copy).1, expected, "read {nth}");
            }
            Ok(_) => {
                assert!(nth >= 6, "three segments take some reads: {nth}");
                break;
            }
        }
    }
}

// Scenario 19 while the log is open: the reader hears of it, the log goes on.
#[test]
fn a_sector_that_goes_bad_later_fails_the_reader_alone() {
    let disk = three_segments();
    let (wal, _) = open(&disk);
    disk.break_sector(&segment(1), HEADER + 5 * 1016).unwrap();
    assert!(matches!(wal.read(Lsn(6)), Err(Error::Io { .. })));
    assert_eq!(wal.read(Lsn(20)).unwrap()[0], 19);
    assert_eq!(put(&wal, b"on"), Lsn(31));
}

/// Sets the version in a segment's header, with the checksum to match.
fn set_version(disk: &SimVfs, path: &std::path::Path, version: u32) {
    let mut bytes = load(disk, path);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[12..16].fill(0);
    let crc = crc32fast::hash(&bytes[..HEADER as usize]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    store(disk, path, &bytes);
}

// Scenario 25: a newer program was here; an older one keeps its hands off, whichever segment says
// so, and whatever else there is to clean up. Not one changing call is made.
#[test]
fn a_future_version_is_unsupported_and_untouched() {
    let disk = three_segments();
    for n in 1..=3 {
        let bytes = load(&disk, &segment(n));
        let ours = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        for version in [0, ours + 1, ours + 7, u32::MAX] {
            let copy = disk.crash_copy(0);
            // Leftovers that opening would clear away.
            store(&copy, &dir().join("spare.tmp"), b"left over");
            set_version(&copy, &segment(n), version);
            let (before, calls) = (copy.files(), copy.counts().changes());
            let error = try_open(&copy, options()).unwrap_err();
            let named = matches!(&error, Error::Unsupported { version: said, file }
                if *said == version && *file == segment(n));
            assert!(named, "segment {n}: {error}");
            assert!(copy.files() == before, "segment {n}");
            assert_eq!(copy.counts().changes(), calls, "segment {n}");
        }
    }
}

// Scenario 25 in the middle of a suffix cut, by a newer program.
#[test]
fn a_future_version_of_an_unfinished_cut_is_untouched() {
    let disk = three_segments();
    let (wal, _) = open(&disk);
    disk.fail(Fault::new(Op::Rename, Harm::Error));
    wal.truncate_suffix(Lsn(20)).unwrap_err();
    let disk = disk.crash();
    let cut = dir().join("cut.tmp");
    set_version(&disk, &cut, 9);
    let before = disk.files();
    let error = try_open(&disk, options()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { version: 9, file } if *file == cut), "{error}");
    assert!(disk.files() == before);
    assert!(disk.list(&dir()).unwrap().contains(&"cut.tmp".into()));
}
