//! Scenarios 28, 29 and 31: reads under clocks that are wrong and machines that stand still or
//! restart, over many seeds. The bench asserts of every read that it sees what was acknowledged
//! before it began (`lab/watch.rs`).

use std::ops::Range;

use drystone_raft::{
    Config, Configuration, Index, Input, Lease, Member, NodeId, ReadMode, Role, Suffrage, Ticket,
};

use crate::lab::{Disk, Lab};
use crate::seeds::{self, Chance};

const E: u64 = 60;

/// Off by a twentieth, at most.
const PPM: u32 = 50_000;

/// A group on a network that takes its time, with clocks that are not exact.
struct Drift {
    lab: Lab,
    chance: Chance,
    /// Reads that the old leader answered from its lease when it was cut off.
    leased: usize,
    /// Who stands still, until when, and whether its clock does too.
    asleep: Option<(NodeId, u64, bool)>,
}

impl Drift {
    /// n1 leads, and has a clock of the slow kind; the others have fast ones: the worst for a
    /// lease. Rates are in thousandths.
    fn new(seed: u64, config: Config, slow: Range<u64>, fast: Range<u64>) -> Drift {
        let mut chance = Chance::new(seed);
        let mut lab = Lab::empty(config, seed);
        let member = |id| Member { id, suffrage: Suffrage::Voter, priority: 1 + u8::from(id == 1) };
        for id in 1..=3 {
            let rates = if id == 1 { &slow } else { &fast };
            let rate = rates.start + chance.below(rates.end - rates.start);
            lab.seat(id, Disk::new(Configuration::new((1..=3).map(member), [])));
            lab.at(id).clock.set_rate(0, rate);
        }
        lab.jitter = E / 5;
        Drift { lab, chance, leased: 0, asleep: None }
    }

    /// Writes and reads by lease at all who believe that they lead.
    fn press(&mut self) {
        for id in 1..=3 {
            if self.lab.raft(id).role() == Role::Leader && !self.lab.seats[&id].paused {
                self.lab.propose(id, "w");
                let ticket = self.lab.read(id, ReadMode::Lease);
                let answer = self.lab.answer(id, ticket);
                self.leased += usize::from(Some(id) == self.lab.alone && answer.is_some());
            }
        }
    }

    /// The leader is cut off at some time; it and the others are asked all the while. What is on
    /// its way to it or from it arrives.
    fn play(&mut self, campaigns: bool) {
        let cut_at = 8 * E + self.chance.below(E);
        for tick in 0..cut_at + 3 * E {
            self.lab.run(1);
            if tick + E / 2 > cut_at {
                self.press();
            }
            if tick == cut_at {
                self.lab.alone = self.lab.leader();
            }
            if campaigns && tick > cut_at && self.chance.below(E / 4) == 0 {
                let id = 1 + self.chance.below(3);
                if Some(id) != self.lab.alone {
                    self.lab.step(id, vec![Input::Campaign]);
                }
            }
        }
        assert!(self.lab.alone.is_some(), "there was a leader to cut off");
    }

    /// Members stand still now and then, leaders for preference, for up to three timeouts.
    fn doze(&mut self, clocks_too: bool) {
        for _ in 0..14 * E {
            self.lab.run(1);
            let now = self.lab.now;
            if let Some((id, _, clock)) = self.asleep.take_if(|(_, until, _)| *until <= now) {
                let seat = self.lab.at(id);
                seat.paused = false;
                if clock {
                    seat.clock.set_rate(now, 1000);
                }
            }
            // The first thing that a machine does when it wakes is to answer.
            self.press();
            if self.asleep.is_none() && now > 4 * E && self.chance.below(E / 2) == 0 {
                let id = self.lab.leader().unwrap_or(1);
                let until = now + 1 + self.chance.below(3 * E);
                self.asleep = Some((id, until, clocks_too));
                let seat = self.lab.at(id);
                seat.paused = true;
                if clocks_too {
                    seat.clock.set_rate(now, 0);
                }
            }
        }
    }
}

fn config(lease: Lease, check_quorum: bool) -> Config {
    Config { lease: Some(lease), check_quorum, ..Config::new(E) }
}

/// Either kind of lease.
fn lease(seed: u64) -> Lease {
    match seed % 2 {
        0 => Lease::Contact { drift_ppm: PPM },
        _ => Lease::Log { drift_ppm: PPM },
    }
}

/// A test of leases that are not used would say nothing.
fn many_were_leased(all: bool, leased: usize) {
    let said = "reads by the lease of a leader that is cut off";
    assert!(!all || leased > 300, "only {leased} {said}");
}

/// Of the two kinds of lease.
fn both_were_stale(all: bool, stale: [u64; 2]) {
    assert!(!all || (stale[0] > 0 && stale[1] > 0), "old reads by contact and by log: {stale:?}");
}

