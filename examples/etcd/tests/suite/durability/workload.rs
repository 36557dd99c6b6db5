//! A burst of writes from several connections, cut off by a crash or another end.
//!
//! ```text
//!   writers  ─ grant, put, delete, groups, swap, revoke ─► each notes question and answer
//!   reader   ─ ranges ───────────────────────────────────► what stood, at which revision
//!   watcher  ─ everything from now on ───────────────────► the events, in order
//!   compactor  once, in some bursts
//!                      │
//!   the end, at a random moment: every writer is left with at most one request unanswered
//! ```
//!
//! A writer has keys of its own, so that it alone decides what comes after what on them, and waits
//! for one answer before it asks again; many writers share a connection, so many requests are under
//! way. A few keys are shared by all, and changed by compare-and-swap only.

use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{CompactionRequest, RangeRequest, WatchCreateRequest};
use drystone_etcd_api::mvccpb::Event;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tonic::Status;

use super::chronicle::Record;
use super::op::{Note, Outcome, Read};
use super::state::State;
use super::writer::{GROUPS_PREFIX, Writer};
use crate::support::server::Server;
use crate::support::watch::Watch;

/// How long one answer may take while the server runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a burst looks like.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) connections: usize,
    pub(super) writers_per_connection: usize,
    pub(super) value_bytes: Range<usize>,
}

/// One burst: its shape, its dice, and what is compacted meanwhile.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) shape: Shape,
    pub(super) seed: u64,
    pub(super) round: u64,
    pub(super) compact: Option<i64>,
}

/// What came of a burst.
#[derive(Debug)]
pub(super) struct Aftermath {
    pub(super) record: Record,
    /// Whether the compaction was answered; `None` if there was none.
    pub(super) compacted: Option<bool>,
}

/// What the clients of a burst share.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// The newest revision that any of them has heard of.
    newest: AtomicI64,
    /// The crash is under way: from here on errors are expected.
    crashing: AtomicBool,
}

impl Common {
    pub(super) fn newest(&self) -> i64 {
        self.newest.load(Ordering::SeqCst)
    }

    pub(super) fn heard(&self, revision: i64) {
        self.newest.fetch_max(revision, Ordering::SeqCst);
    }

    /// The answer, or nothing if the crash took it. An error before the crash is a failure.
    pub(super) fn unless_crashed<T>(&self, answer: Result<T, Status>, what: &str) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(_) if self.crashing.load(Ordering::SeqCst) => None,
            Err(status) => panic!("before the crash, {what} failed: {status}"),
        }
    }
}

impl Burst {
    /// Runs the burst against `server` until its `end`; `state` is what stands before.
    pub(super) fn run(self, server: &mut Server, state: &State, end: End) -> Aftermath {
        let common = Arc::new(Common::default());
        common.heard(state.revision);
        let (url, state) = (server.client_url(), state.clone());
        let (started, starts) = mpsc::channel();
        let shared = common.clone();
        let clients = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be made");
            runtime.block_on(self.play(&url, &state, &shared, &started))
        });
        let has_started = starts.recv().is_ok();
        if let (true, End::Killed(moment) | End::Stopped(moment)) = (has_started, end) {
            moment.wait(server, || clients.is_finished());
        }
        common.crashing.store(true, Ordering::SeqCst);
        match end {
            End::Killed(_) => server.kill(),
            End::Stopped(_) => server.terminate(),
            End::ByItself => server.wait_for_exit(),
        };
        match clients.join() {
            Ok(aftermath) => aftermath,
            Err(panic) => {
                eprintln!("log of the server:\n{}", server.log());
                std::panic::resume_unwind(panic)
            }
        }
    }

    async fn play(
        self,
        url: &str,
        state: &State,
        common: &Arc<Common>,
        started: &mpsc::Sender<()>,
    ) -> Aftermath {
        let mut clients = Vec::new();
        for _ in 0..self.shape.connections {
            let client = connect(url, &Config::default()).await;
            clients.push(client.expect("a server that answers accepts connections"));
        }
        let (watch, _) = Watch::open(&clients[0], everything_from(state.revision + 1))
            .await
            .expect("a server that answers can be watched");
        started.send(()).expect("somebody waits for the start");
        let mut writers = JoinSet::new();
        for number in 0..self.shape.connections * self.shape.writers_per_connection {
            let client = clients[number % clients.len()].clone();
            let dice = ChaCha8Rng::seed_from_u64(self.seed ^ (self.round << 16 | number as u64));
            let writer = Writer::new(number, self.round, self.shape.value_bytes.clone(), dice);
            writers.spawn(writer.run(client, state.clone(), common.clone()));
        }
        let dice = ChaCha8Rng::seed_from_u64(self.seed ^ (self.round << 16 | 0xffff));
        let reader = tokio::spawn(read(clients[1].clone(), dice, common.clone()));
        let watcher = tokio::spawn(follow(watch, common.clone()));
        let compactor = tokio::spawn(compact(clients[2].clone(), self.compact, common.clone()));
        let notes: Vec<Vec<Note>> = writers.join_all().await;
        let (reads, seen) = (reader.await, watcher.await);
        let record = Record {
            notes: notes.concat(),
            reads: reads.expect("the reader does not panic"),
            seen: seen.expect("the watcher does not panic"),
        };
        let compacted = compactor.await.expect("the compactor does not panic");
        Aftermath { record, compacted }
    }
}

