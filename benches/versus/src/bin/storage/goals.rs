//! What our engines are to reach, and whether they do.
//!
//! CPU time decides where the processor is the limit, time on the wall where the disk is. A ratio
//! says how many times better ours is, unless it says otherwise; bounds in microseconds are those
//! of one machine (two cores of an AMD EPYC) and are shown beside the ratio, not in its place.

use drystone_versus::figures::{Goal, Verdict};
use drystone_versus::spread::Spread;
use drystone_versus::storage::phase::{Phase, Sample};
use drystone_versus::storage::store::Contender::{
    self, Btree, Fjall, Lmdb, Lsm, Raw, Redb, Rocksdb,
};

use crate::course::{Samples, What};
use crate::report::{Of, figures, mix_written, ratio};

/// A peer's figure divided by ours, at least; or ours by the peer's, at most.
struct Against {
    ours: Contender,
    peer: Contender,
    what: What,
    name: &'static str,
    of: Of,
    goal: Goal,
}

/// A figure of ours.
struct Alone {
    ours: Contender,
    what: What,
    name: &'static str,
    of: Of,
    goal: Goal,
}

const CPU: Of = Sample::cpu_us;
const WALL: Of = Sample::wall_us;
const DISK: Of = |sample| sample.disk as f64;
const WRITTEN: Of = |sample| sample.written as f64;
const P999: Of = |sample| sample.latency.unwrap_or_default().p999;
const LONGEST_MS: Of = |sample| sample.latency.unwrap_or_default().max / 1e3;

const fn phase(phase: Phase) -> What {
    What::Phase(phase)
}

/// Those of a row: who, against whom, at least so many times better.
const fn better(
    ours: Contender,
    peer: Contender,
    what: Phase,
    name: &'static str,
    of: Of,
    times: f64,
) -> Against {
    Against { ours, peer, what: phase(what), name, of, goal: Goal::AtLeast(times) }
}

const AGAINST: [Against; 26] = [
    better(Lsm, Rocksdb, Phase::Load, "random load", CPU, 1.5),
    better(Lsm, Fjall, Phase::Load, "random load", CPU, 1.2),
    better(Lsm, Rocksdb, Phase::Get, "cached get", CPU, 2.5),
    better(Lsm, Fjall, Phase::Get, "cached get", CPU, 2.0),
    better(Lsm, Fjall, Phase::Miss, "missing get", CPU, 1.0),
    better(Lsm, Rocksdb, Phase::Scan100, "scan of 100", CPU, 2.5),
    better(Lsm, Rocksdb, Phase::YcsbE, "YCSB E", CPU, 2.0),
    better(Lsm, Rocksdb, Phase::Durable16, "durable, 16 threads", WALL, 2.0),
    better(Lsm, Fjall, Phase::Durable16, "durable, 16 threads", WALL, 8.0),
    better(Lsm, Rocksdb, Phase::Overwrite, "overwriting, p99.9", P999, 3.0),
    Against {
        ours: Lsm,
        peer: Fjall,
        what: What::Reopen,
        name: "opening after a kill",
        of: |sample| sample.wall,
        goal: Goal::AtLeast(3.0),
    },
    Against {
        ours: Lsm,
        peer: Rocksdb,
        what: phase(Phase::Load),
        name: "size, ours in theirs",
        of: DISK,
        goal: Goal::AtMost(1.05),
    },
    Against {
        ours: Lsm,
        peer: Rocksdb,
        what: phase(Phase::Load),
        name: "bytes written by the load, ours in theirs",
        of: WRITTEN,
        goal: Goal::AtMost(1.0),
    },
    better(Btree, Lmdb, Phase::Get, "cached get", CPU, 1.2),
    better(Btree, Redb, Phase::Get, "cached get", CPU, 1.3),
    better(Btree, Lmdb, Phase::Scan100, "scan of 100", CPU, 1.0),
    better(Btree, Lmdb, Phase::FullScan, "full scan", CPU, 1.0),
    better(Btree, Lmdb, Phase::Load, "random load", CPU, 1.3),
    better(Btree, Redb, Phase::Load, "random load", CPU, 2.5),
    better(Btree, Lmdb, Phase::SortedLoad, "sorted load", CPU, 1.0),
    better(Btree, Redb, Phase::Durable1, "durable, 1 thread", WALL, 1.5),
    better(Btree, Lmdb, Phase::Durable1, "durable, 1 thread", WALL, 4.0),
    better(Btree, Raw, Phase::Durable1, "durable, 1 thread", WALL, 0.8),
    better(Btree, Redb, Phase::Durable16, "durable, 16 threads", WALL, 8.0),
    better(Btree, Lmdb, Phase::Durable16, "durable, 16 threads", WALL, 8.0),
    Against {
        ours: Btree,
        peer: Lmdb,
        what: phase(Phase::Load),
        name: "size after a random load, ours in theirs",
        of: DISK,
        goal: Goal::AtMost(0.75),
    },
];

