//! Any of the engines, chosen when a store is opened.
//!
//! # The problem
//!
//! Which engine serves a store best is for whoever runs it to say, on the command line. The store
//! is generic over its engine; a program that was generic all the way up would be compiled three
//! times, and a trait object would need an engine whose snapshots are boxed at every read.
//!
//! # The idea
//!
//! [`AnyEngine`] is one of them, and an engine itself. A call goes through one `match`, which the
//! processor foresees, for a store never changes its engine.
//!
//! ```text
//!     Kv ──► Store<AnyEngine> ──► match ─┬─► Mem     all in memory, saved whole
//!                                        ├─► btree   one file of pages
//!                                        └─► lsm     a folder of sorted tables
//! ```
//!
//! Which one a data folder was made with is written in it, by [`Kv`](crate::Kv), so that none is
//! ever opened as another and found empty.

mod btree;
mod kind;
mod lsm;
mod tally;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use drystone_vfs::{Clock, Vfs};

use crate::engine::{
    Batch, Direction, Engine, EngineError, EngineStats, Progress, Records, Snapshot, Space,
};
use crate::mem::{Mem, MemSnapshot};

pub use btree::{BtreeEngine, BtreeSnapshot};
pub use kind::{EngineKind, UnknownEngine};
pub use lsm::{LsmEngine, LsmSnapshot};
pub use view::{EngineView, Level, LevelsOf, Shape, Visitor};

/// How to open an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Which one.
    pub kind: EngineKind,
    /// Whether it may have threads of its own for its upkeep. Without them, whoever writes does it
    /// when it cannot wait.
    pub background: bool,
    /// See [`crate::Options::engine_memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// Bytes that there is room for on its disk, if anybody keeps that up to date.
    pub room: Option<Arc<AtomicU64>>,
}

/// One of the engines.
#[derive(Debug)]
pub enum AnyEngine {
    /// [`EngineKind::Memory`].
    Memory(Mem),
    /// [`EngineKind::Btree`].
    Btree(BtreeEngine),
    /// [`EngineKind::Lsm`].
    Lsm(LsmEngine),
}

/// The state of an [`AnyEngine`] at one instant.
#[derive(Debug)]
pub enum AnySnapshot {
    /// Of [`EngineKind::Memory`].
    Memory(MemSnapshot),
    /// Of [`EngineKind::Btree`].
    Btree(BtreeSnapshot),
    /// Of [`EngineKind::Lsm`].
    Lsm(LsmSnapshot),
}

/// Does the same with whichever it is.
macro_rules! each {
    ($any:ident, $this:expr, $one:ident => $call:expr) => {
        match $this {
            $any::Memory($one) => $call,
            $any::Btree($one) => $call,
            $any::Lsm($one) => $call,
        }
    };
}

impl AnyEngine {
    /// Opens the engine in the folder `dir`, or makes it there.
    ///
    /// # Errors
    ///
    /// Those of the engine; nothing on disk was changed then.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        config: &EngineConfig,
    ) -> Result<AnyEngine, EngineError> {
        match config.kind {
            EngineKind::Memory => Mem::open(vfs, dir).map(AnyEngine::Memory),
            EngineKind::Btree => BtreeEngine::open(vfs, clock, dir, config).map(AnyEngine::Btree),
            EngineKind::Lsm => LsmEngine::open(vfs, clock, dir, config).map(AnyEngine::Lsm),
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        match self {
            AnyEngine::Memory(_) => EngineKind::Memory,
            AnyEngine::Btree(_) => EngineKind::Btree,
            AnyEngine::Lsm(_) => EngineKind::Lsm,
        }
    }
}

impl Engine for AnyEngine {
    type Snapshot = AnySnapshot;

    #[inline]
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        each!(AnyEngine, self, engine => engine.get(space, key))
    }

    #[inline]
    fn snapshot(&self) -> AnySnapshot {
        match self {
            AnyEngine::Memory(engine) => AnySnapshot::Memory(engine.snapshot()),
            AnyEngine::Btree(engine) => AnySnapshot::Btree(engine.snapshot()),
            AnyEngine::Lsm(engine) => AnySnapshot::Lsm(engine.snapshot()),
        }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        each!(AnyEngine, self, engine => engine.write(batch))
    }

    fn persist(&self) -> Result<(), EngineError> {
        each!(AnyEngine, self, engine => engine.persist())
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        each!(AnyEngine, self, engine => engine.checkpoint(dir))
    }

    fn stats(&self) -> EngineStats {
        each!(AnyEngine, self, engine => engine.stats())
    }

    fn maintain(&self, budget: Duration) -> Result<Progress, EngineError> {
        each!(AnyEngine, self, engine => engine.maintain(budget))
    }

    fn lighten(&self, budget: Duration) -> Result<Progress, EngineError> {
        each!(AnyEngine, self, engine => engine.lighten(budget))
    }

    fn verify_next(
        &self,
        after: Option<u64>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>, EngineError> {
        each!(AnyEngine, self, engine => engine.verify_next(after, pace))
    }
}

impl Snapshot for AnySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        each!(AnySnapshot, self, snapshot => snapshot.get(space, key))
    }

    fn range(
        &self,
        space: Space,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Records<'_> {
        each!(AnySnapshot, self, snapshot => snapshot.range(space, start, end, direction))
    }
}
