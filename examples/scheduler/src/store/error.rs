//! Why something with the store failed.

use std::sync::Arc;
use std::time::Duration;

use mason_core::types::Revision;
use tonic::Status;

/// Why something with the store failed. Each names the endpoint that was asked last.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Not a single endpoint was given.
    #[error("no endpoint of the store is given")]
    NoEndpoint,
    /// What was given is no URL.
    #[error("`{endpoint}` is no endpoint of a store")]
    BadEndpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: Arc<tonic::transport::Error>,
    },
    /// Nobody did it, for as long as it was tried. It was not done.
    #[error("no answer from the store, last asked at {endpoint}, for {}: {}",
        seconds(*.waited), source.message())]
    Unavailable {
        /// Who was asked last.
        endpoint: String,
        /// How long it was tried.
        waited: Duration,
        /// What was said last.
        source: Arc<Status>,
    },
    /// Nobody knows whether it was done: the deadline passed, or the connection broke, after it had
    /// been sent. Look at the store.
    #[error("the store at {endpoint} was asked to {what}, and may have: {}", source.message())]
    Unknown {
        /// Who was asked.
        endpoint: String,
        /// For what.
        what: &'static str,
        /// What came instead of an answer.
        source: Arc<Status>,
    },
    /// The store does not do such a thing. It was not done.
    #[error("the store at {endpoint} refuses to {what}: {}", source.message())]
    Refused {
        /// Who was asked.
        endpoint: String,
        /// For what.
        what: &'static str,
        /// Why it refuses.
        source: Arc<Status>,
    },
    /// The transaction is larger than a store takes. It was not sent.
    #[error("a transaction of {compares} comparisons and {ops} operations; a store takes {max}")]
    TooManyOps {
        /// Its comparisons.
        compares: usize,
        /// Its operations.
        ops: usize,
        /// What a store takes of each.
        max: usize,
    },
    /// History before this revision is gone.
    #[error("the history of the store begins at revision {0}")]
    Compacted(Revision),
    /// The lease is gone, and all keys with it.
    #[error("lease {0:x} is gone")]
    LeaseGone(i64),
    /// The endpoint belongs to another cluster than the first that answered.
    #[error("the store at {endpoint} is cluster {found:x}, the one before was {expected:x}")]
    OtherCluster {
        /// Who answered.
        endpoint: String,
        /// Its cluster.
        found: u64,
        /// The cluster of who answered first.
        expected: u64,
    },
    /// An answer without what must be in it.
    #[error("the store at {endpoint} answers without {what}")]
    BadAnswer {
        /// Who answered.
        endpoint: String,
        /// What is missing.
        what: &'static str,
    },
    /// The stream has said all that it will.
    #[error("the stream of changes has ended")]
    Ended,
}

impl StoreError {
    /// Whether it may be over by itself: whoever can wait tries again.
    pub fn is_passing(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. } | StoreError::Unknown { .. })
    }
}

fn seconds(waited: Duration) -> String {
    format!("{:.1} s", waited.as_secs_f64())
}
