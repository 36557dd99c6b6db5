//! The replicated multi-version store: etcd's data model as a library.

pub mod key_range;
pub mod types;
