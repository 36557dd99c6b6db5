//! What the tests of the store share: seeds, and stores to try things on.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use drystone_kv::command::{
    Command, Compact, DeleteRange, LeaseGrant, LeaseRevoke, Put, RangeRequest,
};
use drystone_kv::engine::{Direction, Engine, Progress, Snapshot as _, Space};
use drystone_kv::key_range::KeyRange;
use drystone_kv::mem::Mem;
use drystone_kv::reply::{RangeReply, Reply};
use drystone_kv::types::LeaseId;
use drystone_kv::{Error, Outcome, Refusal, Store};

/// Whether there is time for much more.
pub(crate) fn is_slow() -> bool {
    std::env::var_os("SLOW").is_some()
}

/// Runs a random test for `fast` seeds, or `slow` ones when there is time, or the one that
/// `KV_SEED` names.
pub(crate) fn each_seed(test: &str, fast: u64, slow: u64, run: impl Fn(u64)) {
    if let Ok(seed) = std::env::var("KV_SEED") {
        return run(seed.parse().expect("KV_SEED is a number"));
    }
    for seed in 0..if is_slow() { slow } else { fast } {
        println!(
            "seed {seed}; replay: KV_SEED={seed} cargo test -p drystone-kv --test suite {test}"
        );
        run(seed);
    }
}

/// A store in memory that numbers the commands itself.
pub(crate) struct Bench<E: Engine = Mem> {
    pub(crate) store: Arc<Store<E>>,
    index: Cell<u64>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::over(Mem::volatile())
    }
}

impl<E: Engine> Bench<E> {
    pub(crate) fn over(engine: E) -> Bench<E> {
        let store = Arc::new(Store::open(engine).expect("a sound engine opens"));
        let index = Cell::new(store.status().applied);
        Bench { store, index }
    }

    /// Applies one command.
    pub(crate) fn apply(&self, command: &Command) -> Outcome {
        self.apply_all(std::slice::from_ref(command)).remove(0)
    }

    /// Applies commands as one group.
    pub(crate) fn apply_all(&self, commands: &[Command]) -> Vec<Outcome> {
        let numbered = commands.iter().map(|command| {
            self.index.set(self.index.get() + 1);
            (self.index.get(), command)
        });
        self.store.apply(numbered).expect("the engine does not fail")
    }

    /// Applies a command that is not refused.
    pub(crate) fn ok(&self, command: &Command) -> Reply {
        self.apply(command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"))
    }

    /// Reads a range.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        refusal(self.store.range(request))
    }

    /// Sweeps until nothing is left to sweep.
    pub(crate) fn sweep(&self) {
        while self.store.sweep_step().expect("the engine does not fail") == Progress::More {}
    }
}

/// The answer, or the refusal; any other error is a bug.
pub(crate) fn refusal<T>(result: Result<T, Error>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        Error::Refused(refusal) => refusal,
        error => panic!("trouble instead of an answer: {error:?}"),
    })
}

/// Everything an engine holds.
pub(crate) fn dump(engine: &impl Engine) -> Vec<(Space, Vec<u8>, Bytes)> {
    let snapshot = engine.snapshot();
    let mut all = Vec::new();
    for space in Space::ALL {
        for entry in snapshot.range(space, &[], None, Direction::Forward) {
            let (key, value) = entry.expect("a sound engine reads");
            all.push((space, key.to_vec(), value));
        }
    }
    all
}

/// A put with no frills.
pub(crate) fn put(key: &'static str, value: &'static str) -> Command {
    Command::Put(Put::new(key, value))
}

/// A delete of a range as etcd writes it, asking for what went.
pub(crate) fn delete(key: &'static str, end: &'static str) -> Command {
    Command::DeleteRange(DeleteRange { range: range(key, end), prev_kv: true })
}

/// A compaction.
pub(crate) fn compact(revision: u64) -> Command {
    Command::Compact(Compact { revision })
}

/// A grant of a lease for a minute.
pub(crate) fn grant(id: i64) -> Command {
    Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl: 60 })
}

/// The end of a lease.
pub(crate) fn revoke(id: i64) -> Command {
    Command::LeaseRevoke(LeaseRevoke { id: LeaseId(id) })
}

/// A put that hangs on a lease.
pub(crate) fn put_on(key: &'static str, value: &'static str, lease: i64) -> Command {
    Command::Put(Put { lease: Some(LeaseId(lease)), ..Put::new(key, value) })
}

/// A range as etcd writes it.
pub(crate) fn range(key: &'static str, end: &'static str) -> KeyRange {
    KeyRange::from_etcd(key.into(), end.into())
}

/// A read of a range as etcd writes it.
pub(crate) fn read(key: &'static str, end: &'static str) -> RangeRequest {
    RangeRequest::new(range(key, end))
}

/// A read of a range in the past.
pub(crate) fn read_at(key: &'static str, end: &'static str, revision: u64) -> RangeRequest {
    RangeRequest { revision: Some(revision), ..read(key, end) }
}

/// The keys of a reply, for comparing at a glance.
pub(crate) fn keys(reply: &RangeReply) -> Vec<&str> {
    reply.kvs.iter().map(|kv| text(&kv.key)).collect()
}

/// Bytes that the test wrote as text.
pub(crate) fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("the test writes text")
}
