//! Scenarios 33, 35 and 38 over many seeds: changing the members. Each of 32 to 39 is told by
//! stories, too.

use drystone_raft::{Change, Config, Configuration, NodeId, Refused, Role, Suffrage};

use crate::lab::{Disk, Lab, kind};
use crate::seeds;

const E: u64 = 10;

fn newcomer(lab: &mut Lab, id: NodeId) {
    lab.seat(id, Disk::new(Configuration::default()));
}

/// A change by the leader that is done, with all of it delivered.
fn done(lab: &mut Lab, leader: NodeId, change: Change) {
    let ticket = lab.change(leader, change);
    lab.deliver_all();
    lab.run(3);
    assert!(lab.answer(leader, ticket).unwrap().is_ok());
}

fn voters(lab: &Lab, id: NodeId) -> Vec<NodeId> {
    let members = lab.raft(id).members();
    members.members().iter().filter(|m| m.suffrage == Suffrage::Voter).map(|m| m.id).collect()
}

// Scenario 33: a joint configuration that is committed on two of the old must not leave the group
// without a leader when one of them is gone (etcd #12359).
#[test]
fn a_group_in_a_joint_configuration_finds_a_leader() {
    seeds::each("a_group_in_a_joint_configuration", 300, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
        newcomer(&mut lab, 4);
        lab.elect(1);
        done(&mut lab, 1, Change::new().learner(4));
        lab.crash(2);
        lab.run(1);
        lab.change(1, Change::new().voter(4).learner(3));
        // Committed on n1 and n3 of the old, n1 and n4 of the new; n4 goes on for a while.
        for message in lab.take(|message| kind(&message.body) == "Append") {
            lab.deliver(message);
        }
        if seed % 2 == 0 {
            lab.part(&[3], &[1, 4]);
        }
        for _ in 0..seed % 4 {
            let message = lab.mail.pop_front().unwrap().message;
            lab.deliver(message);
        }
        lab.crash(1);
        lab.heal();
        lab.mail.clear();
        lab.restart(2);
        let took = lab.run_until(4 * E, |lab| lab.leader().is_some());
        assert!(took.is_some(), "seed {seed}: nobody leads");
        lab.run(2 * E);
        let leader = lab.leader().unwrap();
        assert_eq!(lab.raft(leader).commit(), lab.raft(leader).last().index, "seed {seed}");
        assert!(lab.raft(leader).members().outgoing().is_empty(), "seed {seed}: it is left");
    });
}

// Scenario 35: a leader on its way out counts its own vote as long as the old set counts (scylla
// #10618).
#[test]
fn a_leader_on_its_way_out_can_finish_the_change() {
    seeds::each("a_leader_on_its_way_out_can", 100, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1], seed);
        newcomer(&mut lab, 2);
        lab.elect(1);
        done(&mut lab, 1, Change::new().learner(2));
        lab.part(&[1], &[2]);
        let ticket = lab.change(1, Change::new().voter(2).remove(1));
        lab.run(4 * E);
        assert_ne!(lab.raft(1).role(), Role::Leader, "seed {seed}: without a quorum");
        assert!(lab.answer(1, ticket).is_some());
        lab.heal();
        let finished = |lab: &Lab| lab.leader() == Some(2) && voters(lab, 2) == [2];
        assert!(lab.run_until(8 * E, finished).is_some(), "seed {seed}: it is stuck");
        let write = lab.propose(2, "x");
        lab.run(1);
        assert!(lab.answer(2, write).unwrap().is_ok());
    });
}

// Scenario 38: whatever partitions and leaders come between, one change at a time is open on any
// member (thesis §4.1, MaxOneReconfigurationAtATime). The bench asserts it after each step.
#[test]
fn one_change_at_a_time_is_open_on_any_member() {
    let mut changed = 0;
    let all = seeds::each("one_change_at_a_time_is_open_on_any", 120, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
        (4..=6).for_each(|id| newcomer(&mut lab, id));
        for _ in 0..12 {
            lab.heal();
            let away = 1 + lab.draw(6);
            let others: Vec<NodeId> = (1..=6).filter(|id| *id != away).collect();
            if lab.draw(3) > 0 {
                lab.part(&[away], &others);
            }
            for _ in 0..12 {
                lab.run(1);
                for id in 1..=6 {
                    if lab.raft(id).role() != Role::Leader || lab.draw(3) > 0 {
                        continue;
                    }
                    let who = 1 + lab.draw(6);
                    let change = match lab.draw(3) {
                        0 => Change::new().voter(who),
                        1 => Change::new().remove(who),
                        _ => Change::new().voter(who).remove(1 + who % 6),
                    };
                    let ticket = lab.change(id, change);
                    changed += u64::from(lab.answer(id, ticket).is_none_or(|a| a.is_ok()));
                }
                lab.watch.logs(&lab.seats);
            }
            if lab.draw(4) == 0 {
                let id = 1 + lab.draw(6);
                lab.crash(id);
                lab.restart(id);
            }
        }
    });
    assert!(!all || changed > 500, "only {changed} changes");
}

// A witness that is removed together with another change would count as a voter of the past, of
// which only the name is known: it could win the vote and lead without a single command. Found by
// the simulator, in a group of two and a witness that was replaced in one step.
#[test]
fn a_witness_is_removed_in_a_change_of_its_own() {
    let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], 1);
    lab.seat(4, Disk::new(Configuration::default()));
    lab.seat(5, Disk::new(Configuration::default()));
    lab.elect(1);
    let ticket = lab.change(1, Change::new().witness(4).remove(3));
    lab.run(3 * E);
    assert!(lab.answer(1, ticket).unwrap().is_ok());
    let together = [
        Change::new().remove(4).witness(5),
        Change::new().remove(4).voter(3),
        Change::new().remove(4).remove(2),
    ];
    for change in together {
        let ticket = lab.change(1, change);
        lab.run(1);
        assert!(matches!(lab.answer(1, ticket), Some(Err(Refused::Invalid(_)))));
    }
    let ticket = lab.change(1, Change::new().remove(4));
    lab.run(3 * E);
    assert!(lab.answer(1, ticket).unwrap().is_ok(), "alone it goes");
}
