//! Scenarios 48, 49 and 52 over many seeds: disks that lose what they held, and what their owners
//! may still say. Each of 48 to 52 is told by stories, too.

use drystone_raft::{
    Body, Config, Configuration, Entry, Index, Input, Member, Position, Role, SnapshotMeta,
    Suffrage,
};

use crate::lab::{Disk, Lab, entry, pos};
use crate::seeds::{self, Chance};

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

fn append(prev: Position, commit: u64, entries: Vec<Entry>) -> Body {
    Body::Append { prev, commit: Index(commit), round: 1, entries: entries.into() }
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

// Scenario 48: three logs of several terms, each damaged in many places, mend each other as long as
// every entry is whole somewhere, and the last one everywhere.
#[test]
fn whatever_is_whole_somewhere_is_mended_everywhere() {
    seeds::each("whatever_is_whole_somewhere", 200, |seed| {
        let mut chance = Chance::new(seed);
        let mut term = 1;
        let terms: Vec<u64> = (0..30)
            .map(|_| {
                term += u64::from(chance.below(4) == 0);
                term
            })
            .collect();
        let mut lab = Lab::empty(Config::new(E), seed);
        lab.config.message_bytes_max = if seed % 2 == 0 { 60 } else { 1 << 20 };
        lab.config.tail_bytes_max = if seed % 3 == 0 { 0 } else { 1 << 20 };
        for id in 1..=3 {
            lab.seat(id, Disk::new(Configuration::voters(1..=3)).with_log(&terms));
            lab.crash(id);
        }
        let mut whole = 7;
        for index in 1..30 {
            // Damage comes in stretches, and leaves one copy at least.
            if chance.below(3) == 0 {
                whole = chance.below(7) + 1;
            }
            for id in (1..=3).filter(|id| whole >> (id - 1) & 1 == 0) {
                lab.at(id).disk.damaged.insert(index);
            }
        }
        let before = lab.seats[&1].disk.entries.clone();
        (1..=3).for_each(|id| lab.restart(id));
        let sound = |lab: &Lab| (1..=3).all(|id| lab.raft(id).is_sound());
        assert!(lab.run_until(40 * E, sound).is_some(), "not all is mended");
        let led = lab.run_until(8 * E, |lab| lab.leader().is_some());
        assert!(led.is_some(), "nobody leads");
        lab.run(E);
        for id in 1..=3 {
            assert!(lab.seats[&id].disk.damaged.is_empty(), "n{id}");
            assert_eq!(lab.seats[&id].disk.entries[..30], before, "n{id}");
            assert_eq!(lab.applied(id).len(), 30, "n{id}");
        }
    });
}

// Scenario 49: when the ends of two logs of three are lost and one is whole, the whole one leads,
// and nothing is lost (CTRL, FAST '18: one intact copy is enough).
#[test]
fn one_whole_copy_of_three_is_enough() {
    seeds::each("one_whole_copy_of_three", 200, |seed| {
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
    });
}

// Scenario 52: two of three lost theirs: the group is without a leader for a while, and then has
// one again, and never two in a term (the bench asserts it).
#[test]
fn a_group_that_lost_its_votes_waits_and_goes_on() {
    seeds::each("a_group_that_lost_its_votes", 200, |seed| {
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
    });
}

// Who has the newest log misses entries that all others have compacted away: nobody can lead before
// a snapshot has come from one who does not lead either. Found by the simulator, as a group that
// stood still.
#[test]
fn a_snapshot_fills_a_hole_while_nobody_leads() {
    for (seed, range) in [3..6, 2..9, 1..4].into_iter().enumerate() {
        let mut lab = group(10, seed as u64);
        for id in [1, 3] {
            lab.step(id, vec![Input::Compact { through: Index(11), must: Index(11) }]);
        }
        lab.crash(3);
        lab.at(1).stores = false;
        let ticket = lab.propose(1, "10");
        lab.run(1);
        assert_eq!(lab.answer(1, ticket), None, "one copy is durable");
        (1..=2).for_each(|id| lab.crash(id));
        assert_eq!(lab.seats[&2].disk.last().index, Index(12));
        lab.at(1).stores = true;
        lab.at(2).disk.damaged = range.clone().collect();
        (1..=2).for_each(|id| lab.restart(id));
        let there = |lab: &Lab| (1..=2).all(|id| lab.applied(id) == commands(11));
        assert!(lab.run_until(12 * E, there).is_some(), "{range:?}: {:?}", lab.leader());
        assert!(lab.raft(2).is_sound());
    }
}

// A snapshot that ends among missing entries says what was there; what is behind them may have been
// acknowledged, and stays. It used to be cut, and a commit index with it.
#[test]
fn a_snapshot_that_ends_in_a_hole_cuts_nothing() {
    for commit in [0, 8] {
        let mut lab = Lab::empty(Config::new(E), 1);
        let members = Configuration::voters(1..=3);
        let mut disk = Disk::new(members.clone()).with_log(&[1, 1, 1, 1, 1, 2, 2, 2]);
        disk.damaged = (3..6).collect();
        lab.seat(1, disk);
        lab.post(2, 1, 2, append(pos(2, 8), commit, Vec::new()));
        lab.deliver_all();
        assert_eq!(lab.raft(1).commit(), Index(commit));
        let snapshot = SnapshotMeta {
            last: pos(1, 4),
            configuration: members.into(),
            configuration_index: Index(0),
        };
        lab.step(1, vec![Input::SnapshotFetched(Some(snapshot))]);
        assert_eq!((lab.raft(1).base(), lab.raft(1).last()), (pos(1, 4), pos(2, 8)));
        assert_eq!(lab.raft(1).commit(), Index(commit.max(4)));
        assert!(!lab.raft(1).is_sound(), "5 is still missing");
        lab.raft(1).check();
    }
}

// The last entry that a caller is told of turns out to be damaged when it is read to be applied,
// and who has it has compacted it away: a snapshot that ends there is what brings it. It used to be
// taken for old news, for ever. Found by the simulator.
#[test]
fn a_snapshot_brings_the_entry_that_was_to_be_applied() {
    let mut lab = Lab::empty(Config::new(E), 1);
    let members = Configuration::voters(1..=3);
    lab.seat(1, Disk::new(members.clone()).with_log(&[1; 9]));
    lab.post(2, 1, 1, append(pos(1, 9), 8, Vec::new()));
    lab.deliver_all();
    assert_eq!(lab.raft(1).commit(), Index(8));
    lab.at(1).disk.damaged = (8..9).collect();
    lab.step(1, vec![Input::Damaged { after: Index(7), through: Index(8) }]);
    assert!(!lab.raft(1).is_sound());
    let snapshot = SnapshotMeta {
        last: pos(1, 8),
        configuration: members.into(),
        configuration_index: Index(0),
    };
    lab.step(1, vec![Input::SnapshotFetched(Some(snapshot))]);
    lab.deliver_all();
    assert!(lab.raft(1).is_sound(), "8 is in the snapshot");
    assert_eq!((lab.raft(1).last(), lab.raft(1).commit()), (pos(1, 9), Index(8)));
}

// The leader says that it has not what a member takes for sound behind a hole: the member must not
// cut off what it knows to be committed, be it missing.
#[test]
fn a_wrong_anchor_cuts_nothing_that_is_committed() {
    let mut lab = Lab::empty(Config::new(E), 1);
    lab.seat(1, Disk::new(Configuration::voters(1..=3)).with_log(&[1; 9]));
    lab.post(2, 1, 1, append(pos(1, 9), 8, Vec::new()));
    lab.deliver_all();
    lab.at(1).disk.damaged = (8..9).collect();
    lab.step(1, vec![Input::Damaged { after: Index(7), through: Index(8) }]);
    lab.post(3, 1, 2, Body::Heartbeat { commit: Index(0), round: 1, quiesce: false });
    lab.post(3, 1, 2, Body::Mended { anchor: pos(1, 9), entries: Vec::new() });
    lab.deliver_all();
    assert_eq!((lab.raft(1).last(), lab.raft(1).commit()), (pos(1, 9), Index(8)));
    lab.post(3, 1, 2, append(pos(1, 7), 8, vec![entry(1, 8), entry(2, 9)]));
    lab.deliver_all();
    assert_eq!(lab.raft(1).last(), pos(2, 9));
    assert!(lab.raft(1).is_sound());
}

// A witness takes what a snapshot says without fetching it. One that has lost its own must not take
// an older one than its log begins with.
#[test]
fn a_witness_goes_back_to_no_older_snapshot() {
    let mut lab = Lab::empty(Config::new(E), 1);
    let witness = Member { id: 3, suffrage: Suffrage::Witness, priority: 0 };
    let voter = |id| Member { id, suffrage: Suffrage::Voter, priority: 1 };
    let members = Configuration::new([voter(1), voter(2), witness], []);
    let mut disk = Disk::new(members.clone()).with_log(&[1; 8]);
    disk.snapshot.last = pos(1, 6);
    disk.snapshot_damaged = true;
    lab.seat(3, disk);
    lab.post(1, 3, 1, append(pos(1, 8), 8, Vec::new()));
    let older = SnapshotMeta {
        last: pos(1, 4),
        configuration: members.into(),
        configuration_index: Index(0),
    };
    lab.post(1, 3, 1, Body::Offer { meta: older });
    lab.deliver_all();
    assert_eq!((lab.raft(3).last(), lab.raft(3).commit()), (pos(1, 8), Index(8)));
    lab.raft(3).check();
}

// Whoever offers a snapshot need not lead: a leader that was started anew is refused its old
// followers' votes for as long as they take its offers for its word.
#[test]
fn an_offer_is_no_word_of_a_leader() {
    let mut lab = group(3, 1);
    lab.crash(1);
    lab.crash(3);
    let meta = lab.raft(2).base();
    for tick in 0..3 * E {
        lab.now += 1;
        let meta = SnapshotMeta {
            last: meta,
            configuration: Configuration::voters(1..=3).into(),
            configuration_index: Index(0),
        };
        lab.post(1, 2, lab.term(2).0, Body::Offer { meta });
        lab.deliver_all();
        lab.step(2, Vec::new());
        if lab.raft(2).role() != Role::Follower {
            assert!(tick >= E / 2);
            return;
        }
    }
    panic!("it waits for a leader that only offers snapshots");
}

// A leader that finds entries missing which the others have compacted away cannot apply, and
// installs no snapshot as long as it leads: it has to make room. Found by the simulator.
#[test]
fn a_leader_that_only_a_snapshot_can_mend_makes_room() {
    let mut lab = group(10, 1);
    lab.run(2);
    for id in [2, 3] {
        lab.step(id, vec![Input::Compact { through: Index(9), must: Index(9) }]);
    }
    lab.at(1).disk.damaged = (5..7).collect();
    lab.step(1, vec![Input::Damaged { after: Index(4), through: Index(6) }]);
    // A member that is late needs just those.
    lab.crash(3);
    lab.seat(3, Disk::new(Configuration::voters(1..=3)).with_log(&[1, 1, 1, 1]));
    let there = |lab: &Lab| lab.raft(3).last().index > Index(11);
    assert!(lab.run_until(12 * E, there).is_some());
    assert_eq!(lab.leader(), Some(2));
}

// A leader that has lost the only copy of an entry that is not committed can send nothing behind
// it. It used to lead on for ever, and nobody else could. Found by the simulator.
#[test]
fn a_leader_that_lost_what_only_it_had_makes_room() {
    let mut lab = group(10, 1);
    lab.part(&[1], &[2, 3]);
    for text in ["a", "b", "c"] {
        lab.propose(1, text);
    }
    let last = lab.raft(1).last().index.0;
    lab.at(1).disk.damaged = (last - 1..last).collect();
    lab.step(1, vec![Input::Damaged { after: Index(last - 2), through: Index(last - 1) }]);
    lab.heal();
    let ticket = |lab: &mut Lab| lab.leader().map(|leader| (leader, lab.propose(leader, "d")));
    let mut asked = None;
    for _ in 0..8 * E {
        lab.run(1);
        asked = asked.or_else(|| ticket(&mut lab).filter(|(leader, _)| *leader != 1));
    }
    let (leader, ticket) = asked.expect("another leads");
    assert!(matches!(lab.answer(leader, ticket), Some(Ok(_))));
    assert!(lab.raft(1).is_sound(), "what is missing was never committed");
}

// An entry that is read once more while its mending is on its way to the disk is not missing again.
// It used to be asked of the others for ever, who may have lost it since.
#[test]
fn what_is_being_mended_is_not_missing_again() {
    let mut lab = group(10, 1);
    lab.at(2).disk.damaged = (5..6).collect();
    let read = || vec![Input::Damaged { after: Index(4), through: Index(5) }];
    lab.step(2, read());
    lab.at(2).stores = false;
    assert!(lab.run_until(E, |lab| !lab.seats[&2].writes.is_empty()).is_some());
    lab.step(2, read());
    assert!(!lab.raft(2).is_sound(), "it is not durable yet");
    lab.part(&[2], &[1, 3]);
    lab.at(2).stores = true;
    let write = lab.seats[&2].writes.front().map(|pending| pending.write.id).unwrap();
    lab.store(2, write);
    assert!(lab.raft(2).is_sound());
}

// A leader that has not what lies behind a hole says nothing of the hole itself: what is missing
// may be committed. It used to be cut off and forgotten, and the next candidate got a vote without
// it.
#[test]
fn a_hole_behind_which_the_leader_disagrees_stays_in_mind() {
    let mut lab = Lab::empty(Config::new(E), 1);
    let mut disk = Disk::new(Configuration::voters(1..=3)).with_log(&[1, 1, 1, 2, 2]);
    disk.damaged = (3..4).collect();
    lab.seat(1, disk);
    lab.post(2, 1, 3, Body::Heartbeat { commit: Index(0), round: 1, quiesce: false });
    lab.post(2, 1, 3, Body::Mended { anchor: pos(2, 4), entries: Vec::new() });
    lab.deliver_all();
    assert_eq!(lab.raft(1).last(), pos(1, 2));
    let vote = |lab: &mut Lab, term, last| {
        lab.post(3, 1, term, Body::Vote { last, forced: true });
        lab.deliver_all();
        lab.raft(1).hard().vote
    };
    assert_eq!(vote(&mut lab, 4, pos(1, 2)), None, "3 may be committed");
    assert_eq!(vote(&mut lab, 5, pos(2, 3)), Some(3), "who has as much as was lost is as good");
}

// Scenario 48: entries that were compacted away while they were being read cannot be read, and are
// not damaged: a snapshot stands for them.
#[test]
fn what_is_compacted_away_is_not_damaged() {
    for (after, through) in [(3, 4), (7, 8), (8, 9), (5, 9)] {
        let mut lab = group(10, through);
        lab.step(1, vec![Input::Compact { through: Index(9), must: Index(9) }]);
        assert_eq!(lab.raft(1).base().index, Index(9));
        lab.step(1, vec![Input::Damaged { after: Index(after), through: Index(through) }]);
        assert!(lab.raft(1).is_sound(), "{after}..={through}");
        lab.propose(1, "more");
        lab.run(5);
        assert_eq!(lab.applied(2).len(), 11, "{after}..={through}");
    }
    // Of a hole that reaches beyond, only that part is one.
    let mut lab = group(10, 1);
    lab.step(1, vec![Input::Compact { through: Index(6), must: Index(6) }]);
    lab.step(1, vec![Input::Damaged { after: Index(3), through: Index(8) }]);
    assert!(!lab.raft(1).is_sound());
    assert!(lab.run_until(6 * E, |lab| lab.raft(1).is_sound()).is_some());
    lab.propose(1, "more");
    lab.run(5);
    assert_eq!(lab.applied(2).len(), 11);
}
