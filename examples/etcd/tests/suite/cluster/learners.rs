//! Learners that become voters by themselves, where somebody has asked for it.

use super::fleet::{Fleet, wait};
use super::members::add;

/// What `member list` says of a member.
fn line_of(fleet: &Fleet, id: &str) -> String {
    let listed = fleet.ctl_ok(&[0], &["member", "list"]);
    let line = listed.lines().find(|line| line.starts_with(id));
    line.unwrap_or_else(|| panic!("{id} is not in\n{listed}")).to_owned()
}

fn is_learner(fleet: &Fleet, id: &str) -> bool {
    line_of(fleet, id).ends_with(", true")
}

// An operator adds a member and is done. One that never comes is no voter, for it would cost the
// others a vote; nor is one that is down.
#[test]
fn a_learner_in_sync_becomes_a_voter_by_itself() {
    let test = "a_learner_in_sync_becomes_a_voter_by_itself";
    let flags = ["--learner-auto-promote", "--max-learners=2"];
    let Some(mut fleet) = Fleet::start_with(test, 3, &flags) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    // This one is added and never started.
    let told = fleet.ctl_ok(&[1], &["member", "add", "ghost", "--learner", GHOST]);
    let ghost = told.split_whitespace().nth(1).expect("an id").to_owned();
    let (new, id) = add(&mut fleet, 1, &["--learner"]);
    let promoted = wait(|| (!is_learner(&fleet, &id)).then_some(()));
    assert!(promoted.is_some(), "{}", fleet.log(fleet.leader()));
    assert!(wait(|| fleet.ctl(&[new], &["put", "k", "w"]).worked.then_some(())).is_some());
    assert!(is_learner(&fleet, &ghost), "it has never been seen");
    let said = "promoted a learner that was in sync";
    let times: usize = (0..3).map(|number| fleet.log(number).matches(said).count()).sum();
    assert_eq!(times, 1, "it is told once");
    // It is a voter like any other, and there is a quorum with it.
    let leader = fleet.leader();
    fleet.kill(leader);
    fleet.ctl_ok(&[new], &["put", "k", "x"]);
}

const GHOST: &str = "--peer-urls=http://127.0.0.1:9";

// Without the flag a learner stays one, as in etcd. How long is long enough? As long as the one of
// another cluster needs, which began later.
#[test]
fn without_the_flag_a_learner_stays_one() {
    let test = "without_the_flag_a_learner_stays_one";
    let Some(mut plain) = Fleet::start(test, 1) else { return };
    let (_, stays) = add(&mut plain, 0, &["--learner"]);
    let Some(mut asked) = Fleet::start_with(test, 1, &["--learner-auto-promote"]) else { return };
    let (_, goes) = add(&mut asked, 0, &["--learner"]);
    assert!(wait(|| (!is_learner(&asked, &goes)).then_some(())).is_some());
    assert!(is_learner(&plain, &stays));
}
