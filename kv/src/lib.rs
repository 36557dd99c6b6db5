//! The replicated multi-version store: etcd's data model as a library.

mod apply;
pub mod codec;
pub mod command;
pub mod conformance;
pub mod engine;
pub mod error;
mod expiry;
mod format;
mod hash;
mod index;
pub mod key_range;
pub mod lease;
pub mod limits;
pub mod mem;
mod pins;
mod range;
pub mod record;
pub mod reply;
mod state;
pub mod store;
mod sweep;
mod txn;
pub mod types;
mod watch;

pub use apply::Outcome;
pub use error::{Error, Refusal};
pub use hash::HashReply;
pub use store::{Status, Store};