/// How a burst ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The server is killed.
    Killed(Moment),
    /// The server is asked to stop, and takes its leave in good order.
    Stopped(Moment),
    /// The server ends by itself, sooner or later: something is wrong with its world.
    ByItself,
}

/// When the end comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    /// After so long.
    After(Duration),
    /// So long after the server began to write what its engine holds.
    EngineSaved { delay: Duration },
}

impl Moment {
    /// Waits for it. `failed` tells that the clients have given up, which ends the waiting too.
    fn wait(self, server: &Server, failed: impl Fn() -> bool) {
        let (saved, delay) = match self {
            Moment::After(delay) => (false, delay),
            Moment::EngineSaved { delay } => (true, delay),
        };
        let engine = server.data_dir().join("replica/engine-a");
        let deadline = std::time::Instant::now() + PATIENCE;
        let before = stamps(&engine);
        while saved && stamps(&engine) == before && !failed() {
            assert!(std::time::Instant::now() < deadline, "the engine is not saved");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Nothing is waited for: this is the random moment.
        std::thread::sleep(delay);
    }
}

/// The files of a folder, each with its size and the time of its last change.
fn stamps(folder: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    let files = crate::support::tree::files(folder).into_iter();
    let stamp = |file: PathBuf| {
        // It may be gone again.
        let found = std::fs::metadata(&file).ok()?;
        Some((file, found.len(), found.mtime(), found.mtime_nsec()))
    };
    files.filter_map(stamp).collect()
}

/// A request for everything from `start_revision` on.
pub(super) fn everything_from(start_revision: i64) -> WatchCreateRequest {
    let (key, range_end) = ("\0".into(), "\0".into());
    WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() }
}

/// Reads ranges until the crash.
async fn read(client: Client, mut dice: ChaCha8Rng, common: Arc<Common>) -> Vec<Read> {
    let mut reads = Vec::new();
    loop {
        let (key, end) = match dice.random_range(0..3) {
            0 => ("s/".into(), "s0".into()),
            1 => Writer::keys_of(dice.random_range(0..8)),
            _ => (GROUPS_PREFIX.into(), "g0".into()),
        };
        let request = RangeRequest {
            key,
            range_end: end,
            serializable: dice.random(),
            ..RangeRequest::default()
        };
        let (key, end) = (request.key.clone(), request.range_end.clone());
        let answer = client.kv().range(request).await;
        let Some(answer) = common.unless_crashed(answer, "a range") else { return reads };
        let answer = answer.into_inner();
        let revision = answer.header.expect("an answer has a header").revision;
        common.heard(revision);
        reads.push(Read { revision, key, end, found: answer.kvs });
    }
}

/// Follows the watch until the crash.
async fn follow(mut watch: Watch, common: Arc<Common>) -> Vec<Event> {
    let mut seen = Vec::new();
    loop {
        let message = watch.message().await;
        let Some(message) = common.unless_crashed(message, "a watch") else { return seen };
        assert!(!message.canceled, "before the crash, the watch was canceled: {message:?}");
        if let Some(event) = message.events.last() {
            common.heard(event.kv.as_ref().map_or(0, |kv| kv.mod_revision));
        }
        seen.extend(message.events);
    }
}

/// Compacts once; whether the answer came.
async fn compact(client: Client, revision: Option<i64>, common: Arc<Common>) -> Option<bool> {
    let request = CompactionRequest { revision: revision?, physical: false };
    let answer = client.kv().compact(request).await;
    Some(common.unless_crashed(answer, "a compaction").is_some())
}

/// The outcome of a request that made the header's revision if `made`.
pub(super) fn outcome(common: &Common, header: i64, made: bool) -> Outcome {
    common.heard(header);
    if made { Outcome::Made(header) } else { Outcome::Nothing(header) }
}
