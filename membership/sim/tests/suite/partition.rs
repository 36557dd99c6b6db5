//! What was apart comes together again (scenarios 5, 6, 16, 19).

use drystone_membership::{Boot, Config, Event, Input, Node, NodeId as Id, Snapshot, State};
use drystone_membership_sim::{MILLISECOND, SECOND, address_of};
use drystone_sim::NodeId;

use crate::lab::{Home, Lab, id, seeds, whole};

const A: NodeId = NodeId(1);

/// How long two comparisons of each member take.
fn two_syncs(config: &Config) -> u64 {
    2 * config.sync_period.as_micros() as u64
}

// Two halves that have buried each other for ten minutes must not need an operator, and those who
// died or left meanwhile must not come back to life because the other half has not heard of it.
#[test]
fn halves_that_were_apart_for_ten_minutes_know_all_after_two_comparisons() {
    seeds("halves_that_were_apart", 4).run(|seed| {
        let config = Config::lan();
        let mut rng = seed.rng("halves");
        let mut lab = Lab::warm(seed, 128, &config);
        lab.run_for(10 * SECOND);
        let mut nodes = lab.up();
        rng.shuffle(&mut nodes);
        let (left, right) = nodes.split_at(64);
        lab.part(left);
        lab.run_for(300 * SECOND);
        for side in [left, right] {
            lab.world.crash(side[0]);
            lab.give(side[1], Input::Leave).unwrap();
            lab.run_for(5 * SECOND);
            lab.world.crash(side[1]);
        }
        lab.run_for(290 * SECOND);
        for node in lab.up() {
            assert_eq!(lab.swim(node).members_count(), 62, "each side knows itself");
        }
        lab.heal();
        let took = lab.wait(two_syncs(&config), Lab::is_whole);
        assert!(took.is_some(), "all know all");
        // A ghost would rise later, from one who was not asked yet.
        for _ in 0..60 {
            lab.run_for(SECOND);
            assert!(lab.is_whole(), "nobody is believed in who is not there");
        }
        lab.check();
    });
}

// Whoever restarts behind a partition knows nothing of the other side, which knows only that it is
// dead, in a life that is over.
#[test]
fn side_that_restarts_while_apart_is_known_after_two_comparisons() {
    seeds("side_that_restarts", 24).run(|seed| {
        let config = Config::lan();
        // A clock that tells lives apart or not, and seeds of both sides or of one.
        let (life, both) = ((seed.value() % 2) as u32, seed.value() % 4 < 2);
        let mut lab = Lab::warm(seed, 64, &config);
        lab.run_for(10 * SECOND);
        let nodes = lab.up();
        let (left, right) = nodes.split_at(32);
        lab.part(left);
        lab.run_for(120 * SECOND);
        let through: Vec<NodeId> = match both {
            true => vec![left[0], left[1], right[0], right[1]],
            false => vec![right[0], right[1]],
        };
        for node in right {
            lab.restart(*node, life, &through);
            lab.run_for(100 * MILLISECOND);
        }
        lab.run_for(120 * SECOND);
        for node in &nodes {
            assert_eq!(lab.swim(*node).members_count(), 32, "each side knows itself");
        }
        lab.heal();
        let took = lab.wait(two_syncs(&config), Lab::is_whole);
        assert!(took.is_some(), "all know all");
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole(), "and it stays so");
        lab.check();
    });
}

/// What becomes of the answer of a seed that dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Dies {
    /// It never heard the newcomer.
    Before,
    /// Its answer is lost.
    Silent,
    /// The answer arrives, and nothing else does.
    After,
}

// The one address that a newcomer was given is that of a machine which dies while it answers. The
// newcomer must neither wait for ever nor believe that it is alone.
#[test]
fn newcomer_whose_only_seed_dies_while_it_answers_comes_in() {
    seeds("newcomer_whose_only_seed_dies", 15).run(|seed| {
        let config = Config::lan();
        let dies = [Dies::Before, Dies::Silent, Dies::After][(seed.value() % 3) as usize];
        let mut lab = Lab::warm(seed, 15, &config);
        lab.run_for(10 * SECOND);
        let newcomer = lab.next();
        lab.add(Home::new(Boot::new(whole(newcomer), 0, 0), &config));
        lab.join(newcomer, &[A]);
        // Until the seed has answered.
        while dies != Dies::Before && lab.swim(A).of(id(newcomer)).is_none() {
            lab.world.step();
        }
        if dies == Dies::Silent {
            // It had not told anybody else.
            lab.world.network_mut().withdraw(|envelope| envelope.from == A);
        }
        lab.world.crash(A);
        lab.run_for(60 * SECOND);
        if dies == Dies::After {
            assert!(lab.is_whole(), "all know all, but the one that died");
        } else {
            let others = (2..=15).map(NodeId);
            assert!(others.clone().all(|node| lab.swim(node).members_count() == 14));
            assert_eq!(lab.swim(newcomer).members_count(), 1, "it has found nobody");
            assert!(!lab.events(newcomer).any(|event| matches!(event, Event::Admitted { .. })));
        }
        // It goes on trying, and is in soon after the seed is back.
        lab.restart(A, 1, &[NodeId(2)]);
        assert!(lab.wait(20 * SECOND, Lab::is_whole).is_some(), "{dies:?}: it is in");
        let admitted = lab.events(newcomer).filter(|it| matches!(it, Event::Admitted { .. }));
        assert_eq!(admitted.count(), 1);
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole());
    });
}

