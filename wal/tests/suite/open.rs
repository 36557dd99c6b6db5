//! Opening: locks, versions, fresh logs, disks that cannot be read.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, OsVfs, SimVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Options, Wal};

use crate::support::{
    HEADER, assert_corrupt, dir, disk, drain, frame, hurt, load, numbered, open, options, put,
    segment, store, try_open,
};

// Scenario 21: two writers would destroy the log; the lock is the directory's, not the path's.
#[test]
fn a_log_has_one_opener_and_death_frees_it() {
    let disk = disk();
    let (_wal, _) = open(&disk);
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    let (_wal, _) = open(&disk.crash());
}

// Scenario 21 on the real disk, by way of a symbolic link.
#[test]
fn a_link_to_the_directory_is_locked_too() {
    let temp = tempfile::tempdir().unwrap();
    let (real, link) = (temp.path().join("real"), temp.path().join("link"));
    let vfs = Arc::new(OsVfs::new());
    let (_wal, _) = Wal::open(vfs.clone(), &real, Options::default()).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let second = Wal::open(vfs, &link, Options::default());
    assert!(matches!(second, Err(Error::Locked { .. })));
}

// Scenario 21 between processes: the holder is killed outright, and its records are there.
#[test]
fn a_killed_process_leaves_its_records_and_not_its_lock() {
    let temp = tempfile::tempdir().unwrap();
    if let Some(dir) = std::env::var_os("DRYSTONE_WAL_HOLD") {
        hold(Path::new(&dir));
    }
    let name = "open::a_killed_process_leaves_its_records_and_not_its_lock";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("DRYSTONE_WAL_HOLD", temp.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("holding")), "the child opened the log");
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs::new());
    let second = Wal::open(Arc::clone(&vfs), temp.path(), Options::default());
    assert!(matches!(second, Err(Error::Locked { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    let (_wal, recovered) =
        Wal::open(vfs, temp.path(), Options::default().min_lsn(Lsn(50))).unwrap();
    assert!(!recovered.report().closed);
    assert_eq!(drain(recovered).len(), 50);
}

/// The child's part: never returns.
fn hold(dir: &Path) {
    let (wal, _) = Wal::open(Arc::new(OsVfs::new()), dir, Options::default()).unwrap();
    for i in 0..50_u8 {
        put(&wal, &[i; 300]);
    }
    println!("holding");
    // Until the parent kills us, or is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    std::process::exit(1);
}

// Scenario 25: a newer program was here; an older one keeps its hands off.
#[test]
fn a_future_version_is_unsupported_and_untouched() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"from the future");
    let disk = disk.crash();
    let mut bytes = load(&disk, &segment(1));
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    bytes[12..16].fill(0);
    let crc = crc32fast::hash(&bytes[..HEADER as usize]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    store(&disk, &segment(1), &bytes);
    let before = disk.files();
    let error = try_open(&disk, options()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { version: 7, .. }), "{error}");
    assert!(disk.files() == before);
}

// Scenario 19: "cannot read" is not "nothing there".
#[test]
fn an_unreadable_sector_is_an_error_not_the_end() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..30_u8 {
        put(&wal, &[i; 1000]);
    }
    let disk = disk.crash();
    for (n, offset) in [(1, 0), (1, 5000), (2, HEADER), (3, 4700), (3, 15_000)] {
        let copy = disk.crash_copy(0);
        copy.break_sector(&segment(n), offset).unwrap();
        let before = copy.files();
        let error = try_open(&copy, options()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "segment {n} byte {offset}: {error}");
        assert!(copy.files() == before);
    }
}

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
