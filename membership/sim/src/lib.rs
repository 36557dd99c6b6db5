//! Clusters of a membership protocol in a simulated world, and the questions one asks of them.
//!
//! A membership protocol tells every member who else is there. What one wants to know of it are
//! figures: how long until all know of a crash, how many are called dead that are not, what it
//! costs to be told nothing. Here a protocol is put behind one trait, [`Gossiper`], and asked; any
//! other behind the same trait is asked the same in the same network.
//!
//! ```text
//!     scenario::crash ──► Cluster ──► World of Member<G>: packets counted, sightings kept
//!                            │               │
//!                       who is up?           └─► G: the protocol, a pure state machine
//!                         Truth
//!                            └────────► Watch: sightings against the truth ──► a figure
//! ```
//!
//! A tick of the world is a microsecond. All that a protocol sends is counted here and not by
//! itself, and what it believes is read from what it says: a [`Sighting`] is one member saying of
//! another that it is up, suspected, down or has left.
//!
//! # Where to read
//!
//! `gossiper.rs` is what a protocol must do, `cluster.rs` what can be done to it, `nemesis.rs` all
//! of that at once, `watch.rs` how
//! figures are made of sightings, and each file of `scenario/` asks one question. The toy in
//! `tests/suite/toy.rs` is the smallest protocol that works.

#![forbid(unsafe_code)]

mod gossiper;

mod address;
mod packet;
mod truth;

mod cluster;
mod member;

pub mod nemesis;

mod ours;

pub mod scenario;
pub mod watch;

pub mod chronicle;
pub mod picture;

pub use address::{address_of, node_of};
pub use cluster::{Cluster, SETTLE, Setup};
pub use gossiper::{Acts, Gossiper, Input, Order, Seat, What};
pub use member::Member;
pub use ours::{Drystone, Stable};
pub use packet::{Packet, Traffic};
pub use truth::{Sighting, Standing, Truth};

/// Ticks of the world in a millisecond.
pub const MILLISECOND: u64 = 1_000;

/// Ticks of the world in a second.
pub const SECOND: u64 = 1_000_000;
