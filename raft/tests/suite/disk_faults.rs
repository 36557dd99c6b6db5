//! Scenarios 48 to 52: disks that lose what they held, and what their owners may still say.

use drystone_raft::{
    Body, Config, Configuration, Index, Input, ReadMode, Refused, Role, Term, Word,
};

use crate::lab::{Disk, Lab, kind, pos};

const E: u64 = 10;

/// A group of three, led by n1, with so many entries everywhere.
fn group(count: usize, seed: u64) -> Lab {
    let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
    lab.elect(1);
    (0..count).for_each(|nth| {
        lab.propose(1, &format!("{nth}"));
    });
    lab.run(2);
    lab
}

fn commands(count: usize) -> Vec<String> {
    (0..count).map(|nth| nth.to_string()).collect()
}

// Scenario 48: an entry that was acknowledged and rots is put back from a peer; the log is never
// cut for it (protocol-aware recovery, FAST '18).
#[test]
fn a_rotten_entry_is_mended_and_never_cut() {
    for (seed, range) in [2..3, 2..9, 5..6, 9..11, 1..11].into_iter().enumerate() {
        let mut lab = group(10, seed as u64);
        let last = lab.raft(2).last();
        lab.crash(2);
        lab.at(2).disk.damaged = range.clone().collect();
        lab.restart(2);
        assert_eq!(lab.raft(2).last(), last, "{range:?}");
        assert!(!lab.raft(2).is_sound());
        // The others fail for a while: it does not stand, nor does it apply what it has not got.
        lab.crash(1);
        lab.run(3 * E);
        assert!(lab.applied(2).len() < 10 || lab.raft(2).is_sound());
        lab.restart(1);
        assert!(lab.run_until(6 * E, |lab| lab.raft(2).is_sound()).is_some(), "{range:?}");
        lab.run(5);
        assert_eq!(lab.applied(2), commands(10), "{range:?}");
        assert!(lab.raft(2).last() >= last);
        // It is on the disk as well, not in memory alone.
        lab.crash(2);
        assert!(lab.seats[&2].disk.damaged.is_empty(), "{range:?}");
        lab.restart(2);
        lab.run(5);
        assert_eq!(lab.applied(2), commands(10), "{range:?}");
    }
}

// Scenario 48: the same when it is found while the node runs.
#[test]
fn rot_that_is_found_at_work_is_mended_too() {
    for id in [1, 2] {
        let mut lab = group(10, id);
        lab.at(id).disk.damaged = (4..7).collect();
        lab.step(id, vec![Input::Damaged { after: Index(3), through: Index(6) }]);
        assert!(!lab.raft(id).is_sound());
        lab.run(2 * E);
        assert!(lab.raft(id).is_sound(), "n{id}");
        assert!(lab.seats[&id].disk.damaged.is_empty());
        assert_eq!(lab.raft(id).last(), lab.raft(3).last());
    }
}

// Scenario 49: an end that is lost makes a voter unsure of whoever has less than it may have had,
// and sure of whoever has as much (TigerBeetle's nacks; CTRL, FAST '18).
#[test]
fn a_lost_end_is_no_vote_for_a_shorter_log() {
    let mut lab = Lab::empty(Config::new(E), 1);
    let mut disk = Disk::new(Configuration::voters(1..=3)).with_log(&[1, 1, 1, 2]);
    disk.lost_end = Some(Index(6));
    lab.seat(1, disk);
    let word = |lab: &mut Lab, from, term, last| {
        lab.post(from, 1, term, Body::Vote { last, forced: true });
        lab.deliver_all();
        // What is said is in the mail of members that are not on the bench, and gone.
        lab.raft(1).hard().vote
    };
    assert_eq!(word(&mut lab, 2, 3, pos(2, 4)), None, "it may have acknowledged 5 and 6");
    assert_eq!(word(&mut lab, 2, 3, pos(2, 5)), None);
    assert_eq!(word(&mut lab, 2, 3, pos(2, 6)), Some(2), "who has 6 has what it had");
    lab.run(6 * E);
    assert_eq!(lab.raft(1).role(), Role::Follower, "nor does it stand");
    // It remembers its doubt, crash or no crash.
    lab.crash(1);
    lab.restart(1);
    assert_eq!(word(&mut lab, 3, 9, pos(2, 5)), None);
}

