//! Nobody leads for a while, and how long that is.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fleet::{Fleet, wait};

/// Writes stop when the leader dies; with the default election timeout, for so long at most.
const WITHOUT_LEADER_MAX: Duration = Duration::from_secs(2);
/// A leader that leaves in order is missed for no longer than this.
const HANDED_OVER_MAX: Duration = Duration::from_millis(500);

/// The longest pause that a cluster makes while nothing but its leader is broken.
#[test]
fn writes_go_on_within_two_seconds_after_the_leader_was_killed() {
    let _alone = crate::support::alone();
    let test = "writes_go_on_within_two_seconds";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    for round in 0..4 {
        let (leader, other) = (fleet.leader(), fleet.follower());
        fleet.ctl_ok(&[leader], &["put", &format!("before/{round}"), "v"]);
        let since = Instant::now();
        fleet.kill(leader);
        let took = fleet.until_put(other, &format!("after/{round}"), since);
        println!("round {round}: {took:?}");
        assert!(took <= WITHOUT_LEADER_MAX, "{took:?}\n{}", fleet.log(other));
        assert_eq!(fleet.get(other, &format!("before/{round}")), "v");
        fleet.launch(leader);
        fleet.wait_for_all();
    }
}

/// A rolling upgrade must not cost a second a member.
#[test]
fn leader_that_is_asked_to_stop_hands_over_first() {
    let _alone = crate::support::alone();
    let test = "leader_that_is_asked_to_stop_hands_over_first";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    for round in 0..3 {
        let (leader, other) = (fleet.leader(), fleet.follower());
        // The one that takes over has all of it.
        fleet.ctl_ok(&[other], &["put", &format!("before/{round}"), "v"]);
        let since = Instant::now();
        fleet.signal(leader, Signal::TERM);
        let took = fleet.until_put(other, &format!("after/{round}"), since);
        println!("round {round}: {took:?}");
        assert!(took <= HANDED_OVER_MAX, "{took:?}\n{}", fleet.log(leader));
        fleet.wait_for_exit(leader);
        assert!(fleet.log(leader).contains("handed over the leadership"));
        fleet.launch(leader);
        fleet.wait_for_all();
    }
}

/// `etcdctl move-leader`, as operators do before they take a machine away.
#[test]
fn leadership_moves_to_whom_it_is_given() {
    let test = "leadership_moves_to_whom_it_is_given";
    let Some(fleet) = Fleet::start(test, 3) else { return };
    let (leader, heir) = (fleet.leader(), fleet.follower());
    let id = format!("{:x}", fleet.id(heir));
    let said = fleet.ctl(&[heir], &["move-leader", &id]);
    assert!(!said.worked && said.err.contains("no leader endpoint given"), "{said:?}");
    let told = fleet.ctl_ok(&[leader], &["move-leader", &id]);
    assert_eq!(told, format!("Leadership transferred from {:x} to {id}", fleet.id(leader)));
    assert_eq!(fleet.leader(), heir);
    fleet.ctl_ok(&[leader], &["put", "k", "v"]);
    let said = fleet.ctl(&[heir], &["move-leader", "1234"]);
    assert!(!said.worked && said.err.contains("bad leader transferee"), "{said:?}");
    // Everybody hears of it.
    let heard = wait(|| {
        let mut statuses = fleet.running().into_iter().filter_map(|at| fleet.status(at));
        statuses.all(|status| format!("{:x}", status.leader) == id).then_some(())
    });
    assert!(heard.is_some(), "all members follow the new leader");
}
