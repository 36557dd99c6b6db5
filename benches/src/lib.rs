//! Measurements: a load generator for anything that speaks etcd v3, and what it takes to compare
//! two servers fairly on one machine.
//!
//! # Problem
//! Client and server share the same few cores, the disk belongs to a virtual machine, and absolute
//! times differ by a factor between two runs. A number alone says little.
//!
//! # Idea
//! Compare, never time: the same load against both servers, turn by turn in one run, and look at
//! the ratio within each round. Look at CPU per request first, for it moves least. Keep the client
//! cheap and in a process of its own, so that its cost is seen and not charged to the server.
//!
//! ```text
//!   etcd-versus --starts--> one server or three (etcd, then ours, then ours, then etcd, ...)
//!        |                     ^  reads their CPU and peak memory from /proc
//!        +------starts--> load-+  prints one Report as JSON
//! ```
//!
//! # Where to look
//! | module | holds |
//! |---|---|
//! | [`load`] | the load: options, clients, the [`load::Report`] |
//! | [`latency`], [`keys`] | a histogram of times; keys and values to write |
//! | [`proc`] | CPU time and memory of a process |
//! | [`server`] | a server process, from its start to its end |
//! | [`cluster`] | the members of a cluster: where they sit, what they cost together |
//! | [`versus`] | scenarios, rounds, medians, the table, the verdicts |
//! | [`machine`] | what the table says of the machine |

#![forbid(unsafe_code)]

pub mod cluster;
pub mod keys;
pub mod latency;
pub mod load;
pub mod machine;
pub mod proc;
pub mod server;
pub mod versus;
