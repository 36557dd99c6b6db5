//! A data folder with everything in it: a saved engine, several segments of log, and a tail
//! that a killed server left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use drystone_etcd_api::etcdserverpb::DefragmentRequest;
use drystone_kv::runtime::{Ask, Asked, Peers, Replica, ReplicaOptions};
use drystone_kv::{Command, EngineKind, Put};
use drystone_raft::NodeId;
use drystone_raft::runtime::Channels;
use drystone_vfs::{OsClock, OsVfs};
use drystone_wal::Wal;
use tempfile::TempDir;

use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::server::{Ids, Server};
use crate::support::{programs, tree};

/// Keys that a sound copy of the sample holds, all told.
pub(crate) const KEYS: usize = YOUNG + 2 * BATCH + PAD + SERVED;
/// Puts before the engine is saved for the first time.
const YOUNG: usize = 10;
/// Puts before it is saved again, and after.
const BATCH: usize = 150;
/// Puts by the server.
const SERVED: usize = 3;
const VALUE_BYTES: usize = 1000;
const PAD_BYTES: usize = 8000;
/// The key that is set until the log has been cut.
const PAD: usize = 1;
/// Small, so that a small log has several segments.
const SEGMENT_BYTES: u64 = 32 * 1024;
/// Bytes of log between two saves of the engine.
const SAVED_OFTEN: u64 = SEGMENT_BYTES;
const SAVED_RARELY: u64 = 64 << 20;

/// Where the log is.
pub(crate) const LOG: &str = "replica/raft/log-1";
/// Where the engine is.
pub(crate) const ENGINE: &str = "replica/engine-a";

/// A copy of the sample, to be damaged.
pub(crate) struct Sample {
    folder: TempDir,
}

impl Sample {
    /// One whose records are in memory, and so in one file when they are saved.
    pub(crate) fn new() -> Sample {
        Sample::on(EngineKind::Memory)
    }

    /// One with this engine.
    pub(crate) fn on(engine: EngineKind) -> Sample {
        Sample::of(&originals(engine).1)
    }

