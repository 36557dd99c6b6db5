//! Real etcd-compatible servers under faults, and a check of all that their clients saw.
//!
//! # Problem
//!
//! A simulation finds the bugs of a protocol; it never sees the program that is shipped: its
//! sockets, its files, its threads, the kernel below. What etcd promises is promised by that
//! program, to clients, in bad times. So the program is run, times are made bad, and clients
//! compare what they are told with what was promised.
//!
//! # Idea
//!
//! ```text
//!   plan (seed) ──► nemesis ──► kill -9, SIGSTOP, cut, slow, full disk, replace, roll
//!                                   │
//!        ┌──────────────────────────▼──────────────────────────┐
//!        │  member 0  ◄── door ──►  member 1  ◄── door ──►  …  │   processes, each in a network
//!        └──▲──────────────▲──────────────▲────────────────────┘   namespace, with its own disk
//!           │ gRPC         │              │
//!        workers        holders        watchers  ──► history ──► checkers ──► violations
//!        put, txn, read of leases                       ▲
//!                                                  a lie, if asked for
//! ```
//!
//! Any server that takes etcd's flags will do. Nothing is asked of it but etcd's interface, and it
//! cannot know that it is tested.
//!
//! # Promises
//!
//! * A violation is one: the checkers are pure functions of the history, each is shown to be silent
//!   about good ones, and a lost answer is never taken for a failure.
//! * A checker that is silent is not blind: [`lie`] shows it what a server with a bug would have
//!   shown, and it must complain.
//! * A seed is one plan and one stream of requests. What the kernel makes of it no seed decides.
//! * Nothing is left behind: no process, no namespace, no mount; what a killed run leaves, the next
//!   one removes.
//!
//! # What it does not do
//!
//! Clocks are not bent, disks are full but do not lose or damage data;
//! `drystone-vfs` and `drystone-raft-sim` do that to the parts. Nothing is compacted that no watch
//! has shown, so that the whole history is known at the end.
//!
//! # Where to read
//!
//! [`session`] is the story of a run. [`check`] is what it is all for; [`history`] and [`request`]
//! are what it is a function of. [`plan`] says what can go wrong, `cluster.rs`, `network.rs` and
//! `namespaces.rs` do it, and `worker.rs`, `holder.rs`, `watcher.rs` and `operator.rs` are there
//! when it happens.

#![forbid(unsafe_code)]

pub mod session;

pub mod history;
pub mod request;

pub mod check;
pub mod violation;

pub mod lie;
pub mod plan;
pub mod report;

mod caller;
mod holder;
mod operator;
mod recorder;
mod watcher;
mod wire;
mod worker;
mod workload;

mod audit;

mod cluster;
mod disk;
mod lives;
mod nemesis;
mod process;
pub mod server;

mod command;
mod link;
mod namespaces;
mod netem;
mod network;
mod proxy;

pub use recorder::Count;
