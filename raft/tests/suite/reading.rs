//! Scenarios 25 to 31: what a read may be answered with, and when.

use drystone_raft::{Body, Change, Config, Index, Input, Lease, NodeId, ReadMode, Refused, Role};

use crate::lab::{Lab, kind, play};

const E: u64 = 100;

// Scenario 25: a new leader does not know what is committed before its own entry is (thesis §6.4;
// etcd #7331, tikv #9239).
#[test]
fn a_new_leader_answers_no_read_before_its_own_entry_is_committed() {
    play("reads/a_new_leader_answers_no_read_before_its_own_entry_is_committed");
}

// Scenario 26: late acknowledgements of one round must not confirm the reads of another (etcd
// #20418).
#[test]
fn old_acknowledgements_confirm_no_later_read() {
    play("reads/old_acknowledgements_confirm_no_later_read");
}

// Scenario 26: nor do a follower's doubled requests, with answers that come when the leader has
// been replaced and something else is committed (etcd #20418).
#[test]
fn doubled_requests_of_a_follower_are_not_answered_from_the_past() {
    let mut lab = Lab::new(Config::new(10), &[1, 2, 3, 4, 5]);
    lab.elect(1);
    lab.run(1);
    let first = lab.read(2, ReadMode::Index);
    let request = lab.take(|message| kind(&message.body) == "ReadRequest").pop().unwrap();
    lab.deliver(request.clone());
    // The round goes out and is acknowledged; the acknowledgements stay under way.
    for message in lab.take(|message| kind(&message.body) == "Heartbeat") {
        lab.deliver(message);
    }
    let late = lab.take(|message| kind(&message.body) == "Alive");
    // The request comes again, and n1 is cut off: n3 leads and commits a write.
    lab.deliver(request);
    lab.part(&[1], &[2, 3, 4, 5]);
    lab.mail.clear();
    let took = lab.run_until(60, |lab| lab.leader().is_some_and(|id| id != 1));
    assert!(took.is_some());
    let leader = lab.leader().unwrap();
    let write = lab.propose(leader, "w");
    lab.run(1);
    let written = lab.answer(leader, write).unwrap().unwrap();
    let second = lab.read(2, ReadMode::Index);
    lab.heal();
    // Were n1 still leading, these would be words of its first round; the second must not go by it.
    late.into_iter().for_each(|message| lab.deliver(message));
    lab.run(5);
    let first = lab.answer(2, first).unwrap();
    assert!(
        matches!(first, Err(Refused::NotLeader(_))),
        "asked of a leader that is gone: {first:?}"
    );
    assert!(lab.answer(2, second).unwrap().unwrap() >= written);
}

// Scenario 27: a word to take over that comes late meets a leader that holds a lease again, and
// must then be void (thesis §6.4.1; raft-rs #234, etcd #12704, openraft #1747).
#[test]
fn a_transfer_ends_the_lease() {
    play("reads/a_transfer_ends_the_lease");
}

/// What a run under skewed clocks comes to: lease reads that were answered, and those that were
/// answered with less than had been acknowledged when they began.
fn skewed(seed: u64, lease: Lease, slow: u64, fast: u64) -> (u64, u64) {
    let mut config = Config::new(E);
    config.lease = Some(lease);
    let mut lab = Lab::seeded(config, &[1, 2, 3], seed);
    lab.elect(1);
    lab.run(20);
    let now = lab.now;
    lab.at(1).clock.set_rate(now, slow);
    lab.at(2).clock.set_rate(now, fast);
    lab.at(3).clock.set_rate(now, fast);
    let write = lab.propose(1, "old");
    lab.run(50);
    let mut acknowledged = lab.answer(1, write).map_or(Index(0), Result::unwrap);
    let now = lab.now;
    lab.run(seed % 10);
    let _ = now;
    lab.part(&[1], &[2, 3]);
    let (mut served, mut stale) = (0, 0);
    let mut writes = Vec::new();
    for _ in 0..4 * E {
        lab.run(1);
        if let Some(leader) = lab.leader().filter(|leader| *leader != 1) {
            writes.push((leader, lab.propose(leader, "new")));
        }
        writes.retain(|(leader, ticket)| match lab.answer(*leader, *ticket) {
            Some(Ok(index)) => {
                acknowledged = acknowledged.max(index);
                false
            }
            Some(Err(_)) => false,
            None => true,
        });
        let read = lab.read(1, ReadMode::Lease);
        if let Some(Ok(index)) = lab.answer(1, read) {
            served += 1;
            stale += u64::from(index < acknowledged);
        }
    }
    (served, stale)
}

