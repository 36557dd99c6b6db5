//! What is under way, what may wait, and what gets an answer.

use drystone_raft::{
    Body, Change, Config, Entry, Fault, Index, Input, Message, NodeId, ReadMode, Refused, Term,
    Ticket,
};

use crate::lab::Lab;

const E: u64 = 10;

/// Messages with entries in them.
fn carries(message: &Message) -> bool {
    matches!(&message.body, Body::Append { entries, .. } if !entries.is_empty())
}

/// One entry a message, and four messages a window.
fn narrow() -> Config {
    Config { message_bytes_max: 1, window_messages_max: 4, ..Config::new(E) }
}

/// Messages of entries that it takes until a follower says where its log meets the leader's.
fn probes(leader: &[(u64, u64)], follower: &[(u64, u64)]) -> usize {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.rewrite(1, leader);
    lab.rewrite(2, leader);
    lab.rewrite(3, follower);
    lab.elect(1);
    lab.run(E);
    assert_eq!(lab.commit_of(3), lab.commit_of(1));
    assert_eq!(lab.seats[&3].disk.entries, lab.seats[&1].disk.entries);
    let to_it = |message: &Message| message.from == 1 && message.to == 3;
    let rejected = lab.count(0, |it| matches!(it.body, Body::Rejected { .. }) && it.from == 3);
    let sent = lab.count(0, |it| to_it(it) && matches!(it.body, Body::Append { .. }));
    assert!(sent <= rejected + 3, "nothing is sent twice: {sent} for {rejected}");
    rejected + 1
}

// Scenario 42: fifty entries that nobody wants, of five terms. Going back one entry a round trip
// would take fifty (Raft §5.3, the paragraph on fewer rejected appends).
#[test]
fn a_long_conflict_costs_a_probe_for_each_term_and_one() {
    let old = [(1, 10), (2, 10), (3, 10), (4, 10), (5, 10), (6, 10)];
    let rounds = probes(&[(1, 10), (7, 50)], &old);
    assert!(rounds <= 6, "all of one term against five: {rounds}");
    let even = [(1, 10), (2, 10), (4, 10), (6, 10), (8, 10), (10, 10)];
    let odd = [(1, 10), (3, 10), (5, 10), (7, 10), (9, 10), (11, 10)];
    let rounds = probes(&odd, &even);
    assert!(rounds <= 6, "five against five: {rounds}");
    let rounds =
        probes(&[(1, 10), (2, 10), (4, 10), (6, 10), (8, 10), (10, 10)], &[(1, 10), (9, 50)]);
    assert!(rounds <= 6, "five against one: {rounds}");
    let rounds = probes(&odd, &[(1, 10), (2, 500)]);
    assert!(rounds <= 6, "a longer log: {rounds}");
    let rounds = probes(&odd, &[(1, 3)]);
    assert!(rounds <= 2, "a shorter log: {rounds}");
}

// Scenario 43: a follower takes entries and its acknowledgements are lost. The window fills, and
// nothing more is sent but heartbeats, however long it lasts and however much is proposed.
#[test]
fn a_window_without_acknowledgements_stays_as_it_is() {
    let mut lab = Lab::new(narrow(), &[1, 2, 3]);
    lab.elect(1);
    lab.run(2);
    lab.cut.insert((3, 1));
    let from = lab.sent.len();
    for _ in 0..E - 2 {
        lab.commit(1, 12);
        lab.run(1);
        let entries = lab.count(from, |it| it.to == 3 && carries(it));
        assert!(entries <= 4, "{entries} messages under way");
    }
    // The link works again: a heartbeat's round trip, and the window is full once more.
    lab.heal();
    let from = lab.sent.len();
    lab.tick();
    lab.fly();
    lab.fly();
    let entries = lab.count(from, |it| it.to == 3 && carries(it));
    assert_eq!(entries, 4, "full rate after one round trip");
    lab.run(2);
    assert_eq!(lab.commit_of(3), lab.commit_of(1));
    lab.works(&[1, 2, 3]);
}

