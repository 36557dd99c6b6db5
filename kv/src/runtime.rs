//! A store that is on several machines at once: every member of a group holds all of it.
//!
//! # The problem
//!
//! A store on one machine is lost with the machine, and away while it restarts. Copies on others
//! help only if nobody can tell them from one store: a write that was acknowledged is in all that
//! will ever be read, whichever of them dies, is cut off, or wakes up late.
//!
//! # The idea
//!
//! [`drystone_raft`] agrees on the order of commands, and [`Store::apply`](crate::Store::apply) is
//! the one function that they all go through. The consensus log is the only journal there is: one
//! sync for each batch, on each member. The engine is made durable now and then, together with the
//! position of the last command in it, and the log is shortened behind that.
//!
//! ```text
//!              member 1, leads                         member 2, follows
//!   propose ──► group ──► log ── entries ───────────────► log
//!                │         │ quorum has it on disk         │
//!                └───────► apply ──► Store                 apply ──► Store
//!                           │                               │
//!   reply  ◄────────────────┘          propose ─────────────┘ is asked of the leader, and
//!                                                             answered by what is applied here
//!   range  ◄── linearize (is it up to date?) ◄── Store
//! ```
//!
//! Any member takes any call. What the leader alone may say, it is asked for ([`Peers`]): to
//! propose, and how long leases live.
//!
//! * **Leases** are counted down by the leader alone (`lessor.rs`). A new leader gives each its
//!   full time again: a lease may end late, never early.
//! * **Members** are part of the replicated state ([`Cluster`](crate::members::Cluster)), with
//!   their names and addresses. The leader makes the group's voters those of the table
//!   (`roster.rs`): who is added gets all data first, and its vote when it has them.
//! * **Whose command it is** travels with it, and is judged when it is applied ([`crate::auth`]).
//!   The tokens of clients are known by their hashes, on every member (`tokens.rs`).
//! * **A member that is too far behind** is sent the whole state as a stream, builds a new engine
//!   from it, and puts that in the place of the old one, under its readers and watchers.
//! * **A member that is alone** has nobody to mend its log or send it the state: it is refused
//!   unless it has all of both (`alone.rs`).
//!
//! # Promises
//!
//! * A reply is given when a quorum has the command on disk and this member has applied it: what
//!   it has answered it also shows to reads that may be old.
//! * After [`Replica::linearize`] a read shows every write that was acknowledged before that call.
//! * [`Error::TimedOut`](crate::Error::TimedOut) and
//!   [`Error::LeaderLost`](crate::Error::LeaderLost) say "perhaps"; every other error says "no".
//! * Every queue is bounded: [`Error::Busy`](crate::Error::Busy) when one is full.
//!
//! # Absent
//!
//! The network between callers and members, and the messages of [`Peers`]: those belong to the
//! server.

mod disk;
mod observer;
mod options;

mod envelope;
mod fence;
mod folder;
mod machine;
mod pending;
mod steps;
mod tally;
mod tokens;

mod house;
mod lessor;
mod peers;
mod roster;

mod alone;
mod calls;
mod duties;
mod import;
pub mod inspect;
mod replica;
mod restore;

pub use disk::Disk;
pub use import::{Import, Logged, Standing};
pub use observer::Observer;
pub use options::ReplicaOptions;
pub use peers::{Ask, Asked, GroupProgress, MemberProgress, Peers, Told};
pub use replica::Replica;
pub use restore::{move_log, restore};
pub use tally::{CommandKind, Tally};
pub use tokens::TokenHash;

/// The parts of a member that need no runtime, for simulations that drive them from a seed. No
/// promise is made about them.
#[doc(hidden)]
pub mod parts {
    pub use super::envelope::{Opened, Origin, open, seal};
    pub use super::folder::Folder;
    pub use super::lessor::Lessor;
    pub use super::roster::next_step;
    pub use super::steps::{Ran, run, take_over};
    pub use crate::expiry::Renewal;
}
