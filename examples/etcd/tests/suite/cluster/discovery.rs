//! Founders that find each other through another etcd, which is real.

use super::fleet::Fleet;
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs;
use crate::support::server::Server;

const SIZE: &str = "/_etcd/registry/wall/_config/size";

fn registry(test: &str, size: &'static str) -> Option<Server> {
    let server = Server::start(&programs::real_or_skip(test)?.etcd, &[]);
    in_a_runtime(async { put(&client_of(&server).await, SIZE, size, 0).await });
    Some(server)
}

/// Three are meant to found a cluster, and a fourth comes too late; afterwards the place where
/// they met may be gone.
#[test]
fn founders_meet_elsewhere() {
    let test = "cluster::discovery::founders_meet_elsewhere";
    let Some(registry) = registry(test, "3") else { return };
    let Some(mut fleet) = Fleet::without_members(test, &programs::ours()) else { return };
    let endpoints = format!("--discovery-endpoints={}", registry.client_url());
    let flags = ["--discovery-token=wall", &endpoints];
    for _ in 0..3 {
        let number = fleet.newcomer();
        fleet.launch_with(number, &flags);
    }
    fleet.wait_for_all();
    fleet.ctl_ok(&[0], &["put", "a", "1"]);
    assert_eq!(fleet.get(2, "a"), "1");
    let members = fleet.ctl_ok(&[1], &["member", "list"]);
    assert_eq!(members.lines().count(), 3, "{members}");
    let late = fleet.newcomer();
    fleet.launch_with(late, &flags);
    assert_eq!(fleet.wait_for_exit(late).code(), Some(1));
    assert!(fleet.log(late).contains("discovery: cluster is full"), "{}", fleet.log(late));
    // Who has data does not ask.
    drop(registry);
    fleet.kill(0);
    fleet.launch_with(0, &flags);
    fleet.wait_for_all();
    assert_eq!(fleet.get(0, "a"), "1");
}

/// Whoever waited for what cannot come would wait for ever.
#[test]
fn a_folder_that_is_wrong_ends_the_start() {
    let test = "cluster::discovery::a_folder_that_is_wrong_ends_the_start";
    let Some(registry) = registry(test, "some") else { return };
    let Some(mut fleet) = Fleet::without_members(test, &programs::ours()) else { return };
    let endpoints = format!("--discovery-endpoints={}", registry.client_url());
    let texts = [("wall", "discovery: size key is bad"), ("gap", "discovery: size key not found")];
    for (token, text) in texts {
        let number = fleet.newcomer();
        fleet.launch_with(number, &[&format!("--discovery-token={token}"), &endpoints]);
        assert_eq!(fleet.wait_for_exit(number).code(), Some(1));
        assert!(fleet.log(number).contains(text), "{}", fleet.log(number));
    }
}
