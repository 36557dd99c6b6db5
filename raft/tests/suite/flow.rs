//! Scenarios 43, 44 and 46, at length: how much is sent and kept in memory, and what is not sent.
//! Each of 40 to 47c but 44 is told by stories, too.

use drystone_raft::{Body, Config, Effect, Index, Input, Raft};

use crate::lab::{Lab, kind};

const E: u64 = 10;

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
