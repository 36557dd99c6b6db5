//! Limits of the store's client: how long, how much, how many.

use std::time::Duration;

/// Limits; the defaults suit a store on a local network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long an endpoint may take to accept a connection.
    pub connect_max: Duration,
    /// How long one attempt at a read or a lease call may take, before the next endpoint is asked.
    pub call_max: Duration,
    /// How long a transaction may take. Longer than an election: a leader that is lost meanwhile
    /// should not leave every outcome open.
    pub commit_max: Duration,
    /// How long a call is attempted, over all endpoints, before it fails.
    pub patience: Duration,
    /// The first pause after all endpoints failed; each next one is twice as long.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Bytes of one page of a long read; a page of few large values may be larger.
    pub page_bytes: usize,
    /// Keys of one page.
    pub page_keys_max: usize,
    /// How often a long read begins anew because history was compacted under it.
    pub reads_max: u32,
    /// Batches of a watch that wait to be read.
    pub watch_queue: usize,
    /// Batches of a followed prefix that wait to be read, beside those of its watch.
    pub follow_queue: usize,
    /// A connection with open calls and no traffic is pinged so often. etcd takes offence at less
    /// than five seconds.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered before the connection counts as dead.
    pub ping_max: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connect_max: Duration::from_secs(2),
            call_max: Duration::from_secs(3),
            commit_max: Duration::from_secs(7),
            patience: Duration::from_secs(15),
            pause_min: Duration::from_millis(20),
            pause_max: Duration::from_secs(1),
            page_bytes: 1 << 20,
            page_keys_max: 8192,
            reads_max: 5,
            watch_queue: 64,
            follow_queue: 16,
            ping_interval: Duration::from_secs(6),
            ping_max: Duration::from_secs(4),
        }
    }
}
