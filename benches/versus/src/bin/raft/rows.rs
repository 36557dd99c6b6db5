//! The questions, one a file, each with its goals.

pub(crate) mod allocations;
pub(crate) mod failover;
pub(crate) mod idle;
pub(crate) mod partition;
pub(crate) mod reads;
pub(crate) mod service;
pub(crate) mod throughput;
