//! A data folder with everything in it: a saved engine, several segments of journal, and a tail
//! that a killed server left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use drystone_kv::{Command, Kv, Options, Put};
use drystone_vfs::{OsClock, OsVfs};
use drystone_wal::Wal;
use tempfile::TempDir;

use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::server::Server;
use crate::support::{programs, tree};

/// Keys that a sound copy of the sample holds, all told.
pub(super) const KEYS: usize = YOUNG + 2 * BATCH + SERVED;
/// Puts before the engine is saved for the first time.
const YOUNG: usize = 10;
/// Puts before it is saved again, and after.
const BATCH: usize = 150;
/// Puts by the server.
const SERVED: usize = 3;
const VALUE_BYTES: usize = 1000;
/// Small, so that a small journal has several segments.
const SEGMENT_BYTES: u64 = 32 * 1024;

/// A copy of the sample, to be damaged.
pub(super) struct Sample {
    folder: TempDir,
}

impl Sample {
    pub(super) fn new() -> Sample {
        Sample::of(&originals().1)
    }

    fn of(original: &TempDir) -> Sample {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        tree::copy(&original.path().join("data"), &folder.path().join("data"));
        Sample { folder }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The only file in `folder` of the data that ends in `ending`.
    pub(super) fn one(&self, folder: &str, ending: &str) -> PathBuf {
        let mut found = self.all(folder, ending);
        assert_eq!(found.len(), 1, "one file {ending} in {folder}: {found:?}");
        found.remove(0)
    }

    /// All files in `folder` of the data that end in `ending`, oldest first.
    pub(super) fn all(&self, folder: &str, ending: &str) -> Vec<PathBuf> {
        let mut files = tree::files(&self.data().join(folder));
        files.retain(|file| file.to_string_lossy().ends_with(ending));
        files
    }

    /// Starts a server on the data, which must be sound.
    pub(super) fn serve(self) -> Server {
        Server::start_in(self.folder, &programs::ours(), &[])
    }
}

/// The sample in its youth: the same store, with less in its engine and a short journal.
pub(super) fn before_it_grew() -> Sample {
    Sample::of(&originals().0)
}

/// Appends a record to the journal of `sample`, as a newer program might.
pub(super) fn append(sample: &Sample, record: &[u8]) {
    let journal = sample.data().join("kv/journal");
    let (wal, found) =
        Wal::open(Arc::new(OsVfs::new()), &journal, drystone_wal::Options::default())
            .expect("the journal opens");
    drop(found);
    wal.append(&[record]).expect("the journal takes records").wait().expect("it is synced");
    wal.close().expect("the journal can be closed");
}

/// The sample's folder, young and grown.
fn originals() -> &'static (TempDir, TempDir) {
    static ORIGINALS: OnceLock<(TempDir, TempDir)> = OnceLock::new();
    ORIGINALS.get_or_init(make)
}

/// The store, told to use small files, is made and grows; a server goes on with it and is killed.
fn make() -> (TempDir, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let kv = open(&data);
    put_batch(&kv, "first", YOUNG);
    kv.persist().expect("the engine can be saved");
    kv.shutdown();
    drop(kv);
    let young = keep(&data);
    let kv = open(&data);
    put_batch(&kv, "saved", BATCH);
    kv.persist().expect("the engine can be saved");
    put_batch(&kv, "journaled", BATCH);
    kv.shutdown();
    drop(kv);
    let mut server = Server::start_in(folder, &programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        for i in 0..SERVED {
            calls::put(&client, &format!("served/{i}"), "v", 0).await;
        }
    });
    server.kill();
    (young, keep(&data))
}

fn open(data: &Path) -> Kv {
    let options = Options { segment_bytes: SEGMENT_BYTES, background: false, ..Options::default() };
    let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
    Kv::open(vfs, clock, &data.join("kv"), options).expect("the store opens")
}

fn put_batch(kv: &Kv, name: &str, count: usize) {
    for i in 0..count {
        let put = Put::new(format!("{name}/{i}"), vec![b'v'; VALUE_BYTES]);
        kv.propose(Command::Put(put)).wait().expect("a put is answered");
    }
}

fn keep(data: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    tree::copy(data, &folder.path().join("data"));
    folder
}

/// Inverts the lowest bit of byte `at` of `file`.
pub(super) fn flip(file: &Path, at: usize) {
    edit(file, |bytes| bytes[at] ^= 1);
}

/// Changes the content of `file`.
pub(super) fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("the file can be read");
    change(&mut bytes);
    fs::write(file, bytes).expect("the file can be written");
}

/// How many bytes `file` has.
pub(super) fn len(file: &Path) -> usize {
    let found = fs::metadata(file).expect("the file is there");
    usize::try_from(found.len()).expect("it fits into memory")
}

/// Where the frames of a segment end, and where the last of them begins: each is a head of 16
/// bytes, of which the first 4 are the length of what follows, padded to 8.
pub(super) fn frames_end(segment: &Path) -> (usize, usize) {
    let bytes = fs::read(segment).expect("the segment can be read");
    let (mut last, mut at) = (HEADER_BYTES, HEADER_BYTES);
    while bytes.get(at..at + 16).is_some_and(|head| head.iter().any(|byte| *byte != 0)) {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        last = at;
        at += (16 + len as usize).next_multiple_of(8);
    }
    (at, last)
}

/// A segment's header.
pub(super) const HEADER_BYTES: usize = 4096;
