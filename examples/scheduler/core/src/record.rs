//! What the store holds: one type for the value of each key.
//!
//! Values are JSON. Fields that a reader does not know are skipped, so that servers and agents of
//! two versions can share a store while they are replaced. Each family of keys has one class of
//! writer, so conflicts are bugs and not routine:
//!
//! | key | value | written by |
//! |---|---|---|
//! | `job/<ns>/<name>` | [`JobRecord`]: what a user wants | servers, for users |
//! | `config/…`, `secret/…` | [`ConfigRecord`], [`SecretRecord`] | servers, for users |
//! | `spec/<hash>` | a [`Task`](crate::spec::Task): the template, once | the leader |
//! | `state/<ns>/<name>` | [`StateRecord`]: how far it is | the leader |
//! | `marks/<ns>/<name>/<chunk>` | [`MarksRecord`]: how 4096 of its tasks ended | the leader |
//! | `task/<ns>/<name>/<index>` | [`TaskRecord`]: a slot with an attempt now or due | the leader |
//! | `run/<node>/<run>` | [`RunRecord`]: a task bound to a node, and its wish | the leader |
//! | `seen/<node>/<run>` | [`SeenRecord`]: how far the run is | the node's agent |
//! | `result/<run>` | [`ResultRecord`]: how it ended; written **once** | the agent; the leader |
//! | `past/<ns>/<name>/<index>` | [`PastRecord`]: the last attempt of one that ended | the leader |
//! | `node/<id>` | [`NodeRecord`]: what it is | its agent at its start, then operators |
//! | `alive/<id>` | [`AliveRecord`]: it lives, as long as its lease does | the agent |
//! | `lead/<lease>` | an election, as etcd's clients do it | servers |

mod config;
mod job;
mod node;
mod run;

pub use config::{ConfigRecord, SecretRecord};
pub use job::{
    Asks, Condition, Counts, Ending, JobRecord, MARKS_CHUNK, Mark, MarksRecord, PastRecord, Phase,
    Progress, StateRecord, TaskRecord, TaskWait,
};
pub use node::{AliveRecord, Drain, ImageAt, NOTICE, NodeRecord, Taint, TaintEffect};
pub use run::{
    Exit, OUTPUTS_BYTES_MAX, PRINTED, Reason, ResultRecord, RunPhase, RunRecord, SeenRecord, Wish,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest value that is written, bytes: what is larger is refused where it is made.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// A value of the store that does not read.
#[derive(Debug, thiserror::Error)]
#[error("the value of {key} does not read")]
pub struct BadRecord {
    /// Where it is.
    pub key: String,
    /// What is wrong.
    #[source]
    pub source: serde_json::Error,
}

/// As the store holds it.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have no maps with keys that are not text")
}

/// As the store held it under this key.
///
/// # Errors
/// If it is no JSON, or a field that must be there is not.
pub fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, BadRecord> {
    serde_json::from_slice(value).map_err(|source| BadRecord { key: key.to_owned(), source })
}