// Scenario 49: when the ends of two logs of three are lost and one is whole, the whole one leads,
// and nothing is lost (CTRL, FAST '18: one intact copy is enough).
#[test]
fn one_whole_copy_of_three_is_enough() {
    for seed in 0..200 {
        let mut lab = group(10, seed);
        let whole = 1 + seed % 3;
        (1..=3).for_each(|id| lab.crash(id));
        for id in (1..=3).filter(|id| *id != whole) {
            let lost = usize::try_from(1 + (seed / 3 + id) % 9).unwrap();
            let seat = lab.at(id);
            let kept = seat.disk.entries.len() - lost;
            seat.disk.entries.truncate(kept);
            seat.disk.lost_end = Some(Index(11));
        }
        (1..=3).for_each(|id| lab.restart(id));
        // What was applied before the crash is in the watch: a leader that lacks it is caught.
        let there = lab.run_until(8 * E, |lab| (1..=3).all(|id| lab.applied(id) == commands(10)));
        assert!(there.is_some(), "seed {seed}: {:?}", lab.leader());
        assert!((1..=3).all(|id| lab.raft(id).is_sound()), "seed {seed}");
    }
}

// Scenario 49: an end that is found to be lost at work is not cut while others count on it: the
// node stops, and comes up in doubt.
#[test]
fn an_end_that_is_lost_at_work_is_never_cut_where_it_counts() {
    // Committed, on a follower: nothing is cut, and the next entry will vouch for what is lost.
    let mut lab = group(10, 1);
    lab.step(2, vec![Input::Damaged { after: Index(8), through: Index(11) }]);
    assert_eq!((lab.raft(2).role(), lab.raft(2).last().index), (Role::Follower, Index(11)));
    // Committed, on the leader: it makes that entry.
    lab.step(1, vec![Input::Damaged { after: Index(8), through: Index(11) }]);
    assert_eq!((lab.raft(1).role(), lab.raft(1).last().index), (Role::Leader, Index(12)));
    assert!(!lab.raft(1).is_sound());
    // Not committed, on the leader.
    let mut lab = group(10, 1);
    lab.part(&[1], &[2, 3]);
    let waits = lab.propose(1, "x");
    lab.step(1, vec![Input::Damaged { after: Index(11), through: Index(12) }]);
    assert_eq!(lab.raft(1).role(), Role::Stopped);
    assert_eq!(lab.answer(1, waits), Some(Err(Refused::Unknown)));
    // Not committed, on a follower: its leader counts on it, so it comes up anew, in doubt, and
    // gets it again.
    let mut lab = group(10, 1);
    lab.part(&[3], &[1, 2]);
    lab.propose(1, "10");
    let append = lab.take(|message| message.to == 2).pop().unwrap();
    lab.deliver(append);
    lab.step(2, vec![Input::Damaged { after: Index(11), through: Index(12) }]);
    assert_eq!(lab.raft(2).role(), Role::Stopped);
    lab.crash(2);
    lab.at(2).disk.entries.truncate(11);
    lab.at(2).disk.lost_end = Some(Index(12));
    lab.restart(2);
    assert!(!lab.raft(2).is_sound());
    lab.run(3);
    assert!(lab.raft(2).is_sound(), "it is here again");
    assert_eq!(lab.applied(2), commands(11));
}

// Scenario 50: after a write that failed nothing is said any more, and whoever waits is told (the
// file is never synced again: see `fsyncgate`).
#[test]
fn a_node_whose_disk_failed_says_nothing_more() {
    for id in [1, 2] {
        let mut lab = group(3, id);
        lab.at(id).stores = false;
        let waits: Vec<_> = vec![lab.propose(id, "x"), lab.read(id, ReadMode::Index)];
        lab.deliver_all();
        lab.mail.clear();
        lab.step(id, vec![Input::StorageFailed]);
        assert_eq!(lab.raft(id).role(), Role::Stopped);
        assert!(waits.iter().all(|ticket| lab.answer(id, *ticket).is_some()));
        for write in lab.seats[&id].writes.iter().map(|p| p.write.id).collect::<Vec<_>>() {
            lab.step(id, vec![Input::Stored(write)]);
        }
        lab.post(3, id, 9, Body::Vote { last: pos(9, 9), forced: true });
        lab.post(3, id, 9, Body::Heartbeat { commit: Index(0), round: 1, quiesce: false });
        let late = lab.propose(id, "y");
        assert_eq!(lab.answer(id, late), Some(Err(Refused::Stopped)));
        lab.deliver_all();
        lab.run(5 * E);
        let said = lab.sent.clone();
        assert!(lab.raft(id).deadline().is_none(), "it watches no clock");
        lab.step(id, Vec::new());
        assert_eq!(lab.sent, said);
        let leader = lab.leader().expect("the others go on");
        let ticket = lab.propose(leader, "z");
        lab.run(1);
        assert!(lab.answer(leader, ticket).unwrap().is_ok(), "n{id}");
    }
}

