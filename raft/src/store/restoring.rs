//! What a node begins with: its log, and the newest snapshot that can be read to its end.
//!
//! ```text
//!     snapshots    5        20 ▒      31                 log    base 18 … last 27
//!                  │        │          └ beyond the log: fetched, and its write never finished
//!                  │        └ damaged: the next older one
//!                  └ before the base: what lies between is gone; the snapshot is lost
//! ```

use std::io;

use crate::boot::Boot;
use crate::store::Store;
use crate::store::error::{Error, Result};
use crate::store::record::GroupId;
use crate::store::snapshots::SnapshotReader;
use crate::types::{Index, NodeId};

impl Store {
    /// What node `me` begins with in this group, and what its state machine has applied: `kept` by
    /// itself, or what is in the snapshot that `machine` took in. It may be called more than once,
    /// with older snapshots; the last call that does not fail counts.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Io`] if `machine` fails for another reason than that a
    /// snapshot is [damaged](io::ErrorKind::InvalidData).
    pub fn restore(
        &self,
        me: NodeId,
        group: GroupId,
        kept: Index,
        mut machine: impl FnMut(&mut SnapshotReader) -> io::Result<()>,
    ) -> Result<(Boot, Index)> {
        let boot = self.boot(group)?;
        let (base, last) = (boot.base.index, boot.last.index);
        if kept > base || base == Index(0) && kept > Index(0) {
            return Ok((boot.applied(kept.min(last)), kept));
        }
        let mut below = last;
        while let Some(meta) = self.snapshots.newest_up_to(group, below)? {
            if meta.last.index < base {
                break;
            }
            let mut reader = self.snapshots.read(group, meta.last)?;
            match machine(&mut reader) {
                Ok(()) => return Ok((boot.applied(meta.last.index), meta.last.index)),
                // Damaged: an older one may do.
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    below = meta.last.index.prev();
                }
                Err(e) => return Err(Error::io("restore from", reader.path(), e)),
            }
        }
        let witness = boot.history.active().is_witness(me);
        let lost = base > Index(0) && !witness;
        Ok(if lost { (boot.lost_snapshot(), Index(0)) } else { (boot, base) })
    }
}
