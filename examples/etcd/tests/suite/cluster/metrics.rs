//! What members tell of each other.

use drystone_etcd_api::etcdserverpb::PutRequest;
use rustix::process::Signal;

use super::fleet::{Fleet, wait};
use crate::metrics::page::Page;
use crate::support::calls::in_a_runtime;

const QUICK: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];

/// What a cluster shows beside what a member alone does: name, kind, labels.
const OF_PEERS: &[(&str, &str, &[&str])] = &[
    ("etcd_network_active_peers", "gauge", &["Local", "Remote"]),
    ("etcd_network_disconnected_peers_total", "counter", &["Local", "Remote"]),
    ("etcd_network_known_peers", "gauge", &["Local", "Remote"]),
    ("etcd_network_peer_received_bytes_total", "counter", &["From"]),
    ("etcd_network_peer_received_failures_total", "counter", &["From"]),
    ("etcd_network_peer_round_trip_time_seconds", "histogram", &["To"]),
    ("etcd_network_peer_sent_bytes_total", "counter", &["To"]),
    ("etcd_network_peer_sent_failures_total", "counter", &["To"]),
    ("etcd_network_snapshot_receive_failures", "counter", &["From"]),
    ("etcd_network_snapshot_receive_inflights_total", "gauge", &["From"]),
    ("etcd_network_snapshot_receive_success", "counter", &["From"]),
    ("etcd_network_snapshot_receive_total_duration_seconds", "histogram", &["From"]),
    ("etcd_network_snapshot_send_failures", "counter", &["To"]),
    ("etcd_network_snapshot_send_inflights_total", "gauge", &["To"]),
    ("etcd_network_snapshot_send_success", "counter", &["To"]),
    ("etcd_network_snapshot_send_total_duration_seconds", "histogram", &["To"]),
];

fn page(fleet: &Fleet, number: usize) -> Page {
    let url = fleet.url(number);
    Page::fetch(url.strip_prefix("http://").expect("members serve over HTTP"))
}

