//! Raft as a value: time and messages go in, what is to be done comes out.
//!
//! If you have never built one, this page says what consensus is and where each of its rules lives.
//! If you came to use one, the example is below.
//!
//! # The problem
//!
//! A few machines are to act as one that does not fail. They keep the same list of commands, the
//! *log*, and apply it in the same order to the same state machine, so any of them can answer for
//! all. Machines stop without a word, come back with what was on their disks, and the network
//! loses, delays, doubles and reorders what they say. Whatever happens, a command that a client was
//! told is done must stay done, and be seen by everyone who asks later.
//!
//! # The idea
//!
//! One member leads for a *term*. It alone appends to the log; the others copy it. An entry is
//! *committed* when a quorum, more than half, has it on disk. When the leader is gone, a quorum
//! elects another, and votes only for one whose log is not older than its own: any two quorums have
//! a member in common, so the new leader has every committed entry (Ongaro and Ousterhout 2014; the
//! thesis, Ongaro 2014).
//!
//! ```text
//!    client ──► leader ──► log ──┬─► its disk ─────────┐
//!                                ├─► follower ─► disk ─┼─ two of three have it: committed, answer
//!                                └─► follower ─► disk ─┘
//! ```
//!
//! # The shape
//!
//! [`Raft`] reads no clock, opens no socket and no file, draws no random number. Whoever drives
//! it hands in what happened ([`Input`]) and does what it asks for ([`Effect`]):
//!
//! ```text
//!            Input                                           Effect
//!   message, proposal, read, ─────┐               ┌────► send a message
//!   write is durable, …           ▼               │      write, and say when it is durable
//!                        raft.step(now, inputs, &mut effects)    load entries from the log
//!                                 ▲               │      apply what is committed
//!   nothing, but it is time ──────┘               └────► answer a ticket
//!          raft.deadline()
//! ```
//!
//! There is no order to get wrong. A write may take as long as it likes, many may be under way, and
//! they may complete in any order: what must not be said before a write is durable is held back by
//! the core and comes out as a `Send` after [`Input::Stored`]. A crash test is therefore short:
//! drop any suffix of the writes that were not acknowledged.
//!
//! # Try it
//!
//! A group of one, driven by hand. `examples/drive.rs` has three, over channels.
//!
//! ```
//! use drystone_raft::{Boot, Config, Configuration, Effect, Index, Input, Raft, Role, Ticket};
//!
//! # fn main() -> Result<(), drystone_raft::Error> {
//! let boot = Boot::new(Configuration::voters([1]));           // an empty disk
//! let mut raft = Raft::restore(1, Config::new(10), boot, 0, 7)?;
//! let (mut inputs, mut effects, mut answers) = (vec![], vec![], vec![]);
//! for now in 0..40 {
//!     if now == 30 {
//!         let data = "set x 1".into();
//!         inputs.push(Input::Propose { ticket: Ticket(1), data });
//!     }
//!     raft.step(now, inputs.drain(..), &mut effects);
//!     for effect in effects.drain(..) {
//!         match effect {
//!             // To disk and synced first, in a real program:
//!             Effect::Write(write) => inputs.push(Input::Stored(write.id)),
//!             Effect::Answer { ticket, result } => answers.push((ticket, result)),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(raft.role(), Role::Leader);
//! assert_eq!(answers, [(Ticket(1), Ok(Index(2)))]);          // 1 is the leader's blank entry
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * At most one leader in a term; a committed entry is in the log of every later leader; what is
//!   applied at an index is the same everywhere (Raft figure 3).
//! * Every [`Ticket`] is answered once. [`Refused`] tells "never" from "perhaps".
//! * A read is answered with an index that holds every write acknowledged before the read began,
//!   in every [`ReadMode`] but `Stale`.
//! * The same inputs at the same times give the same effects, on every machine.
//! * Nothing that a peer sends makes it panic, or makes it take a step that the protocol forbids.
//! * A damaged log is never cut where something may have been acknowledged.
//!
//! # Follow a proposal
//!
//! `raft.rs` (the step) → `replication.rs` (the leader) → `writes.rs` (what waits for the disk) →
//! `following.rs` (a follower) → `replication.rs` again (the commit). Elections are in
//! `election.rs` and `patience.rs`, reads in `reads.rs`, members in `configuration.rs` and
//! `change.rs`, snapshots in `snapshot.rs`, handing over in `transfer.rs`, lost disks in
//! `damage.rs`, and the one step beyond Raft, a candidate that catches up, in `borrow.rs`.
//!
//! # Beyond the core
//!
//! Without features that is all: no std, no dependency but `bytes`. The feature `store` brings a
//! log for many groups on disk, which says what it lost when the disk was damaged, and `runtime`,
//! on by default, nodes that run it all over channels or TCP.
//!
//! # Absent
//!
//! * The bytes of snapshots: the driver moves them, the core says when and for whom.
//! * Forwarding of proposals: [`Refused::NotLeader`] says where to go.
//! * A witness that becomes a voter, or a voter that becomes a witness: remove it, and add another.
//! * Inherited reads of a leader that waits for an older lease (LeaseGuard §4): it serves none
//!   until the wait is over.

#![cfg_attr(not(any(feature = "store", test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod types;

mod entry;
mod message;
mod wire;

mod config;
mod effect;
mod error;
mod input;

mod boot;
mod raft;

mod election;
mod following;
mod patience;
mod replication;

mod reads;
mod transfer;

mod change;
mod configuration;
mod quorum;

mod snapshot;
mod tail;

mod borrow;
mod damage;

mod quiet;

mod log;
mod progress;
mod reign;
mod writes;

mod rng;

#[cfg(feature = "store")]
pub mod store;

#[cfg(feature = "runtime")]
pub mod runtime;

pub use boot::{Boot, HardState, SnapshotMeta};
pub use config::{Config, Lease};
pub use configuration::{Change, Configuration, Member, Suffrage};
pub use effect::{Effect, Fault, Refused, Write};
pub use entry::{Entry, Payload};
pub use error::Error;
pub use input::{Input, ReadMode};
pub use message::{Body, Message, Word};
pub use progress::Follower;
pub use raft::{Raft, Role};
pub use types::{Index, NodeId, Position, Term, Ticket, WriteId};
