//! Some wires are cut for good, and not all that could still work together see it at once.
//!
//! ```text
//!   bridge           quorum loss        constrained          chained
//!
//!   L ─── R          L   a              a       z alone      L ─── b ─── c
//!        / \          \ /               |
//!       a───b     b ─── R ─── c     b ─── R ─── c            L leads and keeps its quorum:
//!                                                            c must leave it in peace
//!   z alone          R alone has a      L, the leader, is
//!                    quorum             z; R is behind
//! ```
//!
//! The last three are those of the OmniPaxos paper (Ng, Haridi, Carbone; EuroSys 2023, §2): a
//! leader that lives but has lost its quorum; only a node whose log is behind has a quorum; three
//! in a row. In the bridge the old leader still reaches one node of the new majority.
//!
//! Load goes on: each tick a client proposes at everyone who believes to lead. The first entry
//! proposed after the cut that anybody applies shows who can commit: a group has recovered when
//! that one began to lead, or at once if it did before.

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::cluster::Cluster;
use super::replica::{ELECTION_TICKS, Payload, Shape};

/// Ticks from the cut to the end of a run.
pub const WATCHED_TICKS: u64 = 20 * ELECTION_TICKS;

/// Ticks from the cut in which leaders may change before those that change are said to do so
/// without need.
pub const SETTLING_TICKS: u64 = 4 * ELECTION_TICKS;

/// Which wires stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topology {
    /// The leader sees one node, which sees two more, which see each other; one sees nobody.
    Bridge,
    /// All see one node, which does not lead, and nobody else.
    QuorumLoss,
    /// As that, but the leader sees nobody, and the one that all see lacks what was committed last.
    Constrained,
    /// Three in a row, of which the first leads.
    Chained,
}

impl Topology {
    /// All of them.
    pub const ALL: [Topology; 4] =
        [Topology::Bridge, Topology::QuorumLoss, Topology::Constrained, Topology::Chained];

    /// What the tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Topology::Bridge => "bridge",
            Topology::QuorumLoss => "quorum loss",
            Topology::Constrained => "constrained",
            Topology::Chained => "chained",
        }
    }

    /// Voters that it takes.
    #[must_use]
    pub fn voters(self) -> u64 {
        if self == Topology::Chained { 3 } else { 5 }
    }

    /// The wires that stay, if these places have the parts: the leader first, then the one in the
    /// middle.
    #[must_use]
    pub fn wires(self, parts: &[usize]) -> Vec<(usize, usize)> {
        let wires: &[(usize, usize)] = match self {
            Topology::Bridge => &[(0, 1), (1, 2), (1, 3), (2, 3)],
            Topology::QuorumLoss => &[(1, 0), (1, 2), (1, 3), (1, 4)],
            Topology::Constrained => &[(1, 2), (1, 3), (1, 4)],
            Topology::Chained => &[(0, 1), (1, 2)],
        };
        wires.iter().map(|&(a, b)| (parts[a], parts[b])).collect()
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Ticks from the cut until somebody led who could commit; none if nobody did.
    pub recovered: Option<u64>,
    /// Leaders that came to be after the cut.
    pub changes: u64,
    /// Those of them that came to be when it had settled.
    pub late_changes: u64,
    /// Terms by which the newest of all nodes that lead grew.
    pub terms: u64,
}

