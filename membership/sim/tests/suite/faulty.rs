//! Members that are half there (scenarios 7, 8, 9, 10, 15).

use std::time::Duration;

use drystone_membership::{Config, Effect, Event, Input, State, Swim};
use drystone_membership_sim::scenario::rapid::{Fault, Rapid, rapid};
use drystone_membership_sim::{Drystone, SECOND, Setup, Stable};
use drystone_sim::NodeId;

use crate::lab::{Lab, id, seeds, turned};

/// Seconds of an hour, as a clock is set by.
const HOUR: u64 = 3600 * SECOND;

/// Nobody in the laboratory was told that anybody is gone.
fn assert_nobody_failed(lab: &Lab) {
    for node in lab.up() {
        let turns: Vec<&Event> = lab.events(node).filter(|it| turned(it).is_some()).collect();
        assert!(turns.is_empty(), "{node} was told {turns:?}");
    }
}

/// Raw events: what one member says of another as soon as it says it. They say of a member that is
/// half there what is so at the moment, so one that answers every twenty seconds comes and goes,
/// and one that defends itself over streams stays, for the most part.
mod raw {
    use super::*;

    const MEMBERS: usize = 200;

    // A member that is deaf for twenty seconds and well for twenty may be believed in or not, but
    // nobody who is well may be harmed by what it thinks of the others (Rapid, figure 9).
    #[test]
    fn ingress_that_flips_harms_none_of_the_healthy() {
        seeds("ingress_that_flips", 3).run(|seed| {
            let setup = Setup::new(MEMBERS, Config::lan());
            let found = rapid::<Drystone>(&setup, seed.value(), Fault::FlipFlop, 300);
            assert_eq!(found.healthy_removed, 0);
            assert!(
                found.removed_after.unwrap() <= 20.0,
                "it is gone before it is back: {found:?}"
            );
            assert!(found.flaps_most <= 300 / 20, "it turns as often as the fault: {found:?}");
        });
    }

    // A member that loses four of five packets is worse than none, as it is asked and does not
    // answer (Rapid, figure 10).
    #[test]
    fn loss_of_most_packets_harms_none_of_the_healthy() {
        seeds("loss_of_most_packets", 3).run(|seed| {
            for fault in [Fault::LossIn, Fault::LossOut] {
                let setup = Setup::new(MEMBERS, Config::lan());
                let found = rapid::<Drystone>(&setup, seed.value(), fault, 120);
                assert_eq!(found.healthy_removed, 0);
            }
        });
    }
}

/// The same through a cut detector, which is there to remove either once and for all.
mod stable {
    use super::*;

    const MEMBERS: usize = 200;

    fn setup() -> Setup<Config> {
        Setup::new(MEMBERS, Config { accusers_max: 13, ..Config::lan() })
    }

    // What comes and goes with every turn of a bad switch moves data with every turn.
    #[test]
    fn ingress_that_flips_is_removed_once_or_never() {
        seeds("ingress_that_flips", 3).run(|seed| {
            let found = rapid::<Stable>(&setup(), seed.value(), Fault::FlipFlop, 300);
            assert_eq!(found.healthy_removed, 0);
            assert!(found.flaps_most <= 1, "a turn in five minutes: {found:?}");
        });
    }

    // It answers now and then, and so it defends itself for ever: who counts how often, is rid of
    // it within a minute (Rapid, figure 10).
    #[test]
    fn loss_of_most_packets_is_removed_within_a_minute_for_good() {
        seeds("loss_of_most_packets", 3).run(|seed| {
            for fault in [Fault::LossOut, Fault::LossIn] {
                assert_soon_rid_of_it(&rapid::<Stable>(&setup(), seed.value(), fault, 120));
            }
        });
    }

    // A probe goes around more slowly the more members there are, so it takes longer until there
    // are accusers enough, and the last of ten is later than the last of two.
    #[test]
    fn loss_of_most_packets_is_removed_within_a_minute_from_a_thousand_members() {
        seeds("loss_in_a_thousand", 1).run(|seed| {
            let setup = Setup { members: 1000, ..setup() };
            assert_soon_rid_of_it(&rapid::<Stable>(&setup, seed.value(), Fault::LossOut, 70));
        });
    }

    fn assert_soon_rid_of_it(found: &Rapid) {
        assert_eq!(found.healthy_removed, 0);
        assert!(found.removed_after.is_some_and(|seconds| seconds <= 60.0), "{found:?}");
        assert!(found.removed_share >= 1.0, "{found:?}");
        assert!(found.flaps_most <= 1, "{found:?}");
    }
}

// A firewall rule that drops one direction between two machines: each of them is well, as anybody
// else can tell.
#[test]
fn link_that_is_cut_one_way_accuses_nobody() {
    seeds("link_that_is_cut_one_way", 10).run(|seed| {
        let mut lab = Lab::warm(seed, 16, &Config::lan());
        lab.run_for(10 * SECOND);
        lab.world.network_mut().cut(NodeId(1), NodeId(2));
        lab.run_for(600 * SECOND);
        assert_nobody_failed(&lab);
        let suspected = lab.up().into_iter().flat_map(|node| lab.events(node)).next();
        assert_eq!(suspected, None, "nobody is so much as suspected");
        assert!(lab.is_whole());
    });
}

