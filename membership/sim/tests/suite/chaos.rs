//! Our own members through storms of everything: after each the cluster must come to itself.

use drystone_membership::Config;
use drystone_membership_sim::nemesis::Storm;
use drystone_membership_sim::scenario::chaos::chaos;
use drystone_membership_sim::{Cluster, Drystone, SECOND, Setup};
use drystone_sim::{Seeds, Shape};

/// How long a storm lasts, and how long everybody then has to be right, in seconds.
const TIMES: (u64, u64) = (60, 40);

/// What the core may take for each member that ever was, and for none.
const MEMORY_BY_MEMBER: usize = 400;
const MEMORY: usize = 4096;

/// Asserts the core's own invariants, and that nothing grows with what has happened.
fn look(cluster: &Cluster<Drystone>) {
    let members = cluster.world().ids().len();
    for (node, member) in cluster.world().processes() {
        let swim = member.gossiper().swim();
        swim.check();
        let memory = swim.memory();
        assert!(memory <= MEMORY + MEMORY_BY_MEMBER * members, "{node} takes {memory} bytes");
    }
}

/// The whole of what a membership protocol is for: whatever has happened, when it is over all know
/// all that are there, believe in nobody else, and stay so.
#[test]
fn after_a_storm_everybody_is_right() {
    let command = "cargo test -p drystone-membership-sim after_a_storm";
    Seeds::new(command, 60).run(|seed| {
        let members = 24 + seed.rng("members").below(41) as usize;
        let setup = Setup::new(members, Config::lan());
        let found = chaos::<Drystone>(&setup, seed, Storm::usual(), TIMES, look);
        assert!(found.right_after.is_some(), "of {members} members: {found:?}");
    });
}

/// In a storm there is always somebody who comes back and asks all the seeds, which joins what had
/// fallen apart. Where nobody comes, those who called each other dead must find each other alone.
#[test]
fn sides_that_called_each_other_dead_find_each_other() {
    let command = "cargo test -p drystone-membership-sim sides_that_called";
    Seeds::new(command, 20).run(|seed| {
        let members = 24 + seed.rng("members").below(41) as usize;
        let setup = Setup::new(members, Config::lan());
        let mut cluster = Cluster::<Drystone>::warm(&setup, seed);
        let mut one = cluster.some(members);
        let other = one.split_off(members / 3);
        cluster.world_mut().partition(&Shape::Groups(vec![one, other]));
        cluster.run_for(TIMES.0 * SECOND, &mut []);
        assert_eq!(cluster.right_count(), 0, "each side calls the other dead");
        cluster.world_mut().partition(&Shape::Whole);
        cluster.run_for(TIMES.1 * SECOND, &mut []);
        look(&cluster);
        assert_eq!(cluster.right_count(), members);
    });
}