// Scenario 43: heartbeats arrive and entries do not, as where large packets are dropped. What was
// lost is sent again as one probe a heartbeat, not as a window.
#[test]
fn entries_that_get_lost_are_sent_again_once_a_heartbeat() {
    let mut lab = Lab::new(narrow(), &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 1);
    lab.run(2);
    lab.lost = Some(|message| message.to == 3 && carries(message));
    let start = lab.sent.len();
    lab.commit(1, 50);
    let entries = lab.count(start, |it| it.to == 3 && carries(it));
    assert_eq!(entries, 4, "a window");
    for _ in 0..50 {
        let from = lab.sent.len();
        let proposed = lab.propose(1, "more");
        lab.run(1);
        assert!(lab.answer(1, proposed).unwrap().is_ok());
        let beats = lab.count(from, |it| it.to == 3 && matches!(it.body, Body::Heartbeat { .. }));
        let again = lab.count(from, |it| it.to == 3 && carries(it));
        assert!(again <= 1, "{again} messages of entries for {beats} heartbeats");
    }
    // Two round trips after a heartbeat the window is full again.
    lab.heal();
    let from = lab.sent.len();
    lab.tick();
    for _ in 0..4 {
        lab.fly();
    }
    let entries = lab.count(from, |it| it.to == 3 && carries(it));
    assert!(entries >= 5, "full rate after two round trips: {entries}");
    lab.run(2);
    assert_eq!(lab.commit_of(3), lab.commit_of(1));
    lab.works(&[1, 2, 3]);
}

/// About what a node has in memory: all that it holds, written out.
fn size(lab: &Lab, id: NodeId) -> usize {
    format!("{:?}", lab.seats[&id].raft).len()
}

// Scenario 44: a follower sleeps for an hour while the others work. What the leader keeps for it is
// bounded by the options, not by the hour; and when it only ceases to write, so is what it keeps
// itself.
#[test]
fn a_follower_that_sleeps_for_an_hour_costs_no_memory() {
    let config = Config {
        message_bytes_max: 8 << 10,
        window_bytes_max: 32 << 10,
        uncommitted_bytes_max: 16 << 10,
        tail_bytes_max: 64 << 10,
        ..Config::new(E)
    };
    // All that may be in memory, and twice that for how it is written out.
    let bound = 3 * (32 + 16 + 64) << 10;
    for asleep in [true, false] {
        let mut lab = Lab::new(config.clone(), &[1, 2, 3]);
        lab.elect(1);
        lab.run(2);
        if asleep {
            lab.part(&[3]);
        } else {
            lab.seats.get_mut(&3).unwrap().stores = false;
        }
        let text = "x".repeat(100);
        // A second is an election timeout.
        for second in 0..3600 {
            lab.propose(1, &text);
            lab.run(E);
            if second % 60 == 0 {
                for id in 1..=3 {
                    assert!(
                        size(&lab, id) < bound,
                        "node {id} after {second} s: {}",
                        size(&lab, id)
                    );
                }
                lab.sent.clear();
            }
        }
        assert_eq!(lab.leader(), Some(1));
        lab.heal();
        lab.seats.get_mut(&3).unwrap().stores = true;
        lab.run(4 * E);
        assert_eq!(lab.applied(3).len(), 3600, "it has all of it in the end");
        lab.works(&[1, 2, 3]);
    }
}

// A leader that cannot commit takes what its limit allows and refuses the rest at once; and one
// command is let in however large it is, or it never would be.
#[test]
fn what_is_not_committed_is_limited() {
    let config = Config { uncommitted_bytes_max: 1000, ..Config::new(E) };
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 1);
    lab.part(&[1]);
    let large = lab.propose(1, &"x".repeat(5000));
    assert_eq!(lab.answer(1, large), None, "it waits");
    let small = lab.propose(1, "y");
    assert_eq!(lab.answer(1, small), Some(Err(Refused::Overloaded)));
    lab.mail.clear();
    lab.heal();
    lab.run(3);
    assert!(lab.answer(1, large).unwrap().is_ok());
    lab.part(&[1]);
    let tickets: Vec<Ticket> = (0..100).map(|_| lab.propose(1, "0123456789")).collect();
    let refused = |it: &&Ticket| lab.answer(1, **it) == Some(Err(Refused::Overloaded));
    let taken = 100 - tickets.iter().filter(refused).count();
    let bytes = taken * (10 + Entry::OVERHEAD_BYTES);
    assert!(bytes <= 1000 && bytes + 10 + Entry::OVERHEAD_BYTES > 1000, "{taken} taken");
    lab.run(3 * E);
    for ticket in tickets {
        assert!(lab.answer(1, ticket).is_some(), "and in the end each has an answer");
    }
    lab.heal();
    lab.works(&[1, 2, 3]);
}

