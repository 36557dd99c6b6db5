//! The store's client, against real etcd and against our own.
//!
//! Each test runs twice, as `…::etcd::…` on Debian's etcd and as `…::ours::…` on ours, which is
//! embedded where one member will do, and a process where one must be killed. Without etcd its half
//! says `SKIPPED` and why, and fails if `CI=true`.
//!
//! | part | asks |
//! |---|---|
//! | [`txn`] | what each comparison and operation does, and what is known of one that broke off |
//! | [`read`] | whether a long read shows one moment |
//! | [`watch`] | whether a watch has gaps or repeats, whatever dies |
//! | [`lease`] | until when a holder may count on a lease |
//! | [`election`] | who leads, and that nobody else writes |
//! | [`cluster`] | all of it while members die |
//! | [`endpoints`] | what is said when nobody answers |
//! | [`api`] | requests of people and of strangers |
//! | [`bench`] | that what is measured can be measured |
//! | [`cli`] | the program itself, as people start it |
//! | [`agent`] | what an agent answers, asks, and keeps to itself |

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

#[macro_use]
mod support;

mod agent;
mod api;
mod bench;
mod cli;
mod cluster;
mod election;
mod endpoints;
mod lease;
mod read;
mod txn;
mod watch;

/// What is played several at a time, what takes long first.
const ALL: &[&[support::play::Scene]] = &[
    cluster::SCENES,
    agent::keeps::SCENES,
    agent::answers::SCENES,
    agent::runs::SCENES,
    api::apply::SCENES,
    api::events::SCENES,
    api::explain::SCENES,
    api::nodes::SCENES,
    api::plan::SCENES,
    api::secrets::SCENES,
    api::servers::SCENES,
    api::verbs::SCENES,
    election::SCENES,
    watch::SCENES,
    endpoints::SCENES,
    lease::SCENES,
    read::SCENES,
    txn::SCENES,
];

/// No test: the process in which [`support::process`] runs our server.
#[test]
fn store_process() {
    support::process::serve_if_asked();
}
