//! Who is right about a member: it itself, once it has heard what is said (scenarios 1, 2, 4, 17).

use std::time::Duration;

use bytes::Bytes;
use drystone_membership::{
    Boot, Config, Event, Incarnation, Input, Node, NodeId as Id, State, Swim,
};
use drystone_membership_sim::{MILLISECOND, SECOND, address_of};
use drystone_sim::{NodeId, Seed};

use crate::forge::{Says, alive_after_a_broadcast, gossip, word};
use crate::lab::{Home, Lab, id, seeds, turned, whole};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// How long two members may take to compare twice.
fn two_syncs(config: &Config) -> u64 {
    2 * config.sync_period.as_micros() as u64
}

fn incarnation(count: u32) -> Incarnation {
    Incarnation { life: 0, count }
}

/// Hands a member a datagram of somebody's with these words.
fn tell(lab: &mut Lab, to: NodeId, words: &[Vec<u8>]) {
    let from = address_of(to).into();
    lab.give(to, Input::Datagram { from, bytes: &gossip(Id(77), words) }).unwrap();
}

// Two words that cross are heard in either order. If the order decided, half of the cluster would
// take a member for a suspect whom the other half has acquitted, and nobody would ever say more.
#[test]
fn suspect_and_alive_of_one_incarnation_come_to_the_same_in_both_orders() {
    seeds("suspect_and_alive", 5).run(|seed| {
        let suspect = word(Says::Suspect, id(B), 3, None, Id(77));
        let alive = word(Says::Alive, id(B), 3, Some(address_of(B).into()), Id(77));
        let apart = [vec![suspect.clone()], vec![alive.clone()]];
        let orders = [
            apart.to_vec(),
            apart.iter().rev().cloned().collect(),
            vec![vec![suspect.clone(), alive.clone()]],
            vec![vec![alive.clone(), suspect.clone()]],
        ];
        for packets in orders {
            let mut lab = Lab::warm(seed.clone(), 2, &Config::lan());
            lab.run_for(2 * SECOND);
            packets.iter().for_each(|words| tell(&mut lab, A, words));
            let believed = |lab: &Lab| {
                let member = lab.swim(A).of(id(B)).unwrap();
                (member.state, member.incarnation)
            };
            assert_eq!(believed(&lab), (State::Suspect, incarnation(3)));
            // The suspect hears of it by the next packet, and has the last word.
            lab.run_for(2 * SECOND);
            assert_eq!(believed(&lab), (State::Alive, incarnation(4)));
            assert_eq!(lab.swim(B).incarnation(), incarnation(4));
            // What is late changes nothing any more.
            for words in &packets {
                tell(&mut lab, A, words);
                assert_eq!(believed(&lab), (State::Alive, incarnation(4)));
            }
            lab.run_for(30 * SECOND);
            let events: Vec<&Event> = lab.events(A).collect();
            let suspected = Event::Suspected { id: id(B), by: Id(77) };
            let recovered = |count| Event::Recovered { id: id(B), incarnation: incarnation(count) };
            assert_eq!(events, [&recovered(3), &suspected, &recovered(4)]);
        }
    });
}

// A member that was accused defends itself, and what it says for that tells how many broadcasts it
// has made. Whoever hears the defence before the broadcast must not take that for an old one: in a
// cluster of thousands with loss, there is always one of whom this is true.
#[test]
fn broadcast_that_is_overtaken_by_a_refutation_is_heard() {
    seeds("overtaken", 5).run(|seed| {
        let mut lab = Lab::warm(seed, 2, &Config::lan());
        lab.run_for(2 * SECOND);
        lab.give(B, Input::Broadcast { topic: "deploy", payload: b"7" }).unwrap();
        tell(&mut lab, A, &[alive_after_a_broadcast(id(B), 1, address_of(B).into())]);
        lab.run_for(2 * SECOND);
        let payload = Bytes::from_static(b"7");
        let heard = Event::Broadcast { from: id(B), topic: "deploy".into(), payload };
        assert_eq!(lab.events(A).filter(|event| **event == heard).count(), 1);
    });
}

