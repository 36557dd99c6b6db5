//! Clusters of several members: real processes, the real `etcdctl`, and what operators do to them.
//!
//! | room | asks |
//! |---|---|
//! | [`fleet`] | (the processes, and how to talk to them) |
//! | [`basics`] | whether all members show one store, over restarts too |
//! | [`leadership`] | how long nobody leads when the leader dies, leaves or is replaced |
//! | [`members`] | whether members come, change, vote, go and are replaced |
//! | [`learners`] | whether learners become voters by themselves where they may |
//! | [`discovery`] | whether founders find each other through another etcd |
//! | [`disaster`] | what is left when the quorum is gone, or a disk is damaged |
//! | [`clients`] | whether leases and watches live on any member |
//! | [`comparison`] | whether a member that has something else than the others is found |
//! | [`files`] | whether members reach each other by Unix sockets |
//! | [`inspect`] | whether all members' directories show the same members and commands |
//! | [`metrics`] | what they tell of each other |
//! | [`leaderless`] | what a member says while nobody leads |
//! | [`health`] | what probes are told with and without a quorum |
//! | [`probes`] | whether that is what a late etcd tells them, byte by byte |
//!
//! Everything listens on loopback. The times that are promised are those of an idle machine: tests
//! that measure them run alone.

mod basics;
mod clients;
mod comparison;
mod disaster;
mod discovery;
pub(crate) mod files;
pub(crate) mod fleet;
mod health;
mod inspect;
mod leaderless;
mod leadership;
mod learners;
mod members;
mod metrics;
mod probes;
