//! Opening: locks, versions, fresh logs, disks that cannot be read.

use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, SimVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Options, Wal};

use crate::hurt::Hurt;
use crate::support::{
    HEADER, assert_corrupt, dir, disk, drain, frame, hurt, load, numbered, open, options, put,
    segment, store, try_open,
};

// An empty directory where there should be a log is the worst loss of all.
#[test]
fn a_vanished_log_is_refused_when_it_is_known_to_have_been() {
    let disk = disk();
    let error = try_open(&disk, options().min_lsn(Lsn(7))).unwrap_err();
    let named = matches!(&error, Error::Corrupt { file, reason, .. } if *file == dir()
        && *reason == Damage::EndsEarly { found: Lsn(0), expected: Lsn(7) });
    assert!(named, "{error}");
    assert!(disk.list(&dir()).is_err(), "no directory was made either");
    disk.create_dir_all(&dir()).unwrap();
    assert!(matches!(try_open(&disk, options().min_lsn(Lsn(7))), Err(Error::Corrupt { .. })));
}

// After a snapshot the log starts where the snapshot ends, and only then.
#[test]
fn a_fresh_log_can_start_behind_a_snapshot() {
    let disk = disk();
    let behind = options().min_lsn(Lsn(7)).first_lsn(Lsn(8));
    let (wal, recovered) = try_open(&disk, behind).unwrap();
    assert_eq!((recovered.report().first, recovered.report().last), (Lsn(8), Lsn(7)));
    assert_eq!((wal.first_lsn(), wal.durable(), wal.next_lsn()), (Lsn(8), Lsn(7), Lsn(8)));
    assert_eq!(put(&wal, b"eight"), Lsn(8));
    let disk = disk.crash();
    let (_wal, recovered) = try_open(&disk, options().first_lsn(Lsn(100))).unwrap();
    assert_eq!(drain(recovered), [(8, b"eight".to_vec())], "an existing log keeps its numbers");
}

// Scenario 24: half a log is no log. Whatever a crash made of the making, the next opening finds an
// empty log or makes one.
#[test]
fn a_crash_while_a_log_is_first_made_leaves_none_or_an_empty_one() {
    let mut made = [0, 0];
    for calls in 0.. {
        let disk = SimVfs::new(calls);
        disk.power_cut_after(calls);
        let done = try_open(&disk, options()).is_ok();
        for seed in 0..40 {
            let after = disk.crash_copy(seed);
            let (_wal, recovered) = try_open(&after.kill_copy(), options()).unwrap();
            made[usize::from(recovered.report().fresh)] += 1;
            Hurt::recovers(format!("cut before {calls}, seed {seed}"), after, vec![]).check();
        }
        Hurt::recovers(format!("killed before {calls}"), disk.kill_copy(), vec![]).check();
        if done {
            break;
        }
        assert!(calls < 20, "a log is made in a few calls");
    }
    assert!(made.iter().all(|count| *count > 20), "{made:?}");
}

// Scenario 27: files that are not ours are nobody's business.
#[test]
fn foreign_files_are_left_alone() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"one");
    let names = ["notes.txt", "1.wal", "000000000000000g.wal", "0000000000000001.wal.bak"];
    for name in names {
        store(&disk, &dir().join(name), b"mine");
    }
    let disk = disk.crash();
    let (_wal, found) = open(&disk);
    assert_eq!(found, numbered(&[b"one"]));
    for name in names {
        assert_eq!(load(&disk, &dir().join(name)), b"mine");
    }
}

// Scenario 13: what an interrupted rotation left goes away by itself.
#[test]
fn leftovers_of_an_interrupted_rotation_are_removed() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"one");
    for name in ["spare.tmp", "cut.tmp"] {
        store(&disk, &dir().join(name), &[7; 9000]);
    }
    let disk = disk.crash();
    let (wal, found) = open(&disk);
    assert_eq!(found, numbered(&[b"one"]));
    let names = disk.list(&dir()).unwrap();
    assert_eq!(names, ["0000000000000001.wal", "LOCK"]);
    drop(wal);
}