// Scenario 51: a leader whose snapshot is rotten has another member send its own.
#[test]
fn a_rotten_snapshot_is_not_sent() {
    let mut lab = group(10, 1);
    lab.part(&[2], &[1, 3]);
    lab.propose(1, "10");
    lab.run(1);
    for id in [1, 3] {
        lab.step(id, vec![Input::Compact { through: Index(12), must: Index(12) }]);
    }
    lab.at(1).disk.snapshot_damaged = true;
    lab.crash(2);
    lab.seat(2, Disk::new(Configuration::voters(1..=3)));
    lab.heal();
    let there = lab.run_until(6 * E, |lab| lab.applied(2) == commands(11));
    assert!(there.is_some(), "n2 gets none");
    assert!(lab.sent["Delegate"] > 0);
}

// Scenario 51: a member that finds its own snapshot rotten fetches another, and leads nobody
// before.
#[test]
fn a_member_without_its_snapshot_fetches_one() {
    let mut lab = group(10, 1);
    for id in 1..=3 {
        lab.step(id, vec![Input::Compact { through: Index(11), must: Index(11) }]);
    }
    lab.crash(1);
    let seat = lab.at(1);
    seat.disk.snapshot_damaged = true;
    seat.disk.state.clear();
    lab.restart(1);
    assert!(!lab.raft(1).is_sound());
    let there = lab.run_until(6 * E, |lab| lab.raft(1).is_sound());
    assert!(there.is_some());
    lab.run(5);
    assert_eq!(lab.applied(1), commands(10));
    assert!(lab.run_until(4 * E, |lab| lab.leader().is_some()).is_some());
    let leader = lab.leader().unwrap();
    lab.propose(leader, "10");
    lab.run(5);
    assert_eq!(lab.applied(1), commands(11));
}

// Scenario 52: whoever lost its vote gives none away for as long as a rival may still be counting,
// nor later in the terms that it saw meanwhile (Raft §5.2: one vote a term).
#[test]
fn a_lost_vote_is_not_given_twice() {
    let mut lab = Lab::empty(Config::new(E), 1);
    let mut disk = Disk::new(Configuration::voters(1..=3)).with_log(&[1]);
    disk.hard.term = Term(5);
    disk.hard.vote = None;
    disk.lost_vote = true;
    lab.seat(1, disk);
    lab.seat(3, Disk::new(Configuration::voters(1..=3)));
    let says = |lab: &mut Lab, term| {
        lab.post(3, 1, term, Body::Vote { last: pos(9, 9), forced: true });
        let message = lab.mail.pop_back().unwrap().message;
        lab.deliver(message);
        let said = lab.take(|message| kind(&message.body) == "Ballot").pop();
        said.and_then(|message| match message.body {
            Body::Ballot { word, .. } => Some(word),
            _ => None,
        })
    };
    for tick in 1..2 * E {
        lab.now = tick;
        lab.step(1, Vec::new());
        lab.mail.clear();
        assert_eq!(says(&mut lab, 5), Some(Word::Unsure), "tick {tick}");
    }
    assert_eq!(says(&mut lab, 6), Some(Word::Unsure), "a term that it hears of meanwhile");
    // A crash does not end the doubt early.
    lab.crash(1);
    lab.restart(1);
    lab.now = 3 * E;
    lab.step(1, Vec::new());
    assert_eq!(says(&mut lab, 6), Some(Word::Unsure));
    lab.now = 4 * E;
    lab.step(1, Vec::new());
    lab.mail.clear();
    assert_eq!(lab.raft(1).hard().term, Term(6));
    assert_eq!(says(&mut lab, 6), Some(Word::Refused), "spent, whoever got it");
    assert_eq!(says(&mut lab, 7), Some(Word::Granted), "a term that nobody has seen is fresh");
}

// Scenario 52: two of three lost theirs: the group is without a leader for a while, and then has
// one again, and never two in a term (the bench asserts it).
#[test]
fn a_group_that_lost_its_votes_waits_and_goes_on() {
    for seed in 0..200 {
        let mut lab = group(3, seed);
        (1..=3).for_each(|id| lab.crash(id));
        for id in (1..=3).filter(|id| *id != 1 + seed % 3) {
            lab.at(id).disk.lost_vote = true;
            lab.at(id).disk.hard.vote = None;
        }
        let since = lab.now;
        (1..=3).for_each(|id| lab.restart(id));
        let took = lab.run_until(8 * E, |lab| lab.leader().is_some());
        let took = took.unwrap_or_else(|| panic!("seed {seed}: nobody leads"));
        assert!(took >= 2 * E, "seed {seed}: a vote after {took} ticks, from {since}");
    }
}
