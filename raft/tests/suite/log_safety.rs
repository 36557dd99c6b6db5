//! Scenarios 3 and 9: what counts as committed, in whatever order it is told. Each of 1 to 12 is
//! told by stories, too.

use drystone_raft::{Body, Config, Configuration, Index, WriteId};

use crate::lab::{Disk, Lab, entry, kind, pos};
use crate::seeds::{self, Chance};

fn append(prev: (u64, u64), entries: &[(u64, u64)], commit: u64) -> Body {
    let entries = entries.iter().map(|(term, index)| entry(*term, *index)).collect();
    Body::Append { prev: pos(prev.0, prev.1), commit: Index(commit), round: 1, entries }
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

// Scenario 9: whatever the order of acknowledgements, a quorum is counted from what is on the
// disks (openraft #1802, whose count of five voters went wrong).
#[test]
fn commits_agree_with_a_count_from_scratch() {
    seeds::each("commits_agree_with_a_count", 150, |seed| {
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
    });
}

// Scenario 9: after every word of a follower the commit index is what a count from scratch says:
// the third greatest of five (openraft #1802).
#[test]
fn the_commit_index_is_what_three_of_five_have() {
    seeds::each("the_commit_index_is_what_three_of_five_have", 300, |seed| {
        let mut chance = Chance::new(seed);
        let mut lab = Lab::seeded(Config::new(10), &[1, 2, 3, 4, 5], seed);
        lab.elect(1);
        (0..20).for_each(|_| {
            lab.propose(1, "x");
        });
        lab.mail.clear();
        let mut has = [21, 1, 1, 1, 1];
        for _ in 0..40 {
            let (at, matched) = (1 + chance.below(4), 1 + chance.below(21));
            let matched = Index(matched);
            lab.post(1 + at, 1, 1, Body::Accepted { matched, round: 0, life: 1 });
            let word = lab.mail.pop_back().unwrap().message;
            lab.deliver(word);
            lab.mail.clear();
            let at = usize::try_from(at).unwrap();
            has[at] = matched.0.max(has[at]);
            let mut sorted = has;
            sorted.sort_unstable();
            assert_eq!(lab.raft(1).commit(), Index(sorted[2]), "they have {has:?}");
        }
    });
}
