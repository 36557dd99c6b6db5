//! Members come, go, and are told in time.

use drystone_raft::{
    Body, Change, Config, Configuration, Entry, Fault, Index, Input, Member, NodeId, Payload,
    Refused, Suffrage, Term, Word,
};

use crate::lab::Lab;

const E: u64 = 10;

fn lab(ids: &[NodeId]) -> Lab {
    Lab::new(Config::new(E), ids)
}

fn ids(members: &Configuration) -> Vec<NodeId> {
    members.members().iter().map(|member| member.id).collect()
}

/// Changes of the members that are on a member's disk and not known to be committed there.
fn open_changes(lab: &Lab, id: NodeId) -> usize {
    let seat = &lab.seats[&id];
    let open = |entry: &&Entry| {
        entry.index > seat.raft.commit() && matches!(entry.payload, Payload::Configuration(_))
    };
    seat.disk.entries.iter().filter(open).count()
}

/// Two changes by leaders of different terms, the first never committed, must not both be counted
/// by quorums that do not meet.
fn two_changes_do_not_both_commit(first: Change, second: Change, newcomers: [NodeId; 2]) {
    let mut lab = lab(&[1, 2, 3, 4]);
    for id in newcomers.into_iter().filter(|id| *id > 4) {
        lab.seat(id, Configuration::default());
    }
    lab.elect(1);
    lab.commit(1, 1);
    // Node 1 changes the members in its own log alone.
    lab.part(&[1]);
    let lonely = lab.change(1, first);
    lab.deliver_all();
    lab.run(E);
    // Another leads, by the old members, and wants to change them at once.
    lab.lost = Some(|message| matches!(message.body, Body::Append { .. }));
    lab.elect(2);
    let early = lab.change(2, second.clone());
    assert_eq!(lab.answer(2, early), Some(Err(Refused::ChangeUnderWay)), "nothing of its own yet");
    lab.lost = None;
    lab.run(E / 2);
    assert_eq!(lab.leader(), Some(2));
    let change = lab.change(2, second);
    // The quorum of the second change and that of the first have nobody in common.
    let [left, right] = newcomers;
    lab.part(&if right > 4 { vec![2, 3, right] } else { vec![2, 3] });
    lab.deliver_all();
    lab.run(2);
    assert!(matches!(lab.answer(2, change), Some(Ok(_))), "the second is committed");
    let before = lab.commit_of(1);
    let side: Vec<NodeId> = [1, 4, left].into_iter().filter(|id| *id != 2).collect();
    for _ in 0..20 * E {
        lab.run(1);
        for id in &side {
            assert!(!lab.is_leader(*id) || lab.term(*id) == Term(1), "node {id} leads");
        }
    }
    assert_eq!(lab.commit_of(1), before, "the first is not committed");
    assert!(matches!(lab.answer(1, lonely), Some(Err(Refused::Unknown))));
    lab.heal();
    lab.works(&[2, 3]);
    assert_eq!(lab.seats[&2].raft.members(), lab.seats[&3].raft.members());
}

// Scenario 32: the bug in the thesis' single-server change (Ongaro's note, 2015), in its three
// variants: a leader whose term has committed nothing must change no members.
#[test]
fn two_single_changes_of_different_terms_do_not_both_commit() {
    two_changes_do_not_both_commit(Change::new().voter(5), Change::new().voter(6), [5, 6]);
    two_changes_do_not_both_commit(Change::new().voter(5), Change::new().remove(1), [5, 1]);
    two_changes_do_not_both_commit(Change::new().remove(2), Change::new().remove(1), [2, 1]);
}

/// Nodes 1, 2, 3 vote and 4 learns; 2 is down; 1 swaps the roles of 3 and 4.
fn swap_of_roles() -> Lab {
    let mut lab = lab(&[1, 2, 3]);
    lab.seat(4, Configuration::default());
    lab.elect(1);
    lab.change(1, Change::new().learner(4));
    lab.deliver_all();
    lab.run(E);
    lab.crash(2);
    lab.commit(1, 1);
    lab
}

