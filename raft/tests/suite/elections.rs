//! Scenarios 13 to 24 over many seeds: who leads, how soon, and who must not disturb it. Each is
//! told by a story, too.

use drystone_raft::{Body, Change, Config, Configuration, Input, NodeId, ReadMode, Role, Term};

use crate::lab::{Disk, Lab};
use crate::seeds;

const E: u64 = 10;

/// Whether somebody leads that a quorum follows, in the latest term of all.
fn led(lab: &Lab, quorum: usize) -> bool {
    let Some(leader) = lab.leader() else { return false };
    let term = lab.term(leader);
    let follows = |id: &NodeId| lab.term(*id) == term && lab.raft(*id).leader() == Some(leader);
    lab.ids().iter().filter(|id| lab.seats[id].up && follows(id)).count() >= quorum
}

/// The ticks that so many seeds took, in order. None may take more than `limit`.
fn ticks(
    name: &'static str,
    seeds: u64,
    limit: u64,
    mut run: impl FnMut(u64) -> Option<u64>,
) -> Vec<u64> {
    let mut all = Vec::new();
    seeds::each(name, seeds, |seed| {
        all.push(run(seed).unwrap_or_else(|| panic!("seed {seed}: no leader in {limit}")));
    });
    all.sort_unstable();
    all
}

/// How long a seed may take: 4E, and a little longer when messages take their time.
fn limit(lab: &Lab) -> u64 {
    if lab.jitter == 0 { 4 * E } else { 5 * E }
}

/// All but one of a hundred take no longer than 4E.
fn mostly_in_time(all: &[u64]) {
    let p99 = all[all.len() * 99 / 100];
    assert!(p99 <= 4 * E, "p99 {p99}, max {}", all[all.len() - 1]);
}

/// Callers that do not cease: writes at whoever leads, reads at everyone.
fn press(lab: &mut Lab) {
    for id in lab.ids() {
        if lab.raft(id).role() == Role::Leader {
            lab.propose(id, "w");
        }
        lab.read(id, ReadMode::Index);
    }
}

// Scenario 13: whenever a member that was away for long comes back, it changes neither leader nor
// term (thesis §9.6).
#[test]
fn who_comes_back_changes_neither_leader_nor_term() {
    seeds::each("who_comes_back", 200, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
        lab.jitter = seed % 3;
        lab.elect(1);
        lab.run(2 + seed % 3);
        let away = 2 + seed % 2;
        lab.part(&[away], &[1, 5 - away]);
        lab.run(100 * E + seed % E);
        lab.heal();
        lab.run(10 * E);
        assert_eq!((lab.leader(), lab.term(away).0), (Some(1), 1));
    });
}

// Scenario 14: a candidate of a later term with a shorter log must neither block the group nor be
// left outside it (etcd TestFreeStuckCandidateWithCheckQuorum, raft-rs #84).
#[test]
fn a_stuck_candidate_is_freed() {
    let all = ticks("a_stuck_candidate", 300, 5 * E, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
        lab.jitter = seed % 3;
        lab.part(&[3], &[1, 2]);
        lab.elect(1);
        lab.propose(1, "x");
        lab.run(2 + seed % 9);
        for _ in 0..3 {
            lab.step(3, vec![Input::Campaign]);
        }
        lab.mail.clear();
        let term = lab.term(3);
        lab.heal();
        let took = lab.run_until(limit(&lab), |lab| led(lab, 3) && lab.term(1) >= term);
        lab.run(30);
        assert!(led(&lab, 3), "seed {seed}: it lasts");
        took
    });
    mostly_in_time(&all);
}

