//! A simulator that anyone can use for their own state machine.

#![forbid(unsafe_code)]

mod process;
mod world;

mod profile;
mod trouble;

mod alarms;
mod clock;
mod link;
mod network;
mod shape;
mod timeline;

pub mod history;
pub mod linear;

pub mod script;

mod error;
mod rate;
mod rng;
mod seeds;
mod trace;
mod types;

pub use clock::{CLOCK_ERROR_PPM_MAX, Clock};
pub use error::{Error, Result};
pub use link::Link;
pub use network::{Envelope, Fate, IN_FLIGHT_MAX, Network, Traffic};
pub use process::{Input, InputOf, Outbox, OutboxOf, Process};
pub use profile::{Profile, Woe};
pub use rate::Rate;
pub use rng::Rng;
pub use seeds::{Seed, Seeds};
pub use shape::Shape;
pub use trouble::{Harm, Rest, Trouble};
pub use types::NodeId;
pub use world::{AT_ONCE_MAX, HELD_MAX, Happened, What, World};
