//! Disks that rot, lie and fail (protocol-aware recovery, Alagappan et al., FAST '18).

use std::collections::BTreeMap;

use drystone_raft::{
    Body, Config, Entry, Fault, Index, Input, Message, NodeId, Payload, ReadMode, Refused, Role,
    Term, Word,
};

use crate::lab::Lab;

const E: u64 = 10;

/// Node 1 leads, and all three have 21 entries.
fn group() -> Lab {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 20);
    lab.run(2);
    lab
}

/// A member is found with these entries rotten when it starts.
fn rots(lab: &mut Lab, id: NodeId, indexes: std::ops::RangeInclusive<u64>) {
    lab.crash(id);
    lab.seats.get_mut(&id).unwrap().disk.rot(indexes);
    lab.restart(id);
}

fn is_yes(message: &Message) -> bool {
    matches!(message.body, Body::Ballot { pre: false, word: Word::Granted, .. })
}

// Scenario 48: a bit flips in an entry that was committed long ago. What stands behind it tells what
// was in it: it is fetched from whoever has it, put back in its place, and nothing is cut.
#[test]
fn a_rotten_entry_within_the_log_is_mended_and_nothing_is_cut() {
    for rotten in [5..=5, 1..=1, 1..=20, 7..=12, 20..=20] {
        let mut lab = group();
        let before = lab.seats[&3].disk.entries.clone();
        // Nobody can help yet: nothing may be lost by waiting, or by starting again.
        lab.part(&[3]);
        rots(&mut lab, 3, rotten.clone());
        lab.run(5 * E);
        rots(&mut lab, 3, rotten.clone());
        lab.run(5 * E);
        assert!(!lab.seats[&3].raft.is_sound());
        assert_eq!(lab.seats[&3].disk.entries.len(), before.len());
        assert_eq!(lab.seats[&3].raft.role(), Role::Follower, "it does not stand");
        assert_eq!(lab.term(3), lab.term(1));
        lab.heal();
        lab.run(E);
        assert!(lab.seats[&3].raft.is_sound(), "{rotten:?}");
        assert!(lab.seats[&3].disk.rotten.is_empty());
        assert_eq!(lab.seats[&3].disk.entries[..before.len()], before[..]);
        lab.works(&[1, 2, 3]);
        lab.crash(3);
        lab.restart(3);
        lab.works(&[1, 2, 3]);
        assert_eq!(lab.applied(3), lab.applied(1));
    }
}

// Scenario 48: its last entry is sound, so its vote is worth what it was; and the leader need not be
// there for it to be mended.
#[test]
fn a_voter_with_a_hole_votes_and_is_mended_without_the_old_leader() {
    let mut lab = group();
    lab.crash(1);
    rots(&mut lab, 3, 4..=9);
    assert_eq!(lab.leader_within(4 * E, &[]), 2);
    lab.run(E);
    assert!(lab.seats[&3].raft.is_sound());
    lab.crash(2);
    lab.restart(1);
    lab.works(&[1, 3]);
    assert_eq!(lab.applied(3), lab.applied(1));
}

// Scenario 48: every disk is damaged, each in another place: together they have everything.
#[test]
fn holes_in_every_log_are_mended_from_each_other() {
    let mut lab = group();
    let before = lab.seats[&1].disk.entries.clone();
    for id in 1..=3 {
        lab.crash(id);
    }
    for (id, rotten) in [(1, 2..=7), (2, 8..=13), (3, 14..=20)] {
        lab.seats.get_mut(&id).unwrap().disk.rot(rotten);
    }
    for id in 1..=3 {
        lab.restart(id);
    }
    lab.leader_within(6 * E, &[]);
    lab.works(&[1, 2, 3]);
    for id in 1..=3 {
        assert_eq!(lab.seats[&id].disk.entries[..before.len()], before[..], "node {id}");
        assert!(lab.seats[&id].disk.rotten.is_empty());
    }
}

// Scenario 49: a write that was cut short was never acknowledged. It is left out, and the voter is
// as sure of itself as any.
#[test]
fn a_torn_end_that_was_never_acknowledged_leaves_no_doubt() {
    let mut lab = group();
    lab.seats.get_mut(&3).unwrap().stores = false;
    let from = lab.sent.len();
    lab.commit(1, 3);
    let said = lab.count(from, |it| it.from == 3 && matches!(it.body, Body::Accepted { .. }));
    assert_eq!(said, 0, "nothing is acknowledged before it is durable");
    lab.crash(3);
    lab.seats.get_mut(&3).unwrap().stores = true;
    lab.restart(3);
    assert!(lab.seats[&3].raft.is_sound());
    assert_eq!(lab.seats[&3].raft.last().index, Index(21));
    lab.crash(1);
    assert_eq!(lab.leader_within(4 * E, &[]), 2, "with the vote of node 3");
    lab.restart(1);
    lab.works(&[1, 2, 3]);
}

