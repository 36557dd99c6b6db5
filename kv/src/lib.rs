//! The replicated multi-version store: etcd's data model as a library.

pub mod codec;
pub mod command;
mod format;
pub mod key_range;
pub mod record;
pub mod reply;
pub mod types;
