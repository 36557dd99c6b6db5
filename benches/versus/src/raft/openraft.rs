//! openraft: tasks under tokio, which speak with each other by calls.
//!
//! It has no core to be driven by hand. What it costs is measured in real time ([`Tasks`]); what it
//! does when nodes die and wires break is watched in a time that stands still until nobody has
//! anything to do ([`Story`]), with its random numbers drawn from a seed.
//!
//! Its store is ours: a queue in memory behind a lock, faster than the tree of its own benchmark.
//! It takes no snapshots, so it never has to forget entries, either.

mod runtime;
mod store;
mod story;
mod tasks;
mod wire;

use std::fmt;

use ::openraft::impls::{self, leader_id_adv::LeaderId};
use ::openraft::vote::RaftLeaderId;
use ::openraft::{EntryPayload, RaftTypeConfig};

use super::replica::Payload;

pub use runtime::Seeded;
pub use story::{Story, reads};
pub use tasks::Tasks;

/// What the tables call it.
pub const NAME: &str = "openraft";

/// What is put, inline in the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put(pub Payload);

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put {}", self.0.number)
    }
}

/// Payloads of 16 bytes, nothing to answer, nodes without addresses; otherwise its defaults, but
/// for the responder, which is that of its own benchmark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Put;
    type R = ();
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = impls::Vote<LeaderId<u64, u64>>;
    type Payload = EntryPayload<Put, u64, ()>;
    type Entry = impls::Entry<<LeaderId<u64, u64> as RaftLeaderId>::Committed, Self::Payload>;
    type Responder<T>
        = impls::OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: Send + 'static;
    type AsyncRuntime = Seeded;
    type ErrorSource = impls::BoxedErrorSource;
}

/// A node.
type Node = ::openraft::Raft<Types, store::Machine>;
