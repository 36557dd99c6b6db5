//! What must hold whatever bytes lie in a log's directory.
//!
//! * An answer: records, or an error. No panic, no reading without end.
//! * Memory: at most twice the bytes on the disk and a little ([`LOOK_BYTES`], [`OPEN_BYTES`]),
//!   whatever lengths they claim.
//! * Looking changes nothing, and a view shows the same as [`Wal::find`].
//! * What verification has found sound can be read, all of it.
//! * Salvage finds all of a sound log, and a hole in every other; an inspection comes to the end of
//!   every file.
//! * A log that opens goes on: it takes a record, and the next opener, after a crash or a close,
//!   finds what was there and that record.
//! * Without a forged checksum, only records that somebody has written are found, where they were
//!   written.

use std::collections::{BTreeMap, HashSet};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use allocation_counter::measure;
use drystone_vfs::{OpenMode, Vfs};
use drystone_wal::inspect::{self, Part};
use drystone_wal::{Error, Lsn, Options, Recovered, Report, Wal, Writer};

use super::folder::{self, Folder};
use super::meter::Meter;

/// Memory for looking through a log, besides twice its bytes: names, errors, reports, and the one
/// window that may be as large as it gets, where a header claims more bytes than there are.
pub(crate) const LOOK_BYTES: u64 = (256 << 10) + (32 << 10);
/// Memory for opening it as well: the zeros with which a segment is filled, at most 1 MiB at a time,
/// and a window of them.
pub(crate) const OPEN_BYTES: u64 = (1 << 20) + (320 << 10);
/// Looking through a log reads each byte this many times at most (calls count as 64 bytes).
const READS: u64 = 24;
const READ_BYTES: u64 = 64 << 10;
/// What one search for frames in damage may cost besides: see `src/survey.rs`.
const SEARCH_BYTES: u64 = 64 << 20;
/// Searches of one file: for its seed, for witnesses, for runs.
const SEARCHES: u64 = 4;
/// What a file may grow to; a header may ask for much more.
const FILE_BYTES_MAX: u64 = 2 << 20;
const SEGMENT_BYTES: u64 = 16 << 10;
/// The bits of a position that every frame holds.
const LSN_LOW_MASK: u64 = (1 << 28) - 1;

/// All that was ever written, by position.
pub(crate) type Written = BTreeMap<u64, HashSet<Vec<u8>>>;

/// What a look at a log shows. Two looks at the same bytes must be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// The first and the last record, and whether the log was closed; or the error.
    pub(crate) outcome: Result<(u64, u64, bool), String>,
    pub(crate) count: u64,
    /// Of all positions and records.
    pub(crate) digest: u32,
}

/// Runs everything on the directory that `input` stands for. Panics if anything is not as it must
/// be. `written` is left out if the checksums may have been forged.
pub(crate) fn check(input: &[u8], written: Option<&Written>) -> Look {
    let folder = folder::decode(input);
    let disk = disk_of(&folder);
    let first = look(&disk, &folder, 0, || find(&disk, written));
    let second = look(&disk, &folder, 0, || view(&disk));
    assert_eq!(second, first, "a view shows something else");
    let searches = SEARCHES * folder.len() as u64;
    look(&disk, &folder, searches, || salvage(&disk, &first, written));
    look(&disk, &folder, searches, || inspect(&disk));
    assert!(contents(&disk) == contents(&disk_of(&folder)), "looking changes bytes");
    go_on(&disk, &folder, &first);
    if first.outcome.is_err() {
        assert!(contents(&disk) == contents(&disk_of(&folder)), "a refused log is changed");
    }
    first
}

fn options() -> Options {
    Options::default().segment_bytes(SEGMENT_BYTES).writer(Writer::Caller).log_id(42)
}

fn dir() -> &'static Path {
    Path::new("log")
}

fn disk_of(folder: &Folder) -> Meter {
    let disk = Meter::new(FILE_BYTES_MAX);
    disk.create_dir_all(dir()).unwrap();
    for (number, bytes) in folder {
        let file = disk.open(&dir().join(folder::name(*number)), OpenMode::Create).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    }
    disk
}

