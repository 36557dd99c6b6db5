//! A simulator that anyone can use for their own state machine.

#![forbid(unsafe_code)]

mod process;
mod world;

mod alarms;
mod clock;
mod link;
mod network;
mod shape;
mod timeline;

mod rate;
mod rng;
mod seeds;
mod trace;
mod types;

pub use clock::{CLOCK_ERROR_PPM_MAX, Clock};
pub use link::Link;
pub use network::{Envelope, Fate, IN_FLIGHT_MAX, Network, Traffic};
pub use process::{Input, InputOf, Outbox, OutboxOf, Process};
pub use rate::Rate;
pub use rng::Rng;
pub use seeds::{Seed, Seeds};
pub use shape::Shape;
pub use types::NodeId;
pub use world::{AT_ONCE_MAX, HELD_MAX, Happened, What, World};