/// Cuts the wires of a group that has a leader and load, and watches.
///
/// # Errors
/// If the group refuses.
pub fn partition<C: Cluster>(topology: Topology, delay: u64, seed: u64) -> Result<Outcome> {
    let mut group = C::start(Shape::of(topology.voters()), delay, seed)?;
    let mut load = Load::default();
    group.elect()?;
    for _ in 0..group.random().random_range(ELECTION_TICKS..2 * ELECTION_TICKS) {
        load.tick(&mut group)?;
    }
    let parts = parts(&mut group, topology.voters() as usize)?;
    if topology == Topology::Constrained {
        // The one in the middle sees nobody for a time that nobody minds, and falls behind.
        let middle = parts[1];
        let others: Vec<usize> = parts.iter().copied().filter(|it| *it != middle).collect();
        let pairs = others.iter().flat_map(|a| others.iter().map(|b| (*a, *b)));
        let pairs: Vec<(usize, usize)> = pairs.collect();
        group.cut(|wires, _| wires.keep(&pairs));
        for _ in 0..ELECTION_TICKS / 2 {
            load.tick(&mut group)?;
        }
    }
    group.cut(|wires, _| wires.keep(&topology.wires(&parts)));
    watch(&mut group, &mut load)
}

/// Places in the order of their parts: the leader, then the others in an order that is drawn.
fn parts<C: Cluster>(group: &mut C, count: usize) -> Result<Vec<usize>> {
    let (leader, _) = group.leader().context("a leader under load")?;
    let mut others: Vec<usize> = (0..count).filter(|place| *place != leader).collect();
    others.shuffle(group.random());
    Ok(std::iter::once(leader).chain(others).collect())
}

fn watch<C: Cluster>(group: &mut C, load: &mut Load) -> Result<Outcome> {
    let cut = group.now();
    let mut outcome = Outcome::default();
    let newest = |group: &C| group.leader().map_or(0, |(_, term)| term);
    let oldest = newest(group);
    // The newest term of a leader, and the ticks after which it was there.
    let (mut term, mut since) = (oldest, 0);
    while group.now() < cut + WATCHED_TICKS {
        load.tick(group)?;
        let after = group.now() - cut;
        if newest(group) > term {
            (term, since) = (newest(group), after);
            outcome.changes += 1;
            outcome.late_changes += u64::from(after > SETTLING_TICKS);
        }
        if outcome.recovered.is_none() && group.word_max() > cut {
            outcome.recovered = Some(since);
        }
    }
    outcome.terms = term - oldest;
    Ok(outcome)
}

/// Clients who ask everyone that leads, or believes so, and say when they did.
#[derive(Debug, Default)]
struct Load {
    number: u64,
}

impl Load {
    fn tick<C: Cluster>(&mut self, group: &mut C) -> Result<()> {
        for (leader, _) in group.leaders() {
            self.number += 1;
            let word = group.now() + 1;
            group.propose(leader, &[Payload { number: self.number, word }])?;
        }
        group.tick()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::group::Group;
    use crate::raft::openraft::Story;
    use crate::raft::ours::Ours;
    use crate::raft::raft_rs::RaftRs;

    /// A cut that cuts nothing would be survived by everyone.
    #[test]
    fn a_log_that_is_behind_does_not_win_and_a_quorum_does() {
        for seed in 0..10 {
            let run = |topology| partition::<Group<RaftRs>>(topology, 1, seed).unwrap();
            assert_eq!(run(Topology::Constrained).recovered, None, "Raft §5.4.1");
            let bridge = run(Topology::Bridge);
            assert!(bridge.recovered.is_some() && bridge.changes >= 1, "{bridge:?}");
            assert!(run(Topology::QuorumLoss).changes >= 1);
            assert_eq!(run(Topology::Chained).recovered, Some(0), "its leader stays");
            assert_eq!(run(Topology::Bridge), bridge, "a run can be repeated");
        }
    }

    /// What one contender is told must be what all are told.
    #[test]
    fn the_first_leader_is_lost_to_all_who_are_cut_off_from_it() {
        fn check<C: Cluster>() {
            for topology in [Topology::Bridge, Topology::QuorumLoss] {
                let outcome = partition::<C>(topology, 1, 1).unwrap();
                assert!(outcome.changes >= 1 && outcome.recovered > Some(0), "{outcome:?}");
                assert_eq!(partition::<C>(topology, 1, 1).unwrap(), outcome);
            }
        }
        check::<Group<RaftRs>>();
        check::<Group<Ours>>();
        check::<Story>();
    }
}
