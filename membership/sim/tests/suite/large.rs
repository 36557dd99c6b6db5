//! Very many who come at once (scenario 18). `examples/large.rs` asks the same of ten thousand.

use drystone_membership::Config;
use drystone_membership_sim::scenario::bootstrap::SEEDS;
use drystone_membership_sim::{Cluster, Drystone, SECOND, Setup};

use crate::lab::seeds;

// Every newcomer asks one of three, each of which tells each of a thousand others: if the work
// grew with the square, or the seeds gave in, a cluster of this size could never start.
#[test]
fn a_thousand_come_in_through_three_seeds() {
    const MEMBERS: usize = 1000;
    seeds("a_thousand_come_in", 1).run(|seed| {
        let setup = Setup::new(MEMBERS, Config::lan());
        let mut cluster = Cluster::<Drystone>::cold(&setup, seed.value(), SEEDS, SECOND);
        while !cluster.is_right() {
            assert!(cluster.now() < 15 * SECOND, "{} are right", cluster.right_count());
            cluster.run_for(SECOND / 4, &mut []);
        }
        cluster.world().processes().for_each(|(_, member)| member.gossiper().swim().check());
    });
}
