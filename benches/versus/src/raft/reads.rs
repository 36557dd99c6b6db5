//! Linearizable reads that arrive together: how many messages does one of them take?

use anyhow::{Result, ensure};

use super::cluster::Cluster as _;
use super::group::Group;
use super::replica::{Payload, Reads, Replica, Shape};

/// Messages between three nodes for so many reads at their leader, which arrive at once. Nothing
/// ticks meanwhile, so there are no others.
///
/// # Errors
/// If a read is not answered.
pub fn messages<R: Replica>(reads: Reads, count: u64) -> Result<u64> {
    let mut group = Group::<R>::new(Shape { reads, ..Shape::of(3) }, 0, 1)?;
    let leader = group.elect()?;
    group.propose(leader, &[Payload { number: 1, word: 0 }])?;
    group.settle()?;
    let answered = |group: &Group<R>| group.alive().map(|(_, node)| node.reads_answered()).sum();
    let (sent, before): (u64, u64) = (group.sent(), answered(&group));
    group.read(leader, count)?;
    group.settle()?;
    let answered: u64 = answered(&group) - before;
    ensure!(answered == count, "{}: {answered} of {count} reads were answered", R::NAME);
    Ok(group.sent() - sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::raft_rs::RaftRs;

    /// A read that asks nobody is only right by the clock.
    #[test]
    fn an_index_read_asks_and_a_lease_read_does_not() {
        assert_eq!(messages::<RaftRs>(Reads::Index, 1).unwrap(), 4);
        assert_eq!(messages::<RaftRs>(Reads::Lease, 64).unwrap(), 0);
    }
}
