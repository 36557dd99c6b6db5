//! Two servers or more, or two clusters, the same load, turn by turn.
//!
//! # Fairness
//! * One cluster lives at a time, freshly started for every run. Two at once would share the cores
//!   and the disk, and an old process would carry its heap and its files from round to round.
//! * Who begins changes with every round (etcd, ours, ours, etcd, ...), so that a machine that
//!   grows slower does not favour anyone.
//! * A run that writes begins with a store of its own. Runs that only read use a store that was
//!   filled once and is read again after every start.
//! * Before the clock starts the servers have a warm-up of a tenth of the load, and everything
//!   dirty has been written back to the disk, so that nobody pays for what came before.
//! * CPU, memory and bytes are summed over all members of a cluster. CPU counts from the first
//!   request, when connections, leases and watchers are there, until one second after the last
//!   answer: work that was put off is paid for, and so is a second of doing nothing.
//! * Connections are dealt out among the members, the leader first: a lone client talks to it.
//! * Ratios are taken within a round and the median of them is reported, with the least and the
//!   greatest.
//!
//! # Where to look
//! | module | holds |
//! |---|---|
//! | `scenario`, `scenarios` | what can be measured, and the goals |
//! | `course` | what is done in a run of each kind |
//! | `arena`, `contender` | what runs share; who is measured |
//! | `sample`, `summary`, `goal` | figures, medians and ratios, verdicts |
//! | `tournament` | all of it, round by round |

mod arena;
mod contender;
mod course;
mod goal;
mod profile;
mod sample;
mod scenario;
mod scenarios;
mod summary;
mod tournament;

pub use arena::{Arena, order};
pub use contender::{Contender, peers};
pub use goal::{Bound, Goal, Outcome, Verdict, verdicts};
pub use sample::{Metric, Sample};
pub use scenario::{Course, Data, Load, Scenario};
pub use scenarios::{BIG, ENGINE_SCENARIOS, SCENARIOS};
pub use summary::{Figures, Rounds, Spread, table};
pub use tournament::{Results, Settings, Tournament, built};
