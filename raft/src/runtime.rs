//! Nodes that run: tokio around the core, its store and a network.

mod transport;

mod channels;
pub mod tcp;

pub use crate::store::GroupId;
pub use channels::Channels;
pub use transport::{Chunks, Inbound, Link, Transport};
