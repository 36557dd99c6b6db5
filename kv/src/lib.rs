//! The replicated multi-version store: etcd's data model as a library.

pub mod codec;
pub mod command;
mod format;
#[cfg_attr(not(test), expect(dead_code, reason = "the store that reads it comes next"))]
mod index;
pub mod key_range;
pub mod record;
pub mod reply;
pub mod types;
