//! `mason`: a scheduler that runs container jobs, over any etcd v3.
//!
//! What it decides is in [`mason_core`], as values. Here is what talks: to the store, to agents, to
//! people.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | the store: transactions, reads, watches, leases, elections |
//! | [`secrets`] | secrets, sealed before they are stored |

#![forbid(unsafe_code)]

pub mod secrets;
pub mod store;
