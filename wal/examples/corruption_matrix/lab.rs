//! Logs of a thousand records on the real file system, copies of them to hurt, and what becomes of
//! the hurt ones.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{OpenMode, OsVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Options, Wal, Writer};

pub(crate) const RECORDS: u64 = 1000;
const RECORD_BYTES: usize = 174;
const FRAME_BYTES: u64 = 192;
pub(crate) const HEADER_BYTES: u64 = 4096;

/// How a log was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Killed,
    Closed,
}

/// How many files a log is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One of 1 MiB, as by default.
    One,
    /// Four, of 64 KiB each.
    Four,
}

/// What became of a hurt log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It opens with this many records.
    Opens { records: u64, says: String },
    /// It is refused, and not one of its bytes is changed.
    Refuses {
        /// The number of the segment file blamed; 0 for the directory.
        file: u64,
        offset: u64,
        /// The first record in doubt; 0 if that cannot be known.
        record: u64,
        reason: Damage,
        /// The last record of the good prefix that a salvage writes as a new log.
        good: u64,
        /// Records that no salvage brings back.
        lost: String,
    },
}

/// A folder with the four logs in it, each left in both states.
pub(crate) struct Lab {
    home: tempfile::TempDir,
}

/// One log, to be hurt.
pub(crate) struct Patient {
    pub(crate) dir: PathBuf,
}

/// Where record `lsn` begins in a log of one file.
pub(crate) fn place(lsn: u64) -> u64 {
    HEADER_BYTES + (lsn - 1) * FRAME_BYTES
}

fn text(lsn: u64) -> Vec<u8> {
    let mut text = format!("record {lsn} ").into_bytes();
    text.resize(RECORD_BYTES, b'a' + (lsn % 26) as u8);
    text
}

fn vfs() -> Arc<dyn Vfs> {
    Arc::new(OsVfs::new())
}

fn options(shape: Shape, log_id: u64) -> Options {
    let options = Options::default().writer(Writer::Caller).log_id(log_id);
    if shape == Shape::Four { options.segment_bytes(64 << 10) } else { options }
}

impl Lab {
    /// Writes the logs, each record synced by itself.
    pub(crate) fn new() -> Lab {
        let lab = Lab { home: tempfile::tempdir().expect("there is room for a folder") };
        lab.write("one", Shape::One, 42);
        lab.write("four", Shape::Four, 42);
        lab.write("other", Shape::Four, 77);
        lab
    }

    fn write(&self, name: &str, shape: Shape, log_id: u64) {
        let dir = self.home.path().join(name);
        let (wal, _) = Wal::open(vfs(), &dir, options(shape, log_id)).expect("a fresh log opens");
        for lsn in 1..=RECORDS {
            let commit = wal.append(&[&text(lsn)]).expect("the log takes records");
            commit.wait().expect("the disk takes records");
        }
        // What the files hold now is what a process that is killed now leaves.
        self.copy(&dir, &self.home.path().join(format!("{name} Killed")));
        wal.close().expect("the log closes");
        self.copy(&dir, &self.home.path().join(format!("{name} Closed")));
    }

    fn copy(&self, from: &Path, to: &Path) {
        vfs().create_dir_all(to).expect("there is room for a folder");
        for name in vfs().list(from).expect("it can be listed") {
            if name != "LOCK" {
                store(&to.join(&name), &load(&from.join(&name)));
            }
        }
    }

    /// A fresh copy of a log.
    pub(crate) fn patient(&self, shape: Shape, state: State) -> Patient {
        let name = if shape == Shape::One { "one" } else { "four" };
        let dir = self.home.path().join("patient");
        if let Ok(names) = vfs().list(&dir) {
            for name in names {
                vfs().remove(&dir.join(name)).expect("it can be removed");
            }
        }
        self.copy(&self.home.path().join(format!("{name} {state:?}")), &dir);
        Patient { dir }
    }

    /// The bytes of a segment of another log.
    pub(crate) fn stranger(&self, segment: u64) -> Vec<u8> {
        load(&self.home.path().join("other Closed").join(file_name(segment)))
    }

