//! Followers that the log does not reach any more.

use drystone_raft::{Body, Change, Config, Configuration, Fault, Index, Input, SnapshotMeta};

use crate::lab::Lab;

const E: u64 = 10;

/// Node 1 leads, and its log begins behind all that node 3, which is down, has.
fn left_behind() -> Lab {
    let mut lab = Lab::new(Config::new(E), &[1, 2, 3]);
    lab.elect(1);
    lab.commit(1, 2);
    lab.run(2);
    lab.crash(3);
    lab.commit(1, 20);
    lab.compact(1, Index(20));
    assert!(lab.seats[&1].raft.base().index >= Index(20));
    lab
}

fn caught_up(lab: &Lab) -> bool {
    lab.commit_of(3) == lab.commit_of(1) && lab.applied(3) == lab.applied(1)
}

/// Ticks until node 3 has all that is committed.
fn time_to_catch_up(lab: &mut Lab, ticks_max: u64) -> u64 {
    let start = lab.now;
    while !caught_up(lab) {
        assert!(lab.now < start + ticks_max, "node 3 does not catch up");
        lab.run(1);
    }
    lab.now - start
}

// Scenario 40: openraft #1828. The log is empty, nothing is proposed, and the leader knows nothing
// of the new member: there is no entry to send, and it must not conclude that nothing is to be sent.
#[test]
fn a_new_member_of_an_idle_group_with_an_empty_log_gets_a_snapshot() {
    let mut lab = Lab::new(Config::new(E), &[1]);
    lab.seat(3, Configuration::default());
    lab.elect(1);
    lab.commit(1, 9);
    lab.change(1, Change::new().learner(3));
    let last = lab.seats[&1].raft.last().index;
    lab.compact(1, last);
    assert_eq!(lab.seats[&1].raft.base().index, last, "nothing is left of the log");
    time_to_catch_up(&mut lab, E);
    assert_eq!(lab.seats[&1].snapshots.asked, [3]);
    lab.works(&[1, 3]);

    // The same of one that was known, and has lost its disk.
    lab.compact(1, Index(1000));
    lab.crash(3);
    lab.wipe(3);
    lab.run(4 * E);
    assert!(caught_up(&lab));
    let lost = |fault: &Fault| matches!(fault, Fault::LostLog { peer: 3, .. });
    assert_eq!(lab.seats[&1].faults.iter().filter(|fault| lost(fault)).count(), 1);
    lab.works(&[1, 3]);
}

// Scenario 41: the word that a snapshot is ready is lost.
#[test]
fn a_lost_offer_is_made_again() {
    let mut lab = left_behind();
    lab.lost = Some(|message| matches!(message.body, Body::Offer { .. }));
    lab.restart(3);
    lab.run(5 * E);
    assert!(!caught_up(&lab));
    let asked = lab.seats[&1].snapshots.asked.len();
    assert!(asked <= 6, "once a timeout, not once a heartbeat: {asked}");
    lab.heal();
    time_to_catch_up(&mut lab, 3 * E);
    lab.works(&[1, 2, 3]);
}

// Scenario 41: etcd snapshot_succeed_via_app_resp. Nobody tells the leader that the snapshot is in:
// the follower's own acknowledgement, or its next answer to a heartbeat, is enough.
#[test]
fn the_followers_own_word_ends_the_wait_for_a_snapshot() {
    let mut lab = left_behind();
    lab.lost = Some(|message| message.from == 3 && matches!(message.body, Body::Accepted { .. }));
    lab.restart(3);
    for _ in 0..4 * E {
        lab.run(1);
        if lab.seats[&3].raft.base().index >= Index(20) {
            break;
        }
    }
    assert!(lab.seats[&3].raft.base().index >= Index(20), "the snapshot is in");
    // Entries flow as soon as a heartbeat has been answered, though no Accepted ever arrives.
    lab.propose(1, "x");
    lab.run(3);
    assert!(lab.applied(3).contains(&"x".to_owned()));
    assert_eq!(lab.seats[&1].snapshots.asked, [3], "and no second snapshot is sent");
    lab.heal();
    lab.works(&[1, 2, 3]);
}

/// Node 3 gets this snapshot of node 1's, whatever it asked for.
fn hand(lab: &mut Lab, meta: SnapshotMeta) {
    let state = lab.seats[&1].applied.iter().filter(|it| it.index <= meta.last.index);
    let state = state.cloned().collect();
    let seat = lab.seats.get_mut(&3).unwrap();
    seat.snapshots.fetched = state;
    lab.step(3, vec![Input::SnapshotFetched(Some(meta))]);
    lab.deliver_all();
}

