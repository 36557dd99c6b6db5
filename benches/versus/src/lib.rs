//! Our crates against their peers: the same work, in one process, turn by turn.
//!
//! # Problem
//! On a shared machine the same program is twice as fast in one minute as in the next, so a figure
//! measured today says nothing about one measured yesterday. And a peer that is run with settings
//! its authors would not choose proves nothing either.
//!
//! # Idea
//! ```text
//!   round 1   okaywal 16 | ours 1 | raft-engine 64 | ours 16 | ...    each for a slice of time,
//!   round 2   ours 16 | raft-engine 16 | okaywal 1 | ours 64 | ...    in shuffled order
//!   round 3   ...
//!             └── a ratio is taken within a round; the median over the rounds is the figure ──┘
//! ```
//!
//! While one works, the others are open and idle, so everything the process spends is the worker's:
//! CPU time, context switches, syncs, allocations. CPU time moves least and is the figure to trust.
//!
//! # Where to look
//! | module | holds |
//! |---|---|
//! | [`log`] | what a log must do to be compared, and the contenders, each with its settings |
//! | [`storage`] | the same for storage engines, each in a process of its own |
//! | [`raft`] | the same for consensus |
//! | [`gossip`] | the same for membership, in a simulated network |
//! | [`slice`](mod@slice) | one turn: threads that append and wait, or tasks that await |
//! | [`cost`], [`syncs`] | what the process has spent |
//! | [`rounds`], [`spread`] | the shuffled turns, and medians over them |
//! | [`figures`], [`table`](mod@table), [`machine`] | the answer, and where it was found |

pub mod cost;
pub mod figures;
pub mod gossip;
pub mod log;
pub mod raft;
pub mod rounds;

pub mod slice;
pub mod spread;
pub mod storage;
pub mod syncs;
pub mod table;

// What a published number must say of its machine is the same for all benches; to depend on the
// package would build a gRPC stack into this one.
#[path = "../../src/machine.rs"]
pub mod machine;
