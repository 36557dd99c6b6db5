//! The common path: elect, replicate, commit, read.

use drystone_raft::{Config, ReadMode};

use crate::lab::Lab;

#[test]
fn a_group_elects_and_commits() {
    let mut lab = Lab::new(Config::new(10), &[1, 2, 3]);
    lab.run(30);
    let leader = lab.leader().expect("somebody leads");
    let ticket = lab.propose(leader, "x");
    lab.deliver_all();
    assert!(lab.answer(leader, ticket).unwrap().is_ok());
    for id in 1..=3 {
        assert_eq!(lab.applied(id), ["x"], "node {id}");
    }
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    for (id, mode) in
        [(leader, ReadMode::Index), (follower, ReadMode::Index), (leader, ReadMode::Log)]
    {
        let ticket = lab.read(id, mode);
        lab.deliver_all();
        assert!(lab.answer(id, ticket).unwrap().is_ok());
    }
    let term = lab.term(leader);
    lab.run(200);
    assert_eq!(lab.term(leader), term);
    lab.crash(leader);
    lab.run(40);
    let next = lab.leader().expect("another leads");
    assert_ne!(next, leader);
    let ticket = lab.propose(next, "y");
    lab.deliver_all();
    assert!(lab.answer(next, ticket).unwrap().is_ok());
    lab.restart(leader);
    lab.run(40);
    assert_eq!(lab.applied(leader), ["x", "y"]);
}