// Scenario 33: etcd #12359. Members that obey a change only when they have applied it can each
// count in a different way and never elect anyone. Here they obey it from when it is appended.
#[test]
fn a_joint_change_that_some_do_not_know_yet_leaves_a_leader() {
    // What leaves the joint set has reached only the new voter, whose log is the longest.
    let mut lab = swap_of_roles();
    lab.lost = Some(|message| match &message.body {
        Body::Append { entries, .. } if message.to == 3 => entries
            .iter()
            .any(|entry| matches!(&entry.payload, Payload::Configuration(it) if !it.is_joint())),
        _ => false,
    });
    let change = lab.change(1, Change::new().voter(4).learner(3));
    lab.deliver_all();
    assert!(lab.seats[&3].raft.members().is_joint());
    assert!(!lab.seats[&4].raft.members().is_joint());
    assert!(
        lab.answer(1, change).is_some_and(|it| it.is_ok()),
        "two of the three new ones have it"
    );
    lab.heal();
    lab.crash(1);
    lab.restart(2);
    assert_eq!(lab.leader_within(4 * E, &[2, 4]), 4);
    lab.restart(1);
    lab.works(&[1, 2, 3, 4]);

    // The joint set has not even reached the new voter.
    let mut lab = swap_of_roles();
    lab.lost = Some(|message| message.to == 4);
    lab.change(1, Change::new().voter(4).learner(3));
    lab.deliver_all();
    assert!(lab.seats[&3].raft.members().is_joint());
    assert_eq!(lab.seats[&4].raft.members().member(4).unwrap().suffrage, Suffrage::Learner);
    lab.heal();
    lab.crash(1);
    lab.restart(2);
    lab.leader_within(4 * E, &[2, 3, 4]);
    lab.restart(1);
    lab.works(&[1, 2, 3, 4]);
    for id in 1..=4 {
        assert!(!lab.seats[&id].raft.members().is_joint(), "node {id} is joint for good");
    }
}

// Scenario 34: etcd #12136. If leaving the joint set were a command of the leader that entered it,
// it would be lost with that leader, and the group would need both quorums for ever.
#[test]
fn the_next_leader_leaves_a_joint_set_that_the_last_one_entered() {
    let mut lab = lab(&[1, 2, 3]);
    for id in [4, 5] {
        lab.seat(id, Configuration::default());
    }
    lab.elect(1);
    let change = lab.change(1, Change::new().voter(4).voter(5));
    // Its acknowledgements arrive when nothing leaves node 1 any more.
    for _ in 0..200 {
        let Some(message) = lab.mail.pop_front() else { break };
        lab.deliver(message);
        if lab.seats[&1].raft.commit() >= Index(2) {
            break;
        }
    }
    assert!(!lab.seats[&1].raft.members().is_joint(), "it is about to leave");
    assert_eq!(lab.answer(1, change), None);
    lab.part(&[1]);
    lab.mail.retain(|message| message.from != 1);
    let next = lab.leader_within(4 * E, &[2, 3, 4, 5]);
    assert!(
        lab.seats[&next]
            .disk
            .entries
            .iter()
            .any(|entry| matches!(&entry.payload, Payload::Configuration(it) if it.is_joint()))
    );
    lab.run(E);
    for id in 2..=5 {
        assert!(!lab.seats[&id].raft.members().is_joint(), "node {id} has left");
        assert_eq!(ids(lab.seats[&id].raft.members()), [1, 2, 3, 4, 5]);
        assert_eq!(open_changes(&lab, id), 0);
    }
    lab.heal();
    lab.works(&[1, 2, 3, 4, 5]);
    assert_eq!(lab.answer(1, change), Some(Err(Refused::Unknown)), "and the waiter is told");
}

// Scenario 35: scylla #10618. A leader that changes itself away while it is alone is a candidate
// after the next election timeout; if it did not count its own vote in the old set, nobody could
// ever finish the change.
#[test]
fn a_lone_leader_that_moves_itself_away_still_counts_its_vote_in_the_old_set() {
    for change in [Change::new().voter(2).remove(1), Change::new().voter(2).learner(1)] {
        let mut lab = lab(&[1]);
        lab.seat(2, Configuration::default());
        lab.elect(1);
        lab.commit(1, 3);
        lab.part(&[1]);
        lab.change(1, change);
        lab.deliver_all();
        assert!(lab.seats[&1].raft.members().is_joint());
        lab.run(5 * E);
        assert_ne!(lab.leader(), Some(1), "the new set cannot be reached");
        lab.crash(1);
        lab.restart(1);
        lab.run(5 * E);
        lab.heal();
        lab.leader_within(4 * E, &[]);
        lab.run(4 * E);
        assert_eq!(lab.leader(), Some(2), "the change is finished and the office handed over");
        assert!(!lab.seats[&2].raft.members().is_joint());
        lab.works(&[2]);
        assert_eq!(lab.applied(2).len(), 4);
    }
}