// Scenario 15: two cohorts, one with the longer log and one with the later term, must not refuse
// each other for ever (openraft #1796, etcd raft #159).
#[test]
fn a_refused_pre_vote_teaches_the_later_term() {
    let all = ticks("a_refused_pre_vote", 1000, 5 * E, |seed| {
        let mut lab = Lab::empty(Config::new(E), seed);
        lab.jitter = seed % 2;
        let members = Configuration::voters(1..=5);
        for id in [1, 2, 4, 5] {
            let long = id <= 2;
            let mut disk = Disk::new(members.clone());
            disk = disk.with_log(if long { &[1, 6, 6] } else { &[1] });
            disk.hard.term = Term(if long { 6 } else { 7 });
            disk.hard.vote = (!long).then_some(5);
            lab.seat(id, disk);
        }
        lab.run_until(limit(&lab), |lab| led(lab, 3))
    });
    mostly_in_time(&all);
}

// Scenario 16: while a group moves to pre-vote, members that have it and one that has not must find
// a leader (etcd TestPreVoteMigration).
#[test]
fn members_with_and_without_pre_vote_find_a_leader() {
    let all = ticks("members_with_and_without", 1000, 5 * E, |seed| {
        let mut lab = Lab::empty(Config::new(E), seed);
        lab.jitter = seed % 2;
        for id in 1..=3 {
            let mut config = Config::new(E);
            config.pre_vote = id != 1 + seed % 3;
            let mut disk = Disk::new(Configuration::voters(1..=3));
            disk = disk.with_log(&[1, 1, 2][..usize::try_from(id).unwrap()]);
            disk.hard.term = Term(2 + (seed / 3 + 2 * id) % 5);
            lab.seat_with(id, disk, config);
        }
        lab.run_until(limit(&lab), |lab| led(lab, 2))
    });
    mostly_in_time(&all);
}

// Scenario 17: an old leader that sees one bridge node alone must not keep that node loyal by
// whatever it sends (openraft #2080, #2083, #2089).
#[test]
fn a_bridge_is_not_held_by_a_leader_without_a_quorum() {
    ticks("a_bridge_is_not_held", 1000, 4 * E, |seed| {
        let mut config = Config::new(E);
        config.tail_bytes_max = 0;
        let mut lab = Lab::seeded(config, &[1, 2, 3, 4, 5], seed);
        // The snapshot for the bridge never ends: it is offered and fetched, again and again.
        lab.fetches_at_once = seed % 3 > 0;
        lab.elect(1);
        let behind = seed % 3 != 1;
        if behind {
            lab.part(&[2], &[1, 3, 4, 5]);
        }
        (0..5).for_each(|_| {
            lab.propose(1, "x");
        });
        lab.run(seed % E / 2);
        if behind {
            let through = lab.raft(1).commit();
            lab.step(1, vec![Input::Compact { through, must: through }]);
        }
        lab.heal();
        lab.run(1);
        lab.part(&[1], &[3, 4, 5]);
        lab.part(&[5], &[1, 2, 3, 4]);
        for tick in 1..=4 * E {
            if lab.leader() == Some(1) {
                lab.propose(1, "more");
                lab.read(1, ReadMode::Index);
            }
            if lab.raft(2).leader() == Some(1) {
                lab.read(2, ReadMode::Index);
            }
            lab.run(1);
            if lab.leader().is_some_and(|leader| (2..=4).contains(&leader)) {
                return Some(tick);
            }
        }
        None
    });
}

// Scenario 18: the one node that reaches a quorum has an old log; it borrows what it lacks and
// leads (omnipaxos calls it the constrained election; no Raft that keeps to the paper passes).
#[test]
fn the_one_node_in_reach_of_a_quorum_leads_with_a_borrowed_log() {
    let all = ticks("the_one_node_in_reach", 1000, 4 * E, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3, 4, 5], seed);
        lab.elect(2);
        lab.run(1);
        lab.part(&[1], &[2, 3, 4, 5]);
        (0..1 + seed % 7).for_each(|_| {
            lab.propose(2, "x");
        });
        lab.run(seed % E);
        // Everyone reaches n1 and nobody else.
        lab.heal();
        for id in 2..=5 {
            let others: Vec<NodeId> = (2..=5).filter(|other| *other != id).collect();
            lab.part(&[id], &others);
        }
        if seed % 2 == 1 {
            lab.crash(2);
        }
        let took = lab.run_until(4 * E, |lab| lab.leader() == Some(1))?;
        let ticket = lab.propose(1, "y");
        lab.run(2 * E);
        assert!(lab.answer(1, ticket).is_some_and(|answer| answer.is_ok()), "seed {seed}");
        Some(took)
    });
    assert!(all[all.len() / 2] <= 3 * E, "{all:?}");
}