// Scenario 28: a lease is counted from when its round began, by a clock that may be slow, against
// loyalty by clocks that may be fast. Within the bound no read is old (thesis §6.4.1).
#[test]
fn clocks_within_the_bound_make_no_read_stale() {
    let mut leased = 0;
    let all = seeds::each("clocks_within_the_bound", 300, |seed| {
        let mut drift = Drift::new(seed, config(lease(seed), true), 950..960, 1040..1051);
        drift.play(false);
        leased += drift.leased;
    });
    many_were_leased(all, leased);
}

// Scenario 28: the same with clocks that break the promise. This very test sees old reads, so it
// would notice.
#[test]
fn clocks_beyond_the_bound_make_reads_stale() {
    let mut stale = [0; 2];
    let all = seeds::each("clocks_beyond_the_bound", 60, |seed| {
        let mut drift = Drift::new(seed, config(lease(seed), true), 300..600, 1400..1700);
        drift.lab.watch.tolerates_stale_reads = true;
        drift.play(false);
        stale[usize::try_from(seed % 2).unwrap()] += drift.lab.watch.stale_reads;
    });
    both_were_stale(all, stale);
}

// Scenario 28: a leader whose machine stands still for a while, and whose clock goes on, holds no
// lease when it wakes, or a good one.
#[test]
fn pauses_make_no_read_stale() {
    let mut reigns = 0;
    let all = seeds::each("pauses_make_no_read_stale", 150, |seed| {
        let mut drift = Drift::new(seed, config(lease(seed), true), 950..960, 1040..1051);
        drift.doze(false);
        reigns += drift.lab.watch.reigns();
    });
    assert!(!all || reigns > 300, "only {reigns} leaders: nobody was replaced while it slept");
}

// Scenario 28: and one whose clock stands still with it answers with what is old: such a clock
// breaks the promise that is made with a lease.
#[test]
fn pauses_that_stop_the_clock_make_reads_stale() {
    let mut stale = [0; 2];
    let all = seeds::each("pauses_that_stop_the_clock", 60, |seed| {
        let mut drift = Drift::new(seed, config(lease(seed), true), 1000..1001, 1000..1001);
        drift.lab.watch.tolerates_stale_reads = true;
        drift.doze(true);
        stale[usize::try_from(seed % 2).unwrap()] += drift.lab.watch.stale_reads;
    });
    both_were_stale(all, stale);
}

// Scenario 29: a lease held by the log holds against any votes: members stand inside it, at random,
// without loyalty, and what they commit must wait (LeaseGuard, Davis et al. 2025).
#[test]
fn a_lease_in_the_log_outlasts_elections() {
    let mut leased = 0;
    let all = seeds::each("a_lease_in_the_log", 300, |seed| {
        let log = Lease::Log { drift_ppm: PPM };
        let mut drift = Drift::new(seed, config(log, false), 950..960, 1040..1051);
        drift.play(true);
        leased += drift.leased;
    });
    many_were_leased(all, leased);
}

// Scenario 31: a follower that restarts has applied less than it had answered with before. A read
// names the index to wait for, it covers all that was acknowledged, and the follower gets there
// (openraft 97d92771).
#[test]
fn a_restarted_follower_reads_what_it_has_to_apply_first() {
    let mut waited = 0;
    let all = seeds::each("a_restarted_follower_reads", 200, |seed| {
        let mut chance = Chance::new(seed);
        let mut lab = Lab::seeded(Config::new(10), &[1, 2, 3], seed);
        lab.run(40);
        let leader = lab.leader().unwrap();
        let follower = (1..=3).find(|id| *id != leader).unwrap();
        let mut open: Vec<Ticket> = Vec::new();
        for _ in 0..60 {
            lab.propose(leader, "w");
            if chance.below(8) == 0 {
                lab.crash(follower);
                lab.restart(follower);
                open.clear();
            }
            open.push(lab.read(follower, ReadMode::Index));
            // In any order: the index may come before the entries that it speaks of.
            while !lab.mail.is_empty() {
                let at = chance.below(lab.mail.len() as u64);
                let mail = lab.mail.remove(usize::try_from(at).unwrap()).unwrap();
                lab.deliver(mail.message);
                waited += open.iter().filter(|ticket| is_ahead(&lab, follower, **ticket)).count();
            }
            lab.pass_tick();
        }
        lab.run(10);
        let done = applied(&lab, follower);
        for ticket in open {
            if let Some(Ok(index)) = lab.answer(follower, ticket) {
                assert!(done >= index, "{index} is to be applied for a read, {done} is");
            }
        }
    });
    assert!(!all || waited > 0, "no read had anything to wait for");
}

fn applied(lab: &Lab, id: NodeId) -> Index {
    lab.seats[&id].applied.last().map_or(Index(0), |entry| entry.index)
}

/// Whether a read is answered with more than is applied.
fn is_ahead(lab: &Lab, id: NodeId, ticket: Ticket) -> bool {
    let answer = lab.answer(id, ticket);
    answer.is_some_and(|answer| answer.is_ok_and(|index| index > applied(lab, id)))
}
