//! Scenarios 1 to 12: the log, and what counts as committed.

use drystone_raft::{Body, Config, Configuration, Fault, Index, Role, WriteId};

use crate::lab::{Disk, Lab, entry, kind, play, pos};

fn append(prev: (u64, u64), entries: &[(u64, u64)], commit: u64) -> Body {
    let entries = entries.iter().map(|(term, index)| entry(*term, *index)).collect();
    Body::Append { prev: pos(prev.0, prev.1), commit: Index(commit), round: 1, entries }
}

/// One member of a group of three, with this log.
fn one(terms: &[u64]) -> Lab {
    let mut lab = Lab::empty(Config::new(10), 1);
    lab.seat(1, Disk::new(Configuration::voters(1..=3)).with_log(terms));
    lab
}

// Scenario 1: an entry of an old term on a majority can still be overwritten (Raft figure 8).
#[test]
fn older_terms_do_not_commit_by_counting() {
    play("log/older_terms_do_not_commit_by_counting");
}

// Scenario 2: a late completion must not count towards a later leadership (etcd).
#[test]
fn an_old_write_does_not_count_in_a_later_term() {
    play("log/an_old_write_does_not_count_in_a_later_term");
}

// Scenario 3: an index is written, overwritten and written again; the first write proves nothing
// of the third (etcd async_storage_writes_append_aba_race).
#[test]
fn a_write_that_was_overtaken_vouches_for_nothing() {
    for order in [[1, 2, 3], [1, 3, 2], [3, 1, 2], [2, 3, 1], [3, 2, 1], [2, 1, 3]] {
        let mut lab = Lab::empty(Config::new(10), 1);
        lab.seat(1, Disk::new(Configuration::voters(1..=7)));
        lab.at(1).stores = false;
        for (leader, term, written) in [(2, 1, 1), (3, 2, 2), (4, 3, 1)] {
            lab.post(leader, 1, term, append((0, 0), &[(written, 1)], 0));
            lab.deliver_all();
        }
        let mut done = 0;
        for write in order {
            assert!(lab.mail.iter().all(|mail| kind(&mail.message.body) != "Accepted"));
            lab.store(1, WriteId(write));
            done += 1;
            let accepted = lab.take(|message| kind(&message.body) == "Accepted");
            assert_eq!(accepted.len(), usize::from(done == 3), "{order:?}: {accepted:?}");
        }
        assert_eq!(lab.log(1), [1]);
    }
}

// Scenario 4: completions have no order to get wrong (openraft #1960).
#[test]
fn completions_may_come_in_any_order() {
    play("log/completions_may_come_in_any_order");
}

// Scenario 5: being alone is no licence to forget (etcd #14370).
#[test]
fn a_lone_voter_commits_nothing_before_it_is_durable() {
    play("log/a_lone_voter_commits_nothing_before_it_is_durable");
}

// Scenario 6: a late, short message cuts nothing; only a conflict does (Raft §5.3; openraft).
#[test]
fn a_short_append_cuts_nothing() {
    let mut lab = one(&[1, 1, 2]);
    for entries in [&[(1, 2)][..], &[]] {
        lab.post(2, 1, 2, append((1, 1), entries, 0));
        lab.deliver_all();
        assert_eq!(lab.log(1), [1, 1, 2]);
    }
    lab.post(2, 1, 3, append((1, 1), &[(3, 2)], 0));
    lab.deliver_all();
    assert_eq!(lab.log(1), [1, 3], "a real conflict cuts");
}

// Scenario 7: what is compacted is committed, hence alike; nothing there is refused (openraft).
#[test]
fn an_append_below_the_snapshot_is_accepted_as_matching() {
    let mut lab = one(&[1; 12]);
    lab.post(2, 1, 1, append((1, 12), &[], 11));
    lab.deliver_all();
    lab.step(1, vec![drystone_raft::Input::Compact { through: Index(10), must: Index(0) }]);
    lab.mail.clear();
    for entries in [&[][..], &[(1, 6), (1, 7)], &[(1, 6), (1, 7), (1, 8), (1, 9), (1, 10), (1, 11)]]
    {
        lab.post(2, 1, 1, append((1, 5), entries, 11));
        let message = lab.mail.pop_front().unwrap().message;
        lab.deliver(message);
        let said = lab.mail.pop_front().unwrap().message.body;
        assert!(matches!(said, Body::Accepted { matched, .. } if matched >= Index(11)), "{said:?}");
        assert_eq!((lab.raft(1).last(), lab.raft(1).base()), (pos(1, 12), pos(1, 10)));
    }
}