/// A cluster of 16 in which all believe that member 16 has failed after it had defended itself a
/// hundred times.
fn with_one_failed(seed: Seed, config: &Config) -> (Lab, NodeId) {
    let (mut lab, victim) = (Lab::warm(seed, 16, config), NodeId(16));
    lab.world.crash(victim);
    let alive = word(Says::Alive, id(victim), 100, Some(address_of(victim).into()), Id(77));
    for node in lab.up() {
        tell(&mut lab, node, std::slice::from_ref(&alive));
        lab.give(node, Input::Condemn(id(victim))).unwrap();
    }
    (lab, victim)
}

// A process that has restarted does not know how often the one before it was accused, and what is
// known of its name is higher than all it says. In other libraries it stays dead until a new name.
#[test]
fn restart_below_a_failed_incarnation_is_alive_everywhere_within_two_comparisons() {
    seeds("restart_below", 10).run(|seed| {
        let config = Config::lan();
        let (mut lab, victim) = with_one_failed(seed, &config);
        lab.run_for(5 * SECOND);
        for node in lab.up() {
            let member = lab.swim(node).of(id(victim)).unwrap();
            assert_eq!((member.state, member.incarnation), (State::Failed, incarnation(100)));
        }
        lab.restart(victim, 0, &[A]);
        let took = lab.wait(two_syncs(&config), Lab::is_whole);
        assert!(took.is_some(), "it is alive everywhere");
        assert!(lab.swim(victim).incarnation() > incarnation(100));
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole(), "and stays so");
    });
}

// The same after the cluster has forgotten all of the dead but the number.
#[test]
fn restart_below_a_buried_incarnation_is_alive_everywhere_within_two_comparisons() {
    seeds("restart_below", 10).run(|seed| {
        let config = Config { reap_after: Duration::from_secs(5), ..Config::lan() };
        let (mut lab, victim) = with_one_failed(seed, &config);
        lab.run_for(15 * SECOND);
        for node in lab.up() {
            assert_eq!(lab.swim(node).of(id(victim)), None, "it is forgotten");
        }
        lab.restart(victim, 0, &[A]);
        let took = lab.wait(two_syncs(&config), Lab::is_whole);
        assert!(took.is_some(), "it is alive everywhere");
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole(), "and stays so");
    });
}

/// A member with this name on the next node, which knows nobody.
fn add_web(lab: &mut Lab, life: u32) -> NodeId {
    let node = lab.next();
    let boot = Boot::new(Node::named("web", address_of(node).into()), life, 0);
    lab.add(Home::new(boot, &Config::lan()))
}

fn conflicts(lab: &Lab, node: NodeId) -> usize {
    lab.events(node).filter(|event| matches!(event, Event::Conflict { .. })).count()
}

// Two machines from one image have one name. If each of them took it from the other in turn, both
// would be useless, and with them all who ask where the name is.
#[test]
fn second_of_one_name_waits_until_the_first_has_failed_and_nobody_flaps() {
    seeds("second_of_one_name", 10).run(|seed| {
        // Whether the newcomer's life is lower, the same or higher must not matter.
        let life = (seed.value() % 3) as u32;
        let web = Id::named("web");
        let mut lab = Lab::warm(seed, 8, &Config::lan());
        let owner = add_web(&mut lab, 1);
        lab.join(owner, &[A]);
        lab.run_for(10 * SECOND);
        assert!(lab.is_whole());
        lab.forget_events();

        let newcomer = add_web(&mut lab, life);
        lab.join(newcomer, &[B]);
        lab.run_for(120 * SECOND);
        assert_eq!(conflicts(&lab, newcomer), 1, "it is told once");
        assert!(!lab.swim(newcomer).is_member());
        for node in lab.up().into_iter().filter(|node| *node != newcomer) {
            assert!(conflicts(&lab, node) <= 1, "{node} is told once at most");
            let turns: Vec<_> = lab.events(node).filter_map(turned).collect();
            assert_eq!(turns, [], "nothing has happened to anybody");
            assert!(lab.swim(node).is_member());
        }
        assert!(lab.is_whole(), "the owner is where it was");

        lab.forget_events();
        lab.world.crash(owner);
        let took = lab.wait(60 * SECOND, |lab| lab.swim(newcomer).is_member() && lab.is_whole());
        assert!(took.is_some(), "the name was free");
        for node in lab.up().into_iter().filter(|node| *node != newcomer) {
            let turns: Vec<_> = lab.events(node).filter(|event| turned(event).is_some()).collect();
            assert!(matches!(turns[..], [Event::Failed(_), Event::Joined(_)]), "{turns:?}");
            assert_eq!(turned(turns[1]), Some(web));
        }
        lab.run_for(60 * SECOND);
        assert_eq!(conflicts(&lab, newcomer), 0, "once is enough");
        assert!(lab.is_whole());
    });
}

