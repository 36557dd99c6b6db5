//! A whole mason in a simulated world: the real leader and the real agent, around them a store, a
//! network, machines and containers, all from one seed.
//!
//! # What is real and what is played
//! [`mason_core::leader::Leader`] and [`mason_core::agent::Agent`] are the ones that run in a
//! server and on a node; not a line of theirs knows that it is simulated. Played are:
//!
//! ```text
//!   node 1        Store     keys, revisions, leases, watches: etcd as a value; its clients see
//!                           one order, late, or not at all
//!   the next      Server    an election, a copy of the store, and a leader while it holds office
//!   the others    Host      a machine: an agent that can be killed and paused apart from it,
//!                           keepers and containers that live on, a journal that outlives power
//! ```
//!
//! The network between them loses, delays and cuts; machines lose power; agents are killed between
//! any two steps; keepers are killed; clocks run fast and slow, and the time of day jumps by an
//! hour. After every step [`checks::Checks`] looks at all of it from outside and asserts what the
//! protocol promises ([`mason_core::protocol`]).
//!
//! A simulated kernel has no pause of its own: a machine that is paused stands still with all its
//! containers, and the first that it does when it goes on is to obey the fence. That is the one
//! residue that the promise about strict runs names.

#![forbid(unsafe_code)]

pub mod checks;
pub mod cluster;
pub mod flaw;
pub mod flows;
pub mod host;
pub mod message;
pub mod plan;
pub mod server;
pub mod store;
pub mod wishes;

mod caller;
mod evening;
mod machine;
