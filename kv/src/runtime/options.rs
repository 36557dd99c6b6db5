//! How a replica behaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drystone_raft::runtime::NodeConfig;
use drystone_raft::{Config, Configuration, NodeId};

use crate::members::Member;
use crate::options::Options;
use crate::runtime::disk::Disk;
use crate::runtime::observer::Observer;
use crate::runtime::pending::with_reserve;

/// How long a leader waits for its disk until it makes room for another, in election timeouts.
const STALLS_MAX: u64 = 3;

/// How a replica behaves.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// The member's name, not 0.
    pub id: NodeId,
    /// The group's name: kept in the replicated state, and told apart from others by it.
    pub cluster: u64,
    /// The members that the group begins with, the same on all of them. A member that joins later
    /// begins with none: it is told by the others. What is on the disk counts more.
    pub founders: Vec<Member>,
    /// The member has been started before: a folder without a log has lost it, and is refused.
    /// Default false.
    pub returns: bool,
    /// After a disaster: this member, which goes on alone with what it has, whoever else there was.
    /// They are removed for good, and what only they had is lost. Default none.
    pub alone: Option<Member>,
    /// The store. [`Options::member`] is ignored: it is [`ReplicaOptions::id`].
    pub store: Options,
    /// How often a leader says that it is there. Default 100 ms, as etcd's.
    pub heartbeat: Duration,
    /// How long a leader may be silent until another is elected; whole milliseconds, four
    /// heartbeats at least. Default 1 s.
    pub election: Duration,
    /// How long a call waits for a leader, for a quorum or for what must be applied first. etcd's
    /// is 5 s and two election timeouts, the default.
    pub request_timeout: Duration,
    /// Commands that stay in the log, though all members here have saved them, for a member that
    /// is a little behind. Default 5,000.
    pub kept_entries: u64,
    /// Bytes of log that may stay for one that is catching up, roughly; beyond, it is sent the
    /// whole state. Default 64 MiB.
    pub kept_bytes_max: u64,
    /// How long a token lives that is not used. Default 300 s, as etcd's.
    pub token_ttl: Duration,
    /// A folder for the consensus log alone, on a disk whose syncs the engine does not delay. A log
    /// that is in the replica's folder moves there; from then on it has to be asked for there. See
    /// [`drystone_raft::store::Options::log_dir`]. Default none.
    pub log_dir: Option<PathBuf>,
    /// The disk, as whoever watches it says. Default always with room.
    pub disk: Arc<Disk>,
    /// Who is told how long things take. Default nobody.
    pub observer: Arc<dyn Observer>,
}

impl ReplicaOptions {
    /// The usual choices, for this member of a group that begins with `founders`.
    #[must_use]
    pub fn new(id: NodeId, cluster: u64, founders: Vec<Member>) -> ReplicaOptions {
        ReplicaOptions {
            id,
            cluster,
            founders,
            returns: false,
            alone: None,
            store: Options::default(),
            token_ttl: Duration::from_secs(300),
            heartbeat: Duration::from_millis(100),
            election: Duration::from_secs(1),
            request_timeout: Duration::from_secs(7),
            kept_entries: 5_000,
            kept_bytes_max: 64 << 20,
            log_dir: None,
            disk: Arc::default(),
            observer: Arc::new(()),
        }
    }

    /// Says which option cannot be as it is.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        self.store.check()?;
        if self.id == 0 {
            return Err("id must not be 0");
        }
        if self.heartbeat < Duration::from_millis(1) {
            return Err("heartbeat must be at least a millisecond");
        }
        if self.election < 4 * self.heartbeat {
            return Err("election must be at least four heartbeats");
        }
        if self.election > Duration::from_secs(3600) {
            return Err("election must be at most an hour");
        }
        let founders = &self.founders;
        if !founders.is_empty() && !founders.iter().any(|member| member.id == self.id) {
            return Err("the founders must include this member");
        }
        Ok(())
    }

    /// What the consensus node is told.
    pub(crate) fn node(&self) -> NodeConfig {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let voters = Configuration::voters(self.founders.iter().map(|member| member.id));
        let mut raft = Config::new(millis(self.election));
        raft.heartbeat = millis(self.heartbeat);
        // A disk that much is asked of takes its time, and the others' disks do too: to step down
        // then costs all that is under way, and the next leader is no better off.
        raft.storage_stall = STALLS_MAX * millis(self.election);
        raft.uncommitted_bytes_max = with_reserve(self.store.proposals_bytes_max);
        let mut node = NodeConfig::new(self.id, voters);
        node.raft = raft;
        node.tick = Duration::from_millis(1);
        node.kept_entries = self.kept_entries;
        node.kept_bytes_max = self.kept_bytes_max;
        // The machine is asked after this, and says whether it pays (`Machine::save`).
        node.snapshot_bytes = self.store.persist_bytes_min;
        node.snapshot_entries = u64::MAX;
        node.kept_entries_max = u64::MAX;
        node.store.wal = node.store.wal.segment_bytes(self.store.segment_bytes);
        // What is kept and what is not saved yet has room; beyond, the log is shortened in need.
        node.store.log_dir.clone_from(&self.log_dir);
        node.store.log_bytes = 2 * (self.kept_bytes_max + self.store.persist_bytes_min);
        node
    }
}
