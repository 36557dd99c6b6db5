//! What the tests of the store share: seeds, and stores to try things on.

use std::cell::Cell;

use bytes::Bytes;
use drystone_kv::command::{Command, Put, RangeRequest};
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
    pub(crate) store: Store<E>,
    index: Cell<u64>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::over(Mem::volatile())
    }
}

impl<E: Engine> Bench<E> {
    pub(crate) fn over(engine: E) -> Bench<E> {
        let store = Store::open(engine).expect("a sound engine opens");
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

/// A put of `value` under `key`, with no frills.
pub(crate) fn put(key: &'static str, value: &'static str) -> Put {
    Put { key: key.into(), value: Some(value.into()), lease: Some(LeaseId::NONE), prev_kv: false }
}

/// A range as etcd writes it.
pub(crate) fn range(key: &'static str, end: &'static str) -> KeyRange {
    KeyRange::from_etcd(key.into(), end.into())
}