// Scenario 8: a commit index ends where the logs are known to agree (Raft §5.3).
#[test]
fn a_heartbeat_commits_no_further_than_what_matches() {
    let mut lab = one(&[1, 1, 1, 1, 1, 1, 1, 2, 2]);
    let beat = || Body::Heartbeat { commit: Index(9), round: 2, quiesce: false };
    lab.post(3, 1, 3, beat());
    lab.deliver_all();
    assert_eq!(lab.raft(1).commit(), Index(0), "nothing is known to match yet");
    lab.post(3, 1, 3, append((1, 7), &[], 9));
    lab.post(3, 1, 3, beat());
    lab.deliver_all();
    assert_eq!(lab.raft(1).commit(), Index(7));
    // What matched one leader's log says nothing of the next one's.
    lab.post(2, 1, 4, beat());
    lab.deliver_all();
    assert_eq!(lab.raft(1).commit(), Index(7));
}

// Scenario 9: whatever the order of acknowledgements, a quorum is counted from what is on the
// disks (openraft #1802, whose count of five voters went wrong).
#[test]
fn commits_agree_with_a_count_from_scratch() {
    for seed in 0..150 {
        let mut lab = Lab::seeded(Config::new(10), &[1, 2, 3, 4, 5], seed);
        lab.elect(1);
        (2..=5).for_each(|id| lab.at(id).stores = false);
        for round in 0..200 {
            match lab.draw(4) {
                0 => {
                    lab.propose(1, "x");
                }
                1 => {
                    let id = 2 + lab.draw(4);
                    let count = lab.at(id).writes.iter().filter(|write| !write.done).count();
                    if count > 0 {
                        let nth = usize::try_from(lab.draw(count as u64)).unwrap();
                        let mut open = lab.at(id).writes.iter().filter(|write| !write.done);
                        let write = open.nth(nth).unwrap().write.id;
                        lab.store(id, write);
                    }
                }
                _ if !lab.mail.is_empty() => {
                    let at = usize::try_from(lab.draw(lab.mail.len() as u64)).unwrap();
                    let message = lab.mail.remove(at).unwrap().message;
                    lab.deliver(message);
                }
                _ => {}
            }
            let commit = lab.raft(1).commit();
            let term = lab.raft(1).term_at(commit).unwrap();
            let has = |id: &u64| {
                let disk = &lab.seats[id].disk;
                disk.entries.iter().any(|e| e.index == commit && e.term == term)
            };
            let count = (1..=5).filter(has).count();
            assert!(count >= 3, "seed {seed} round {round}: {commit} is on {count} disks");
        }
    }
}