    /// Opens a patient, and salvages what is refused.
    pub(crate) fn judge(&self, patient: &Patient, min_lsn: u64) -> Outcome {
        let before = patient.bytes();
        let options = options(Shape::One, 42).min_lsn(Lsn(min_lsn));
        match Wal::open(vfs(), &patient.dir, options) {
            Ok((_wal, recovered)) => {
                let report = recovered.report().clone();
                let mut records = 0;
                for (record, lsn) in recovered.zip(1..) {
                    let (found, bytes) = record.expect("what is recovered can be read");
                    assert!(found == Lsn(lsn) && bytes == text(lsn), "record {lsn} is invented");
                    records += 1;
                }
                let says = if report.fresh {
                    "fresh log".into()
                } else if let Some(cut) = report.cut {
                    format!("cut {} bytes at {}", cut.bytes, cut.offset)
                } else if let Some(short) = report.short {
                    format!("{} of {} bytes, made whole", short.bytes, short.capacity)
                } else {
                    let closed = if report.closed { "closed" } else { "not closed" };
                    format!("nothing cut, {closed}")
                };
                Outcome::Opens { records, says }
            }
            Err(Error::Corrupt { file, offset, lsn, reason }) => {
                assert!(patient.bytes() == before, "a refused log was changed");
                let (good, lost) = self.salvage(patient);
                assert!(patient.bytes() == before, "a salvaged log was changed");
                let file = segment_of(&file);
                Outcome::Refuses { file, offset, record: lsn.0, reason, good, lost }
            }
            Err(error) => panic!("neither opened nor refused: {error}"),
        }
    }

    /// The last record of the good prefix, written as a new log, and the records that are nowhere.
    fn salvage(&self, patient: &Patient) -> (u64, String) {
        let salvage = match Wal::salvage(&OsVfs::new(), &patient.dir) {
            Ok(salvage) => salvage,
            Err(Error::NoLog { .. }) => return (0, ranges(1..=RECORDS)),
            Err(error) => panic!("{error}"),
        };
        let mut found = Vec::new();
        let prefix = salvage.records().map(|record| record.expect("it can be read"));
        let remains = salvage.remains().map(|remain| remain.expect("it can be read"));
        for (lsn, bytes) in prefix.chain(remains.map(|remain| (remain.lsn, remain.bytes))) {
            assert!(bytes == text(lsn.0), "record {lsn} is invented");
            found.push(lsn.0);
        }
        let new = tempfile::tempdir_in(self.home.path()).expect("there is room for a folder");
        let report = salvage.write_to(vfs(), new.path()).expect("the good prefix is a log");
        assert_eq!(report.last, salvage.last_lsn(), "all of the good prefix is in the new log");
        (report.last.0, ranges((1..=RECORDS).filter(|lsn| !found.contains(lsn))))
    }
}

impl Patient {
    pub(crate) fn edit(&self, segment: u64, edit: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(segment);
        let mut bytes = load(&path);
        edit(&mut bytes);
        store(&path, &bytes);
    }

    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(file_name(segment))
    }

    pub(crate) fn remove(&self, segment: u64) {
        vfs().remove(&self.path(segment)).expect("it can be removed");
    }

    /// All files but the lock, which an open makes before it looks.
    fn bytes(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let names = vfs().list(&self.dir).expect("it can be listed");
        let paths = names.into_iter().filter(|name| name != "LOCK").map(|name| self.dir.join(name));
        paths.map(|path| (path.clone(), load(&path))).collect()
    }
}

fn file_name(segment: u64) -> String {
    format!("{segment:016x}.wal")
}

fn segment_of(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".wal").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

pub(crate) fn load(path: &Path) -> Vec<u8> {
    let file = vfs().open(path, OpenMode::Read).expect("it can be opened");
    let mut bytes = vec![0; file.len().expect("it has a length") as usize];
    file.read_exact_at(&mut bytes, 0).expect("it can be read");
    bytes
}

pub(crate) fn store(path: &Path, bytes: &[u8]) {
    let file = vfs().open(path, OpenMode::Create).expect("it can be made");
    file.set_len(bytes.len() as u64).expect("it can be cut");
    file.write_at(&[IoSlice::new(bytes)], 0).expect("it can be written");
}

/// `3, 7-9`, or `none`.
fn ranges(lsns: impl Iterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for lsn in lsns {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == lsn => *last = lsn,
            _ => ranges.push((lsn, lsn)),
        }
    }
    let text = |&(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let texts: Vec<String> = ranges.iter().map(text).collect();
    if texts.is_empty() { "none".into() } else { texts.join(", ") }
}
