//! The replicated multi-version store: etcd's data model as a library.

pub mod types;
pub mod key_range;
pub mod command;
pub mod reply;
mod format;
pub mod codec;
pub mod limits;
pub mod record;
pub mod lease;
mod expiry;
mod range;
mod txn;
mod state;
mod apply;
mod pins;
mod sweep;
mod hash;
pub mod store;
pub mod engine;
pub mod error;
mod index;
pub mod mem;
pub mod conformance;
mod watch;

pub use apply::Outcome;
pub use error::{Error, Refusal};
pub use hash::HashReply;
pub use store::{Status, Store};
