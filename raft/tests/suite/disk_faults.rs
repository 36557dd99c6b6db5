//! Scenarios 48, 49 and 52 over many seeds: disks that lose what they held, and what their owners
//! may still say. Each of 48 to 52 is told by stories, too.

use drystone_raft::{Config, Configuration, Index};

use crate::lab::{Disk, Lab};
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