// Scenario 28: within the bound on the clocks a lease never serves what is old (thesis §6.4.1); and
// beyond it this very test sees it do so, so it would notice.
#[test]
fn a_lease_is_good_within_its_bound_and_not_beyond() {
    let contact = Lease::Contact { drift_ppm: 50_000 };
    let total = |slow, fast, lease| {
        let runs = (0..150).map(|seed| skewed(seed, lease, slow, fast));
        runs.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1))
    };
    for (slow, fast) in [(1000, 1000), (950, 1050), (950, 1000), (1000, 1050)] {
        let (served, stale) = total(slow, fast, contact);
        assert!(served > 0 && stale == 0, "{slow} {fast}: {stale} of {served} are old");
    }
    // A leader whose clock all but stands still believes in its lease for ever.
    let (_, stale) = total(300, 1050, contact);
    assert!(stale > 0, "the test has no teeth");
}

// Scenario 28: the same for a lease that the log holds.
#[test]
fn a_lease_of_the_log_is_good_within_its_bound_and_not_beyond() {
    let log = Lease::Log { drift_ppm: 50_000 };
    let total = |slow, fast| {
        let runs = (0..150).map(|seed| skewed(seed, log, slow, fast));
        runs.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1))
    };
    for (slow, fast) in [(1000, 1000), (950, 1050)] {
        let (served, stale) = total(slow, fast);
        assert!(served > 0 && stale == 0, "{slow} {fast}: {stale} of {served} are old");
    }
    assert!(total(100, 1050).1 > 0, "the test has no teeth");
}

// Scenario 29: a leader elected inside the lease of the last one replicates, and neither
// acknowledges nor serves before that lease is over (LeaseGuard, Davis et al. 2025).
#[test]
fn a_new_leader_waits_for_the_lease_of_the_last() {
    for seed in 0..100 {
        let mut config = Config::new(E);
        config.lease = Some(Lease::Log { drift_ppm: 10_000 });
        config.check_quorum = false;
        let mut lab = Lab::seeded(config, &[1, 2, 3], seed);
        lab.elect(1);
        let write = lab.propose(1, "old");
        lab.run(E);
        assert!(lab.answer(1, write).is_some_and(|answer| answer.is_ok()), "seed {seed}");
        let write = lab.propose(1, "newest");
        lab.run(1 + seed % 20);
        let newest = lab.answer(1, write).unwrap().unwrap();
        let written_at = lab.now - (1 + seed % 20);
        lab.part(&[1], &[2, 3]);
        // Without check-quorum a vote is free at once: n2 leads inside the lease.
        lab.step(2, vec![Input::Campaign]);
        lab.deliver_all();
        assert_eq!(lab.raft(2).role(), Role::Leader);
        let write = lab.propose(2, "next");
        let read = lab.read(2, ReadMode::Index);
        let lease = lab.config.election * 3 / 4;
        let mut waited = false;
        for _ in 0..2 * E {
            lab.run(1);
            let old = lab.read(1, ReadMode::Lease);
            let served = lab.answer(1, old).is_some_and(|answer| answer.is_ok());
            let next = lab.answer(2, write);
            waited |= next.is_none() && lab.raft(3).last() == lab.raft(2).last();
            assert!(!(served && next.is_some()), "seed {seed}: both serve");
            let early = lab.now < written_at + lease * 98 / 100;
            assert!(!early || lab.answer(2, read).is_none(), "seed {seed}: a read too early");
        }
        assert!(waited, "seed {seed}: it replicates while it waits");
        assert!(lab.answer(2, write).unwrap().unwrap() > newest, "seed {seed}");
        assert!(lab.answer(2, read).unwrap().unwrap() >= newest, "seed {seed}");
    }
}

