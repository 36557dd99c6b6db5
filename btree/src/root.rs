//! One committed state of the database, as everyone who reads holds it.

use drystone_wal::Lsn;

use crate::forest::Forest;
use crate::types::TxnId;

/// What a snapshot is a snapshot of. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Root {
    pub txn: TxnId,
    /// All trees, by name and root.
    pub forest: Forest,
    /// No page of this state has this number or a higher one.
    pub pages_end: u32,
    /// The last record of the journal that is part of this state.
    pub lsn: Lsn,
}
