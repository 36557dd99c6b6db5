//! Groups under everything at once.

use drystone_kv_sim::run;
use drystone_sim::Seed;

use crate::{run_seeds, seeds};

// What a client was promised must hold whatever happens to members, disks, clocks and network. The
// numbers say that it did happen: a storm that never blew would prove nothing.
#[test]
fn a_group_keeps_its_promises_under_everything() {
    let count = seeds(1_000);
    let total = run_seeds(count);
    println!("{count} seeds: {total}");
    assert!(total.applied > 300 * count, "too little is done: {total}");
    assert!(total.restarts > 3 * count, "too few crash: {total}");
    assert!(total.taken_over > count, "too few are sent a state: {total}");
    assert!(total.expired > count, "too few leases end: {total}");
    assert!(total.changes > count / 10, "too few members come and go: {total}");
    assert!(total.events > 300 * count, "too little is watched: {total}");
}

// A failure that does not come again when its seed is run again helps nobody.
#[test]
fn a_seed_is_one_run() {
    for value in 1..20 {
        let (one, other) = (run(Seed::from(value)), run(Seed::from(value)));
        assert_eq!(one.digest, other.digest, "seed {value}");
        assert_eq!(one.to_string(), other.to_string(), "seed {value}");
    }
}
