//! Two servers or more, the same load, turn by turn.
//!
//! # Fairness
//! * One server lives at a time, freshly started for every run. Two at once would share the cores
//!   and the disk, and an old process would carry its heap and its files from round to round.
//! * Who begins changes with every round (etcd, ours, ours, etcd, ...), so that a machine that
//!   grows slower does not favour anyone.
//! * A run that writes begins with an empty store. Runs that only read use a store that was filled
//!   once and is read again after every start.
//! * Before the clock starts the server has a warm-up of a tenth of the load, and everything dirty
//!   has been written back to the disk, so that nobody pays for what came before.
//! * The CPU of the server counts from the first connection until one second after the last answer:
//!   work that was put off is paid for, and so is a second of doing nothing.
//! * Ratios are taken within a round and the median of them is reported, with the least and the
//!   greatest.

mod round;
mod scenario;
mod summary;
mod tournament;

pub use round::{Arena, Contender, Sample, order};
pub use scenario::{ENGINE_SCENARIOS, SCENARIOS, Scenario};
pub use summary::{Figures, Goals, Rounds, Spread, Verdict, table, verdicts};
pub use tournament::{Settings, Tournament, built};
