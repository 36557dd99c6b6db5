//! What a node begins with: its log, and the newest snapshot that can be read to its end.
//!
//! ```text
//!     snapshots    5        20 ▒      23 ≠     31        log    base 18 … last 27
//!                  │        │        │         └ beyond the log
//!                  │        │        └ another term than the log's at 23
//!                  │        └ damaged
//!                  └ before the base: what lies between is gone; the snapshot is lost
//! ```
//!
//! One that lies beyond the log, or contradicts it, was fetched, and the write that was to put it
//! in the log's place never finished. Such are passed over, as those are that are damaged.
//!
//! Entries that are damaged and that the snapshot holds are not missed: the log then begins behind
//! it, as if it had been compacted.

use std::io;

use crate::boot::Boot;
use crate::store::Store;
use crate::store::error::{Error, Result};
use crate::store::record::GroupId;
use crate::store::snapshots::SnapshotReader;
use crate::types::{Index, NodeId, Position};

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
        if kept >= base && kept > Index(0) {
            // What is damaged and is in the state machine is not missing.
            let missing = boot.holes.iter().any(|hole| hole.after < kept);
            let behind = if missing { self.meta_at(group, kept) } else { None };
            let boot = behind.map_or(Ok(boot), |meta| self.boot_behind(group, &meta))?;
            return Ok((boot.applied(kept.min(last)), kept));
        }
        for (position, taken) in self.snapshots.positions(group)? {
            let applied = position.index;
            if !(base..=last).contains(&applied) || !self.may_hold(group, position, taken) {
                continue;
            }
            let mut reader = match self.snapshots.read(group, position) {
                Ok(reader) => reader,
                Err(Error::Corrupt { .. }) => continue,
                Err(error) => return Err(error),
            };
            match machine(&mut reader) {
                Ok(()) => {
                    // What is damaged and is in the snapshot is not missing.
                    let missing = boot.holes.iter().any(|hole| hole.after < applied);
                    let behind = missing.then(|| reader.meta());
                    let boot = behind.map_or(Ok(boot), |meta| self.boot_behind(group, meta))?;
                    return Ok((boot.applied(applied), applied));
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
                Err(e) => return Err(Error::io("restore from", reader.path(), e)),
            }
        }
        let witness = boot.history.active().is_witness(me);
        let lost = base > Index(0) && !witness;
        Ok(if lost { (boot.lost_snapshot(), Index(0)) } else { (boot, base) })
    }

    /// Whether a snapshot can be one of this log.
    fn may_hold(&self, group: GroupId, position: Position, taken: bool) -> bool {
        self.shelf().books.get(&group).is_some_and(|book| book.may_hold(position, taken))
    }
}
