//! Scenarios 40 to 47c: what is sent, how much of it, and what becomes of those far behind.

use drystone_raft::{
    Body, Change, Config, Configuration, Effect, Fault, Index, Input, Raft, ReadMode, Role,
};

use crate::lab::{Disk, Lab, kind, play};

const E: u64 = 10;

fn compact(lab: &mut Lab, id: u64) {
    let through = lab.raft(id).commit();
    lab.step(id, vec![Input::Compact { through, must: through }]);
    assert_eq!(lab.raft(id).base().index, through);
}

/// A leader n1 and a follower n2 that the log does not reach any more.
fn far_behind(config: Config) -> Lab {
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.part(&[2], &[1, 3]);
    (0..20).for_each(|_| {
        lab.propose(1, "x");
    });
    lab.run(2);
    compact(&mut lab, 1);
    lab.heal();
    lab
}

// Scenario 40: with nothing in the log and nothing to say, a new member still gets its snapshot
// (openraft #1828).
#[test]
fn an_idle_compacted_leader_brings_a_new_member_up() {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    (0..5).for_each(|_| {
        lab.propose(1, "x");
    });
    lab.run(2);
    lab.seat(4, Disk::new(Configuration::default()));
    lab.cut.insert((1, 4));
    lab.change(1, Change::new().learner(4));
    lab.run(2);
    compact(&mut lab, 1);
    assert_eq!(lab.raft(1).base().index, lab.raft(1).last().index, "nothing is left in it");
    lab.heal();
    let there = lab.run_until(2 * E, |lab| lab.raft(4).commit() == lab.raft(1).commit());
    assert!(there.is_some());
    assert_eq!(lab.applied(4), ["x"; 5]);
}

// Scenario 41: whatever becomes of a snapshot and of the news of it, the follower's own word ends
// the wait, and a lost one is sent again (etcd snapshot_succeed_via_app_resp).
#[test]
fn a_lost_snapshot_or_a_lost_report_leaves_nobody_waiting() {
    for lost in ["offer", "fetch", "report", "ack"] {
        let mut lab = far_behind(Config::new(E));
        lab.fetches_at_once = false;
        lab.run(1);
        // The driver of n1 opens its snapshot by hand, once.
        let meta = crate::lab::snapshot(&lab.seats[&1]);
        lab.step(1, vec![Input::SnapshotOpen { to: 2, meta: meta.clone() }]);
        if lost == "offer" {
            lab.take(|message| kind(&message.body) == "Offer");
        }
        lab.deliver_all();
        match lost {
            "offer" => assert!(lab.fetches.is_empty()),
            "fetch" => lab.fetch(false),
            "ack" => {
                lab.fetch(true);
                lab.take(|message| kind(&message.body) == "Accepted");
            }
            _ => lab.fetch(true),
        }
        lab.fetches_at_once = true;
        let write = lab.propose(1, "y");
        lab.run(1);
        let there = lab.run_until(4 * E, |lab| lab.raft(2).commit() == lab.raft(1).commit());
        assert!(there.is_some(), "{lost}: n2 waits for ever");
        assert!(lab.answer(1, write).unwrap().is_ok());
        assert_eq!(lab.applied(2).last().unwrap(), "y", "{lost}");
    }
}

// Scenario 41: an older snapshot than was offered, or a newer one, will do if the log goes on
// behind it (etcd snapshot_succeed_via_app_resp_behind).
#[test]
fn an_older_or_newer_snapshot_will_do_if_the_log_goes_on() {
    for newer in [false, true] {
        let mut lab = far_behind(Config::new(E));
        lab.fetches_at_once = false;
        lab.run(1);
        let older = crate::lab::snapshot(&lab.seats[&1]);
        (0..5).for_each(|_| {
            lab.propose(1, "y");
        });
        lab.run(1);
        let later = crate::lab::snapshot(&lab.seats[&1]);
        let (offered, fetched) = if newer { (older, later) } else { (later, older) };
        lab.step(1, vec![Input::SnapshotOpen { to: 2, meta: offered }]);
        lab.deliver_all();
        lab.fetches[0].2 = fetched;
        lab.fetch(true);
        lab.fetches_at_once = true;
        let there = lab.run_until(4 * E, |lab| lab.raft(2).commit() == lab.raft(1).commit());
        assert!(there.is_some(), "newer {newer}");
        assert_eq!(lab.applied(2).len(), 25);
    }
}