/// Entry 22 is committed by nodes 1 and 2, and node 3 does not have it.
fn two_copies() -> Lab {
    let mut lab = group();
    lab.crash(3);
    let x = lab.propose(1, "x");
    lab.deliver_all();
    assert_eq!(lab.answer(1, x), Some(Ok(Index(22))));
    lab
}

// Scenario 49: one copy of what was acknowledged is out of reach and the other has rotted. A voter
// that took its shorter log for all it ever had would help elect one that never had it.
#[test]
fn a_voter_that_lost_its_end_elects_nobody_who_may_lack_it() {
    let mut lab = two_copies();
    lab.crash(1);
    rots(&mut lab, 2, 22..=22);
    assert!(!lab.seats[&2].raft.is_sound());
    lab.restart(3);
    let from = lab.sent.len();
    for _ in 0..20 {
        lab.run(E);
        lab.step(3, vec![Input::Campaign]);
        lab.deliver_all();
        assert_eq!(lab.leader(), None);
    }
    assert_eq!(lab.count(from, |it| it.from == 2 && is_yes(it)), 0);
    let unsure = |it: &Message| matches!(it.body, Body::Ballot { word: Word::Unsure, .. });
    assert!(lab.count(from, |it| it.from == 2 && unsure(it)) > 0, "it says why");
    // The doubt outlives the bytes that it came from.
    lab.crash(2);
    let disk = &mut lab.seats.get_mut(&2).unwrap().disk;
    disk.entries.pop();
    disk.rotten.clear();
    lab.restart(2);
    assert!(!lab.seats[&2].raft.is_sound());
    lab.run(10 * E);
    assert_eq!(lab.leader(), None);
    // The one intact copy is enough.
    lab.restart(1);
    assert_eq!(lab.leader_within(4 * E, &[]), 1);
    lab.works(&[1, 2, 3]);
    for id in 1..=3 {
        assert!(lab.applied(id).contains(&"x".to_owned()));
        assert!(lab.seats[&id].raft.is_sound(), "node {id}");
    }
    // And then node 2 is as good as any.
    lab.crash(1);
    lab.works(&[2, 3]);
}

// Scenario 49: a majority has lost the end of its log; one intact copy remains, and with it all that
// was acknowledged.
#[test]
fn a_majority_that_lost_its_end_loses_nothing_while_one_copy_is_whole() {
    let mut lab = group();
    for id in 1..=3 {
        lab.crash(id);
    }
    for id in [2, 3] {
        lab.seats.get_mut(&id).unwrap().disk.rot(15..=21);
        lab.restart(id);
    }
    lab.run(20 * E);
    assert_eq!(lab.leader(), None, "two that have lost something are no quorum");
    lab.restart(1);
    assert_eq!(lab.leader_within(4 * E, &[]), 1);
    lab.works(&[1, 2, 3]);
    for id in 1..=3 {
        assert_eq!(lab.applied(id).len(), 21, "node {id}");
        assert!(lab.seats[&id].raft.is_sound(), "node {id}");
    }
    lab.crash(1);
    lab.works(&[2, 3]);
}

