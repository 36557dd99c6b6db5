//! Each question, asked of a protocol whose answers can be reckoned.

use drystone_membership_sim::scenario::anomaly::{Cell, anomaly};
use drystone_membership_sim::scenario::bootstrap::bootstrap;
use drystone_membership_sim::scenario::crash::crash;
use drystone_membership_sim::scenario::loss::loss;
use drystone_membership_sim::scenario::rapid::{Fault, rapid};
use drystone_membership_sim::scenario::speed::speed;
use drystone_membership_sim::scenario::spread::{News, spread};
use drystone_membership_sim::scenario::steady::steady;
use drystone_membership_sim::{MILLISECOND, SECOND, Setup};
use drystone_sim::Rate;

use crate::toy::{PACE, Pace, Toy};

/// Nine bytes, five times a second, to each other member: the count must be exact, since all
/// comparisons of cost rest on it.
#[test]
fn steady_counts_every_byte_once() {
    let found = steady::<Toy>(&Setup::new(11, PACE), 1, 60);
    assert!((found.bytes - 9.0 * 5.0 * 10.0).abs() < 2.0, "{found:?}");
    assert!((found.bytes_on_wire - 37.0 * 5.0 * 10.0).abs() < 8.0, "{found:?}");
    assert_eq!(found.datagram_bytes_max, 9);
    assert!(found.right, "nobody is wrong where nothing happens");
}

/// Whoever tells all at once is known after one delay, at most 2 ms, which is a hundredth of a
/// round; all ways of saying something must be heard.
#[test]
fn news_told_to_all_takes_one_delay() {
    for streams in [false, true] {
        let pace = Pace { streams, ..PACE };
        for news in [News::Leave, News::Broadcast, News::Metadata] {
            let found = spread::<Toy>(&Setup::new(20, pace), 2, news, Rate::NEVER);
            assert_eq!(found.knew, (19, 19), "{news:?}");
            assert!(found.first_rounds.unwrap() <= found.all_rounds.unwrap());
            assert!(found.all_rounds.unwrap() <= 0.01, "{news:?}: {found:?}");
        }
    }
}

/// A datagram is lost for good with this toy, and then the answer must be that not all know.
#[test]
fn news_that_is_lost_is_not_called_known() {
    let found = spread::<Toy>(&Setup::new(20, PACE), 2, News::Broadcast, Rate::percent(50));
    assert!(found.knew.0 < 19 && found.knew.0 > 0, "{found:?}");
    assert_eq!(found.all_rounds, None);
    // Over connections news is late, by a second for the first loss, and known.
    let setup = Setup::new(20, Pace { streams: true, ..PACE });
    let found = spread::<Toy>(&setup, 2, News::Broadcast, Rate::percent(20));
    assert_eq!(found.knew, (19, 19));
    assert!(found.all_rounds.unwrap() > 0.01, "{found:?}");
}

/// Silence is found between one second after the last heartbeat and a heartbeat later.
#[test]
fn a_crash_is_seen_when_the_silence_is_over() {
    for seed in 0..10 {
        let found = crash::<Toy>(&Setup::new(16, PACE), seed);
        let (first, all) = (found.first.unwrap(), found.all.unwrap());
        assert!((0.79..1.3).contains(&first), "{found:?}");
        assert!(first <= all && all < 1.3, "{found:?}");
    }
}

/// A protocol that never doubts must be seen to be wrong on a bad network and only there.
#[test]
fn a_lossy_network_makes_false_downs() {
    let setup = Setup::new(10, PACE);
    let at = |percent| loss::<Toy>(&setup, 3, Rate::percent(percent), 120).false_downs;
    assert_eq!(at(0), 0);
    let (some, many) = (at(30), at(60));
    assert!(0 < some && some < many, "{some} {many}");
}

