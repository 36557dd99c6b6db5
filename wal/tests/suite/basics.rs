//! The log on a good day.

use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{MemVfs, OsVfs, Vfs};
use drystone_wal::{Error, Lsn, Options, Wal, Writer};

use crate::support::{dir, disk, drain, numbered, open, options, put, try_open};

// The first thing anyone does with a log, on every disk and with every writer.
#[test]
fn records_come_back_in_order_after_a_close() {
    let temp = tempfile::tempdir().unwrap();
    let disks: [(Arc<dyn Vfs>, &Path); 2] =
        [(Arc::new(MemVfs::new()), Path::new("x/log")), (Arc::new(OsVfs::new()), temp.path())];
    for (vfs, dir) in disks {
        for (i, writer) in [Writer::Thread, Writer::Caller].into_iter().enumerate() {
            let dir = dir.join(i.to_string());
            let options = Options::default().writer(writer);
            let (wal, recovered) = Wal::open(Arc::clone(&vfs), &dir, options.clone()).unwrap();
            assert!(recovered.report().fresh);
            assert_eq!(wal.next_lsn(), Lsn(1));
            wal.append(&[b"one", b""]).unwrap().wait().unwrap();
            drop(wal.append(&[b"three"]).unwrap());
            wal.close().unwrap();
            let (wal, recovered) = Wal::open(Arc::clone(&vfs), &dir, options).unwrap();
            assert!(recovered.report().closed && recovered.report().cut.is_none());
            assert_eq!(drain(recovered), numbered(&[b"one", b"", b"three"]));
            assert_eq!(wal.durable(), Lsn(3));
        }
    }
}

// Raft and the store number their own things by these positions.
#[test]
fn positions_count_records_from_one() {
    let (wal, _) = open(&disk());
    assert_eq!(wal.append(&[b"a", b"b", b"c"]).unwrap().lsn(), Lsn(3));
    assert_eq!(wal.append(&[b"d"]).unwrap().lsn(), Lsn(4));
    assert_eq!(wal.next_lsn(), Lsn(5));
    assert_eq!(wal.durable(), Lsn::NONE, "nobody has waited yet");
    assert_eq!(wal.wait_durable(Lsn(4)).unwrap(), Lsn(4));
    assert_eq!(wal.durable(), Lsn(4));
}

// A barrier without a record: "is everything so far safe?"
#[test]
fn an_empty_group_waits_for_everything_before() {
    let (wal, _) = open(&disk());
    assert_eq!(wal.append(&[]).unwrap().wait().unwrap(), Lsn::NONE);
    drop(wal.append(&[b"a"]).unwrap());
    let barrier = wal.append(&[]).unwrap();
    assert!(barrier.try_wait().is_none());
    assert_eq!(barrier.wait().unwrap(), Lsn(1));
    assert_eq!(wal.next_lsn(), Lsn(2));
}

// Records of every size around the alignment, the window and the segment, over many segments.
#[test]
fn every_record_size_survives() {
    let disk = disk();
    let (wal, _) = open(&disk);
    let sizes = (0..70).chain([511, 512, 513, 4096, 16_000, 16_384, 262_144, 300_000, 1_000_000]);
    let records: Vec<Vec<u8>> =
        sizes.map(|len| (0..len).map(|i| (i * 7) as u8).collect()).collect();
    for record in &records {
        put(&wal, record);
    }
    let expected: Vec<(u64, Vec<u8>)> = (1..).zip(records).collect();
    let live: Vec<(u64, Vec<u8>)> =
        wal.iter(Lsn(1)).map(|r| r.unwrap()).map(|(lsn, b)| (lsn.0, b.to_vec())).collect();
    assert!(live == expected, "read while open");
    for (lsn, record) in &expected {
        assert!(wal.read(Lsn(*lsn)).unwrap() == record[..]);
    }
    let (_wal, found) = open(&disk.crash());
    assert!(found == expected, "read after a crash");
}

// Asking for what is not there is a question, not damage.
#[test]
fn reading_what_is_not_there_says_what_is() {
    let (wal, _) = open(&disk());
    put(&wal, b"a");
    drop(wal.append(&[b"not durable yet"]).unwrap());
    for lsn in [Lsn(2), Lsn(3), Lsn(900)] {
        let error = wal.read(lsn).unwrap_err();
        assert!(matches!(error, Error::Missing { first: Lsn(1), last: Lsn(1), .. }), "{error}");
    }
}

// A limit without an error is an allocation bug waiting for its input.
#[test]
fn oversized_records_are_refused_and_leave_no_trace() {
    let (wal, _) = try_open(&disk(), options().record_bytes_max(100)).unwrap();
    let error = wal.append(&[b"fits", &[0; 101]]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { bytes: 101, bytes_max: 100 }), "{error}");
    assert_eq!(put(&wal, &[0; 100]), Lsn(1));
}

// Contradictions are found before anything is touched.
#[test]
fn bad_options_are_named() {
    let cases = [
        (options().segment_bytes(100), "segment_bytes"),
        (options().segment_bytes(1 << 40), "segment_bytes"),
        (options().buffer_bytes_max(1), "buffer_bytes_max"),
        (options().record_bytes_max(0), "record_bytes_max"),
        (options().first_lsn(Lsn(0)), "first_lsn"),
        (options().first_lsn(Lsn(1 << 61)), "first_lsn"),
        (options().first_lsn(Lsn(7)).min_lsn(Lsn(7)), "first_lsn"),
    ];
    for (options, name) in cases {
        let disk = disk();
        let error = try_open(&disk, options).unwrap_err();
        assert!(matches!(error, Error::Options { option, .. } if option == name), "{error}");
        assert_eq!(disk.counts().changes(), 0);
    }
}

// The buffer bounds memory: an appender that outruns the disk waits its turn.
#[test]
fn a_full_buffer_makes_the_appender_write() {
    let (wal, _) = try_open(&disk(), options().buffer_bytes_max(1024)).unwrap();
    for _ in 0..10 {
        drop(wal.append(&[&[7; 600]]).unwrap());
    }
    assert_eq!(wal.durable(), Lsn(9), "all but the one that fits the buffer");
    drop(wal.append(&[&[7; 5000]]).unwrap());
    assert_eq!(wal.durable(), Lsn(10), "a larger one goes alone");
}

// Whoever closed the log meant it.
#[test]
fn a_closed_log_takes_nothing_more() {
    let disk = disk();
    let (wal, _) = open(&disk);
    let other = wal.clone();
    let pending = wal.append(&[b"a"]).unwrap();
    wal.close().unwrap();
    assert_eq!(pending.wait().unwrap(), Lsn(1), "close writes what was appended");
    assert!(matches!(other.append(&[b"b"]), Err(Error::Closed)));
    assert!(matches!(other.wait_durable(Lsn(2)), Err(Error::Closed)));
    let (_wal, found) = open(&disk);
    assert_eq!(found, numbered(&[b"a"]));
    assert!(matches!(other.close(), Err(Error::Closed)));
}

// Dropping handles is how most programs end.
#[test]
fn the_last_handle_dropped_closes_the_log() {
    let disk = disk();
    let (wal, recovered) = try_open(&disk, options()).unwrap();
    drop(wal.append(&[b"a"]).unwrap());
    drop(wal.clone());
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { dir: d }) if d == dir()));
    drop(wal);
    let (_wal, again) = try_open(&disk, options()).unwrap();
    assert!(again.report().closed);
    assert_eq!(drain(again), numbered(&[b"a"]));
    drop(recovered);
}
