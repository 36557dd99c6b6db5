//! The power fails again, while the log recovers from the first failure (scenario 45): every disk
//! of every scenario, before every changing call of its reopening.
//!
//! A scenario that leaves a disk behind adds a line to [`DISKS`]; nothing else is needed to have it
//! checked here.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hurt::{Hurt, Outcome};
use crate::{damage, last, missing, prefix, rotation, space, syncs, tail, truncate};

type Disks = fn() -> Vec<Hurt>;

/// The scenarios and their disks.
const DISKS: [(u32, &str, Disks); 20] = [
    (1, "a frame cut at every byte", tail::cut_at_every_byte),
    (2, "subsets of sectors", tail::sector_subsets),
    (3, "tails of zeros", tail::zero_tails),
    (4, "tails of garbage", tail::garbage_tails),
    (5, "later groups without earlier ones", tail::lost_groups),
    (6, "promised bytes changed", damage::promised_bytes_changed),
    (7, "bits of the last write", last::flips_in_the_last_write),
    (8, "bits known to matter", last::flips_that_are_known_to_matter),
    (9, "recycled segments", truncate::recycled),
    (10, "rotten lengths", last::rotten_lengths),
    (11, "gaps and doubles", missing::gaps_and_doubles),
    (12, "lost names", rotation::lost_names),
    (13, "cut rotations", rotation::cut_rotations),
    (14, "removals in any order", prefix::removals_in_any_order),
    (14, "cut prefix truncations", prefix::cut_truncations),
    (15, "cut suffix truncations", truncate::cut_suffixes),
    (15, "records that replace a suffix", truncate::replaced),
    (16, "failed syncs", syncs::after_failures),
    (17, "short writes", syncs::short_writes),
    (18, "full disks", space::full_disks),
];

/// About this many of a large family of similar disks are cut again; all of them when SLOW=1.
const SAMPLE: usize = 160;

fn sample(mut disks: Vec<Hurt>) -> Vec<Hurt> {
    let mut rng = ChaCha8Rng::seed_from_u64(45);
    let part = SAMPLE as f64 / disks.len() as f64;
    if part < 1.0 && std::env::var("SLOW").is_err() {
        disks.retain(|_| rng.random_bool(part));
    }
    disks
}

// Scenario 45: a second crash at each step of reopening changes no outcome: what had to be there is
// there, what had to go is gone, and what was refused is refused again.
#[test]
fn a_second_power_cut_in_recovery_changes_no_outcome() {
    let (mut total, mut cuts) = (0, 0);
    for (scenario, name, disks) in DISKS {
        let disks = sample(disks());
        let made: u64 = disks.iter().map(Hurt::check_cut_again).sum();
        println!("scenario {scenario:2}, {name}: {} disks, {made} second cuts", disks.len());
        assert!(!disks.is_empty(), "scenario {scenario} has disks");
        let recovering = disks.iter().any(|hurt| matches!(hurt.outcome, Outcome::OneOf(_)));
        assert!(!recovering || made as usize > disks.len(), "recovery takes some calls");
        (total, cuts) = (total + disks.len(), cuts + made);
    }
    println!("{total} disks, {cuts} second cuts");
    assert!(total > 1000 && cuts > 5000, "{total} disks, {cuts} second cuts");
}

// Scenario 45 holds for every scenario of a log that leaves a disk, or it is not proven.
#[test]
fn every_scenario_that_leaves_a_disk_is_cut_again() {
    let covered: BTreeSet<u32> = DISKS.iter().map(|(scenario, ..)| *scenario).collect();
    assert!(covered.iter().copied().eq(1..=18));
}
