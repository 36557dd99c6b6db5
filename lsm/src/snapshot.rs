//! The database as it was at one moment.

mod registry;

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use crate::core::Core;
use crate::error::Result;
use crate::key::SeqNo;
use crate::keyspace::Keyspace;
use crate::range::{Cursor, Range};
use crate::slice::Slice;
use crate::{range, read};

pub(crate) use self::registry::Registry;

/// What was visible when it was taken, for as long as it lives. Later writes do not show, and
/// compactions keep what it can see; entries that expire do so under its eyes.
///
/// Owns what it needs: it may outlive the handle it was taken from.
pub struct Snapshot {
    core: Arc<Core>,
    seq: SeqNo,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.seq)
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Snapshot {
        self.core.snapshots.again(self.seq, self.core.time.clock().monotonic());
        Snapshot { core: Arc::clone(&self.core), seq: self.seq }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.core.snapshots.drop(self.seq);
    }
}

impl Snapshot {
    pub(crate) fn take(core: &Arc<Core>) -> Snapshot {
        let seq = core.snapshots.take(&core.ratchet, core.time.clock().monotonic());
        Snapshot { core: Arc::clone(core), seq }
    }

    /// The last write that it sees.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) or [`Io`](crate::Error::Io) if it cannot be read: never
    /// an absent key in place of an error. [`Options`](crate::Error::Options) if it was merged and
    /// the operator was not given. A keyspace that was dropped is empty.
    pub fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Slice>> {
        self.check(keyspace);
        read::get(&self.core.state(), &keyspace.shared, key, self.seq)
    }

    /// The records with keys in `bounds`, from either end.
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, bounds: impl RangeBounds<K>) -> Range {
        self.check(keyspace);
        let (start, end) = range::bounds(&bounds);
        Range::new(self.core.state(), Arc::clone(&keyspace.shared), self.seq, (start, end))
            .holding(self.clone())
    }

    /// Every record, from either end.
    pub fn iter(&self, keyspace: &Keyspace) -> Range {
        self.range::<&[u8]>(keyspace, ..)
    }

    /// A cursor over all records, standing nowhere.
    pub fn cursor(&self, keyspace: &Keyspace) -> Cursor {
        self.check(keyspace);
        Cursor::new(&self.core.state(), Arc::clone(&keyspace.shared), self.seq)
            .holding(self.clone())
    }

    fn check(&self, keyspace: &Keyspace) {
        let ours = keyspace.shared.owner == self.core.owner;
        assert!(ours, "a keyspace is used with its own database");
    }
}