// Scenario 50: a sync that fails may have dropped the pages (fsyncgate, 2018): trying again would
// succeed and mean nothing. The node says no more, asks for no more writes, and lets others lead.
#[test]
fn a_node_whose_disk_fails_says_and_writes_nothing_more() {
    for failed in [1, 2] {
        let mut lab = group();
        lab.seats.get_mut(&failed).unwrap().stores = false;
        let x = lab.propose(1, "x");
        let read = lab.read(failed, ReadMode::Log);
        lab.deliver_all();
        let from = lab.sent.len();
        lab.step(failed, vec![Input::StorageFailed]);
        assert_eq!(lab.seats[&failed].faults, [Fault::Storage]);
        assert_eq!(lab.seats[&failed].raft.role(), Role::Stopped);
        assert!(lab.answer(failed, read).is_some_and(|it| it.is_err()));
        let writes = lab.seats[&failed].writes.len();
        // A word that the writes are durable after all comes too late.
        for number in 0..100 {
            lab.step(failed, vec![Input::Stored(drystone_raft::WriteId(number))]);
        }
        let late = lab.propose(failed, "late");
        assert_eq!(lab.answer(failed, late), Some(Err(Refused::Stopped)));
        lab.run(6 * E);
        let next = lab.leader().expect("others go on");
        assert_ne!(next, failed);
        assert_eq!(lab.count(from, |it| it.from == failed), 0, "node {failed} speaks");
        assert_eq!(lab.seats[&failed].writes.len(), writes, "node {failed} writes");
        assert!(lab.answer(1, x).is_some(), "whoever waited is told");
        lab.commit(next, 1);
        // A new disk controller, a new life: what was durable before is there.
        lab.crash(failed);
        lab.seats.get_mut(&failed).unwrap().stores = true;
        lab.restart(failed);
        lab.works(&[1, 2, 3]);
    }
}

// Scenario 50: a disk that said "durable" and lied. The follower comes back with less than it had
// acknowledged; the leader must believe its log and not its word, and somebody must know.
#[test]
fn a_follower_whose_disk_lied_is_found_out() {
    let mut lab = group();
    lab.crash(3);
    let x = lab.propose(1, "x");
    lab.deliver_all();
    assert_eq!(lab.answer(1, x), Some(Ok(Index(22))));
    lab.crash(2);
    lab.seats.get_mut(&2).unwrap().disk.entries.truncate(12);
    lab.restart(2);
    lab.run(E);
    let lost = Fault::LostLog { peer: 2, acknowledged: Index(22), has: Index(12) };
    assert_eq!(lab.seats[&1].faults, [lost], "once");
    assert_eq!(lab.leader(), Some(1));
    assert_eq!(lab.applied(2), lab.applied(1));
    lab.restart(3);
    lab.works(&[1, 2, 3]);
    assert!(lab.applied(3).contains(&"x".to_owned()));
}

// Scenario 50: a write that landed in another's place leaves two entries that cannot be read: the
// one that was overwritten and the one that was not written.
#[test]
fn a_misdirected_write_costs_nothing_that_others_have() {
    let mut lab = group();
    let before = lab.seats[&3].disk.entries.clone();
    lab.crash(3);
    lab.seats.get_mut(&3).unwrap().disk.rot(6..=6);
    rots(&mut lab, 3, 21..=21);
    lab.run(2 * E);
    lab.works(&[1, 2, 3]);
    assert!(lab.seats[&3].raft.is_sound());
    assert_eq!(lab.seats[&3].disk.entries[..before.len()], before[..]);
}

/// Node 3 is behind the logs of both others.
fn needs_snapshot() -> Lab {
    let mut lab = group();
    lab.crash(3);
    lab.commit(1, 30);
    lab.run(3 * E);
    lab.compact(1, Index(50));
    lab.compact(2, Index(50));
    lab
}

// Scenario 51: the leader's snapshot has rotted. It is not sent; a follower sends its own.
#[test]
fn a_rotten_snapshot_is_not_sent_and_another_members_is() {
    let mut lab = needs_snapshot();
    lab.seats.get_mut(&1).unwrap().disk.snapshot_rotten = true;
    lab.restart(3);
    lab.run(3 * E);
    assert_eq!(lab.seats[&3].snapshots.sources, [2]);
    assert_eq!(lab.leader(), Some(1));
    lab.works(&[1, 2, 3]);
    assert_eq!(lab.applied(3), lab.applied(1));
    // While nobody has one, nothing is sent, and when somebody has, all is well.
    let mut lab = needs_snapshot();
    for id in [1, 2] {
        lab.seats.get_mut(&id).unwrap().disk.snapshot_rotten = true;
    }
    lab.restart(3);
    lab.run(10 * E);
    assert!(lab.seats[&3].snapshots.sources.is_empty());
    lab.seats.get_mut(&2).unwrap().disk.snapshot_rotten = false;
    lab.run(6 * E);
    lab.works(&[1, 2, 3]);
}

