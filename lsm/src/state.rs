//! Everything a reader looks at: the memtables and the version, taken together.

use std::sync::Arc;

use drystone_wal::Lsn;

use crate::key::SeqNo;
use crate::memtable::Memtable;
use crate::version::Version;

/// One moment's places to look in. Immutable but for what writers insert into the active memtable.
///
/// A reader takes a state *first* and reads the visible number *then*. In the other order a
/// compaction could come between, and drop the version that the number asks for.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) active: Arc<Memtable>,
    /// Oldest first.
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) version: Arc<Version>,
}

/// A memtable that takes no more batches.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) memtable: Arc<Memtable>,
    /// The last write that went into it.
    pub(crate) last_seq: SeqNo,
    /// The journal record after its last.
    pub(crate) next_lsn: Lsn,
}

impl State {
    /// Every memtable, the newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        let sealed = self.sealed.iter().rev().map(|sealed| &sealed.memtable);
        std::iter::once(&self.active).chain(sealed)
    }
}