// Scenario 10: acknowledgements of a follower's earlier life, before it lost its log, are void; and
// old refusals take nothing back (openraft cecb5de8, fbbf37b1).
#[test]
fn words_of_an_earlier_life_move_nothing() {
    let mut lab = Lab::new(Config::new(10), &[1, 2, 3]);
    lab.elect(1);
    lab.deliver_all();
    lab.part(&[3], &[1, 2]);
    for _ in 0..8 {
        lab.propose(1, "x");
    }
    for message in lab.take(|message| kind(&message.body) == "Append" && message.to == 2) {
        lab.deliver(message);
    }
    let acks = lab.take(|message| kind(&message.body) == "Accepted");
    assert_eq!(acks.len(), 8, "one for each of a window of eight");
    // It comes back with an empty disk, and says so before the old words arrive.
    lab.crash(2);
    lab.at(2).disk = Disk::new(Configuration::voters(1..=3));
    lab.restart(2);
    lab.mail.clear();
    lab.pass_tick();
    lab.pass_tick();
    for message in lab.take(|message| message.to == 2) {
        lab.deliver(message);
    }
    for message in lab.take(|message| message.to == 1) {
        lab.deliver(message);
    }
    lab.mail.clear();
    for ack in acks {
        lab.deliver(ack);
        assert_eq!(lab.raft(1).commit(), Index(1), "an old word was counted");
    }
    // It gets everything anew, and its own word commits it.
    lab.run(30);
    assert_eq!(lab.raft(1).commit(), Index(9));
    assert!(lab.faulted(1, |fault| matches!(fault, Fault::LostLog { peer: 2, .. })));
    // An old refusal of what has been matched since makes nobody send it again.
    lab.mail.clear();
    let (hint, life) = (pos(0, 0), 1);
    lab.post(2, 1, 1, Body::Rejected { prev: Index(5), hint, round: 1, life });
    lab.deliver_all();
    assert!(!lab.mail.iter().any(|mail| kind(&mail.message.body) == "Append"));
    lab.run(1);
    assert_eq!(lab.log(2), [1; 9]);
}

// Scenario 11: two committed entries in one place are a catastrophe to report, not a state to adopt
// (openraft #1892).
#[test]
fn a_snapshot_that_contradicts_a_commit_stops_the_node() {
    let mut lab = one(&[2; 10]);
    lab.post(2, 1, 2, append((2, 10), &[], 10));
    lab.deliver_all();
    assert_eq!(lab.raft(1).commit(), Index(10));
    let meta = drystone_raft::SnapshotMeta {
        last: pos(3, 10),
        configuration: Configuration::voters(1..=3).into(),
        configuration_index: Index(0),
    };
    lab.seat(3, Disk::new(Configuration::voters(1..=3)));
    lab.post(3, 1, 4, Body::Offer { meta });
    lab.deliver_all();
    assert_eq!(lab.raft(1).role(), Role::Stopped);
    assert!(lab.faulted(1, |fault| matches!(fault, Fault::Diverged { index: Index(10), .. })));
    assert_eq!(lab.log(1), [2; 10], "nothing was changed");
}

// Scenario 12: a vote is not heard before it is durable, and entries that outlived the term on the
// disk show that a vote in their term may be spent (Raft §5.4.1 counts on one vote a term).
#[test]
fn a_torn_term_never_votes_twice() {
    let mut lab = one(&[1]);
    lab.at(1).stores = false;
    lab.post(2, 1, 5, Body::Vote { last: pos(1, 1), forced: false });
    lab.deliver_all();
    assert!(lab.mail.is_empty(), "the vote is not durable yet");
    lab.crash(1);
    lab.restart(1);
    assert_eq!(lab.term(1).0, 1, "and was never cast");
    // Entries of term 5 are there, the term is not: a vote in term 5 may have been given away.
    let mut disk = Disk::new(Configuration::voters(1..=3)).with_log(&[1, 5]);
    disk.hard.term = drystone_raft::Term(3);
    lab.seat(1, disk);
    assert_eq!(lab.term(1).0, 5);
    lab.post(3, 1, 5, Body::Vote { last: pos(5, 9), forced: true });
    lab.post(3, 1, 6, Body::Vote { last: pos(5, 9), forced: true });
    let early = lab.mail.pop_front().unwrap().message;
    lab.deliver(early);
    let said = |lab: &mut Lab| lab.take(|message| kind(&message.body) == "Ballot").pop();
    let first = said(&mut lab).unwrap().body;
    let refused = matches!(first, Body::Ballot { word: drystone_raft::Word::Refused, .. });
    assert!(refused, "a second vote in term 5: {first:?}");
    let late = lab.mail.pop_front().unwrap().message;
    lab.deliver(late);
    let second = said(&mut lab).unwrap().body;
    let granted = matches!(second, Body::Ballot { word: drystone_raft::Word::Granted, .. });
    assert!(granted, "a term that nobody has seen is fresh: {second:?}");
}
