//! The replicated multi-version store: etcd's data model as a library.

pub mod codec;
pub mod command;
pub mod engine;
pub mod error;
mod format;
pub mod key_range;
pub mod lease;
pub mod limits;
pub mod record;
pub mod reply;
pub mod types;
