//! The suites of the consensus core.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod basics;
mod borrowing;
mod catalogue;
mod disk_faults;
mod elections;
mod flow;
mod fuzz;
mod inspection;
mod lab;
mod log_apart;
mod log_safety;
mod membership;
mod multi_groups;
mod node_basics;
mod node_disks;
mod node_kept;
mod node_linear;
mod node_members;
mod node_shared;
mod node_snapshots;
mod node_stalls;
mod node_support;
mod processes;
mod reading;
mod seeds;
mod store_crash;
mod store_damage;
mod store_model;
mod store_support;
mod stories;
mod tcp_nodes;
