//! The leader dies: how many ticks until there is another?
//!
//! ```text
//!   elect ── E to 3 E ticks of light load ── † ── ticks ── somebody leads in a newer term
//!                                            └─── this is the figure ───┘
//! ```
//!
//! The moment of death is drawn. Its last proposal has just gone out; each wire of the dying leader
//! breaks with one chance in two and what is on it is lost, so followers' logs differ. Light load
//! is a proposal in every other tick, by chance.

use anyhow::{Context as _, Result};
use rand::RngExt as _;

use super::cluster::Cluster;
use super::replica::{ELECTION_TICKS, Payload, Shape};

/// Ticks after which one gives up waiting.
const PATIENCE_TICKS: u64 = 100 * ELECTION_TICKS;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Voters, of whom one dies.
    pub voters: u64,
    /// Ticks that a message takes.
    pub delay: u64,
}

/// Ticks until there is a leader again; none if there was none in a hundred election timeouts.
///
/// # Errors
/// If the group refuses.
pub fn failover<C: Cluster>(plan: Failover, seed: u64) -> Result<Option<u64>> {
    let mut group = C::start(Shape::of(plan.voters), plan.delay, seed)?;
    group.elect()?;
    let mut number = 0;
    let mut propose = |group: &mut C, leader| {
        number += 1;
        group.propose(leader, &[Payload { number, word: 0 }])
    };
    for _ in 0..group.random().random_range(ELECTION_TICKS..3 * ELECTION_TICKS) {
        if let Some((leader, _)) = group.leader()
            && group.random().random_bool(0.5)
        {
            propose(&mut group, leader)?;
        }
        group.tick()?;
    }
    let (leader, term) = group.leader().context("a leader under light load")?;
    propose(&mut group, leader)?;
    group.cut(|wires, random| wires.break_some_of(leader, random));
    group.crash(leader)?;
    let died = group.now();
    while group.now() < died + PATIENCE_TICKS {
        group.tick()?;
        if group.leaders().iter().any(|(_, newer)| *newer > term) {
            return Ok(Some(group.now() - died));
        }
    }
    Ok(None)
}

/// The ticks of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Ticks {
    sorted: Vec<u64>,
    never: u64,
}

impl Ticks {
    /// Of these runs.
    #[must_use]
    pub fn of(runs: impl IntoIterator<Item = Option<u64>>) -> Ticks {
        let mut ticks = Ticks::default();
        for run in runs {
            match run {
                Some(run) => ticks.sorted.push(run),
                None => ticks.never += 1,
            }
        }
        ticks.sorted.sort_unstable();
        ticks
    }

    /// All of them.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.sorted.len() as u64 + self.never
    }

    /// Those that never came to an end.
    #[must_use]
    pub fn never(&self) -> u64 {
        self.never
    }

    /// Those that ended within so many ticks.
    #[must_use]
    pub fn within(&self, ticks: u64) -> u64 {
        self.sorted.partition_point(|it| *it <= ticks) as u64
    }

    /// The mean of those that ended.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sorted.iter().sum::<u64>() as f64 / self.sorted.len() as f64
    }

    /// The least that so many in a thousand do not exceed; infinite if that many did not end.
    #[must_use]
    pub fn permille(&self, permille: u64) -> f64 {
        let rank = (self.runs() * permille).div_ceil(1000).max(1) - 1;
        self.sorted.get(rank as usize).map_or(f64::INFINITY, |it| *it as f64)
    }

    /// The most; infinite if one did not end.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.permille(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::group::Group;
    use crate::raft::raft_rs::RaftRs;

    /// A run that cannot be repeated cannot be looked into.
    #[test]
    fn the_same_seed_takes_as_long_again() {
        for delay in [0, 1] {
            let plan = Failover { voters: 5, delay };
            let all =
                |_| (0..50).map(|seed| failover::<Group<RaftRs>>(plan, seed).unwrap()).collect();
            let [first, again]: [Vec<_>; 2] = [0, 1].map(all);
            assert_eq!(first, again);
            let ticks = Ticks::of(first);
            assert!(ticks.never() == 0 && ticks.permille(0) >= 8.0, "{ticks:?}");
            assert!(ticks.max() > ticks.mean(), "timeouts are drawn");
        }
    }

    /// Runs that never ended must not make the rest look better.
    #[test]
    fn runs_without_end_count_as_the_longest() {
        let ticks = Ticks::of((1..=98).map(Some).chain([None, None]));
        assert_eq!((ticks.runs(), ticks.never(), ticks.within(40)), (100, 2, 40));
        assert_eq!((ticks.permille(500), ticks.permille(980)), (50.0, 98.0));
        assert_eq!((ticks.permille(990), ticks.max()), (f64::INFINITY, f64::INFINITY));
    }
}