const ALONE: [Alone; 12] = [
    alone(Lsm, Phase::Load, "random load, CPU us", CPU, 2.8),
    alone(Lsm, Phase::Get, "cached get, CPU us", CPU, 1.7),
    alone(Lsm, Phase::Miss, "missing get, CPU us", CPU, 0.39),
    alone(Lsm, Phase::Scan100, "scan of 100, CPU us", CPU, 13.0),
    alone(Lsm, Phase::Overwrite, "longest stall while overwriting, ms", LONGEST_MS, 100.0),
    Alone {
        ours: Lsm,
        what: What::Reopen,
        name: "opening after a kill, s",
        of: |sample| sample.wall,
        goal: Goal::AtMost(2.0),
    },
    alone(Btree, Phase::Get, "cached get, CPU us", CPU, 1.05),
    alone(Btree, Phase::Scan100, "scan of 100, CPU us", CPU, 8.6),
    alone(Btree, Phase::FullScan, "full scan, CPU us a row", CPU, 0.07),
    alone(Btree, Phase::Load, "random load, CPU us", CPU, 3.1),
    alone(Btree, Phase::Shrink, "file after shrinking, in bytes in use", SHRUNK, 1.2),
    alone(Btree, Phase::Shrink, "longest wait of others while shrinking, ms", LONGEST_MS, 20.0),
];

/// The file in what of it is in use.
const SHRUNK: Of = |sample| sample.disk as f64 / sample.shrunk.unwrap_or_default().1 as f64;

const fn alone(ours: Contender, what: Phase, name: &'static str, of: Of, most: f64) -> Alone {
    Alone { ours, what: phase(what), name, of, goal: Goal::AtMost(most) }
}

/// The bytes that the B+tree may write in the mix, in those of redb.
const MIX_WRITTEN: f64 = 0.4;

/// Verdicts on all that was measured.
pub(crate) fn verdicts(samples: &Samples) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for it in &AGAINST {
        let parties = match it.goal {
            Goal::AtLeast(_) => [it.peer, it.ours],
            Goal::AtMost(_) => [it.ours, it.peer],
        };
        verdicts.extend(ratio(samples, it.what, parties, it.of).map(|spread| Verdict {
            what: format!("{}, {}, beside {}", it.ours.name(), it.name, it.peer.name()),
            figure: spread.median,
            goal: it.goal,
        }));
    }
    for it in &ALONE {
        verdicts.extend(figures(samples, it.what, it.ours, it.of).map(|figures| Verdict {
            what: format!("{}, {}", it.ours.name(), it.name),
            figure: Spread::of(figures).median,
            goal: it.goal,
        }));
    }
    if let (Some(ours), Some(redb)) = (mix_written(samples, Btree), mix_written(samples, Redb)) {
        let ratios = ours.into_iter().zip(redb).map(|(ours, redb)| ours / redb);
        verdicts.push(Verdict {
            what: "btree, bytes written by the mix, ours in theirs, beside redb".to_owned(),
            figure: Spread::of(ratios).median,
            goal: Goal::AtMost(MIX_WRITTEN),
        });
    }
    verdicts
}