// Scenario 19: a chain of three makes progress without changing its leader all the time (omnipaxos;
// without pre-vote a chain burns terms without end).
#[test]
fn a_chain_settles_on_a_leader() {
    seeds::each("a_chain_settles", 200, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
        lab.jitter = seed % 2;
        lab.elect(1);
        lab.run(2);
        // The old leader is an end of the chain, or its middle.
        if seed % 3 == 0 {
            lab.part(&[2], &[3]);
        } else {
            lab.part(&[1], &[3]);
        }
        for _ in 0..4 * E {
            press(&mut lab);
            lab.run(1);
        }
        for _ in 0..10 {
            let (reigns, commit) = (lab.watch.reigns(), lab.watch.commit);
            for _ in 0..E {
                press(&mut lab);
                lab.run(1);
            }
            assert!(lab.watch.reigns() <= reigns + 1, "one change in E");
            assert!(lab.watch.commit > commit, "progress");
        }
    });
}

// Scenario 20: a link that works one way must neither keep a useless leader nor leave its proposals
// hanging (thesis §6.2).
#[test]
fn one_way_links_do_not_keep_a_useless_leader() {
    seeds::each("one_way_links", 200, |seed| {
        for deaf in [false, true] {
            let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
            lab.elect(1);
            lab.run(seed % E);
            for other in [2, 3] {
                lab.cut.insert(if deaf { (other, 1) } else { (1, other) });
            }
            let ticket = lab.propose(1, "x");
            let took = lab.run_until(2 * E, |lab| lab.raft(1).role() != Role::Leader);
            assert!(took.is_some() || !deaf, "seed {seed}: a deaf leader stays");
            let others = |lab: &Lab| lab.leader().is_some_and(|id| id != 1) && led(lab, 2);
            assert!(lab.run_until(4 * E, others).is_some(), "seed {seed} {deaf}: nobody follows");
            lab.run(E);
            let answer = lab.answer(1, ticket);
            assert!(!deaf || answer.is_some(), "seed {seed}: it hangs");
        }
    });
}

// Scenario 21: a leader whose disk stands still hands over, however well its network works
// (etcd #13527, hashicorp #666).
#[test]
fn a_leader_whose_disk_stalls_hands_over() {
    seeds::each("a_leader_whose_disk_stalls", 200, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3], seed);
        lab.elect(1);
        lab.run(3 * E + seed % E);
        lab.at(1).stores = false;
        lab.propose(1, "x");
        let moved = |lab: &Lab| lab.leader().is_some_and(|id| id != 1);
        let took = lab.run_until(2 * E, moved);
        assert!(took.is_some(), "seed {seed}: it leads with a dead disk");
    });
}

// Where all disks stand still, as those of one machine do, nobody would lead better: to hand over
// would cost what is under way, again and again. When a quorum goes on without it, that counts.
#[test]
fn a_leader_whose_disk_stalls_with_all_others_stays() {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    lab.run(E);
    let term = lab.term(1);
    for id in 1..=3 {
        lab.at(id).stores = false;
    }
    let ticket = lab.propose(1, "x");
    lab.run(5 * E);
    assert_eq!((lab.raft(1).role(), lab.term(1)), (Role::Leader, term));
    assert!(lab.answer(1, ticket).is_none(), "it is not durable");
    lab.at(2).stores = true;
    lab.run(5 * E);
    assert_eq!((lab.raft(1).role(), lab.term(1)), (Role::Leader, term), "that is no quorum");
    lab.at(3).stores = true;
    let moved = |lab: &Lab| lab.leader().is_some_and(|id| id != 1);
    assert!(lab.run_until(3 * E, moved).is_some(), "the others do without it");
}