// Scenario 45: openraft #1761. A leader is cut off with work in hand, and comes back to a group
// whose log begins behind all of it. Nobody who waited may wait for ever, or be told twice.
#[test]
fn a_snapshot_in_place_of_pending_work_leaves_nobody_waiting() {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    // It does not notice by itself that it is alone.
    lab.configs.insert(1, Config { check_quorum: false, ..Config::new(E) });
    lab.crash(1);
    lab.restart(1);
    lab.elect(1);
    lab.commit(1, 2);
    lab.part(&[1]);
    let mut waiting: Vec<Ticket> = (0..5).map(|_| lab.propose(1, "lost")).collect();
    waiting.push(lab.read(1, ReadMode::Index));
    waiting.push(lab.read(1, ReadMode::Log));
    waiting.push(lab.change(1, Change::new().voter(4)));
    waiting.push(lab.transfer(1, 2));
    lab.run(5 * E);
    let next = lab.leader().unwrap();
    assert_ne!(next, 1);
    lab.commit(next, 20);
    lab.run(20 * E);
    lab.compact(next, Index(22));
    assert!(lab.is_leader(1), "it still believes that it leads");
    assert_eq!(lab.answer(1, waiting[0]), None);
    lab.heal();
    lab.run(4 * E);
    assert!(lab.seats[&1].raft.base().index >= Index(22), "the snapshot is in");
    for ticket in &waiting {
        // That each is told once is asserted where the answer is looked up.
        let answer = lab.answer(1, *ticket).expect("it is told");
        assert!(answer.is_err(), "{ticket:?}: {answer:?}");
    }
    assert!(!lab.applied(1).contains(&"lost".to_owned()));
    lab.works(&[1, 2, 3]);
    for ticket in &waiting {
        lab.answer(1, *ticket);
    }
}

// Scenario 46: openraft #1795. The leader cannot read what a follower lacks. It must not send the
// entries behind it as if they were the beginning; it gets them back from the other follower.
#[test]
fn a_leader_that_cannot_read_its_log_sends_nothing_from_nowhere() {
    let config = Config { tail_bytes_max: 0, message_bytes_max: 200, ..Config::new(E) };
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 4);
    lab.run(2);
    lab.crash(3);
    lab.commit(1, 26);
    lab.run(2 * E);
    for (first, last) in [(2, 2), (5, 9), (20, 25)] {
        lab.seats.get_mut(&1).unwrap().disk.rot(first..=last);
    }
    lab.restart(3);
    lab.run(4 * E);
    assert_eq!(lab.leader(), Some(1), "what is lost behind a leader's head does not end its reign");
    assert_eq!(lab.applied(3), lab.applied(2));
    assert_eq!(lab.applied(3).len(), 30);
    let left: Vec<Index> = lab.seats[&1].disk.rotten.iter().copied().collect();
    assert_eq!(left, [Index(2), Index(5)], "only what nobody read is still rotten");
    lab.works(&[1, 2, 3]);
}

// Scenario 46: the same at the very end of the log, where no entry stands behind to vouch for it: the
// leader makes one, if what it cannot read is committed.
#[test]
fn a_leader_that_cannot_read_its_last_entries_puts_one_behind_them() {
    let config = Config { tail_bytes_max: 0, ..Config::new(E) };
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.crash(3);
    lab.commit(1, 9);
    lab.seats.get_mut(&1).unwrap().disk.rot(7..=10);
    lab.restart(3);
    lab.run(4 * E);
    assert_eq!(lab.leader(), Some(1));
    assert_eq!(lab.applied(3), lab.applied(2));
    assert!(lab.seats[&1].disk.rotten.is_empty());
    lab.works(&[1, 2, 3]);
}

// Scenario 46: and if what it cannot read is not committed, it must not lead on: a log that is cut
// and goes on in the same term would hold other entries in places that its followers have filled.
#[test]
fn a_leader_that_loses_entries_that_are_not_committed_stops() {
    let config = Config { tail_bytes_max: 0, ..Config::new(E) };
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 2);
    lab.run(2);
    // Node 2 has them and cannot say so; node 3 does not have them.
    lab.cut.extend([(2, 1), (3, 1), (1, 3)]);
    let waiting: Vec<Ticket> = (0..3).map(|_| lab.propose(1, "x")).collect();
    lab.deliver_all();
    lab.seats.get_mut(&1).unwrap().disk.rot(4..=6);
    lab.heal();
    lab.cut.extend([(2, 1), (1, 2)]);
    lab.run(3);
    assert_eq!(lab.seats[&1].faults, [Fault::Storage]);
    for ticket in waiting {
        assert_eq!(lab.answer(1, ticket), Some(Err(Refused::Unknown)));
    }
    lab.heal();
    lab.leader_within(4 * E, &[2, 3]);
    lab.crash(1);
    lab.restart(1);
    lab.works(&[1, 2, 3]);
    assert_eq!(lab.applied(1).iter().filter(|it| *it == "x").count(), 3, "node 2 had them");
}

