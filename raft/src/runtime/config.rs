//! How a node runs.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::configuration::Configuration;
use crate::effect::Fault;
use crate::store::{self, GroupId};
use crate::types::NodeId;

/// Who is told of faults.
pub(crate) type FaultWatch = Arc<dyn Fn(GroupId, &Fault) + Send + Sync>;

/// How a node runs.
#[derive(Clone)]
pub struct NodeConfig {
    /// Its name.
    pub id: NodeId,
    /// The members that a group begins with, if it is not on the disk yet.
    pub members: Configuration,
    /// How the core behaves; its ticks are [`NodeConfig::tick`] long.
    pub raft: Config,
    /// One tick.
    pub tick: Duration,
    /// The store.
    pub store: store::Options,
    /// The state is saved after this many entries since the last time, by a snapshot or by the
    /// state machine itself ([`StateMachine::save`](crate::runtime::StateMachine::save)).
    pub snapshot_entries: u64,
    /// Or after this many bytes of commands.
    pub snapshot_bytes: u64,
    /// Entries that are saved and stay in the log for followers that are a little behind.
    pub kept_entries: u64,
    /// Entries that are saved and may stay for one that is catching up; beyond, it gets a snapshot.
    pub kept_entries_max: u64,
    /// Bytes of entries that may stay for it, roughly. A log that is kept longer than the store's
    /// [`log_bytes`](store::Options::log_bytes) allows is shortened all the same.
    pub kept_bytes_max: u64,
    /// Tasks over which the groups of a [`MultiNode`](crate::runtime::MultiNode) are spread.
    pub shards: usize,
    /// Calls that wait for a shard; more wait outside.
    pub requests_max: usize,
    /// Rounds of commits that wait to be applied; then no calls are taken.
    pub rounds_max: usize,
    pub(crate) fault_watch: Option<FaultWatch>,
}

impl NodeConfig {
    /// The usual choices for a node of this name in a group that begins with these members: an
    /// election timeout of a second, in ticks of a millisecond.
    #[must_use]
    pub fn new(id: NodeId, members: Configuration) -> NodeConfig {
        NodeConfig {
            id,
            members,
            raft: Config::new(1000),
            tick: Duration::from_millis(1),
            store: store::Options::default(),
            snapshot_entries: 100_000,
            snapshot_bytes: 64 << 20,
            kept_entries: 10_000,
            kept_entries_max: 1_000_000,
            kept_bytes_max: 128 << 20,
            shards: 1,
            requests_max: 4096,
            rounds_max: 64,
            fault_watch: None,
        }
    }

    /// Calls `watch` for everything that somebody must know. It must not block.
    #[must_use]
    pub fn on_fault(mut self, watch: impl Fn(GroupId, &Fault) + Send + Sync + 'static) -> Self {
        self.fault_watch = Some(Arc::new(watch));
        self
    }
}

impl std::fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeConfig")
            .field("id", &self.id)
            .field("raft", &self.raft)
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}