/// Runs until this member suspects another, by letting nobody hear some of them for a while. They
/// are heard again at once.
fn let_suspect(lab: &mut Lab, node: NodeId) {
    let others: Vec<NodeId> = lab.up().into_iter().filter(|other| *other != node).collect();
    others.iter().take(4).for_each(|other| {
        lab.world.block(*other);
    });
    let suspects = |lab: &Lab| lab.swim(node).others().any(|it| it.state == State::Suspect);
    assert!(lab.wait(60 * SECOND, suspects).is_some(), "it suspects somebody");
    others.iter().take(4).for_each(|other| {
        lab.world.unblock(*other);
    });
}

// A virtual machine that moves to another host stands still for a minute. When it goes on, all of
// its timers have gone off: it must blame itself, and not the others.
#[test]
fn who_was_paused_for_a_minute_calls_nobody_dead() {
    seeds("who_was_paused", 10).run(|seed| {
        let mut rng = seed.rng("pause");
        let mut lab = Lab::warm(seed, 16, &Config::lan());
        lab.run_for(10 * SECOND + rng.below(2 * SECOND));
        let node = NodeId(1 + rng.below(16) as u32);
        // The verdict of a suspicion is due meanwhile.
        let_suspect(&mut lab, node);
        lab.world.pause(node);
        lab.run_for(60 * SECOND);
        for other in lab.up().into_iter().filter(|other| *other != node) {
            assert_eq!(lab.swim(other).of(id(node)).unwrap().state, State::Failed);
        }
        lab.forget_events();
        lab.world.resume(node);
        assert!(lab.wait(10 * SECOND, Lab::is_whole).is_some(), "it is one of them again");
        lab.run_for(120 * SECOND);
        for other in lab.up() {
            let turns: Vec<&Event> = lab.events(other).filter(|it| turned(it).is_some()).collect();
            match other == node {
                true => assert!(turns.is_empty(), "it has called {turns:?}"),
                false => assert!(matches!(turns[..], [Event::Joined(_)]), "{other}: {turns:?}"),
            }
        }
        assert!(lab.is_whole());
    });
}

// An operator sets a clock, or a driver takes the wrong one. An hour that has not passed must not
// end suspicions, nor an hour that comes again stop the timers.
#[test]
fn clocks_that_jump_by_an_hour_change_nothing() {
    seeds("clocks_that_jump", 10).run(|seed| {
        let mut rng = seed.rng("clocks");
        let mut lab = Lab::warm(seed, 16, &Config::lan());
        // So that a clock that is set back does not show less than nothing.
        lab.up().into_iter().for_each(|node| lab.world.step_clock(node, 4 * HOUR as i64));
        lab.run_for(10 * SECOND);
        for _ in 0..40 {
            let node = NodeId(1 + rng.below(16) as u32);
            let forward = lab.world.local(node) < 2 * HOUR || rng.below(2) == 0;
            let ticks = if forward { HOUR as i64 } else { -(HOUR as i64) };
            let_suspect(&mut lab, node);
            lab.world.step_clock(node, ticks);
            lab.run_for(rng.below(5 * SECOND));
        }
        lab.run_for(60 * SECOND);
        assert_nobody_failed(&lab);
        assert!(lab.is_whole());
        // And whoever dies then is missed as ever.
        lab.world.crash(NodeId(16));
        assert!(lab.wait(60 * SECOND, Lab::is_whole).is_some());
    });
}

// The same for a driver whose clock never stops jumping: own time goes on, by what has passed at
// most, and deadlines are never further away than the longest rest.
#[test]
fn core_whose_time_jumps_at_every_call_goes_on() {
    seeds("core_whose_time_jumps", 10).run(|seed| {
        let mut rng = seed.rng("jumps");
        let mut lab = Lab::warm(seed, 8, &Config::lan());
        lab.run_for(10 * SECOND);
        let mut swim: Swim = lab.swim(NodeId(1)).clone();
        let (mut out, mut now) = (Vec::new(), Duration::from_secs(7200));
        let mut datagrams = 0;
        for _ in 0..10_000 {
            let jump = Duration::from_secs(3600);
            now = match rng.below(3) {
                0 if now > jump => now - jump,
                1 => now + jump,
                _ => swim.deadline().unwrap(),
            };
            swim.handle(now, Input::Tick, &mut out).unwrap();
            let rest = swim.deadline().unwrap().saturating_sub(now);
            assert!(rest <= Duration::from_secs(10), "{rest:?}");
            for effect in out.drain(..) {
                datagrams += u64::from(matches!(effect, Effect::Datagram { .. }));
            }
            swim.check();
        }
        assert!(datagrams > 1000, "it goes on probing: {datagrams}");
    });
}
