//! The replicated state: everything that a command can change or depend on.
//!
//! Two stores that have applied the same commands hold equal states. The records themselves lie in
//! the engine; this is what must be at hand to decide: where each key's revisions are, which
//! leases, alarms and members stand, and three positions.
//!
//! ```text
//! Space::Meta    "applied"    8 bytes  journal position of the newest command applied
//!                "revision"   8 bytes  newest main revision
//!                "compacted"  8 bytes  oldest readable main revision; absent: never compacted
//!                "swept"      8 bytes  the compaction whose garbage is all gone
//!                "loading"    empty    the engine is being filled, and holds no state yet
//!                              the members of the group: see `members::format`
//!                              and users and roles: see `auth::format`
//! Space::Lease   id, 8 bytes           time to live, seconds, 8 bytes
//! Space::Alarm   member 8 bytes, kind  empty
//! Space::Record  see `record`
//! ```
//!
//! All numbers are big-endian. `revision` is stored although the newest record would tell it: a
//! compaction may drop the newest record (a tombstone), and the store's clock must never go back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::{self, Auth};
use crate::command::AlarmKind;
use crate::engine::{Batch, Direction, Engine, Snapshot, Space};
use crate::error::{Error, Refusal};
use crate::index::{Index, Restored};
use crate::lease::Leases;
use crate::members::{Cluster, Edit};
use crate::record::{Record, decode, revision_of};
use crate::reply::Alarm;
use crate::trail::Trail;
use crate::types::{KeyValue, LeaseId, REVISION_FRESH, Revision};

const META_APPLIED: &[u8] = b"applied";
const META_REVISION: &[u8] = b"revision";
pub(crate) const META_COMPACTED: &[u8] = b"compacted";
pub(crate) const META_SWEPT: &[u8] = b"swept";
/// Stands in an engine while a checkpoint is loaded into it.
pub(crate) const META_LOADING: &[u8] = b"loading";

/// Everything that a command can change or depend on.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) leases: Leases,
    pub(crate) alarms: BTreeSet<Alarm>,
    /// Shared with whoever has asked; a change copies it if anyone still looks.
    pub(crate) cluster: Arc<Cluster>,
    /// Shared likewise.
    pub(crate) auth: Arc<Auth>,
    /// Journal position of the newest command applied; 0 before the first.
    pub(crate) applied: u64,
    /// The newest main revision.
    pub(crate) revision: u64,
    /// The oldest readable main revision; `None` until the first compaction.
    pub(crate) compacted: Option<u64>,
    /// The newest compaction whose garbage has all left the engine.
    pub(crate) swept: Option<u64>,
    /// What the newest commands have done. Not a part of the state: it is compared by it.
    pub(crate) trail: Trail,
}

impl State {
    /// The state that `engine` holds.
    pub(crate) fn load<E: Engine>(engine: &E) -> Result<State, Error> {
        let snapshot = engine.snapshot();
        if snapshot.get(Space::Meta, META_LOADING)?.is_some() {
            return Err(damaged("the loading of a checkpoint was not finished"));
        }
        let compacted = load_number(&snapshot, META_COMPACTED)?;
        let applied = load_applied(&snapshot)?;
        let mut state = State {
            index: Index::new(compacted.unwrap_or(0)),
            leases: load_leases(&snapshot)?,
            alarms: load_alarms(&snapshot)?,
            cluster: Arc::new(Cluster::load(&snapshot)?),
            auth: Arc::new(Auth::load(&snapshot)?),
            applied,
            revision: load_revision(&snapshot)?,
            compacted,
            swept: load_number(&snapshot, META_SWEPT)?,
            trail: Trail::begin(applied),
        };
        state.load_records(&snapshot)?;
        Ok(state)
    }