// Scenario 41: etcd snapshot_succeed_via_app_resp_behind. By the time it is carried over, the
// snapshot may be another: a newer one is as good, and an older one is if the log goes on behind it.
#[test]
fn a_snapshot_other_than_the_one_offered_is_taken_if_the_log_goes_on_behind_it() {
    let mut lab = left_behind();
    let older = lab.seats[&1].disk.snapshot.clone();
    lab.commit(1, 5);
    let offered = lab.snapshot(1);
    lab.seats.get_mut(&3).unwrap().snapshots.stuck = true;
    lab.restart(3);
    lab.run(E);
    assert!(!lab.seats[&3].snapshots.sources.is_empty(), "it fetches");
    lab.commit(1, 5);
    let newer = lab.snapshot(1);
    assert!(older.last < offered.last && offered.last < newer.last);
    hand(&mut lab, newer);
    time_to_catch_up(&mut lab, E);

    let mut lab = left_behind();
    let older = lab.seats[&1].disk.snapshot.clone();
    lab.commit(1, 5);
    lab.snapshot(1);
    lab.seats.get_mut(&3).unwrap().snapshots.stuck = true;
    lab.restart(3);
    lab.run(E);
    let base = older.last.index;
    hand(&mut lab, older);
    assert_eq!(lab.seats[&3].raft.base().index, base);
    time_to_catch_up(&mut lab, 3 * E);
    lab.works(&[1, 2, 3]);
}

/// Node 3 fetches for thirty ticks while 2 entries a tick are committed and the log is shortened,
/// to `room` entries if need be.
fn writes_outrun_a_snapshot(room: u64) -> Lab {
    let mut lab = left_behind();
    lab.seats.get_mut(&3).unwrap().snapshots.ticks = Some(30);
    lab.seats.get_mut(&1).unwrap().faults.clear();
    lab.restart(3);
    for tick in 0..20 * E {
        lab.commit(1, 2);
        lab.run(1);
        if tick % 5 == 0 {
            let must = lab.seats[&1].raft.last().index.0.saturating_sub(room);
            lab.compact(1, Index(must));
        }
        let kept = lab.seats[&1].raft.last().index.0 - lab.seats[&1].raft.base().index.0;
        assert!(kept <= room + 12, "{kept} entries are kept");
    }
    lab
}

fn is_left_behind(fault: &Fault) -> bool {
    matches!(fault, Fault::LeftBehind { peer: 3 })
}

// Scenario 47b: hashicorp/raft #212, consul #9609. When the log is shortened faster than a snapshot
// is carried over, the follower needs another as soon as it has one, for ever. What it will need
// next is kept while there is room.
#[test]
fn the_log_is_kept_for_a_follower_that_fetches_a_snapshot() {
    let lab = writes_outrun_a_snapshot(200);
    assert_eq!(lab.seats[&3].snapshots.sources, [1], "one snapshot is enough");
    assert!(lab.commit_of(3).0 + 4 >= lab.commit_of(1).0, "and it keeps up from then on");
    assert!(!lab.seats[&1].faults.iter().any(is_left_behind));
    let kept = lab.seats[&1].raft.last().index.0 - lab.seats[&1].raft.base().index.0;
    assert!(kept <= 20, "and once it does, nothing is kept for it: {kept}");
}

// Scenario 47b: and when there is no room, the limit holds and somebody is told.
#[test]
fn a_log_without_room_leaves_a_follower_behind_and_says_so() {
    let mut lab = writes_outrun_a_snapshot(20);
    assert!(lab.seats[&1].faults.iter().any(is_left_behind));
    assert!(lab.seats[&3].snapshots.sources.len() > 1);
    time_to_catch_up(&mut lab, 10 * E);
    lab.works(&[1, 2, 3]);
}

// Scenario 47c: dgraph #2707. A follower that crashes while it fetches has forgotten that it did,
// and the leader waits for what will never come, unless it notices by itself.
#[test]
fn a_follower_that_crashes_while_it_fetches_gets_another_snapshot() {
    for down in [1, E / 2, 2 * E, 50 * E] {
        let mut lab = left_behind();
        lab.seats.get_mut(&3).unwrap().snapshots.ticks = Some(30);
        lab.restart(3);
        lab.run(15);
        assert_eq!(lab.seats[&3].snapshots.sources.len(), 1);
        lab.crash(3);
        lab.run(down);
        lab.restart(3);
        let took = time_to_catch_up(&mut lab, 4 * E + 30);
        assert!(took >= 30, "by a snapshot");
        lab.works(&[1, 2, 3]);
    }
}

// Scenario 47c: the same when it is the leader that goes: the next one begins anew.
#[test]
fn a_leader_that_crashes_while_a_snapshot_is_fetched_is_replaced() {
    let mut lab = left_behind();
    lab.compact(2, Index(20));
    lab.seats.get_mut(&3).unwrap().snapshots.ticks = Some(30);
    lab.restart(3);
    lab.run(15);
    lab.crash(1);
    assert_eq!(lab.leader_within(4 * E, &[]), 2);
    lab.run(60 + 4 * E);
    assert_eq!(lab.commit_of(3), lab.commit_of(2));
    lab.restart(1);
    lab.works(&[1, 2, 3]);
}
