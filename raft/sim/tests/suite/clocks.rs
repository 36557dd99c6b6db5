//! Reads on the strength of clocks: good while the clocks keep the bound that was promised, and
//! caught when they do not. Scenario 28.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use drystone_raft_sim::{DRIFT_PPM, Plan, run_plan};
use drystone_sim::{Seed, Seeds};

/// What leases are for. A few hundred operations of each seed read by the log, by a round, by a
/// lease and from followers, with leaders that are cut off all the time; 10,000 seeds with SLOW=1.
#[test]
fn reads_are_good_while_clocks_keep_their_bound() {
    let returned = Cell::new(0);
    Seeds::new("cargo test -p drystone-raft-sim reads_are_good", 100).run(|seed| {
        let plan = Plan::clocks(&mut seed.rng("plan"), DRIFT_PPM);
        returned.set(returned.get() + run_plan(seed, &plan).returned);
    });
    assert!(returned.get() > 0, "nobody got an answer");
}

/// A test that cannot fail says nothing: with clocks that are far beyond the bound, and leases that
/// do not know it, there must be a read that misses a write.
#[test]
fn a_read_is_stale_when_clocks_break_their_bound() {
    let stale = (1..=100_000_u64).find_map(|value| {
        let seed = Seed::from(value);
        let plan = Plan::clocks(&mut seed.rng("plan"), 25 * DRIFT_PPM);
        let end = catch_unwind(AssertUnwindSafe(|| run_plan(seed, &plan))).err()?;
        let said = end.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(said.contains("not linearizable"), "seed {value} ends otherwise: {said}");
        Some(value)
    });
    println!("the read of seed {stale:?} was stale");
    assert!(stale.is_some(), "clocks may be wrong by any amount: the simulation has no teeth");
}