// Scenario 51: a node that finds its own snapshot rotten has a log that begins in the middle. It
// keeps that log, votes, applies nothing and leads nobody until it has fetched another.
#[test]
fn a_member_without_its_snapshot_fetches_another_and_keeps_its_log() {
    let mut lab = needs_snapshot();
    lab.restart(3);
    lab.run(3 * E);
    lab.commit(1, 5);
    lab.run(2);
    lab.crash(1);
    lab.seats.get_mut(&1).unwrap().disk.snapshot_rotten = true;
    let last = lab.seats[&1].raft.last();
    lab.restart(1);
    lab.part(&[1]);
    lab.run(10 * E);
    assert_eq!(lab.seats[&1].raft.last(), last, "its log is not cut");
    assert_eq!(lab.seats[&1].raft.role(), Role::Follower);
    assert!(lab.seats[&1].applied.is_empty());
    lab.heal();
    lab.run(4 * E);
    assert!(lab.seats[&1].raft.is_sound());
    lab.works(&[1, 2, 3]);
    assert_eq!(lab.applied(1), lab.applied(2));
}

/// Runs, and asserts that no term ever has two leaders.
fn watch(lab: &mut Lab, led: &mut BTreeMap<Term, NodeId>, ticks: u64) {
    for _ in 0..ticks {
        lab.run(1);
        for id in 1..=3 {
            if lab.is_leader(id) {
                let first = *led.entry(lab.term(id)).or_insert(id);
                assert_eq!(first, id, "two lead in term {}", lab.term(id));
            }
        }
    }
}

// Scenario 52: two of three have forgotten whom they voted for. A second vote in the same term would
// make a second leader of it: they cast none for as long as a candidate of that term may ask.
#[test]
fn voters_that_forgot_their_vote_do_not_vote_twice() {
    let mut lab = group();
    let mut led = BTreeMap::new();
    watch(&mut lab, &mut led, 1);
    let term = lab.term(1);
    // Node 3 stands in the term that node 1 leads by the votes of 1 and 2.
    let from = lab.sent.len();
    for id in [2, 3] {
        lab.crash(id);
        let disk = &mut lab.seats.get_mut(&id).unwrap().disk;
        disk.vote_rotten = true;
        // All that the log says of terms is gone as well.
        disk.entries.clear();
        lab.restart(id);
    }
    let restarted = lab.now;
    lab.part(&[1]);
    let last = lab.seats[&1].raft.last();
    while lab.now < restarted + 2 * E - 1 {
        for (candidate, voter) in [(3, 2), (2, 3)] {
            for asked in [term, term.next(), Term(term.0 + 7)] {
                let body = Body::Vote { last, forced: true };
                let vote = Message { from: candidate, to: voter, generation: 0, term: asked, body };
                lab.deliver(vote);
            }
        }
        watch(&mut lab, &mut led, 1);
    }
    assert_eq!(lab.count(from, is_yes), 0, "for two election timeouts nobody gets a vote");
    // In the terms that it has seen by then its vote stays spent.
    lab.run(2);
    for voter in [2, 3] {
        let body = Body::Vote { last, forced: true };
        let message =
            Message { from: 5 - voter, to: voter, generation: 0, term: lab.term(voter), body };
        lab.deliver(message);
    }
    assert_eq!(lab.count(from, is_yes), 0);
    lab.heal();
    watch(&mut lab, &mut led, 4 * E);
    let leader = lab.leader().expect("the group comes back");
    lab.commit(leader, 1);
    watch(&mut lab, &mut led, 10 * E);
    for id in 1..=3 {
        assert!(lab.seats[&id].raft.is_sound(), "node {id}");
    }
    lab.agree();
}

// Scenario 52: two of three lose nothing but the vote: the leader that is there leads on, and when it
// goes, the others elect another in time.
#[test]
fn lost_votes_delay_an_election_and_no_more() {
    let mut lab = group();
    let mut led = BTreeMap::new();
    for id in [2, 3] {
        lab.crash(id);
        lab.seats.get_mut(&id).unwrap().disk.vote_rotten = true;
        lab.restart(id);
    }
    lab.crash(1);
    watch(&mut lab, &mut led, 6 * E);
    let leader = lab.leader().expect("after 2E without a vote, a leader within 4E");
    assert!(lab.term(leader) > Term(1));
    lab.restart(1);
    watch(&mut lab, &mut led, 4 * E);
    lab.works(&[1, 2, 3]);
    for id in 1..=3 {
        assert_eq!(lab.applied(id).len(), 21);
        assert!(lab.seats[&id].raft.is_sound(), "node {id}");
        let data = |entry: &&Entry| matches!(entry.payload, Payload::Data(_));
        assert_eq!(lab.seats[&id].disk.entries.iter().filter(data).count(), 21);
    }
}