    /// Replays the records, oldest first, into the index, and hangs live keys on their leases.
    fn load_records(&mut self, snapshot: &impl Snapshot) -> Result<(), Error> {
        let mut leased: HashMap<Bytes, (Revision, LeaseId)> = HashMap::new();
        for entry in snapshot.range(Space::Record, &[], None, Direction::Forward) {
            let (key, bytes) = entry?;
            let revision = revision_of(&key)?;
            let record = decode(revision, bytes)?;
            if revision.main > self.revision {
                let reason = "the record is newer than the store";
                return Err(Error::BadRecord { revision, reason });
            }
            let key = record.key();
            let (lease, restored) = match &record {
                Record::Tombstone { .. } => (LeaseId::NONE, Restored::Tombstone),
                &Record::Put(KeyValue { create_revision: created, version, lease, .. }) => {
                    (lease, Restored::Put { created, version, lease })
                }
            };
            self.index
                .restore(key, revision, restored)
                .map_err(|malformed| Error::BadRecord { revision, reason: malformed.0 })?;
            if lease.is_some() {
                leased.insert(Bytes::copy_from_slice(key), (revision, lease));
            } else if !leased.is_empty() {
                leased.remove(key);
            }
        }
        for (key, (revision, lease)) in leased {
            if !self.leases.contains(lease) {
                let reason = "the record hangs on a lease that does not stand";
                return Err(Error::BadRecord { revision, reason });
            }
            self.leases.move_key(&key, LeaseId::NONE, lease);
        }
        Ok(())
    }

    /// Adds the positions that every batch carries.
    pub(crate) fn save_positions(&self, batch: &mut Batch) {
        batch.put(Space::Meta, META_APPLIED, number(self.applied));
        batch.put(Space::Meta, META_REVISION, number(self.revision));
    }

    /// Adds the positions of a state that was kept elsewhere.
    #[cfg(feature = "runtime")]
    pub(crate) fn save_all_positions(applied: u64, revision: u64, batch: &mut Batch) {
        batch.put(Space::Meta, META_APPLIED, number(applied));
        batch.put(Space::Meta, META_REVISION, number(revision));
    }

    /// Begins a new log.
    #[cfg(feature = "runtime")]
    pub(crate) fn forget_applied(batch: &mut Batch) {
        batch.put(Space::Meta, META_APPLIED, number(0));
    }

    /// Adds a new compaction.
    pub(crate) fn save_compacted(compacted: u64, batch: &mut Batch) {
        batch.put(Space::Meta, META_COMPACTED, number(compacted));
    }

    /// Adds the end of a compaction's sweep.
    pub(crate) fn save_swept(swept: u64, batch: &mut Batch) {
        batch.put(Space::Meta, META_SWEPT, number(swept));
    }

    /// Adds a granted lease.
    pub(crate) fn save_lease(id: LeaseId, ttl: i64, batch: &mut Batch) {
        batch.put(Space::Lease, &id.0.to_be_bytes(), Bytes::copy_from_slice(&ttl.to_be_bytes()));
    }

    /// Adds the end of a lease.
    pub(crate) fn forget_lease(id: LeaseId, batch: &mut Batch) {
        batch.delete(Space::Lease, &id.0.to_be_bytes());
    }

    /// Adds a raised alarm.
    pub(crate) fn save_alarm(alarm: Alarm, batch: &mut Batch) {
        batch.put(Space::Alarm, &alarm_key(alarm), Bytes::new());
    }

    /// Adds the end of an alarm.
    pub(crate) fn forget_alarm(alarm: Alarm, batch: &mut Batch) {
        batch.delete(Space::Alarm, &alarm_key(alarm));
    }

    /// Changes the members, and adds that.
    pub(crate) fn edit_cluster(&mut self, edit: Edit, batch: &mut Batch) {
        if edit == Edit::default() {
            return;
        }
        edit.save(batch);
        let cluster = Arc::make_mut(&mut self.cluster);
        cluster.make(edit);
        cluster.check();
    }

    /// Changes users and roles, and adds that.
    pub(crate) fn edit_auth(&mut self, edit: auth::Edit, batch: &mut Batch) {
        if edit == auth::Edit::default() {
            return;
        }
        edit.save(self.auth.revision + u64::from(edit.is_new), batch);
        let auth = Arc::make_mut(&mut self.auth);
        auth.make(edit);
        auth.check();
    }

    /// Whether an alarm of `kind` stands for any member.
    pub(crate) fn has_alarm(&self, kind: AlarmKind) -> bool {
        self.alarms.iter().any(|alarm| alarm.kind == kind)
    }