/// With everything held up longer than the silence allowed, the blocked take all others for dead
/// (FP), the others take them for dead (which does not count), and nobody healthy is wrong about
/// anybody healthy (FP-): in each block, each of 2 blocked about each of 8 healthy.
#[test]
fn a_block_makes_the_blocked_wrong_about_the_healthy() {
    let cell = Cell { blocked: 2, duration_ms: 4_000, interval_ms: 1_000 };
    let found = anomaly::<Toy>(&Setup::new(10, PACE), 4, cell, 20);
    assert_eq!(found.about_healthy, 4 * 2 * 8, "{found:?}");
    assert_eq!(found.at_healthy, 0, "{found:?}");
    // Both blocked call each other dead as well, and all others call them so.
    assert_eq!(found.about_troubled, 4 * (2 * 8 + 2), "{found:?}");
    let short = Cell { duration_ms: 500, ..cell };
    let found = anomaly::<Toy>(&Setup::new(10, PACE), 4, short, 20);
    assert_eq!(found.about_healthy + found.about_troubled, 0, "{found:?}");
}

/// The deaf hear nobody and are heard: the toy's healthy members never remove them, and a protocol
/// that removes them can be told from one that does not.
#[test]
fn who_is_deaf_is_not_removed_by_a_protocol_of_heartbeats() {
    let deaf = rapid::<Toy>(&Setup::new(20, PACE), 5, Fault::FlipFlop, 80);
    assert_eq!((deaf.removed_after, deaf.removed_share), (None, 0.0), "{deaf:?}");
    assert_eq!(deaf.flaps_most, 0, "{deaf:?}");
    // The victim calls each of the 19 others dead, once in each of two spells.
    assert_eq!(deaf.healthy_removed, 2 * 19, "{deaf:?}");
    assert_eq!(deaf.healthy_removed_by_healthy, 0, "{deaf:?}");
}

/// Loss on the way out makes the same member come and go, and each change must be counted.
#[test]
fn who_is_hardly_heard_comes_and_goes() {
    let mute = rapid::<Toy>(&Setup::new(20, PACE), 5, Fault::LossOut, 60);
    assert!(mute.flaps_most > 4 && mute.flaps_per_minute > 4.0, "{mute:?}");
    assert_eq!(mute.healthy_removed, 0, "it hears everybody: {mute:?}");
    let deaf = rapid::<Toy>(&Setup::new(20, PACE), 5, Fault::LossIn, 60);
    assert_eq!(deaf.flaps_most, 0, "{deaf:?}");
    assert!(deaf.healthy_removed > 19, "{deaf:?}");
}

/// Everybody must be found through three seeds, and the sizes on the way are counted.
#[test]
fn a_cluster_grows_from_its_seeds() {
    let found = bootstrap::<Toy>(&Setup::new(40, PACE), 6, 60);
    let all_after = found.all_after.expect("all find all");
    assert!((0.9..3.0).contains(&all_after), "{found:?}");
    // Joined one by one over a second: most sizes from 4 to 40 are seen by somebody.
    assert!((20..=40).contains(&found.sizes), "{found:?}");
    let shares = found.convergence.samples();
    assert!(shares[0].1 < 0.5 && shares[shares.len() - 1].1 >= 1.0, "{shares:?}");
}

/// The figure is steps: a heartbeat sent and each one received.
#[test]
fn speed_counts_steps() {
    let steps = speed::<Toy>(&Setup::new(10, PACE), 7, Rate::NEVER).run(10);
    let expected = 10 * 5 * 10 * (1 + 9);
    assert!(steps.abs_diff(expected) < 200, "{steps}");
}

/// Same seed, same figures; another seed, others. Without this no figure could be checked.
#[test]
fn a_seed_is_one_run() {
    let setup = Setup::new(16, PACE).with_loss(Rate::percent(30));
    let run = |seed| {
        let crash = crash::<Toy>(&setup, seed);
        let loss = loss::<Toy>(&setup, seed, Rate::percent(40), 60);
        let rapid = rapid::<Toy>(&setup, seed, Fault::LossOut, 30);
        let bootstrap = bootstrap::<Toy>(&setup, seed, 30);
        format!("{crash:?} {loss:?} {rapid:?} {bootstrap:?}")
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_eq!(SECOND, 1_000 * MILLISECOND);
}
