//! Consensus side by side: cores of Raft, driven by the same loop, and runtimes around them.
//!
//! ```text
//!   Group<raft-rs>   n1 ─┬─ n2       the same wires, ticks, crashes and proposals for every core:
//!                        └─ n3       what differs between two columns is the core alone
//!   Group<ours>      n1 ─┬─ n2
//!                        └─ n3
//!   openraft         has no core that can be held in the hand: its tasks run under tokio, in real
//!                    time to measure what it costs, in a time of their own to see what it does
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`replica`] | what a core must show to be compared |
//! | [`group`], [`post`] | three or five of them on one thread, and the wires between them |
//! | [`cluster`] | what a story needs of a group, whether of cores or of tasks |
//! | [`service`] | what a runtime must do to be compared |
//! | [`ours`], [`raft_rs`], [`openraft`](mod@openraft) | the contenders |
//! | [`throughput`] | entries a CPU-second, allocations an entry |
//! | [`idle`] | what it costs to do nothing |
//! | [`failover`], [`partition`] | when somebody leads again: after a crash, behind cut wires |
//! | [`reads`] | messages a linearizable read |
//! | [`allocator`] | counts, when it is told to |

pub mod allocator;
pub mod cluster;
pub mod failover;
pub mod group;
pub mod idle;
pub mod openraft;
pub mod ours;
pub mod partition;
pub mod post;
pub mod raft_rs;
pub mod reads;
pub mod replica;
pub mod service;
pub mod throughput;