// The seed has told others of the newcomer before it died, and its answer was lost. Then others
// know the newcomer, and it is they who let it in.
#[test]
fn newcomer_of_whom_a_dead_seed_has_told_comes_in_without_it() {
    seeds("newcomer_of_whom", 10).run(|seed| {
        let config = Config::lan();
        let mut lab = Lab::warm(seed, 15, &config);
        lab.run_for(10 * SECOND);
        let newcomer = lab.next();
        lab.add(Home::new(Boot::new(whole(newcomer), 0, 0), &config));
        lab.join(newcomer, &[A]);
        lab.world.network_mut().cut(A, newcomer);
        let told =
            |lab: &Lab| (2..=15).any(|node| lab.swim(NodeId(node)).of(id(newcomer)).is_some());
        while !told(&lab) {
            lab.world.step();
        }
        lab.world.crash(A);
        lab.world.network_mut().mend(A, newcomer);
        assert!(lab.wait(60 * SECOND, Lab::is_whole).is_some(), "all know all, but the seed");
        let admitted = lab.events(newcomer).any(|event| matches!(event, Event::Admitted { .. }));
        assert!(admitted, "and its application knows that it is in");
    });
}

/// The snapshots of a cluster at work, each as it would be read from a file.
fn snapshots(lab: &Lab) -> Vec<(Node, Snapshot)> {
    let read = |node: NodeId| {
        let bytes = lab.swim(node).snapshot().encode();
        (lab.swim(node).me().clone(), Snapshot::decode(&bytes).unwrap())
    };
    lab.up().into_iter().map(read).collect()
}

/// Starts a member again somewhere else, with what it had saved.
fn start_elsewhere(lab: &mut Lab, saved: &(Node, Snapshot), config: &Config) -> NodeId {
    let (was, snapshot) = saved;
    let node = lab.next();
    let moved = Node { addr: address_of(node).into(), ..was.clone() };
    let boot = Boot::new(moved, snapshot.next_life(0), 0);
    lab.add(Home { checked: false, ..Home::new(boot, config) });
    lab.give(node, Input::Join(snapshot.addrs())).unwrap();
    node
}

// After a power cut a cloud gives every machine a new address. What was saved is right about one
// member alone, and that must be enough.
#[test]
fn one_address_of_a_snapshot_that_still_holds_is_enough() {
    seeds("one_address_of_a_snapshot", 6).run(|seed| {
        let config = Config::lan();
        let mut lab = Lab::warm(seed, 32, &config);
        lab.run_for(10 * SECOND);
        let saved = snapshots(&lab);
        lab.up().into_iter().for_each(|node| {
            lab.world.crash(node);
        });
        lab.run_for(30 * SECOND);
        // The one that stays where it was starts among the others.
        for (place, saved) in saved.iter().enumerate().skip(1) {
            start_elsewhere(&mut lab, saved, &config);
            lab.run_for(100 * MILLISECOND);
            if place == 16 {
                let (life, addrs) = (saved.1.next_life(0), saved.1.addrs());
                lab.restart(A, life, &[]);
                lab.give(A, Input::Join(addrs)).unwrap();
            }
        }
        assert!(lab.wait(60 * SECOND, Lab::is_whole).is_some(), "all have found all");
        assert_eq!(lab.swim(A).members_count(), 32);
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole());
        lab.check();
    });
}

// The one that stays where it was may never have been down, and then it believes in all the
// others where they are no more: dead, or members still if they are back at once.
#[test]
fn members_that_move_are_found_by_one_that_has_stayed() {
    seeds("members_that_move", 20).run(|seed| {
        let config = Config::lan();
        let at_once = seed.value() % 2 == 0;
        let mut lab = Lab::warm(seed, 16, &config);
        lab.run_for(10 * SECOND);
        let saved = snapshots(&lab);
        let others = lab.up().into_iter().skip(1);
        others.for_each(|node| {
            lab.world.crash(node);
        });
        if !at_once {
            // A minute until it no longer blames itself, then a probe every nine seconds, as its
            // health is as bad as can be. None may be left over: the last is convicted on looks
            // that take longer than such a suspicion.
            let alone = |lab: &Lab| lab.swim(A).members_count() == 1;
            assert!(lab.wait(300 * SECOND, alone).is_some(), "they are given up");
        }
        let nodes: Vec<Id> = saved.iter().skip(1).map(|(node, _)| node.id).collect();
        for saved in saved.iter().skip(1) {
            start_elsewhere(&mut lab, saved, &config);
        }
        // If they are taken for members where they were, that must be found out first, one by one.
        let all = |lab: &Lab| lab.swim(A).members_count() == 16 && lab.is_whole();
        assert!(lab.wait(60 * SECOND, all).is_some(), "all have found all");
        assert!(nodes.iter().all(|id| lab.swim(A).of(*id).unwrap().state == State::Alive));
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole());
        lab.check();
    });
}
