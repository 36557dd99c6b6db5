//! The engines are one store: the same history gives the same answers on each, and each keeps the
//! promises of an engine also when it is reached through [`AnyEngine`].

use std::sync::Arc;

use drystone_kv::command::{Command, RangeRequest, Txn};
use drystone_kv::engine::Progress;
use drystone_kv::members::Cluster;
use drystone_kv::reply::{RangeReply, TxnReply};
use drystone_kv::store::Status;
use drystone_kv::{EngineKind, HashReply, Kv, LeaseId, LeaseInfo, Outcome, Refusal};
use rand::RngExt as _;

use crate::common::{dump, each_seed, read_at, refusal};
use crate::requests::Requests;
use crate::running::{Machine, apply, options};
use drystone_kv_model::Model;

/// The suite that every engine passes.
mod conformance {
    /// A module of tests for one kind.
    macro_rules! of {
        ($($name:ident: $kind:ident)*) => {$(
            mod $name {
                use std::path::Path;
                use std::sync::Arc;

                use drystone_kv::EngineKind;
                use drystone_kv::engine::EngineError;
                use drystone_kv::engines::{AnyEngine, EngineConfig};
                use drystone_vfs::{SimClock, Vfs};

                fn open(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<AnyEngine, EngineError> {
                    let config = EngineConfig {
                        kind: EngineKind::$kind,
                        background: false,
                        memory_bytes: None,
                        room: None,
                    };
                    AnyEngine::open(vfs, Arc::new(SimClock::new()), dir, &config)
                }

                drystone_kv::engine_conformance!(open);
            }
        )*};
    }

    of! { memory: Memory btree: Btree lsm: Lsm }
}

/// The engines that are compared, the one that is trusted first.
const KINDS: [EngineKind; 3] = EngineKind::ALL;

/// A store of each kind, told the same.
struct Twins {
    pairs: Vec<(Machine, Option<Kv>)>,
}

/// Everything a store can be asked about itself.
#[derive(Debug, PartialEq)]
struct Portrait {
    status: Status,
    hash: Result<HashReply, Refusal>,
    leases: Vec<(LeaseId, Option<LeaseInfo>)>,
    cluster: Arc<Cluster>,
}

impl Twins {
    fn new(seed: u64) -> Twins {
        let machines = KINDS.map(|kind| Machine::of(kind, seed));
        let pairs = machines.map(|machine| {
            let kv = machine.open();
            (machine, Some(kv))
        });
        Twins { pairs: pairs.into() }
    }

    /// Asks every store the same; the answers must be equal.
    #[track_caller]
    fn all<T: PartialEq + std::fmt::Debug>(&self, ask: impl Fn(&Kv) -> T) -> T {
        let mut answers = self
            .pairs
            .iter()
            .map(|(machine, kv)| (machine.kind, ask(kv.as_ref().expect("open between steps"))));
        let (trusted, answer) = answers.next().expect("there are several");
        for (kind, other) in answers {
            assert_eq!(other, answer, "{kind} beside {trusted}");
        }
        answer
    }

    fn apply(&self, command: &Command) -> Outcome {
        self.all(|kv| apply(kv, command.clone()))
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.all(|kv| refusal(kv.range(request)))
    }

    fn read_txn(&self, txn: &Txn) -> Result<TxnReply, Refusal> {
        self.all(|kv| refusal(kv.read_txn(txn)))
    }

    fn portrait(&self) -> Portrait {
        self.all(|kv| {
            let mut status = kv.status();
            // How far each sweep has come, and what each engine makes of it, is its own business.
            (status.swept, status.engine) = (None, Default::default());
            let leases = kv.leases().into_iter().map(|id| (id, kv.lease(id, true))).collect();
            Portrait { status, hash: refusal(kv.hash(None)), leases, cluster: kv.cluster() }
        })
    }

    /// Ends each store, in good order or not, and opens it again.
    fn restart(&mut self, end: End) {
        for (machine, kv) in &mut self.pairs {
            let kv = kv.take().expect("open between steps");
            if end == End::Crash {
                // Nothing is under way, so whatever the disk keeps, all answers are kept.
                let disk = machine.disk.crash();
                *machine = machine.with(disk);
            }
            drop(kv);
        }
        for (machine, kv) in &mut self.pairs {
            *kv = Some(machine.open());
        }
    }

    /// Does something for one store that may not show: each time for other ones.
    fn upkeep(&self, requests: &mut Requests) {
        for (_, kv) in &self.pairs {
            let kv = kv.as_ref().expect("open between steps");
            match requests.random.random_range(0..12) {
                0 => kv.persist().expect("the disk is in order"),
                1 => kv.defragment().expect("the disk is in order"),
                2..5 => drop(kv.sweep_step().expect("the disk is in order")),
                _ => {}
            }
        }
    }

    /// The records themselves, once all garbage is gone, are the same bytes under the same keys.
    fn assert_same_records(mut self) {
        let mut dumps = Vec::new();
        for (machine, kv) in &mut self.pairs {
            let kv = kv.take().expect("open between steps");
            while kv.sweep_step().expect("the disk is in order") == Progress::More {}
            kv.persist().expect("the disk is in order");
            drop(kv);
            dumps.push((machine.kind, dump(&machine.open_engine())));
        }
        let (trusted, expected) = &dumps[0];
        for (kind, records) in &dumps[1..] {
            assert!(records == expected, "the records of {kind} and {trusted} differ");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Crash,
}

// A cluster may one day run members on different engines, and an operator move from one to another:
// whatever a client can see is decided above the engine. Stores on all engines go through one
// history of every command, read, compaction, lease and restart; they answer alike, and as the
// model does, at every step.
#[test]
fn the_same_history_gives_the_same_answers_on_every_engine() {
    each_seed("the_same_history_gives_the_same_answers_on_every_engine", 8, 400, |seed| {
        let mut requests = Requests::new(seed);
        let mut oracle = Model::new();
        let mut twins = Twins::new(seed);
        for step in 0..300 {
            let command = requests.command(&oracle);
            if options().limits.check(&command).is_ok() {
                assert_eq!(twins.apply(&command), oracle.apply(&command), "{command:?}");
            }
            let request = requests.read(&oracle);
            if options().limits.check_range(&request).is_ok() {
                assert_eq!(twins.range(&request), oracle.range(&request), "{request:?}");
            }
            let txn = requests.read_txn(&oracle);
            if txn.is_read_only() && options().limits.check_txn(&txn).is_ok() {
                assert_eq!(twins.read_txn(&txn), oracle.read_txn(&txn), "{txn:?}");
            }
            twins.upkeep(&mut requests);
            match requests.random.random_range(0..60) {
                0 => twins.restart(End::Closed),
                1 => twins.restart(End::Crash),
                _ => {}
            }
            if step % 10 == 0 {
                twins.portrait();
            }
        }
        // All of the past that is left.
        for at in oracle.compacted.unwrap_or(0)..=oracle.revision {
            let all = read_at("\0", "\0", at);
            assert_eq!(twins.range(&all), oracle.range(&all), "at {at}");
            twins.all(|kv| refusal(kv.hash(Some(at)))).expect("the revision is readable");
        }
        twins.restart(End::Crash);
        twins.portrait();
        twins.assert_same_records();
    });
}