// Scenario 36: etcd campaign_learner_must_vote. A learner that has been promoted and does not know
// it yet is needed for a quorum of those that do.
#[test]
fn a_learner_that_does_not_know_of_its_promotion_votes() {
    let mut lab = lab(&[1, 2, 3]);
    lab.seat(4, Configuration::default());
    lab.elect(1);
    lab.change(1, Change::new().learner(4));
    lab.deliver_all();
    lab.run(E);
    lab.lost = Some(|message| message.to == 4);
    let change = lab.change(1, Change::new().voter(4));
    lab.deliver_all();
    assert!(lab.answer(1, change).is_some_and(|it| it.is_ok()));
    lab.heal();
    lab.crash(1);
    assert_eq!(lab.seats[&4].raft.members().member(4).unwrap().suffrage, Suffrage::Learner);
    let from = lab.sent.len();
    let next = lab.leader_within(4 * E, &[2, 3]);
    let yes = lab.count(from, |message| {
        let granted =
            |body: &Body| matches!(body, Body::Ballot { pre: false, word: Word::Granted, .. });
        message.from == 4 && message.to == next && granted(&message.body)
    });
    assert_eq!(yes, 1, "three of four were needed, and two of them knew of it");
    lab.restart(1);
    lab.works(&[1, 2, 3, 4]);
}

