//! A rotation of keys while some are cut off (scenario 11).

use drystone_membership::{Boot, Config, Error, Event, Input, Key, KeyStep, NodeId as Id};
use drystone_membership_sim::SECOND;
use drystone_sim::NodeId;

use crate::lab::{Home, Lab, id, seeds, whole};

const A: NodeId = NodeId(1);
const MEMBERS: usize = 40;
/// One in twenty.
const CUT_OFF: [NodeId; 2] = [NodeId(7), NodeId(31)];

fn key(number: u8) -> Key {
    Key::new([number; 32])
}

fn home(boot: Boot, number: u8) -> Home {
    Home::new(Boot { keys: vec![key(number)], ..boot }, &Config::lan())
}

/// The fingerprints of keys that a member holds, the one that seals first.
fn held(lab: &Lab, node: NodeId) -> Vec<u32> {
    lab.swim(node).keys().1
}

fn all_hold(lab: &Lab, nodes: &[NodeId], numbers: &[u8]) -> bool {
    let names: Vec<u32> = numbers.iter().map(|number| key(*number).fingerprint()).collect();
    nodes.iter().all(|node| held(lab, *node) == names)
}

fn turn(lab: &mut Lab, step: KeyStep) -> Result<(), Error> {
    lab.give(A, Input::Keys(step))
}

fn behind(result: Result<(), Error>) -> Vec<Id> {
    let Err(Error::KeysBehind(mut ids)) = result else { panic!("it was not refused: {result:?}") };
    ids.sort_unstable();
    ids
}

// A key is changed because the old one may be known to an enemy, and there is no good moment for
// it: somebody is always away. Whoever is must be named before the old key goes, and must find the
// new one when it is back, with nothing but the old one to ask for it.
#[test]
fn keys_rotate_while_some_are_cut_off_and_lock_nobody_out() {
    let names = CUT_OFF.map(id);
    seeds("keys_rotate", 6).run(|seed| {
        let mut lab = Lab::warm_as(seed, MEMBERS, |boot| home(boot, 1));
        lab.run_for(30 * SECOND);
        assert!(lab.is_whole());
        let all = lab.up();
        let there: Vec<NodeId> = all.iter().copied().filter(|it| !CUT_OFF.contains(it)).collect();
        lab.part(&CUT_OFF);
        lab.run_for(SECOND);

        turn(&mut lab, KeyStep::Add(key(2))).unwrap();
        assert!(lab.wait(30 * SECOND, |lab| all_hold(lab, &there, &[1, 2])).is_some(), "add");
        // All but those who are cut off are said to have it, before these are known to be gone.
        let of_b = KeyStep::Use(key(2).fingerprint());
        if lab.swim(A).members_count() == MEMBERS {
            let ids = behind(turn(&mut lab, of_b.clone()));
            assert!(names.iter().all(|name| ids.contains(name)), "{ids:?}");
        }
        lab.run_for(60 * SECOND);
        assert_eq!(lab.swim(A).members_count(), MEMBERS - CUT_OFF.len());

        turn(&mut lab, of_b).unwrap();
        assert!(lab.wait(30 * SECOND, |lab| all_hold(lab, &there, &[2, 1])).is_some(), "use");
        lab.run_for(60 * SECOND);
        let remove = KeyStep::Remove(key(1).fingerprint());
        assert_eq!(behind(turn(&mut lab, remove.clone())), names, "who is behind is named");
        assert!(all_hold(&lab, &there, &[2, 1]), "and nothing has changed");

        lab.heal();
        let took = lab.wait(60 * SECOND, |lab| all_hold(lab, &all, &[2, 1]) && lab.is_whole());
        assert!(took.is_some(), "they follow, and all know all");
        lab.run_for(30 * SECOND);
        turn(&mut lab, remove).unwrap();
        assert!(lab.wait(30 * SECOND, |lab| all_hold(lab, &all, &[2])).is_some(), "remove");
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole(), "nobody is locked out");
        assert_old_key_opens_nothing(&mut lab, &all);
        lab.check();
    });
}

/// Whoever has the old key alone is a stranger.
fn assert_old_key_opens_nothing(lab: &mut Lab, all: &[NodeId]) {
    let stranger = lab.next();
    lab.add(home(Boot::new(whole(stranger), 0, 0), 1));
    let refused =
        |lab: &Lab| -> u64 { all.iter().map(|node| lab.swim(*node).stats().refused).sum() };
    let before = refused(lab);
    lab.join(stranger, all);
    lab.run_for(60 * SECOND);
    assert!(refused(lab) >= before + 8, "it was heard by several");
    assert!(all.iter().all(|node| lab.swim(*node).of(id(stranger)).is_none()), "by none believed");
    assert_eq!(lab.swim(stranger).members_count(), 1, "and it has learned of nobody");
    assert!(!lab.events(stranger).any(|event| matches!(event, Event::Admitted { .. })));
    lab.world.crash(stranger);
}