// Scenario 30: a read waits for a quorum of the members as they are when it is looked at (raft-rs
// #363).
#[test]
fn reads_survive_a_change_of_the_quorum() {
    let mut lab = Lab::new(Config::new(10), &[1, 2, 3, 4, 5]);
    lab.elect(1);
    lab.run(1);
    // n4 and n5 are out of reach; the change to three needs them not, once it is joint with five.
    lab.part(&[4, 5], &[1, 2, 3]);
    lab.change(1, Change::new().remove(4).remove(5));
    for message in lab.take(|message| message.to == 2) {
        lab.deliver(message);
    }
    // A read comes in; n2 alone acknowledges its round: two of five, two of three.
    let read = lab.read(1, ReadMode::Index);
    for _ in 0..3 {
        for message in lab.take(|message| [message.from, message.to].contains(&2)) {
            lab.deliver(message);
        }
    }
    assert_eq!(lab.answer(1, read), None, "two of five are not enough");
    assert!(lab.raft(1).members().outgoing().len() == 5, "it is joint");
    // n3 stores the joint entry and says no word about the round.
    let appends = lab.take(|message| message.to == 3 && kind(&message.body) == "Append");
    let append = appends.into_iter().next().unwrap();
    lab.deliver(append);
    for message in lab.take(|message| message.from == 3) {
        let mut message = message;
        if let Body::Accepted { round, .. } = &mut message.body {
            *round = 0;
        }
        lab.deliver(message);
    }
    assert!(lab.raft(1).members().outgoing().is_empty(), "the new three decide alone");
    assert!(lab.answer(1, read).is_some_and(|answer| answer.is_ok()), "two of three are enough");
}

// Scenario 31: a follower that restarts with much to apply answers no read with an index that the
// read did not ask for, and has it applied soon (openraft 97d92771).
#[test]
fn a_follower_that_restarts_answers_when_it_has_applied() {
    let mut lab = Lab::new(Config::new(10), &[1, 2, 3]);
    lab.elect(1);
    (0..20).for_each(|_| {
        lab.propose(1, "x");
    });
    lab.run(3);
    lab.crash(2);
    lab.restart(2);
    assert_eq!(lab.applied(2).len(), 0, "its state machine begins anew");
    let early = lab.read(2, ReadMode::Index);
    assert!(matches!(lab.answer(2, early), Some(Err(Refused::NotLeader(None)))));
    assert_eq!(lab.raft(2).last(), lab.raft(1).last(), "its tail is durable");
    lab.run(1);
    let follower: NodeId = 2;
    let read = lab.read(follower, ReadMode::Index);
    lab.run(2);
    let index = lab.answer(follower, read).unwrap().unwrap();
    assert_eq!(index, Index(21));
    assert_eq!(lab.seats[&2].applied.last().unwrap().index, index, "and it is applied");
}

// Scenario 27: and when the late word is taken up, the old leader is silent: its lease went with
// the word, not with the time that it took (thesis §6.4.1).
#[test]
fn a_late_word_to_take_over_makes_no_stale_read() {
    let mut config = Config::new(10);
    config.lease = Some(Lease::Contact { drift_ppm: 0 });
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.run(12);
    let transfer = lab.transfer(1, 2);
    let word = lab.take(|message| kind(&message.body) == "TimeoutNow").pop().unwrap();
    // Nothing of what follows reaches n2, so the word stays good for it.
    lab.cut.insert((1, 2));
    while lab.answer(1, transfer).is_none() {
        lab.run(1);
    }
    assert_eq!(lab.answer(1, transfer), Some(Err(Refused::TimedOut)));
    lab.part(&[1], &[2, 3]);
    lab.mail.clear();
    lab.step(2, vec![Input::Peer(word)]);
    lab.deliver_all();
    if lab.raft(2).role() == Role::Leader {
        let write = lab.propose(2, "new");
        lab.deliver_all();
        assert!(lab.answer(2, write).unwrap().is_ok());
        let read = lab.read(1, ReadMode::Lease);
        assert_eq!(lab.answer(1, read), None, "a stale read");
    } else {
        // n3 has the entry that voids the word, so n2 finds no quorum.
        assert_eq!(lab.raft(1).commit(), Index(2));
    }
}
