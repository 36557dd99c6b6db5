//! Who is in the cluster, and who has failed: SWIM with Lifeguard as a value.
//!
//! Time, packets and wishes go in, packets and events come out ([`Swim::handle`]).
#![forbid(unsafe_code)]

mod broadcast;
mod clock;
mod config;
mod effect;
mod error;
mod health;
mod input;
mod keyring;
mod lane;
mod message;
mod metadata;
mod node;
mod packet;
mod peer;
mod peers;
mod rng;
mod rtt;
mod rumor;
mod snapshot;
mod suspicion;
mod swim;
mod types;
mod wire;

#[cfg(feature = "runtime")]
pub mod runtime;

pub use broadcast::TOPIC_BYTES_MAX;
pub use config::{Config, Lifeguard, MTU_MAX, MTU_MIN, Verdict};
pub use effect::{Effect, Event};
pub use error::{Error, Result};
pub use input::Input;
pub use keyring::{KEYS_MAX, Key, KeyStep};
pub use metadata::KEY_BYTES_MAX;
pub use node::{Member, NAME_BYTES_MAX, Node};
pub use snapshot::Snapshot;
pub use swim::{Boot, Stats, Swim};
pub use types::{Incarnation, NodeId, State};
