//! The replicated multi-version store: etcd's data model as a library.

pub mod conformance;
pub mod engine;
pub mod key_range;
pub mod mem;
pub mod types;
