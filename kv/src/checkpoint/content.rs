//! What is in a checkpoint, in the store's own words: for whoever writes it in another format.

use std::ops::RangeInclusive;

use crate::auth::Auth;
use crate::checkpoint::Checkpoint;
use crate::engine::{Direction, Engine, Snapshot, Space};
use crate::error::Error;
use crate::lease::Leases;
use crate::members::Cluster;
use crate::record::{Record, decode, revision_of};
use crate::reply::Alarm;
use crate::state::{META_COMPACTED, META_SWEPT, load_alarms, load_leases, load_number};
use crate::types::{LeaseId, Revision};

/// All of a state but its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Journal position of the newest command in it.
    pub applied: u64,
    /// The newest main revision.
    pub revision: u64,
    /// The oldest readable main revision; `None` until the first compaction.
    pub compacted: Option<u64>,
    /// The newest compaction whose garbage is all gone.
    pub swept: Option<u64>,
    /// Leases with their time to live, seconds, by id.
    pub leases: Vec<(LeaseId, i64)>,
    /// Alarms that stand, sorted.
    pub alarms: Vec<Alarm>,
    /// The members.
    pub cluster: Cluster,
    /// Users and roles.
    pub auth: Auth,
}

impl<E: Engine> Checkpoint<E> {
    /// All of it but its records.
    ///
    /// # Errors
    ///
    /// When the engine fails, or holds what no store wrote.
    pub fn content(&self) -> Result<Content, Error> {
        let leases: Leases = load_leases(&self.snapshot)?;
        Ok(Content {
            applied: self.applied,
            revision: self.revision,
            compacted: load_number(&self.snapshot, META_COMPACTED)?,
            swept: load_number(&self.snapshot, META_SWEPT)?,
            leases: leases.iter().map(|(id, lease)| (id, lease.ttl)).collect(),
            alarms: load_alarms(&self.snapshot)?.into_iter().collect(),
            cluster: Cluster::load(&self.snapshot)?,
            auth: Auth::load(&self.snapshot)?,
        })
    }

    /// Its records, oldest first; those among them that a compaction has left behind and no sweep
    /// has removed yet.
    pub fn records(&self) -> impl Iterator<Item = Result<(Revision, Record), Error>> + '_ {
        self.between(&[], None)
    }

    /// Those of its records that stand at one of these main revisions, oldest first. None is
    /// missing if the first of them is readable.
    pub fn records_of(
        &self,
        mains: RangeInclusive<u64>,
    ) -> impl Iterator<Item = Result<(Revision, Record), Error>> + '_ {
        let start = Revision::new(*mains.start(), 0).to_bytes();
        let end = mains.end().checked_add(1).map(|end| Revision::new(end, 0).to_bytes());
        self.between(&start, end.as_ref().map(|end| &end[..]))
    }

    /// The newest main revision, up to that one, at which there is a record.
    ///
    /// # Errors
    ///
    /// When the engine fails.
    pub fn newest_of(&self, main_max: u64) -> Result<Option<u64>, Error> {
        let end = main_max.checked_add(1).map(|end| Revision::new(end, 0).to_bytes());
        let end = end.as_ref().map(|end| &end[..]);
        let mut records = self.snapshot.range(Space::Record, &[], end, Direction::Backward);
        let Some(entry) = records.next() else { return Ok(None) };
        Ok(Some(revision_of(&entry?.0)?.main))
    }

    fn between(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(Revision, Record), Error>> + use<'_, E> {
        self.snapshot.range(Space::Record, start, end, Direction::Forward).map(|entry| {
            let (key, bytes) = entry?;
            let revision = revision_of(&key)?;
            Ok((revision, decode(revision, bytes)?))
        })
    }
}
