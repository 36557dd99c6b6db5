//! What a [`crate::Kv`] can be told, all of it with defaults that suit a server.

use crate::engines::EngineKind;
use crate::limits::Limits;

/// What the engines need to work at all.
const ENGINE_MEMORY_BYTES_MIN: u64 = 1 << 20;

/// How a key-value store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The engine that holds the records; a data folder that was made with another one is refused.
    /// `None`, the default, goes on with the folder's, and makes a new folder with
    /// [`EngineKind::default`].
    pub engine: Option<EngineKind>,
    /// Memory for an engine that keeps its records on disk, bytes: what it caches of them, and
    /// what was written last. The index of keys comes on top. The memory engine has no use for it.
    /// `None`, the default, is 128 MiB for a log-structured tree and up to 1 GiB for a B+tree,
    /// which takes it as it is used.
    pub engine_memory_bytes: Option<u64>,
    /// Bounds on one request.
    pub limits: Limits,
    /// How large the store may grow, bytes in use in the engine; beyond it the no-space alarm is
    /// raised. `None` is no bound. Default 2 GiB, as etcd's.
    pub quota_bytes: Option<u64>,
    /// The member that raises alarms, in whose name they stand. Default 0.
    pub member: u64,
    /// Most commands proposed and not yet answered; beyond it a proposal is refused as
    /// [`crate::Error::Busy`]. Default 50,000.
    pub proposals_max: usize,
    /// Most encoded bytes of commands proposed and not yet answered. Default 64 MiB.
    pub proposals_bytes_max: usize,
    /// The journal is cut after the engine was made durable, which happens when so many bytes were
    /// journaled since the last time, or [`Options::persist_fraction`] of what the engine would
    /// have to write, if that is more. It bounds what a restart has to replay. Default 64 MiB.
    pub persist_bytes_min: u64,
    /// See [`Options::persist_bytes_min`]; one over this number. Default 2: half of the write.
    pub persist_fraction: u64,
    /// Size of one journal segment file, bytes. Default 64 MiB.
    pub segment_bytes: u64,
    /// Whether threads of the store's own expire leases, sweep garbage and persist. Without them
    /// the owner calls [`crate::Kv::expire_leases`], [`crate::Kv::sweep_step`] and
    /// [`crate::Kv::persist`]. Default true.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            engine: None,
            engine_memory_bytes: None,
            limits: Limits::default(),
            quota_bytes: Some(2 << 30),
            member: 0,
            proposals_max: 50_000,
            proposals_bytes_max: 64 << 20,
            persist_bytes_min: 64 << 20,
            persist_fraction: 2,
            segment_bytes: 64 << 20,
            background: true,
        }
    }
}

impl Options {
    /// Says which option cannot be as it is.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.proposals_max == 0 {
            return Err("proposals_max must be at least 1");
        }
        if self.proposals_bytes_max < self.limits.command_bytes_max {
            return Err("proposals_bytes_max must fit one command of command_bytes_max");
        }
        if self.persist_fraction == 0 {
            return Err("persist_fraction must be at least 1");
        }
        if self.engine_memory_bytes.is_some_and(|bytes| bytes < ENGINE_MEMORY_BYTES_MIN) {
            return Err("engine_memory_bytes must be at least 1 MiB");
        }
        // The journal's own bounds, told before a folder is touched.
        if self.limits.command_bytes_max > 512 << 20 {
            return Err("command_bytes_max must be at most 512 MiB");
        }
        if !(16 << 10..=1 << 30).contains(&self.segment_bytes) {
            return Err("segment_bytes must be from 16 KiB to 1 GiB");
        }
        Ok(())
    }
}
