//! Seeds: every promise is kept, and the same seed is the same run.

use drystone_raft_sim::{run, run_stored};
use drystone_sim::{Seed, Seeds};

/// The minutes that `cargo xtask test` spends are on the optimised program; this is the part of
/// them that `cargo test` runs, with overflow checks.
#[test]
fn every_promise_is_kept() {
    Seeds::new("cargo test -p drystone-raft-sim every_promise", 400).run(|seed| {
        run(seed);
    });
}

/// The same on the real store, over a file system that fails, crashes and rots.
#[test]
fn every_promise_is_kept_on_the_real_store() {
    Seeds::new("cargo test -p drystone-raft-sim real_store", 60).run(|seed| {
        run_stored(seed);
    });
}

/// A seed that cannot be replayed is no use to whoever is to mend what it found.
#[test]
fn a_seed_is_the_same_run_each_time() {
    for value in [3, 19, 77, 1015] {
        for run in [run, run_stored] {
            let (one, other) = (run(Seed::from(value)), run(Seed::from(value)));
            assert_eq!(format!("{one:?}"), format!("{other:?}"), "seed {value}");
        }
    }
}

/// A run in which nothing happens finds nothing: over some seeds there must be elections,
/// snapshots, changes of members and reads.
#[test]
fn what_is_simulated_happens() {
    for run in [run, run_stored] {
        let mut total = drystone_raft_sim::Report::default();
        (1..=100).for_each(|value| total.add(run(Seed::from(value))));
        assert!(total.elections > 300, "{total}");
        assert!(total.snapshots > 30, "{total}");
        assert!(total.changes > 50, "{total}");
        assert!(total.returned > 5_000, "{total}");
    }
}