    /// Whether what needs space is refused.
    pub(crate) fn lacks_space(&self) -> bool {
        self.has_alarm(AlarmKind::NoSpace) || self.has_alarm(AlarmKind::DiskFull)
    }

    /// Refuses everything while the data are known to be wrong, and it is not known that they are
    /// right on a quorum of the members.
    pub(crate) fn refuse_if_corrupt(&self) -> Result<(), Refusal> {
        if !self.has_alarm(AlarmKind::Corrupt) {
            return Ok(());
        }
        let odd = self.alarms.iter().filter(|alarm| alarm.kind == AlarmKind::Corrupt);
        let odd: BTreeSet<u64> = odd.map(|alarm| alarm.member).collect();
        if self.cluster.stands_without(&odd) { Ok(()) } else { Err(Refusal::Corrupt) }
    }

    /// The same for what member `own` has, who must not show it if it is the one that differs.
    pub(crate) fn refuse_if_corrupt_at(&self, own: u64) -> Result<(), Refusal> {
        let alarm = Alarm { member: own, kind: AlarmKind::Corrupt };
        if self.alarms.contains(&alarm) { Err(Refusal::Corrupt) } else { self.refuse_if_corrupt() }
    }

    /// The revision that a request for `revision` reads at, `newest` being the newest visible.
    pub(crate) fn readable(&self, revision: Option<u64>, newest: u64) -> Result<u64, Refusal> {
        let at = revision.unwrap_or(newest);
        if at > newest {
            return Err(Refusal::FutureRevision { newest });
        }
        match self.compacted {
            Some(compacted) if at < compacted => Err(Refusal::Compacted { compacted }),
            _ => Ok(at),
        }
    }
}

fn number(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

pub(crate) fn damaged(reason: &'static str) -> Error {
    Error::BadRecord { revision: Revision::default(), reason }
}

pub(crate) fn load_number(snapshot: &impl Snapshot, key: &[u8]) -> Result<Option<u64>, Error> {
    let Some(bytes) = snapshot.get(Space::Meta, key)? else { return Ok(None) };
    let width = <[u8; 8]>::try_from(bytes.as_ref());
    let bytes = width.map_err(|_| damaged("a position is not 8 bytes wide"))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// Journal position of the newest command applied; 0 before the first.
pub(crate) fn load_applied(snapshot: &impl Snapshot) -> Result<u64, Error> {
    Ok(load_number(snapshot, META_APPLIED)?.unwrap_or(0))
}

/// The newest main revision.
pub(crate) fn load_revision(snapshot: &impl Snapshot) -> Result<u64, Error> {
    Ok(load_number(snapshot, META_REVISION)?.unwrap_or(REVISION_FRESH))
}

pub(crate) fn load_leases(snapshot: &impl Snapshot) -> Result<Leases, Error> {
    let mut leases = Leases::default();
    for entry in snapshot.range(Space::Lease, &[], None, Direction::Forward) {
        let (key, value) = entry?;
        let (Ok(id), Ok(ttl)) = (<[u8; 8]>::try_from(&key[..]), <[u8; 8]>::try_from(&value[..]))
        else {
            return Err(damaged("a lease is not 8 bytes and 8 bytes"));
        };
        leases.grant(LeaseId(i64::from_be_bytes(id)), i64::from_be_bytes(ttl));
    }
    Ok(leases)
}

fn alarm_key(alarm: Alarm) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&alarm.member.to_be_bytes());
    key[8] = alarm.kind as u8;
    key
}

pub(crate) fn load_alarms(snapshot: &impl Snapshot) -> Result<BTreeSet<Alarm>, Error> {
    let mut alarms = BTreeSet::new();
    for entry in snapshot.range(Space::Alarm, &[], None, Direction::Forward) {
        let (key, _) = entry?;
        let alarm = <[u8; 9]>::try_from(&key[..]).ok().and_then(|key| {
            let (member, kind) = key.split_first_chunk::<8>()?;
            let kind = AlarmKind::from_byte(kind[0])?;
            Some(Alarm { member: u64::from_be_bytes(*member), kind })
        });
        alarms.insert(alarm.ok_or_else(|| damaged("an alarm is not a member and a kind"))?);
    }
    Ok(alarms)
}
