//! The running store: journal, restarts, crashes, clocks, quotas, and disks that fail.
//!
//! Everything runs on a simulated disk and a simulated clock; the store's own threads are real, so
//! nothing here depends on who comes first, only on what was answered.

mod basics;
mod crash;
mod failure;
mod folder;
mod gated;
mod leases;
mod panic;
mod quota;
mod restart;
mod stress;
mod upkeep;
pub(crate) mod watching;

use std::path::Path;
use std::sync::Arc;

use drystone_kv::command::{Command, RangeRequest};
use drystone_kv::engine::Progress;
use drystone_kv::engines::{AnyEngine, EngineConfig};
use drystone_kv::reply::{RangeReply, Reply};
use drystone_kv::{EngineKind, Error, Kv, Options, Outcome, Refusal};
use drystone_vfs::{SimClock, SimVfs, Vfs};

use crate::common::refusal;
use drystone_kv_model::Model;

/// Makes a test of each function for every engine: `memory::name`, `btree::name`, `lsm::name`.
macro_rules! on_every_engine {
    ($($name:ident)*) => {
        mod memory {
            $(#[test] fn $name() { super::$name(drystone_kv::EngineKind::Memory); })*
        }

        mod btree {
            $(#[test] fn $name() { super::$name(drystone_kv::EngineKind::Btree); })*
        }

        mod lsm {
            $(#[test] fn $name() { super::$name(drystone_kv::EngineKind::Lsm); })*
        }
    };
}
pub(crate) use on_every_engine;

pub(crate) const DIR: &str = "data";

/// Options of a store that does nothing by itself, with small segments: the journal turns often.
pub(crate) fn options() -> Options {
    Options { background: false, segment_bytes: 16 << 10, ..Options::default() }
}

/// A disk and a clock, and a store on them now and then.
pub(crate) struct Machine {
    pub(crate) disk: SimVfs,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) kind: EngineKind,
}

impl Machine {
    /// A machine whose store keeps its records in memory.
    pub(crate) fn new(seed: u64) -> Machine {
        Machine::of(EngineKind::Memory, seed)
    }

    /// A machine whose store has an engine of that kind.
    pub(crate) fn of(kind: EngineKind, seed: u64) -> Machine {
        Machine { disk: SimVfs::new(seed), clock: Arc::new(SimClock::new()), kind }
    }

    /// The machine after a fresh start with `disk`.
    pub(crate) fn with(&self, disk: SimVfs) -> Machine {
        Machine { disk, clock: Arc::new(SimClock::new()), kind: self.kind }
    }

    pub(crate) fn try_open(&self, mut options: Options) -> Result<Kv, Error> {
        options.engine = Some(self.kind);
        open(Arc::new(self.disk.clone()), self.clock.clone(), options)
    }

    pub(crate) fn open(&self) -> Kv {
        self.try_open(options()).expect("the folder is in order")
    }

    /// Opens the engine of a store that is closed, without the store.
    pub(crate) fn open_engine(&self) -> AnyEngine {
        let dir = Path::new(DIR).join("engine");
        let config =
            EngineConfig { kind: self.kind, background: false, memory_bytes: None, room: None };
        let (vfs, clock) = (Arc::new(self.disk.clone()), self.clock.clone());
        AnyEngine::open(vfs, clock, &dir, &config).expect("the engine is in order")
    }
}

pub(crate) fn open(vfs: Arc<dyn Vfs>, clock: Arc<SimClock>, options: Options) -> Result<Kv, Error> {
    Kv::open(vfs, clock, Path::new(DIR), options)
}

/// Proposes, and waits for the outcome; any trouble is a bug.
pub(crate) fn apply(kv: &Kv, command: Command) -> Outcome {
    refusal(kv.propose(command).wait())
}

/// Proposes a command that is not refused.
pub(crate) fn ok(kv: &Kv, command: Command) -> Reply {
    apply(kv, command).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Reads a range.
pub(crate) fn read(kv: &Kv, request: &RangeRequest) -> Result<RangeReply, Refusal> {
    refusal(kv.range(request))
}

/// Sweeps until nothing is left to sweep.
pub(crate) fn sweep(kv: &Kv) {
    while kv.sweep_step().expect("memory does not fail") == Progress::More {}
}

/// Asserts that a store stands where the model does, at every readable revision.
pub(crate) fn assert_stands(kv: &Kv, oracle: &Model) {
    let status = kv.status();
    assert_eq!((status.revision, status.compacted), (oracle.revision, oracle.compacted));
    assert_eq!(status.alarms, oracle.alarms.iter().copied().collect::<Vec<_>>());
    assert_eq!(status.leases, oracle.leases.len());
    assert_eq!(*kv.cluster(), oracle.cluster);
    for (&id, &ttl) in &oracle.leases {
        let lease = kv.lease(id, true).expect("the lease stands");
        assert_eq!((lease.granted, lease.keys), (ttl, oracle.keys_of(id)));
    }
    for at in oracle.compacted.unwrap_or(0)..=oracle.revision {
        let all = crate::common::read_at("\0", "\0", at);
        assert_eq!(read(kv, &all), oracle.range(&all), "at {at}");
    }
}