// Scenario 42: a term is refused at once, not entry by entry (Raft §5.3).
#[test]
fn a_conflict_takes_no_more_probes_than_terms() {
    let shared = [1; 10];
    let ours: Vec<u64> = shared.into_iter().chain([7; 60]).collect();
    let theirs: Vec<u64> = shared.into_iter().chain((2..=6).flat_map(|term| [term; 10])).collect();
    let mut lab = Lab::empty(Config::new(E), 1);
    let members = Configuration::voters(1..=3);
    lab.seat(1, Disk::new(members.clone()).with_log(&ours));
    lab.seat(2, Disk::new(members.clone()).with_log(&theirs));
    lab.seat(3, Disk::new(members).with_log(&shared));
    lab.elect(1);
    lab.run(3);
    assert_eq!(lab.log(2), lab.log(1));
    let rounds = lab.sent["Rejected"];
    assert!(rounds <= 2 + 5 + 1, "{rounds} refusals, for n2 and n3 together");
    // And the other way: terms that only the leader has.
    let mut lab = Lab::empty(Config::new(E), 1);
    let members = Configuration::voters([1, 2]);
    lab.seat(1, Disk::new(members.clone()).with_log(&theirs));
    lab.seat(2, Disk::new(members).with_log(&[&shared[..], &[1; 50]].concat()));
    lab.elect(1);
    lab.run(3);
    assert_eq!(lab.log(2), lab.log(1));
    assert!(lab.sent["Rejected"] <= 6, "{} refusals", lab.sent["Rejected"]);
}

/// Bytes of entries that a core holds in memory.
fn in_memory(raft: &Raft) -> usize {
    let (first, last) = (raft.base().index.next(), raft.last().index.next());
    let start = (first.0..=last.0).find(|at| raft.entries(Index(*at)..last).is_some());
    let tail = raft.entries(Index(start.unwrap())..last).unwrap();
    tail.map(drystone_raft::Entry::bytes).sum()
}

// Scenario 43: a follower whose words are lost costs one message a heartbeat, and is up to date as
// soon as they are heard again (Raft §5.3; etcd's inflights).
#[test]
fn a_full_window_without_answers_costs_one_probe_a_heartbeat() {
    let mut config = Config::new(E);
    (config.window_messages_max, config.tail_bytes_max) = (8, 2000);
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.run(3);
    lab.cut.insert((2, 1));
    let sent = |lab: &Lab| {
        lab.mail.iter().filter(|m| m.message.to == 2 && kind(&m.message.body) == "Append").count()
    };
    let mut count = 0;
    for _ in 0..100 {
        lab.now += 1;
        lab.step(1, Vec::new());
        (0..5).for_each(|_| {
            lab.propose(1, "0123456789");
        });
        count += sent(&lab);
        lab.deliver_all();
        assert!(in_memory(lab.raft(1)) <= 2000 + 600, "{}", in_memory(lab.raft(1)));
    }
    assert!(count <= 8 + 100, "{count} appends to a follower that says nothing");
    lab.heal();
    lab.run(1);
    lab.run(1);
    assert_eq!(lab.raft(2).last(), lab.raft(1).last());
    assert_eq!(lab.raft(2).commit(), lab.raft(1).commit());
}

// Scenario 44: a follower that sleeps for an hour costs its leader no more than the windows say.
#[test]
fn a_sleeping_follower_costs_a_leader_bounded_memory() {
    let mut config = Config::new(E);
    (config.window_bytes_max, config.message_bytes_max) = (4000, 1000);
    (config.tail_bytes_max, config.uncommitted_bytes_max) = (8000, 6000);
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.run(3);
    lab.part(&[2], &[1, 3]);
    let payload = "p".repeat(100);
    // An hour, a tick being a second.
    for _ in 0..3600 {
        lab.propose(1, &payload);
        lab.propose(1, &payload);
        lab.run(1);
        assert!(in_memory(lab.raft(1)) <= 8000 + 6000 + 1000);
    }
    assert_eq!(lab.raft(1).commit(), lab.raft(1).last().index, "the other goes on");
    // When nobody answers, proposals end before memory does.
    lab.cut.insert((3, 1));
    let mut refused = 0;
    for _ in 0..100 {
        let ticket = lab.propose(1, &payload);
        refused += u64::from(lab.answer(1, ticket).is_some());
    }
    assert_eq!(refused, 100 - 6000 / (100 + 24));
    assert!(in_memory(lab.raft(1)) <= 8000 + 6000 + 1000);
    lab.heal();
    lab.run(20);
    assert_eq!(lab.raft(2).last(), lab.raft(1).last());
}

// Scenario 45: whoever waits at a leader that is replaced, and then skips their entries with a
// snapshot, is told so, once (openraft #1761). The bench asserts "once".
#[test]
fn waiters_of_a_leader_that_is_overtaken_by_a_snapshot_are_answered() {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    lab.run(1);
    lab.part(&[1], &[2, 3]);
    let mut tickets: Vec<_> = (0..5).map(|_| lab.propose(1, "lost")).collect();
    tickets.push(lab.read(1, ReadMode::Index));
    tickets.push(lab.read(1, ReadMode::Log));
    tickets.push(lab.change(1, Change::new().learner(9)));
    tickets.push(lab.transfer(1, 2));
    lab.run(4 * E);
    let leader = lab.leader().unwrap();
    (0..9).for_each(|_| {
        lab.propose(leader, "kept");
    });
    lab.run(1);
    compact(&mut lab, leader);
    lab.heal();
    lab.run(2 * E);
    assert_eq!(lab.applied(1), ["kept"; 9]);
    for ticket in tickets {
        let answer = lab.answer(1, ticket);
        assert!(answer.is_some_and(|answer| answer.is_err()) || ticket.0 == 9, "{answer:?}");
        assert!(answer.is_some(), "{ticket:?} waits for ever");
    }
}

