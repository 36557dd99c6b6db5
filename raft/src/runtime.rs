//! Nodes that run: tokio around the core, its log on disk, a network and your state machine.
//!
//! # The problem
//!
//! The core says what is to be done and promises nothing about who does it. Between it and a
//! program that survives lie a loop that neither loses an effect nor waits for one, a disk, a
//! network, a state machine that takes its time, and callers who must each be answered once.
//!
//! # The idea
//!
//! A *shard* (`shard.rs`) is one task with any number of groups. It takes what has gathered, lets
//! each group that something happened to take one step, and hands on what comes of it: all writes
//! as one append to the shared log, all messages to one peer as one parcel, all commits to a second
//! task that owns the state machines.
//!
//! ```text
//!      callers ──► requests ─┐          ┌─► log ── one sync ──► stored ─┐
//!      peers ────► inbound ──┤  shard   ├─► peers, one parcel each      │
//!      snapshots ► events ───┤ (cores)  ├─► applier (state machines) ──► callers
//!        ▲   stored ─────────┘          └─► snapshots: taken, sent, fetched
//!        └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Network, log and state machine work side by side: a follower appends while the leader syncs and
//! both apply what was committed before. Nothing waits by the clock in order to gather: while one
//! round is under way, the next gathers by itself.
//!
//! [`Node`] is one group; [`MultiNode`] is many, on few tasks.
//!
//! # Promises
//!
//! * Every call is answered once: by the state machine's reply, or by [`Refused`](crate::Refused),
//!   which tells "never" from "perhaps", also when the node is shut down or dropped.
//! * A reply is given after a quorum has the command on disk and this node has applied it.
//! * A read that resolved may look at the state machine: it holds every write that was
//!   acknowledged before the read began.
//! * Every queue has a bound; when one is full, callers wait and peers send again.
//!
//! # Absent
//!
//! Forwarding of calls to the leader; a state machine that is slow blocks the others of its shard.

mod config;
mod error;
mod machine;
mod shared;

mod group;
mod members;
mod multi;
mod node;

mod applier;
mod inbox;
mod seat;
mod shard;
mod tickets;
mod waiting;
mod weights;

mod courier;
mod router;

mod channels;
pub mod tcp;
mod transport;

pub use crate::store::GroupId;
pub use channels::Channels;
pub use config::NodeConfig;
pub use error::{Error, Result};
pub use group::{Group, Rank, Status};
pub use machine::{SaveJob, SnapshotJob, StateMachine, Unsaved};
pub use members::Members;
pub use multi::MultiNode;
pub use node::Node;
pub use shared::{Shared, State};
pub use transport::{Chunks, Inbound, Link, Transport};
