//! `mason`: a scheduler that runs container jobs, over any etcd v3.
//!
//! What it decides is in [`mason_core`], as values. Here is what talks: to the store, to agents, to
//! people.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | a server: copies the store, and leads or waits to |
//! | [`agent`] | an agent: runs on a node what the store binds to it |
//! | [`api`] | HTTP: what clients, servers and agents say to each other |
//! | [`gossip`] | who has fallen silent, and where servers answer |
//! | [`store`] | the store: transactions, reads, watches, leases, elections |
//! | [`secrets`] | secrets, sealed before they are stored |
//! | [`node`] | what this machine is |
//! | [`bench`](mod@bench) | measurements of all of it, on this machine |
//! | [`cli`] | the command line |

#![forbid(unsafe_code)]

pub mod api;

pub mod server;

pub mod agent;

pub mod gossip;

pub mod secrets;

pub mod store;

pub mod node;

pub mod bench;

pub mod cli;

mod when;
