//! Very many who come at once (scenario 18). Two thousand; or as many as one likes:
//!
//!     MEMBERS=10000 cargo test -p drystone-membership-sim --test suite thousands_come_in
//!
//! That takes some minutes and 9 GB.

use drystone_membership::Config;
use drystone_membership_sim::scenario::bootstrap::SEEDS;
use drystone_membership_sim::{Cluster, Drystone, SECOND, Setup};

use crate::lab::seeds;

/// So long the last may take, whatever their number.
const WITHIN: u64 = 15 * SECOND;

// Every newcomer asks one of three, each of which tells each of a thousand others: if the work
// grew with the square, or the seeds gave in, a cluster of this size could never start.
#[test]
fn thousands_come_in_through_three_seeds() {
    let members = std::env::var("MEMBERS").map_or(2000, |text| text.parse().expect("a number"));
    seeds("thousands_come_in", 1).run(|seed| {
        let setup = Setup::new(members, Config::lan());
        let mut cluster = Cluster::<Drystone>::cold(&setup, seed.value(), SEEDS, SECOND);
        while !cluster.is_right() {
            assert!(cluster.now() < WITHIN, "{} are right", cluster.right_count());
            cluster.run_for(SECOND / 4, &mut []);
        }
        println!("{members} members are right after {} s", cluster.now() as f64 / SECOND as f64);
        cluster.world().processes().for_each(|(_, member)| member.gossiper().swim().check());
    });
}
