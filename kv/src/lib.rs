//! etcd's data model as a library: revisions, transactions, compaction, leases and watches, over a
//! journal that makes every command durable before it is answered.
//!
//! # The problem
//!
//! Systems that coordinate others (schedulers, lock services, service registries) need a small
//! store with strong promises: a write that was acknowledged is never lost, every reader sees one
//! order of events, the past can be read, and whoever waits for a change hears of each exactly
//! once. etcd's data model is the one they have agreed on.
//!
//! # The idea
//!
//! Every change has a *revision*, and nothing is overwritten: a put adds a record under the next
//! revision, an index says which record of a key is the newest at any revision, and a compaction
//! later forgets what can no longer be asked for. Reading the past is then as easy as reading the
//! present, and a watch is a read that has not happened yet.
//!
//! ```text
//!   propose ──► journal ──► apply ──┬──► index    key -> revisions, live counts   (memory)
//!     (wal: one sync for many)      ├──► engine   revision -> record    (memory, B+tree, LSM tree)
//!                                   └──► watches  whoever waits for these keys
//!   range ──► index ──► engine
//! ```
//!
//! # Try it
//!
//! ```
//! use std::sync::Arc;
//! use drystone_kv::{Command, KeyRange, Kv, Options, Put, RangeRequest};
//! use drystone_vfs::{MemVfs, OsClock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (disk, clock) = (Arc::new(MemVfs::new()), Arc::new(OsClock::new()));
//! let kv = Kv::open(disk, clock, "data".as_ref(), Options::default())?;
//!
//! kv.propose(Command::Put(Put::new("k", "v"))).wait()?;
//!
//! let read = kv.range(&RangeRequest::new(KeyRange::single("k")))?;
//! assert_eq!(read.kvs[0].value, "v");
//! assert_eq!(read.kvs[0].mod_revision, 2); // a fresh store stands at 1
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! - Nothing is visible before it is durable; nothing refused leaves a trace.
//! - Commands are applied by one deterministic function ([`Store::apply`]).
//! - A limited range costs what it returns and a count O(log n), at any readable revision.
//! - Watches lose nothing and repeat nothing, in bounded memory.
//!
//! - Whoever opens the store chooses its engine ([`Options::engine`]), which shows in no answer.
//!
//! # Left out
//!
//! [`Kv`] drives one member; several are a `runtime::Replica` each (feature `runtime`, on by
//! default). Who a client is: whoever serves the store recognises it, and says so ([`auth`]).
//!
//! # Reading order
//!
//! The modules below stand in the order in which a newcomer should read them.

#![forbid(unsafe_code)]

// What is said: the nouns, the requests, the answers, their bytes.
pub mod codec;
pub mod command;
pub mod error;
mod format;
pub mod key_range;
pub mod limits;
pub mod record;
pub mod reply;
pub mod types;

// What is decided: the state, and the one function that changes it.
mod apply;
pub mod auth;
mod index;
pub mod lease;
pub mod members;
mod range;
mod state;
mod txn;

// What is kept: engines.
pub mod conformance;
pub mod engine;
pub mod engines;
pub mod mem;

// What is served: reads, watches, hashes, and the removal of garbage.
mod bulk;
pub mod checkpoint;
mod hash;
mod held;
mod part;
mod past;
mod pins;
mod replace;
pub mod scan;
pub mod store;
mod sweep;
mod trail;
pub mod watch;

// What runs: the journal, the clock, the threads.
mod bell;
mod data_dir;
mod expiry;
pub mod kv;
pub mod options;
mod proposal;
mod quota;
mod replay;
mod threads;
mod upkeep;

// What is replicated: the same store on several machines.
#[cfg(feature = "runtime")]
pub mod runtime;

pub use apply::Outcome;
pub use auth::{Auth, Caller};
pub use checkpoint::Checkpoint;
pub use command::{Command, DeleteRange, Put, RangeRequest, Txn};
pub use engines::EngineKind;
pub use error::{Error, Refusal};
pub use hash::HashReply;
pub use key_range::KeyRange;
pub use kv::{Kv, LeaseInfo};
pub use members::{Cluster, Member};
pub use options::Options;
pub use part::{Part, PartEnd, PartHash, PartReply};
pub use proposal::Proposal;
pub use reply::Reply;
pub use scan::Scan;
pub use store::{Status, Store};
pub use trail::{BLOCK as TRAIL_BLOCK, BlockHash};
pub use types::{KeyValue, LeaseId, Revision};