// Scenario 46: entries that cannot be read are not sent, nor is anything in their place; when they
// are mended from a peer, the follower gets them (openraft #1795).
#[test]
fn a_failed_read_sends_nothing_in_its_place() {
    let mut config = Config::new(E);
    config.tail_bytes_max = 0;
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.part(&[2], &[1, 3]);
    (0..20).for_each(|_| {
        lab.propose(1, "x");
    });
    lab.run(2);
    lab.at(1).loads = false;
    lab.heal();
    lab.run(2);
    // The read comes back with nothing, and then says why.
    let after = lab.raft(2).last().index;
    let mut out = Vec::new();
    let loaded = Input::Loaded { to: 2, after, entries: Vec::new() };
    let now = lab.now;
    lab.at(1).raft.step(now, vec![loaded], &mut out);
    let wrong = |effect: &Effect| {
        let Effect::Send(message) = effect else { return false };
        matches!(&message.body, Body::Append { prev, entries, .. }
            if !entries.is_empty() && prev.index < after)
    };
    assert!(!out.iter().any(wrong), "{out:?}");
    lab.step(1, vec![Input::Damaged { after, through: Index(10) }]);
    lab.at(1).loads = true;
    let there = lab.run_until(4 * E, |lab| lab.raft(2).last() == lab.raft(1).last());
    assert!(there.is_some(), "n2 never gets what was mended");
    assert_eq!(lab.applied(2), ["x"; 20]);
    assert!(lab.raft(1).is_sound());
}

// Scenario 47: a proposal in the middle of a transfer is refused at once (thesis §3.10).
#[test]
fn proposals_are_refused_during_a_transfer() {
    play("flow/proposals_are_refused_during_a_transfer");
}

// Scenario 47b: a follower that is catching up is not left behind by compaction, unless room
// demands it; then it is said (hashicorp #212, consul #9609).
#[test]
fn compaction_waits_for_a_follower_that_is_catching_up() {
    let mut lab = far_behind(Config::new(E));
    lab.fetches_at_once = false;
    lab.at(1).faults.clear();
    lab.run(1);
    let meta = crate::lab::snapshot(&lab.seats[&1]);
    lab.step(1, vec![Input::SnapshotOpen { to: 2, meta: meta.clone() }]);
    lab.run(1);
    // While n2 fetches, writes go on and the log is to be shortened all the time.
    for _ in 0..5 * E {
        lab.propose(1, "y");
        lab.run(1);
        let through = lab.raft(1).commit();
        lab.step(1, vec![Input::Compact { through, must: Index(0) }]);
        assert!(lab.raft(1).base().index <= meta.last.index, "the log behind the snapshot is cut");
    }
    assert!(!lab.faulted(1, |fault| matches!(fault, Fault::LeftBehind { .. })));
    lab.fetch(true);
    lab.fetches_at_once = true;
    let offers = lab.sent["Offer"];
    lab.run(3);
    assert_eq!(lab.raft(2).last(), lab.raft(1).last(), "it caught up from the log");
    assert_eq!(lab.sent["Offer"], offers, "without another snapshot");
    // When there is no room left, it is cut all the same, and somebody knows.
    lab.part(&[2], &[1, 3]);
    (0..9).for_each(|_| {
        lab.propose(1, "z");
    });
    lab.run(1);
    compact(&mut lab, 1);
    assert!(lab.faulted(1, |fault| matches!(fault, Fault::LeftBehind { peer: 2 })));
    // Once is enough.
    lab.at(1).faults.clear();
    lab.propose(1, "z");
    lab.run(1);
    compact(&mut lab, 1);
    assert!(!lab.faulted(1, |fault| matches!(fault, Fault::LeftBehind { .. })));
    lab.heal();
    lab.run(2 * E);
    assert_eq!(lab.raft(2).last(), lab.raft(1).last());
}

// Scenario 47c: a follower that crashes while it fetches a snapshot is served anew by itself
// (dgraph
// #2707).
#[test]
fn a_follower_that_crashes_during_a_snapshot_is_served_again() {
    for away in [1, E, 20 * E] {
        let mut lab = far_behind(Config::new(E));
        lab.fetches_at_once = false;
        lab.run(1);
        let meta = crate::lab::snapshot(&lab.seats[&1]);
        lab.step(1, vec![Input::SnapshotOpen { to: 2, meta }]);
        lab.run(1);
        assert_eq!(lab.fetches.len(), 1);
        lab.crash(2);
        lab.fetches.clear();
        lab.run(away);
        lab.restart(2);
        lab.fetches_at_once = true;
        let there = lab.run_until(4 * E, |lab| lab.raft(2).last() == lab.raft(1).last());
        assert!(there.is_some(), "away {away}");
        assert_eq!((lab.leader(), lab.raft(2).role()), (Some(1), Role::Follower));
    }
}