// Scenario 36: openraft #1805. Whoever is asked to stand must have the log that the leader thinks
// it has, on disk: else it wins with less, and what was acknowledged to the leader is cut off.
#[test]
fn a_successor_stands_only_with_the_whole_log_on_its_disk() {
    let mut lab = lab(&[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 2);
    // The office is handed over to one that lacks an entry: not before it has it.
    lab.lost = Some(|message| message.to == 3 && matches!(message.body, Body::Append { .. }));
    lab.propose(1, "late");
    lab.deliver_all();
    let from = lab.sent.len();
    lab.transfer(1, 3);
    lab.run(E / 2);
    let is_word = |body: &Body| matches!(body, Body::TimeoutNow { .. });
    assert_eq!(lab.count(from, |message| is_word(&message.body)), 0, "it is not asked yet");
    assert_eq!(lab.leader(), Some(1));
    // It is here, and not on its disk: not before it is.
    lab.heal();
    lab.seats.get_mut(&3).unwrap().stores = false;
    lab.run(2);
    let last = lab.seats[&1].raft.last();
    assert_eq!(lab.seats[&3].raft.last(), last);
    assert_eq!(lab.count(from, |message| is_word(&message.body)), 0, "it is not asked yet");
    let word = |lab: &Lab, last| drystone_raft::Message {
        from: 1,
        to: 3,
        generation: 0,
        term: lab.term(1),
        body: Body::TimeoutNow { last },
    };
    lab.deliver(word(&lab, last));
    assert_eq!(lab.term(3), lab.term(1), "a word that comes too early is ignored");
    lab.seats.get_mut(&3).unwrap().stores = true;
    lab.step(3, Vec::new());
    let old = drystone_raft::Position::new(last.term, last.index.prev());
    lab.deliver(word(&lab, old));
    assert_eq!(lab.term(3), lab.term(1), "and so is one that speaks of another log");
    lab.run(2);
    assert_eq!(lab.leader(), Some(3));
    lab.works(&[1, 2, 3]);
    assert!(lab.applied(3).contains(&"late".to_owned()));
}

// Scenario 37: a change that was never committed is cut off with its entry, and the members before
// it are in force again (thesis §4.1).
#[test]
fn a_change_that_is_cut_off_is_taken_back() {
    let mut lab = lab(&[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 1);
    let before = lab.seats[&3].raft.members().clone();
    // It reaches node 3 and, unlike the leader's own, nobody else.
    lab.part(&[1, 3]);
    lab.lost = Some(|message| message.to == 1);
    lab.change(1, Change::new().voter(4).voter(5).voter(6));
    lab.deliver_all();
    assert!(lab.seats[&3].raft.members().is_joint());
    lab.crash(1);
    // Node 3 restarts too: what is in force comes from its log.
    lab.crash(3);
    lab.restart(3);
    assert!(lab.seats[&3].raft.members().is_joint());
    lab.heal();
    lab.part(&[3]);
    lab.restart(1);
    lab.seats.get_mut(&1).unwrap().disk.entries.pop();
    lab.crash(1);
    lab.restart(1);
    lab.elect(2);
    lab.commit(2, 3);
    lab.heal();
    lab.run(2 * E);
    assert_eq!(*lab.seats[&3].raft.members(), before);
    lab.crash(3);
    lab.restart(3);
    assert_eq!(*lab.seats[&3].raft.members(), before);
    lab.works(&[1, 2, 3]);
}

// Scenario 37: openraft #1808. A snapshot stands for all that is below it: members named there in a
// log that is replaced must not come back, not even after what follows is cut off.
#[test]
fn a_change_below_a_snapshot_is_forgotten() {
    let mut lab = lab(&[1, 2, 3]);
    lab.elect(3);
    lab.commit(3, 1);
    lab.part(&[3]);
    lab.change(3, Change::new().voter(8).voter(9));
    lab.deliver_all();
    assert!(lab.seats[&3].raft.members().is_joint());
    let leader = lab.leader_within(4 * E, &[1, 2]);
    lab.commit(leader, 5);
    let change = lab.change(leader, Change::new().learner(7));
    lab.deliver_all();
    assert!(lab.answer(leader, change).is_some_and(|it| it.is_ok()));
    lab.commit(leader, 5);
    lab.run(3 * E);
    lab.compact(1, Index(0));
    lab.compact(2, Index(0));
    lab.heal();
    lab.run(2 * E);
    assert!(lab.seats[&3].raft.base().index >= Index(10), "a snapshot came");
    assert_eq!(ids(lab.seats[&3].raft.members()), [1, 2, 3, 7]);
    assert!(!lab.seats[&3].raft.members().is_joint());
    lab.crash(3);
    lab.restart(3);
    assert_eq!(ids(lab.seats[&3].raft.members()), [1, 2, 3, 7]);
    lab.works(&[1, 2, 3]);
}

// Scenario 38: two changes that are not committed would have quorums that need not meet
// (MaxOneReconfigurationAtATime of etcd's specification). There is one at most, at any time, in any
// log.
#[test]
fn no_log_ever_holds_two_changes_that_are_not_committed() {
    for seed in 0..20_u64 {
        let mut lab = lab(&[1, 2, 3, 4]);
        for id in [5, 6] {
            lab.seat(id, Configuration::default());
        }
        lab.run(seed % 7);
        lab.elect(1);
        lab.part(&[1, 4]);
        let first = lab.change(1, Change::new().voter(5));
        let again = lab.change(1, Change::new().voter(6));
        assert_eq!(lab.answer(1, again), Some(Err(Refused::ChangeUnderWay)));
        let look = |lab: &mut Lab, ticks: u64| {
            for _ in 0..ticks {
                lab.tick();
                while let Some(message) = lab.mail.pop_front() {
                    lab.deliver(message);
                    for id in 1..=6 {
                        assert!(open_changes(lab, id) <= 1, "seed {seed}: node {id}");
                    }
                }
                // Whoever leads is asked for another change at once.
                if let Some(leader) = lab.leader() {
                    lab.change(leader, Change::new().voter(6));
                }
            }
        };
        // Node 3 sees either side in turn.
        look(&mut lab, 2 + seed);
        lab.cut.clear();
        lab.part(&[2, 3, 4]);
        look(&mut lab, 3 * E);
        lab.heal();
        look(&mut lab, 4 * E);
        lab.works(&[1, 2, 3, 4]);
        assert!(lab.answer(1, first).is_some());
        assert!(ids(lab.seats[&2].raft.members()).contains(&6), "seed {seed}");
    }
}

// Scenario 39: two of three disks are gone and the third is made a group by decree. If the two come
// back after all, they are a quorum of the old group and must not be taken for one of the new.
#[test]
fn old_disks_that_come_back_are_refused_after_a_recovery_by_force() {
    let mut lab = lab(&[1, 2, 3]);
    for id in [4, 5] {
        lab.seat(id, Configuration::default());
    }
    lab.elect(2);
    lab.commit(2, 3);
    lab.run(2);
    for id in 1..=3 {
        lab.crash(id);
    }
    lab.force(1, &[1]);
    assert_eq!(lab.leader_within(4 * E, &[]), 1);
    assert_eq!(lab.applied(1).len(), 3, "what it had is kept");
    lab.change(1, Change::new().voter(4).voter(5));
    lab.run(2 * E);
    assert_eq!(ids(lab.seats[&4].raft.members()), [1, 4, 5]);
    let term = lab.term(1);
    lab.restart(2);
    lab.restart(3);
    lab.run(10 * E);
    assert!(lab.is_leader(1) && lab.term(1) == term, "nothing disturbs the new group");
    let old = if lab.is_leader(2) { 2 } else { 3 };
    assert!(lab.is_leader(old), "the old ones do not know, and lead each other");
    lab.propose(old, "to the dead");
    lab.commit(1, 1);
    lab.run(2 * E);
    for id in [1, 4, 5] {
        assert!(!lab.applied(id).contains(&"to the dead".to_owned()));
    }
    let told = |id: NodeId, of: u64| {
        lab.seats[&id]
            .faults
            .iter()
            .any(|it| matches!(it, Fault::OtherGeneration { generation, .. } if *generation == of))
    };
    assert!(told(1, 0), "whoever hosts the new group is told");
    assert!(!told(2, 2) && !told(3, 2));
    // Told to join anew, with an empty disk, they are welcome.
    for id in [2, 3] {
        lab.crash(id);
        lab.seat(id, Configuration::default());
    }
    lab.change(1, Change::new().voter(2).voter(3));
    lab.run(2 * E);
    lab.works(&[1, 2, 3, 4, 5]);
}

fn member(id: NodeId, suffrage: Suffrage, priority: u8) -> Member {
    Member { id, suffrage, priority }
}

// A witness is the third vote of a group with two copies: with it a majority goes on when a copy is
// lost, and it neither stores commands nor leads.
#[test]
fn a_witness_votes_and_acknowledges_and_stores_no_command() {
    let members = [
        member(1, Suffrage::Voter, 1),
        member(2, Suffrage::Voter, 1),
        member(3, Suffrage::Witness, 0),
    ];
    let mut lab = Lab::of(Config::new(E), &[1, 2, 3], &Configuration::new(members, []));
    lab.elect(1);
    lab.commit(1, 2);
    lab.crash(2);
    lab.commit(1, 10);
    assert!(lab.applied(3).is_empty());
    let data = |entry: &&Entry| matches!(entry.payload, Payload::Data(_));
    assert_eq!(lab.seats[&3].disk.entries.iter().filter(data).count(), 0);
    assert!(lab.seats[&3].raft.last() == lab.seats[&1].raft.last());
    // The copy that is behind cannot win, and the witness, which has more, does not stand.
    lab.crash(1);
    lab.restart(2);
    lab.step(3, vec![Input::Campaign]);
    lab.run(20 * E);
    assert_eq!(lab.leader(), None, "what only node 1 holds is not given up");
    lab.restart(1);
    lab.leader_within(4 * E, &[]);
    lab.works(&[1, 2, 3]);
    assert_eq!(lab.applied(2).len(), 13);
    assert_eq!(lab.applied(3).len(), 0);
}

// A witness has no state: what a snapshot would tell it fits into a message.
#[test]
fn a_witness_that_is_far_behind_needs_no_snapshot() {
    let members = [
        member(1, Suffrage::Voter, 1),
        member(2, Suffrage::Voter, 1),
        member(3, Suffrage::Witness, 0),
    ];
    let mut lab = Lab::of(Config::new(E), &[1, 2, 3], &Configuration::new(members, []));
    lab.elect(1);
    lab.crash(3);
    lab.commit(1, 20);
    lab.compact(1, Index(20));
    lab.commit(1, 3);
    lab.restart(3);
    lab.run(2 * E);
    assert_eq!(lab.commit_of(3), lab.commit_of(1));
    assert!(lab.seats[&1].snapshots.asked.is_empty(), "no snapshot was opened");
    lab.crash(2);
    lab.commit(1, 1);
    lab.restart(2);
    lab.works(&[1, 2, 3]);
}

// A member that is wanted more as a leader is given the office once it has everything, and one that
// is not wanted at all leads only when it is told to.
#[test]
fn the_office_goes_to_who_is_wanted_most() {
    let members = [
        member(1, Suffrage::Voter, 1),
        member(2, Suffrage::Voter, 5),
        member(3, Suffrage::Voter, 0),
    ];
    let mut lab = Lab::of(Config::new(E), &[1, 2, 3], &Configuration::new(members, []));
    lab.crash(2);
    assert_eq!(lab.leader_within(4 * E, &[]), 1);
    lab.commit(1, 3);
    lab.restart(2);
    lab.run(6 * E);
    assert_eq!(lab.leader(), Some(2));
    let settled = lab.term(2);
    lab.run(20 * E);
    assert_eq!(lab.term(2), settled, "and it stays there");
    for id in [1, 2] {
        lab.crash(id);
    }
    lab.restart(1);
    lab.crash(1);
    lab.run(10 * E);
    assert_eq!(lab.term(3), settled, "priority 0 does not stand by itself");
    lab.restart(1);
    let leader = lab.leader_within(4 * E, &[]);
    assert_eq!(leader, 1);
    let asked = lab.transfer(1, 3);
    lab.run(2);
    assert!(lab.answer(1, asked).unwrap().is_ok());
    assert_eq!(lab.leader(), Some(3), "but when it is asked to");
}