// Scenario 16, the part after: what the page cache shows may not be on the disk. Everything the
// reopened log calls durable must be.
#[test]
fn records_found_are_durable_before_they_are_reported() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"one");
    for (i, harm) in [Harm::Error, Harm::Forgets].into_iter().enumerate() {
        let disk = disk.crash_copy(i as u64);
        let (wal, _) = open(&disk);
        disk.fail(Fault::new(Op::Sync, harm));
        wal.append(&[b"two"]).unwrap().wait().unwrap_err();
        drop(wal);
        // A new process comes without a power cut: "two" is still in the cache.
        let (wal, found) = open(&disk);
        assert_eq!(found, numbered(&[b"one", b"two"]));
        assert_eq!(wal.durable(), Lsn(2));
        for seed in 0..50 {
            let (_wal, found) = open(&disk.crash_copy(seed));
            assert_eq!(found, numbered(&[b"one", b"two"]), "{harm:?}, seed {seed}");
        }
    }
}

// Opening must be quick and small for a program that has nothing to log yet.
#[test]
fn a_fresh_log_writes_little() {
    let disk = disk();
    let (wal, _) = try_open(&disk, Options::default()).unwrap();
    assert!(disk.counts().bytes_written <= (1 << 20) + HEADER);
    assert_eq!(wal.bytes(), 1 << 20);
    let (small, _) = open(&crate::support::disk());
    assert_eq!(small.bytes(), 16 << 10);
    assert!(frame(0) < HEADER);
}

// Verification comes first: a log that is refused for its last byte is not half repaired.
#[test]
fn nothing_is_removed_before_everything_is_verified() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    store(&disk, &dir().join("spare.tmp"), b"left over");
    let disk = hurt(&disk.crash(), &segment(1), |bytes| bytes[5000] ^= 1);
    assert_corrupt(&disk, options());
}

// A caller that does not like what it reads must be able to leave without a trace.
#[test]
fn a_found_log_can_be_read_and_left_as_it_was() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    wal.append(&[b"torn"]).unwrap().wait().unwrap();
    store(&disk, &dir().join("spare.tmp"), b"left over");
    let names = disk.list(&dir()).unwrap();
    let newest = names.iter().rfind(|name| name.to_string_lossy().ends_with(".wal")).unwrap();
    let torn = hurt(&disk.crash(), &dir().join(newest), |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end] ^= 1;
    });
    look_and_leave(&torn, 30);
}

// The same in the middle of a suffix cut, where the last segment is called otherwise.
#[test]
fn a_found_log_in_the_middle_of_a_cut_can_be_read() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    disk.fail(Fault::new(Op::Rename, Harm::Error));
    wal.truncate_suffix(Lsn(20)).unwrap_err();
    let disk = disk.crash();
    assert!(disk.list(&dir()).unwrap().contains(&"cut.tmp".into()), "the cut is not finished");
    look_and_leave(&disk, 20);
}

/// Finds a log of `count` records, reads it twice, leaves it; and opens it in the end.
#[track_caller]
fn look_and_leave(disk: &SimVfs, count: usize) {
    let before = disk.files();
    let find = || Wal::find(Arc::new(disk.clone()), &dir(), options());
    let found = find().unwrap();
    assert!(matches!(find(), Err(Error::Locked { .. })), "it is kept while it is looked at");
    let report = found.report().cloned().unwrap();
    assert_eq!(report.last, Lsn(count as u64));
    let read = || found.records().map(|record| record.unwrap()).collect::<Vec<_>>();
    let (once, twice) = (read(), read());
    assert_eq!((once.len(), &once), (count, &twice));
    drop(found);
    assert!(disk.files() == before, "looking has changed something");
    let (_wal, recovered) = find().unwrap().open().unwrap();
    let records: Vec<_> = recovered.map(|record| record.unwrap()).collect();
    assert_eq!(records, once);
}

// Looking for a log where there is none is not making one.
#[test]
fn a_log_that_is_not_there_has_no_records() {
    let disk = disk();
    let found = Wal::find(Arc::new(disk.clone()), &dir(), options()).unwrap();
    assert_eq!((found.report(), found.records().count()), (None, 0));
    drop(found);
    assert_eq!(disk.list(&dir()).unwrap(), ["LOCK"]);
    let (_wal, records) = open(&disk);
    assert_eq!(records, []);
}
