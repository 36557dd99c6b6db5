//! What mason promises, while its parts are killed, paused, cut off and misused.
//!
//! Processes of `mason server` and `mason agent`, containers of the real runtime, and a store: each
//! scene plays twice, as `etcd::…` on Debian's etcd and as `ours::…` on ours. Afterwards nothing
//! may be left of it: no process, mount, control group, namespace, socket or file ([`stage`]).
//!
//! Leases last fifteen seconds, so scenes wait most of the time. They are played several at a time
//! ([`support::play`]), and a test waits for its own.
//!
//! | part | breaks |
//! |---|---|
//! | [`agents`] | agents and keepers: killed at any moment, paused for longer than the lease |
//! | [`leaders`] | servers: killed, paused, taken over from |
//! | [`cuts`] | the way between an agent and the store, and the store's members |
//! | [`trouble`] | containers that misbehave, and a full disk |
//! | [`registries`] | registries that are off, or lie |
//! | [`networks`] | a network between machines |

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

#[expect(dead_code, unused_macros, reason = "the other suite needs more of it")]
#[macro_use]
#[path = "../suite/support.rs"]
mod support;
mod agents;
mod cuts;
mod leaders;
mod networks;
mod registries;
mod stage;
mod trouble;

/// What this machine lacks.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("containers and network namespaces need root");
    }
    let needed = [
        ("runc", "there is no runc"),
        ("ip", "there is no ip (iproute2)"),
        ("nft", "there is no nft (nftables)"),
    ];
    let is_missing = |name: &str| mason::node::program(name).is_none();
    needed.into_iter().find(|(name, _)| is_missing(name)).map(|(_, why)| why)
}

/// All, and two tests of each.
macro_rules! scenes {
    ($($file:ident :: $name:ident)*) => {
        const SCENES: &[support::play::Scene] = &[$(support::play::Scene {
            module: module_path!(),
            name: stringify!($name),
            play: |kind| Box::pin($file::$name(kind)),
            missing,
        }),*];
        const ALL: &[&[support::play::Scene]] = &[SCENES];

        both_tests!(SCENES: $($name)*);
    };
}

scenes! {
    // The longest first.
    agents::an_agent_that_sleeps_has_no_strict_run_when_another_starts
    cuts::an_agent_that_is_cut_off_has_no_strict_run_when_another_starts
    cuts::an_agent_that_hears_no_answer_has_no_strict_run_when_another_starts
    networks::machines_that_are_cut_off_one_way_have_no_strict_run_when_another_starts
    networks::a_machine_that_is_cut_off_gets_nothing_new_and_comes_back
    agents::an_agent_killed_again_and_again_neither_loses_nor_repeats_nor_ends_a_run
    leaders::a_leader_that_slept_through_its_office_changes_nothing
    leaders::work_goes_on_while_leaders_are_killed
    cuts::work_goes_on_while_members_of_the_store_are_killed
    trouble::a_disk_that_is_full_ends_no_agent
    trouble::what_containers_do_to_themselves_stays_theirs
    agents::a_run_whose_keeper_is_killed_is_tried_again
    registries::an_image_that_cannot_be_had_is_told_and_nothing_of_it_used
}

/// No test: the process in which [`support::process`] runs our server.
#[test]
fn store_process() {
    support::process::serve_if_asked();
}