    fn of(original: &TempDir) -> Sample {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        tree::copy(&original.path().join("data"), &folder.path().join("data"));
        Sample { folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The only file in `folder` of the data that ends in `ending`.
    pub(crate) fn one(&self, folder: &str, ending: &str) -> PathBuf {
        let mut found = self.all(folder, ending);
        assert_eq!(found.len(), 1, "one file {ending} in {folder}: {found:?}");
        found.remove(0)
    }

    /// All files in `folder` of the data that end in `ending`, oldest first.
    pub(crate) fn all(&self, folder: &str, ending: &str) -> Vec<PathBuf> {
        let mut files = tree::files(&self.data().join(folder));
        files.retain(|file| file.to_string_lossy().ends_with(ending));
        files
    }

    /// Starts a server on the data, which must be sound.
    pub(crate) fn serve(self) -> Server {
        Server::start_in(self.folder, &programs::ours(), &[])
    }
}

/// The sample in its youth: the same store, with less in its engine and a short log.
pub(crate) fn before_it_grew() -> Sample {
    Sample::of(&originals(EngineKind::Memory).0)
}

/// Appends a record to the log of `sample`, as a newer program might.
pub(crate) fn append(sample: &Sample, record: &[u8]) {
    let log = sample.data().join(LOG);
    let (wal, found) = Wal::open(Arc::new(OsVfs::new()), &log, drystone_wal::Options::default())
        .expect("the log opens");
    drop(found);
    wal.append(&[record]).expect("the log takes records").wait().expect("it is synced");
    wal.close().expect("the log can be closed");
}

/// The sample's folder, young and grown.
fn originals(engine: EngineKind) -> &'static (TempDir, TempDir) {
    static ORIGINALS: [OnceLock<(TempDir, TempDir)>; EngineKind::ALL.len()] =
        [const { OnceLock::new() }; EngineKind::ALL.len()];
    let place = EngineKind::ALL.iter().position(|kind| *kind == engine);
    ORIGINALS[place.expect("all of them are there")].get_or_init(|| make(engine))
}

/// A server makes it; the member, told to use small files, grows; a server goes on with it and is
/// killed.
fn make(engine: EngineKind) -> (TempDir, TempDir) {
    let mut server = Server::start(&programs::ours(), programs::flags_of(engine));
    in_a_runtime(async {
        let client = client_of(&server).await;
        for i in 0..YOUNG {
            calls::put(&client, &format!("first/{i}"), "v", 0).await;
        }
        let defragment = DefragmentRequest::default();
        client.maintenance().defragment(defragment).await.expect("the engine can be saved");
    });
    server.terminate();
    let (data, ids) = (server.data_dir(), server.ids());
    let young = keep(&data);
    grow(&data, ids, SAVED_OFTEN, async |replica| {
        put_batch(replica, "saved", BATCH).await;
        // Until what is kept of the log begins behind the young engine, and in a small file: the
        // server's first one is large.
        loop {
            put(replica, "pad", &"v".repeat(PAD_BYTES)).await;
            let status = replica.group_status().await.expect("it runs");
            let files = tree::files(&data.join(LOG)).into_iter();
            let sizes = files.filter_map(|file| file.metadata().ok());
            let small = sizes.map(|found| found.len()).all(|bytes| bytes <= SEGMENT_BYTES);
            if small && status.base.index.0 > status.last.index.0 / 2 {
                break;
            }
        }
    });
    grow(&data, ids, SAVED_RARELY, async |replica| put_batch(replica, "logged", BATCH).await);
    server.start_again();
    in_a_runtime(async {
        let client = client_of(&server).await;
        for i in 0..SERVED {
            calls::put(&client, &format!("served/{i}"), "v", 0).await;
        }
    });
    server.kill();
    (young, keep(&data))
}

/// Runs the member without its server.
fn grow(data: &Path, ids: Ids, persist_bytes_min: u64, puts: impl AsyncFnOnce(&Replica)) {
    let mut options = ReplicaOptions::new(ids.member, ids.cluster, Vec::new());
    (options.kept_entries, options.kept_bytes_max) = (0, SEGMENT_BYTES);
    options.store.segment_bytes = SEGMENT_BYTES;
    options.store.persist_bytes_min = persist_bytes_min;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
        let (link, dir) = (Channels::new().join(ids.member), data.join("replica"));
        let opened = Replica::open(vfs, clock, &dir, link, Arc::new(Nobody), options).await;
        let replica = opened.expect("the replica opens");
        puts(&replica).await;
        replica.shutdown().await.expect("it closes");
    });
}

/// There are no others to be asked.
struct Nobody;

impl Peers for Nobody {
    fn ask(&self, _: NodeId, _: Ask) -> Asked {
        Box::pin(async { None })
    }
}

async fn put_batch(replica: &Replica, name: &str, count: usize) {
    for i in 0..count {
        put(replica, &format!("{name}/{i}"), &"v".repeat(VALUE_BYTES)).await;
    }
}

async fn put(replica: &Replica, key: &str, value: &str) {
    let put = Put::new(key.to_owned(), value.to_owned());
    replica.propose(Command::Put(put)).await.expect("a put is answered");
}

fn keep(data: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    tree::copy(data, &folder.path().join("data"));
    folder
}

/// Inverts the lowest bit of byte `at` of `file`.
pub(crate) fn flip(file: &Path, at: usize) {
    edit(file, |bytes| bytes[at] ^= 1);
}

/// Changes the content of `file`.
pub(crate) fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("the file can be read");
    change(&mut bytes);
    fs::write(file, bytes).expect("the file can be written");
}

/// How many bytes `file` has.
pub(crate) fn len(file: &Path) -> usize {
    let found = fs::metadata(file).expect("the file is there");
    usize::try_from(found.len()).expect("it fits into memory")
}

/// Where the frames of a segment end, and where the last of them begins: each is a head of 16
/// bytes, of which the first 4 are the length of what follows, padded to 8.
pub(crate) fn frames_end(segment: &Path) -> (usize, usize) {
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
pub(crate) const HEADER_BYTES: usize = 4096;
