//! A small laboratory: open a log on a simulated disk, hurt its files, look what comes back.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{OpenMode, SimVfs, Vfs};
use drystone_wal::{Error, Lsn, Options, Recovered, Wal, Writer};

pub(crate) const HEADER: u64 = 4096;

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("log")
}

/// The n-th segment file, from 1.
pub(crate) fn segment(n: u64) -> PathBuf {
    dir().join(format!("{n:016x}.wal"))
}

/// Small segments, no threads, the same bytes every time.
pub(crate) fn options() -> Options {
    Options::default().segment_bytes(16 << 10).writer(Writer::Caller).log_id(42)
}

pub(crate) fn disk() -> SimVfs {
    SimVfs::new(1)
}

pub(crate) fn try_open(disk: &SimVfs, options: Options) -> Result<(Wal, Recovered), Error> {
    Wal::open(Arc::new(disk.clone()), &dir(), options)
}

/// Opens, and drains what was recovered.
pub(crate) fn open(disk: &SimVfs) -> (Wal, Vec<(u64, Vec<u8>)>) {
    let (wal, recovered) = try_open(disk, options()).unwrap();
    let records = drain(recovered);
    (wal, records)
}

pub(crate) fn drain(recovered: Recovered) -> Vec<(u64, Vec<u8>)> {
    recovered.map(|record| record.unwrap()).map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect()
}

/// Appends one record and waits for it.
pub(crate) fn put(wal: &Wal, record: &[u8]) -> Lsn {
    wal.append(&[record]).unwrap().wait().unwrap()
}

/// Bytes of a frame with a payload this long.
pub(crate) fn frame(payload: usize) -> u64 {
    (16 + payload as u64).next_multiple_of(8)
}

pub(crate) fn numbered(records: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
    records.iter().enumerate().map(|(i, record)| (i as u64 + 1, record.to_vec())).collect()
}

/// A file's bytes.
pub(crate) fn load(disk: &SimVfs, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Replaces a file's bytes, durably.
pub(crate) fn store(disk: &SimVfs, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(&dir()).unwrap();
}

/// A copy of the disk as if the process had been killed now, with one file changed by `edit`.
pub(crate) fn hurt(disk: &SimVfs, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> SimVfs {
    let copy = disk.crash_copy(0);
    let mut bytes = load(&copy, path);
    edit(&mut bytes);
    store(&copy, path, &bytes);
    copy
}

/// The disk refuses to open as corrupt, and is left byte for byte as it was. Returns the error.
#[track_caller]
pub(crate) fn assert_corrupt(disk: &SimVfs, options: Options) -> Error {
    let before = disk.files();
    let error = try_open(disk, options).expect_err("damage to promised bytes was absorbed");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(disk.files() == before, "a refused log was changed");
    error
}

/// The log opens with these records, goes on, and neither forgets nor revives anything when it is
/// opened again.
#[track_caller]
pub(crate) fn assert_recovers(disk: &SimVfs, expected: &[(u64, Vec<u8>)]) {
    let (wal, found) = open(disk);
    assert_eq!(found, expected);
    let mut expected = expected.to_vec();
    let lsn = put(&wal, b"afterwards");
    assert_eq!(lsn.0, expected.last().map_or(0, |(lsn, _)| *lsn) + 1);
    expected.push((lsn.0, b"afterwards".to_vec()));
    let (_wal, found) = open(&disk.crash_copy(3));
    assert_eq!(found, expected, "after the second crash");
}