/// A member that stands still is seen by the leader's numbers, and one that is back as well.
#[test]
fn a_member_that_stands_still_shows_in_the_numbers_of_the_leader() {
    let test = "a_member_that_stands_still_shows_in_the_numbers_of_the_leader";
    let Some(fleet) = Fleet::start_with(test, 3, &QUICK) else { return };
    let still = fleet.follower();
    let leader = fleet.leader();
    let to = format!("{:x}", fleet.id(still));
    let active = |page: &Page| page.number("etcd_network_active_peers", &[("Remote", &to)]);
    let trips = |page: &Page| {
        page.number("etcd_network_peer_round_trip_time_seconds_count", &[("To", &to)])
    };
    let settled = wait(|| Some(page(&fleet, leader)).filter(|page| trips(page) >= 2.0));
    let before = settled.expect("pings are answered");
    for (name, kind, labels) in OF_PEERS {
        let family = before.0.get(*name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(
            (family.kind.as_str(), family.labels()),
            (*kind, Some(labels.to_vec())),
            "{name}"
        );
    }
    assert_eq!(active(&before), 1.0);
    assert_eq!(before.total("etcd_network_known_peers"), 2.0);
    assert!(before.number("etcd_network_peer_sent_bytes_total", &[("To", &to)]) > 0.0);
    assert!(before.number("etcd_network_peer_received_bytes_total", &[("From", &to)]) > 0.0);
    fleet.signal(still, Signal::STOP);
    let lost = wait(|| Some(page(&fleet, leader)).filter(|page| active(page) == 0.0));
    let lost = lost.expect("one that does not answer is not active");
    let name = "etcd_network_disconnected_peers_total";
    let lost_count = |page: &Page| page.number(name, &[("Remote", &to)]);
    assert!(lost_count(&lost) > lost_count(&before));
    fleet.signal(still, Signal::CONT);
    let back = wait(|| Some(page(&fleet, leader)).filter(|page| active(page) == 1.0));
    let back = back.expect("one that answers is active");
    let late = wait(|| Some(page(&fleet, leader)).filter(|page| trips(page) > trips(&lost)));
    assert!(late.is_some(), "{back:?}");
    // The log says the same, of that member, in this order.
    let named = format!("\"remote-peer-id\":\"{to}\"");
    let told = || {
        let log = fleet.log(leader);
        let of_it = log.lines().filter(|line| line.contains(&named));
        let turns = of_it.filter_map(|line| line.split("\"peer became ").nth(1));
        turns.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let whole = ["active", "inactive", "active"].map(str::to_owned);
    assert!(wait(|| told().ends_with(&whole).then_some(())).is_some(), "{:?}", told());
}

/// Elections for which nobody finds a reason are mostly of a leader that could not say a word.
#[test]
fn a_leader_that_stood_still_counts_its_late_heartbeats() {
    let test = "a_leader_that_stood_still_counts_its_late_heartbeats";
    let Some(fleet) = Fleet::start_with(test, 3, &QUICK) else { return };
    let (old, other) = (fleet.leader(), fleet.follower());
    let number = |at: usize, name: &str| page(&fleet, at).number(name, &[]);
    let (late, changes) =
        ("etcd_server_heartbeat_send_failures_total", "etcd_server_leader_changes_seen_total");
    let (before, seen) = (number(old, late), number(other, changes));
    fleet.signal(old, Signal::STOP);
    let moved = wait(|| (number(other, changes) > seen).then_some(()));
    fleet.signal(old, Signal::CONT);
    assert!(moved.is_some(), "somebody else leads");
    let counted = wait(|| (number(old, late) > before).then_some(()));
    assert!(counted.is_some(), "a heartbeat was due long ago");
    let line = "\"msg\":\"leader failed to send out heartbeat on time\"";
    assert!(wait(|| fleet.log(old).contains(line).then_some(())).is_some(), "{}", fleet.log(old));
}

/// Each member gives back its own space: whose log is read depends on whose disk is full.
#[test]
fn a_compaction_is_logged_by_all_members() {
    let test = "a_compaction_is_logged_by_all_members";
    let Some(fleet) = Fleet::start(test, 3) else { return };
    for value in ["v", "w", "x"] {
        fleet.ctl_ok(&[0], &["put", "k", value]);
    }
    fleet.ctl_ok(&[1], &["compact", "3"]);
    for number in fleet.running() {
        let line = |log: &str| {
            let mut lines = log.lines();
            lines.any(|line| {
                line.contains("\"msg\":\"finished scheduled compaction\"")
                    && line.contains("\"compact-revision\":3,")
            })
        };
        let told = wait(|| line(&fleet.log(number)).then_some(()));
        assert!(told.is_some(), "member {number}: {}", fleet.log(number));
    }
}

/// Alerts on leaders and on proposals look at these.
#[test]
fn the_death_of_a_leader_shows_and_so_does_a_failed_proposal() {
    let test = "the_death_of_a_leader_shows_and_so_does_a_failed_proposal";
    let Some(mut fleet) = Fleet::start_with(test, 3, &QUICK) else { return };
    let (leader, last) = (fleet.leader(), fleet.follower());
    let to = format!("{:x}", fleet.id(leader));
    let number = |fleet: &Fleet, name: &str| page(fleet, last).number(name, &[]);
    let changes = "etcd_server_leader_changes_seen_total";
    let before = number(&fleet, changes);
    assert!(before >= 1.0);
    fleet.kill(leader);
    let moved = wait(|| (number(&fleet, changes) > before).then_some(()));
    assert!(moved.is_some(), "another leader is counted");
    let lost = wait(|| {
        let failures = page(&fleet, last);
        let failures = failures.number("etcd_network_active_peers", &[("Remote", &to)]);
        (failures == 0.0).then_some(())
    });
    assert!(lost.is_some(), "one that was killed is not active");
    for other in fleet.running() {
        if other != last {
            fleet.kill(other);
        }
    }
    let leaderless = wait(|| (number(&fleet, "etcd_server_has_leader") == 0.0).then_some(()));
    assert!(leaderless.is_some(), "nobody leads");
    let failed = "etcd_server_proposals_failed_total";
    let before = number(&fleet, failed);
    let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
    let refused = in_a_runtime(async { fleet.client(last).await.kv().put(put).await });
    refused.expect_err("nothing is agreed on by one of three");
    assert!(number(&fleet, failed) > before);
}