// Who has the only vote has nobody to hand over to: to step down would drop what it has taken on,
// and it would be elected again. It waits for its disk, and so do those who asked.
#[test]
fn a_leader_with_the_only_vote_waits_for_its_disk() {
    let mut lab = Lab::new(Config::new(E), &[1]);
    lab.elect(1);
    let term = lab.term(1);
    lab.at(1).stores = false;
    let ticket = lab.propose(1, "x");
    lab.run(5 * E);
    assert_eq!((lab.raft(1).role(), lab.term(1)), (Role::Leader, term));
    assert!(lab.answer(1, ticket).is_none(), "it is not durable");
    lab.at(1).stores = true;
    lab.run(E);
    assert!(lab.answer(1, ticket).expect("it is now").is_ok());
}

// Scenario 23: who is no member, or no more, neither disturbs nor takes over (thesis §4.2.2,
// §4.2.3).
#[test]
fn who_is_no_member_disturbs_nobody() {
    seeds::each("who_is_no_member", 50, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3, 4], seed);
        lab.elect(1);
        // n4 is removed, never hears of it, and asks for votes for ever.
        lab.cut.insert((1, 4));
        lab.change(1, Change::new().remove(4));
        lab.run(20 * E);
        assert_eq!((lab.leader(), lab.term(1).0), (Some(1), 1), "seed {seed}");
        lab.step(4, vec![Input::Campaign]);
        lab.run(5 * E);
        assert_eq!((lab.leader(), lab.term(1).0), (Some(1), 1), "seed {seed}: n4 disturbs");
        // A leader that is removed leads until that is committed, and no longer.
        let ticket = lab.change(1, Change::new().remove(1));
        assert_eq!(lab.raft(1).role(), Role::Leader);
        lab.deliver_all();
        assert!(lab.answer(1, ticket).unwrap().is_ok());
        assert_ne!(lab.raft(1).role(), Role::Leader);
        let took = lab.run_until(4 * E, |lab| lab.leader().is_some_and(|id| id == 2 || id == 3));
        assert!(took.is_some(), "seed {seed}");
        lab.run(2);
        // It does not take over when it is told to.
        let (leader, term) = (lab.leader().unwrap(), lab.term(2).0);
        let last = lab.raft(1).last();
        lab.post(leader, 1, term, Body::TimeoutNow { last });
        lab.step(1, vec![Input::Campaign]);
        lab.run(3 * E);
        assert_eq!((lab.leader(), lab.term(2).0), (Some(leader), term), "seed {seed}");
        assert_eq!(lab.raft(1).role(), Role::Follower);
    });
}

// Scenario 24: even if all lose patience at once, a leader is there in time (Raft §9.3).
#[test]
fn a_storm_of_candidates_ends_in_time() {
    let all = ticks("a_storm_of_candidates", 10_000, 12 * E, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3, 4, 5], seed);
        // Messages take up to a fifth of E.
        lab.jitter = E / 5;
        // Three rounds in which all stand at the same moment and split the vote.
        for _ in 0..3 {
            lab.run(1);
            for id in 1..=5 {
                lab.step(id, vec![Input::Campaign]);
            }
        }
        lab.run_until(12 * E, |lab| led(lab, 3))
    });
    mostly_in_time(&all);
}

// Scenario 24: a leader that dies is replaced soon, and always (the bound that callers plan with).
#[test]
fn a_dead_leader_is_replaced_in_time() {
    for (members, mean_max, p99_max) in [(3, 13, 25), (5, 14, 30)] {
        let all = ticks("a_dead_leader_is_replaced", 10_000, 4 * E, |seed| {
            let ids: Vec<NodeId> = (1..=members).collect();
            let mut lab = Lab::seeded(Config::new(E), &ids, seed);
            lab.elect(1);
            lab.run(seed % 7);
            lab.crash(1);
            lab.run_until(4 * E, |lab| lab.leader().is_some())
        });
        let mean = all.iter().sum::<u64>() / all.len() as u64;
        let p99 = all[all.len() * 99 / 100];
        assert!(mean <= mean_max && p99 <= p99_max, "{members}: mean {mean}, p99 {p99}");
    }
}