// Scenario 47: while the office is handed over, what cannot be taken is refused at once, and when
// it is not taken up, work goes on.
#[test]
fn proposals_during_a_transfer_are_refused_and_taken_again_after_it() {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 1);
    lab.lost = Some(|message| matches!(message.body, Body::TimeoutNow { .. }));
    let start = lab.now;
    let transfer = lab.transfer(1, 3);
    let proposal = lab.propose(1, "x");
    assert_eq!(lab.answer(1, proposal), Some(Err(Refused::Transferring)));
    let change = lab.change(1, Change::new().voter(4));
    assert_eq!(lab.answer(1, change), Some(Err(Refused::Transferring)));
    let again = lab.transfer(1, 2);
    assert_eq!(lab.answer(1, again), Some(Err(Refused::Transferring)));
    lab.reads(1);
    while lab.answer(1, transfer).is_none() {
        assert!(lab.now <= start + E + 1, "given up in time");
        lab.run(1);
    }
    assert_eq!(lab.answer(1, transfer), Some(Err(Refused::TimedOut)));
    assert_eq!((lab.leader(), lab.term(1)), (Some(1), lab.term(3)));
    lab.commit(1, 1);
    lab.heal();
    let transfer = lab.transfer(1, 3);
    lab.run(2);
    assert!(lab.answer(1, transfer).unwrap().is_ok());
    assert_eq!(lab.leader(), Some(3));
    assert!(!lab.applied(2).contains(&"x".to_owned()), "what was refused is not done");
    lab.works(&[1, 2, 3]);
}

// A group with nothing to do sends nothing and watches no clock; whatever it is asked wakes it.
#[test]
fn a_silent_group_costs_nothing_and_wakes_when_asked() {
    let config = Config { quiesce_after: Some(2 * E), ..Config::new(E) };
    let mut lab = Lab::new(config, &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 3);
    lab.run(4 * E);
    let silent = |lab: &Lab| lab.seats.values().all(|seat| seat.raft.deadline().is_none());
    assert!(silent(&lab));
    let from = lab.sent.len();
    lab.run(1000 * E);
    assert_eq!(lab.sent.len(), from, "not a word in a thousand timeouts");
    lab.commit(1, 1);
    lab.run(4 * E);
    assert!(silent(&lab));
    // A read at a follower wakes both.
    lab.reads(2);
    lab.run(4 * E);
    assert!(silent(&lab));
    // A leader that dies in the silence is not missed until somebody says so.
    let term = lab.term(1);
    lab.crash(1);
    lab.run(100 * E);
    assert_eq!(lab.term(2), term);
    lab.step(2, vec![Input::Unreachable(1)]);
    lab.step(3, vec![Input::Unreachable(1)]);
    lab.leader_within(4 * E, &[2, 3]);
    lab.restart(1);
    lab.works(&[1, 2, 3]);
}

// Reads at a follower see what was acknowledged before them, share a request, survive its loss, and
// are refused when there is nobody to ask.
#[test]
fn reads_at_a_follower_are_as_good_as_at_the_leader() {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 5);
    // Node 2 does not know yet that this is committed.
    let written = lab.propose(1, "w");
    lab.lost = Some(|message| message.to == 2 && matches!(message.body, Body::Heartbeat { .. }));
    lab.deliver_all();
    lab.lost = None;
    let written = lab.answer(1, written).unwrap().unwrap();
    assert!(lab.commit_of(2) < written);
    assert!(lab.reads(2) >= written);
    let from = lab.sent.len();
    let reads: Vec<Ticket> = (0..100).map(|_| lab.read(2, ReadMode::Index)).collect();
    lab.deliver_all();
    for read in reads {
        assert!(lab.answer(2, read).unwrap().unwrap() >= written);
    }
    let asked = lab.count(from, |it| matches!(it.body, Body::ReadRequest { .. }));
    assert_eq!(asked, 2, "the first went alone, all others together");
    lab.lost = Some(|message| matches!(message.body, Body::ReadReply { .. }));
    let read = lab.read(2, ReadMode::Index);
    lab.run(3);
    assert_eq!(lab.answer(2, read), None);
    lab.heal();
    lab.run(3);
    assert!(lab.answer(2, read).unwrap().is_ok());
    // Its leader is gone: it is told so, once, and no later than it gives up on it.
    lab.part(&[2]);
    let read = lab.read(2, ReadMode::Index);
    lab.run(3 * E);
    assert_eq!(lab.answer(2, read), Some(Err(Refused::NotLeader(None))));
    let read = lab.read(2, ReadMode::Index);
    assert_eq!(lab.answer(2, read), Some(Err(Refused::NotLeader(None))));
    assert_eq!(lab.term(2), Term(lab.term(1).0));
    lab.heal();
    lab.works(&[1, 2, 3]);
}