/// Names and bytes of all files but the lock.
fn contents(disk: &Meter) -> Vec<(String, Vec<u8>)> {
    disk.allow(u64::MAX);
    let names = disk.list(dir()).unwrap();
    let names =
        names.iter().map(|name| name.to_str().expect("we named it")).filter(|n| *n != "LOCK");
    names
        .map(|name| {
            let file = disk.open(&dir().join(name), OpenMode::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            (name.to_owned(), bytes)
        })
        .collect()
}

/// The disk as a process killed now would leave it.
fn killed(disk: &Meter) -> Meter {
    let copy = Meter::new(FILE_BYTES_MAX);
    copy.create_dir_all(dir()).unwrap();
    for (name, bytes) in contents(disk) {
        let file = copy.open(&dir().join(name), OpenMode::Create).unwrap();
        file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    }
    copy
}

/// Records, counted and summed up.
#[derive(Debug, Default)]
struct Sum {
    count: u64,
    hasher: crc32fast::Hasher,
}

impl Sum {
    fn add(&mut self, lsn: Lsn, record: &[u8], written: Option<&Written>) {
        if let Some(written) = written {
            let known = written.get(&lsn.0).is_some_and(|records| records.contains(record));
            assert!(known, "record {lsn} of {} bytes was never written", record.len());
        }
        self.count += 1;
        self.hasher.update(&lsn.0.to_le_bytes());
        self.hasher.update(&(record.len() as u64).to_le_bytes());
        self.hasher.update(record);
    }

    fn of(records: impl Iterator<Item = drystone_wal::Result<(Lsn, bytes::Bytes)>>) -> Sum {
        let mut sum = Sum::default();
        for record in records {
            let (lsn, record) = record.expect("what is verified can be read");
            sum.add(lsn, &record, None);
        }
        sum
    }
}

/// Runs one kind of look, with so many searches for frames in damage, within its bounds.
fn look<T>(disk: &Meter, folder: &Folder, searches: u64, look: impl FnOnce() -> T) -> T {
    let bytes = folder::bytes(folder) as u64;
    disk.allow(READS * bytes + READ_BYTES + searches * SEARCH_BYTES);
    let mut seen = None;
    let memory = measure(|| seen = Some(look()));
    let max = 2 * bytes + LOOK_BYTES;
    assert!(memory.bytes_max <= max, "{} bytes to look at {bytes}", memory.bytes_max);
    seen.expect("measured above")
}

impl Look {
    fn of_error(error: &Error) -> Look {
        Look { outcome: Err(error.to_string()), count: 0, digest: 0 }
    }

    /// An empty directory.
    fn of_nothing() -> Look {
        Look { outcome: Ok((1, 0, false)), count: 0, digest: 0 }
    }

    fn of_records(
        report: &Report,
        records: impl Iterator<Item = drystone_wal::Result<(Lsn, bytes::Bytes)>>,
        written: Option<&Written>,
    ) -> Look {
        let (first, last) = (report.first.0, report.last.0);
        let mut sum = Sum::default();
        for record in records {
            let (lsn, record) = record.expect("what is verified can be read");
            assert_eq!(lsn.0, first + sum.count, "positions are consecutive");
            sum.add(lsn, &record, written);
        }
        assert_eq!(first + sum.count, last + 1, "every record there is can be read");
        let outcome = Ok((first, last, report.closed));
        Look { outcome, count: sum.count, digest: sum.hasher.finalize() }
    }
}

fn find(disk: &Meter, written: Option<&Written>) -> Look {
    match Wal::find(Arc::new(disk.clone()), dir(), options()) {
        Ok(found) => match found.report() {
            Some(report) => Look::of_records(report, found.records(), written),
            None => Look::of_nothing(),
        },
        Err(error) => Look::of_error(&error),
    }
}

fn view(disk: &Meter) -> Look {
    match Wal::open_read_only(Arc::new(disk.clone()), dir(), &options()) {
        Ok(view) => Look::of_records(view.report(), view.records(), None),
        Err(Error::NoLog { .. }) => Look::of_nothing(),
        Err(error) => Look::of_error(&error),
    }
}

/// What is left of a log: all of it if it is sound; else at least one hole, and around the holes
/// nothing that was not written.
///
/// A frame holds the low bits of its position, and where a header is damaged nobody vouches for the
/// high ones: they are left out of the comparison with what was written.
fn salvage(disk: &Meter, look: &Look, written: Option<&Written>) {
    let salvage = match Wal::salvage(disk, dir()) {
        Ok(salvage) => salvage,
        Err(Error::NoLog { .. }) => return assert_eq!(*look, Look::of_nothing()),
        // Damage is not an error here; a file from the future is, wherever it stands.
        Err(Error::Unsupported { .. }) => return,
        Err(error) => panic!("salvage: {error}"),
    };
    let mut sum = Sum::default();
    for record in salvage.records() {
        let (lsn, record) = record.expect("what was found sound can be read");
        assert_eq!(lsn.0, salvage.first_lsn().0 + sum.count, "positions are consecutive");
        sum.add(lsn, &record, None);
        assert_written(lsn, &record, written);
    }
    assert_eq!(salvage.first_lsn().0 + sum.count, salvage.last_lsn().0 + 1);
    let mut remains = Sum::default();
    for remain in salvage.remains() {
        let remain = remain.expect("what was found sound can be read");
        assert!(remain.hole < salvage.holes().len(), "it stands at a hole");
        remains.add(remain.lsn, &remain.bytes, None);
        assert_written(remain.lsn, &remain.bytes, written);
    }
    for hole in salvage.holes() {
        assert!(!hole.to_string().is_empty());
    }
    // Forged headers and marks may contradict each other, and then so may these two.
    if written.is_none() {
        return;
    }
    if let Ok((first, last, _)) = look.outcome {
        assert!(salvage.holes().is_empty(), "a sound log has holes: {:?}", salvage.holes());
        assert_eq!((salvage.first_lsn().0, salvage.last_lsn().0), (first, last));
        assert_eq!(sum.hasher.finalize(), look.digest, "other records");
        assert_eq!(remains.count, 0, "a sound log has remains");
    } else {
        assert!(!salvage.holes().is_empty(), "a refused log without a hole: {look:?}");
    }
}

fn assert_written(lsn: Lsn, record: &[u8], written: Option<&Written>) {
    let Some(written) = written else { return };
    let low = lsn.0 & LSN_LOW_MASK;
    let known = [low, low + LSN_LOW_MASK + 1]
        .iter()
        .any(|lsn| written.get(lsn).is_some_and(|records| records.contains(record)));
    assert!(known, "record {lsn} of {} bytes was never written", record.len());
}

/// Every file, part by part: each begins where the one before it ends, and the last is the end.
fn inspect(disk: &Meter) {
    for file in inspect::files(disk, dir()).expect("memory can be listed") {
        let mut segment = inspect::segment(disk, &file.path).expect("memory can be read");
        let mut ended = false;
        while let Some(part) = segment.next() {
            assert!(!ended, "a part behind the end");
            assert!(!part.to_string().is_empty());
            if let Part::Frame(frame) = &part {
                let payload = segment.payload(frame).expect("a sound frame is whole");
                assert_eq!(payload.len(), frame.len as usize);
            }
            ended = matches!(part, Part::End(_));
        }
        assert!(ended, "no end");
    }
}

/// Opens the log for good, appends to it, and looks at it after a crash and after a close.
fn go_on(disk: &Meter, folder: &Folder, look: &Look) {
    let bytes = folder::bytes(folder) as u64;
    disk.allow(READS * bytes + 2 * READ_BYTES + OPEN_BYTES);
    let mut outcome = None;
    let memory = measure(|| outcome = Some(open_and_append(disk, look)));
    let max = 2 * bytes + OPEN_BYTES;
    assert!(memory.bytes_max <= max, "{} bytes to open {bytes}", memory.bytes_max);
    let (wal, expected) = match outcome.expect("measured above") {
        Ok(opened) => opened,
        Err(error) => {
            let grown = matches!(error, Error::NoSpace { .. });
            assert!(look.outcome.is_err() || grown, "sound, but does not open: {error}");
            return;
        }
    };
    assert!(look.outcome.is_ok(), "opens, but is not sound: {look:?}");
    let after_crash = find(&killed(disk), None);
    assert_same(&after_crash, &expected);
    wal.close().expect("nothing fails here");
    disk.allow(u64::MAX);
    let after_close = find(disk, None);
    assert_same(&after_close, &expected);
    assert!(matches!(after_close.outcome, Ok((_, _, true))), "closed, but does not look it");
}

#[track_caller]
fn assert_same(found: &Look, expected: &Look) {
    let (Ok(found_ends), Ok(expected_ends)) = (&found.outcome, &expected.outcome) else {
        panic!("the log opened before, but now: {:?}", found.outcome);
    };
    assert_eq!((found_ends.0, found_ends.1), (expected_ends.0, expected_ends.1));
    assert_eq!((found.count, found.digest), (expected.count, expected.digest), "other records");
}

fn open_and_append(disk: &Meter, look: &Look) -> drystone_wal::Result<(Wal, Look)> {
    let (wal, recovered): (Wal, Recovered) = Wal::open(Arc::new(disk.clone()), dir(), options())?;
    let (first, last) = (recovered.report().first.0, recovered.report().last.0);
    let mut sum = Sum::of(recovered);
    assert_eq!(sum.count, look.count, "opening finds as many records as looking");
    assert_eq!(sum.hasher.clone().finalize(), look.digest, "and the same");
    let record = [0xa5; 100];
    let lsn = wal.append(&[&record])?.wait()?;
    assert_eq!(lsn.0, last + 1, "the next record follows the last");
    sum.add(lsn, &record, None);
    let digest = Sum::of(wal.iter(Lsn(first))).hasher.finalize();
    assert_eq!(digest, sum.hasher.clone().finalize(), "the open log shows the same records");
    let outcome = Ok((first, lsn.0, false));
    Ok((wal, Look { outcome, count: sum.count, digest: sum.hasher.finalize() }))
}