// A service that is updated leaves and is back at once, under the same name and address, while the
// word that it has left is still on its way.
#[test]
fn who_leaves_and_is_back_at_once_stays() {
    seeds("who_leaves_and_is_back", 12).run(|seed| {
        let config = Config::lan();
        let (value, node) = (seed.value(), NodeId(16));
        let mut lab = Lab::warm(seed, 16, &config);
        lab.run_for(5 * SECOND);
        lab.give(node, Input::Leave).unwrap();
        // It is back after it was done leaving, in the middle of it, or at the very moment.
        match value % 3 {
            0 => {
                let gone = lab.wait(10 * SECOND, |lab| {
                    lab.events(node).any(|event| *event == Event::Left(id(node)))
                });
                assert!(gone.is_some(), "it says when it is done");
            }
            1 => lab.run_for(300 * MILLISECOND),
            _ => {}
        }
        // Its clock may have told it another life, or not.
        let life = (value % 2) as u32;
        lab.restart(node, life, &[A]);
        assert!(lab.wait(two_syncs(&config), Lab::is_whole).is_some(), "it is back everywhere");
        lab.run_for(60 * SECOND);
        assert!(lab.is_whole(), "and stays");
        for other in lab.up().into_iter().filter(|other| *other != node) {
            let turns: Vec<_> = lab.events(other).filter(|event| turned(event).is_some()).collect();
            let joined = Event::Joined(whole(node));
            let (left, restarted) = (Event::Left(id(node)), Event::Restarted(whole(node)));
            let sound = turns == [&left, &joined] || turns == [&restarted] || turns.is_empty();
            assert!(sound, "{other} was told {turns:?}");
        }
    });
}

// Whoever is believed can name any number, the last ones too. A member that goes back to a lower
// incarnation then is refuted by its own words of before, and cannot defend itself any more.
#[test]
fn own_incarnation_does_not_go_back_where_numbers_end() {
    let now = Duration::from_secs(1);
    let boot = Boot::new(whole(NodeId(1)), 0, 7);
    let mut swim = Swim::new(boot, Config::lan(), now).unwrap();
    swim.assume([(whole(NodeId(2)), 0)]);
    let me = swim.me().clone();
    for (says, life, count) in [
        (Says::Alive, u32::MAX - 1, 1),
        (Says::Suspect, u32::MAX, 0),
        (Says::Suspect, u32::MAX, 7),
        (Says::Alive, u32::MAX, 100),
        (Says::Suspect, u32::MAX, 120),
        (Says::Alive, u32::MAX, 0),
    ] {
        let before = swim.incarnation();
        let addr = matches!(says, Says::Alive).then_some(me.addr);
        let mut word = word(says, me.id, count, addr, id(NodeId(2)));
        word[9..13].copy_from_slice(&life.to_le_bytes());
        let (from, bytes) = (whole(NodeId(2)).addr, &gossip(id(NodeId(2)), &[word]));
        swim.handle(now, Input::Datagram { from, bytes }, &mut Vec::new()).unwrap();
        let known = Incarnation { life, count: count.into() };
        assert!(swim.incarnation() >= before, "back from {before}");
        if matches!(says, Says::Suspect) {
            assert!(swim.incarnation() > known, "{known} is refuted");
        }
    }
}
