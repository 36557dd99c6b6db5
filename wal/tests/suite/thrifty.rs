//! Logs on a disk that is nearly full: a segment that waits for its turn is room for others.

use drystone_vfs::{OpenMode, SimVfs, Vfs};
use drystone_wal::{Lsn, Wal};

use crate::hurt::names;
use crate::support::{assert_recovers, dir, disk, numbered, open, put};

const SPARE: &str = "spare.tmp";
/// As `options` has it.
const SEGMENT_BYTES: u64 = 16 << 10;

fn has_spare(disk: &SimVfs) -> bool {
    names(disk).iter().any(|name| name == SPARE)
}

/// What the log's files take, holes left out.
fn allocated(disk: &SimVfs) -> u64 {
    let of = |name| disk.open(&dir().join(name), OpenMode::Read).unwrap().allocated().unwrap();
    names(disk).into_iter().map(of).sum()
}

fn fill(wal: &Wal, count: u64) {
    for _ in 0..count {
        put(wal, &[7; 1000]);
    }
}

/// Lets go of all but the newest few records.
fn shorten(wal: &Wal) {
    wal.truncate_prefix(Lsn(wal.next_lsn().0 - 3)).unwrap();
}

// The file holds nothing, and on a full disk may be all the room that a save needs.
#[test]
fn segment_that_lies_ready_can_be_had_back() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 40);
    shorten(&wal);
    assert!(has_spare(&disk), "a used segment becomes the next");
    let (before, told) = (allocated(&disk), wal.bytes());
    wal.be_thrifty(true);
    wal.drop_spare().unwrap();
    assert!(!has_spare(&disk));
    let (after, told_after) = (allocated(&disk), wal.bytes());
    assert_eq!(before - after, SEGMENT_BYTES);
    assert_eq!(told - told_after, SEGMENT_BYTES, "it knows what it takes");
    wal.drop_spare().expect("there is nothing to be dropped");
}

// What was had back must not be taken again at once; and when there is room, all is as before.
#[test]
fn thrifty_log_takes_what_is_written_and_no_more() {
    let disk = disk();
    let (wal, _) = open(&disk);
    wal.be_thrifty(true);
    fill(&wal, 60);
    shorten(&wal);
    assert!(!has_spare(&disk), "what is let go of is gone");
    let newest = |disk: &SimVfs| {
        let wal_file = |name: &String| name.ends_with(".wal");
        names(disk).into_iter().rfind(wal_file).expect("a log has a segment")
    };
    let first = newest(&disk);
    while newest(&disk) == first {
        fill(&wal, 1);
    }
    let file = disk.open(&dir().join(newest(&disk)), OpenMode::Read).unwrap();
    let (len, taken) = (file.len().unwrap(), file.allocated().unwrap());
    assert!(len == SEGMENT_BYTES && taken <= SEGMENT_BYTES / 2, "{taken} of {len}");

    wal.be_thrifty(false);
    fill(&wal, 40);
    shorten(&wal);
    assert!(has_spare(&disk), "there is room again");
}

// A hole is as good a segment as zeros: nothing that was acknowledged in it is lost.
#[test]
fn thrifty_log_is_found_whole() {
    let disk = disk();
    let (wal, _) = open(&disk);
    wal.be_thrifty(true);
    fill(&wal, 60);
    let records = vec![&[7; 1000][..]; 60];
    assert_recovers(&disk.crash(), &numbered(&records));
}
