//! A member's folder from data that another program kept.
//!
//! ```text
//!   begin ──► leases ──► records, oldest first ──► alarms, users, ──┬─► found   a new group
//!                                                  members          └─► join    its own goes on
//! ```
//!
//! What was another program's is written record by record into an engine that no store would open
//! yet, as a checkpoint is ([`crate::checkpoint`]). In the end the store itself reads all of it, so
//! that nothing is taken over that it would not have written; then a consensus log is put beside
//! it, and the folder is a member's.
//!
//! A member that *founds* begins with an empty log, as a founder does. One that *joins* goes on
//! where it was in a log that it had in common with others: what the state holds counts as
//! compacted away, and what lay in the log behind it lies in the new one, in the same places, of
//! the same terms. Nothing need be known of what is committed. Those who convert their copies of
//! one log end up with copies of one log, and the one who has most is elected.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use drystone_raft::runtime::Node;
use drystone_raft::store::{Options as GroupOptions, Store as GroupStore};
use drystone_raft::{
    Configuration, Entry, HardState, Index, Member as Voter, Payload, Position, SnapshotMeta,
    Suffrage, Term, Write, WriteId,
};
use drystone_vfs::{Clock, Vfs};

use crate::auth::{Auth, Caller};
use crate::command::Command;
use crate::engine::{Batch, Engine, Space};
use crate::engines::AnyEngine;
use crate::error::Error;
use crate::members::{Cluster, Edit};
use crate::options::Options;
use crate::record::{Record, load_put};
use crate::reply::Alarm;
use crate::runtime::envelope::put_caller;
use crate::runtime::folder::Folder;
use crate::runtime::machine::Machine;
use crate::runtime::replica::log_failed;
use crate::runtime::restore::check_unused;
use crate::state::{META_LOADING, State};
use crate::types::{KeyValue, LeaseId, Revision};

/// A batch of at least so many bytes, or so many records, is written.
const BATCH_BYTES_FULL: usize = 4 << 20;
const BATCH_RECORDS_MAX: usize = 16 << 10;
/// Entries that are put into the log at once.
const ENTRIES_MAX: usize = 1024;

/// A folder that is being filled.
pub struct Import {
    vfs: Arc<dyn Vfs>,
    folder: Folder,
    engine: AnyEngine,
    segment_bytes: u64,
    batch: Batch,
    leases: BTreeSet<LeaseId>,
    /// Keys whose newest record names a lease that does not stand, with that record.
    stray: HashMap<Bytes, Revision>,
}

/// Where a member stood in its group.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Place and term of the last entry whose effect is in the state.
    pub applied: (u64, u64),
    /// The latest term that it has seen.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: Option<u64>,
    /// The members whose votes count, and those who are only told.
    pub voters: Vec<u64>,
    /// See `voters`.
    pub learners: Vec<u64>,
    /// What lies in the log behind what was applied, without a gap.
    pub entries: Vec<Logged>,
}

/// An entry of a log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The term of the leader that made it.
    pub term: u64,
    /// Its place.
    pub index: u64,
    /// For whom.
    pub caller: Caller,
    /// What it does; nothing if it had a meaning for the other program alone.
    pub command: Option<Command>,
}

impl Import {
    /// Begins to fill the folder `dir`, which must not hold anything yet.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] for a folder that holds something; otherwise what the disk says.
    pub fn begin(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: &Options,
    ) -> Result<Import, Error> {
        check_unused(&*vfs, dir)?;
        let (folder, _) = Folder::open(vfs.clone(), clock, dir, options, None)?;
        let engine = folder.begin()?;
        let mut mark = Batch::new();
        mark.put(Space::Meta, META_LOADING, Bytes::new());
        engine.write(mark)?;
        Ok(Import {
            vfs,
            folder,
            engine,
            segment_bytes: options.segment_bytes,
            batch: Batch::new(),
            leases: BTreeSet::new(),
            stray: HashMap::new(),
        })
    }

    /// Adds a lease. All come before the first record.
    ///
    /// # Errors
    ///
    /// The engine's.
    pub fn lease(&mut self, id: LeaseId, ttl: i64) -> Result<(), Error> {
        self.leases.insert(id);
        State::save_lease(id, ttl, &mut self.batch);
        self.write_if_full()
    }

    /// Adds the record at `revision`, which comes after the one before.
    ///
    /// # Errors
    ///
    /// The engine's.
    pub fn record(&mut self, revision: Revision, record: &Record) -> Result<(), Error> {
        let lease = match record {
            Record::Put(kv) => kv.lease,
            Record::Tombstone { .. } => LeaseId::NONE,
        };
        if lease.is_some() && !self.leases.contains(&lease) {
            self.stray.insert(Bytes::copy_from_slice(record.key()), revision);
        } else if !self.stray.is_empty() {
            self.stray.remove(record.key());
        }
        let bytes = match record {
            Record::Put(kv) => Record::encode_put(kv),
            Record::Tombstone { key } => Record::encode_tombstone(key),
        };
        self.batch.put(Space::Record, &revision.to_bytes(), bytes);
        self.write_if_full()
    }

    /// Adds an alarm.
    pub fn alarm(&mut self, alarm: Alarm) {
        State::save_alarm(alarm, &mut self.batch);
    }

    /// Sets the members of the group that the folder's member goes on in.
    pub fn cluster(&mut self, cluster: Cluster) {
        let Cluster { id, members, removed } = cluster;
        let edit = Edit { id, put: members, removed: removed.into_iter().collect() };
        edit.save(&mut self.batch);
    }

    /// Sets users and roles.
    pub fn auth(&mut self, auth: &Auth) {
        auth.save(&mut self.batch);
    }

    /// The folder is a founder's: it has all that was added, stands at `revision`, and its log is
    /// empty. Returns how many leased keys had lost their lease, and were kept without one.
    ///
    /// # Errors
    ///
    /// [`Error::BadRecord`] for what no store could have written; otherwise the disk's.
    pub fn found(mut self, revision: u64, compacted: Option<u64>) -> Result<usize, Error> {
        let stray = self.finish(0, revision, compacted)?;
        let log = self.open_log()?;
        log.close().map_err(log_failed)?;
        self.folder.adopt()?;
        Ok(stray)
    }

    /// The folder is that of a member that goes on where it stood. Returns what
    /// [`found`](Import::found) does.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If the entries leave a gap.
    pub fn join(
        mut self,
        revision: u64,
        compacted: Option<u64>,
        standing: &Standing,
    ) -> Result<usize, Error> {
        let stray = self.finish(standing.applied.0, revision, compacted)?;
        let log = self.open_log()?;
        write_log(&log, standing).map_err(log_failed)?;
        log.close().map_err(log_failed)?;
        self.folder.adopt()?;
        Ok(stray)
    }

    /// Writes what is left, and has a store read all of it.
    fn finish(
        &mut self,
        applied: u64,
        revision: u64,
        compacted: Option<u64>,
    ) -> Result<usize, Error> {
        self.write()?;
        let stray = std::mem::take(&mut self.stray);
        for revision in stray.values() {
            let kv = load_put(&self.engine, *revision)?;
            let record = Record::encode_put(&KeyValue { lease: LeaseId::NONE, ..kv });
            self.batch.put(Space::Record, &revision.to_bytes(), record);
            self.write_if_full()?;
        }
        State::save_all_positions(applied, revision, &mut self.batch);
        if let Some(compacted) = compacted {
            State::save_compacted(compacted, &mut self.batch);
        }
        self.batch.delete(Space::Meta, META_LOADING);
        self.write()?;
        State::load(&self.engine)?;
        self.engine.persist()?;
        Ok(stray.len())
    }

    fn write_if_full(&mut self) -> Result<(), Error> {
        let full = self.batch.bytes() >= BATCH_BYTES_FULL || self.batch.len() >= BATCH_RECORDS_MAX;
        if full { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        Ok(self.engine.write(std::mem::take(&mut self.batch))?)
    }

    fn open_log(&self) -> Result<GroupStore, Error> {
        let mut options = GroupOptions::default();
        options.wal = options.wal.segment_bytes(self.segment_bytes);
        let log: PathBuf = self.folder.log();
        GroupStore::open(self.vfs.clone(), &log, options).map_err(log_failed)
    }
}

/// Begins the group behind what was applied, and puts in what lies behind that.
fn write_log(log: &GroupStore, standing: &Standing) -> Result<(), drystone_raft::store::Error> {
    let member = |suffrage| move |&id: &u64| Voter { id, suffrage, priority: 1 };
    let voters = standing.voters.iter().map(member(Suffrage::Voter));
    let members = voters.chain(standing.learners.iter().map(member(Suffrage::Learner)));
    let (applied, applied_term) = standing.applied;
    let group = Node::<Machine>::GROUP;
    log.create_behind(
        group,
        SnapshotMeta {
            last: Position::new(Term(applied_term), Index(applied)),
            configuration: Arc::new(Configuration::new(members, [])),
            configuration_index: Index(applied),
        },
    )?;
    let hard = HardState { term: Term(standing.term), vote: standing.vote, ..Default::default() };
    let mut next = Index(applied).next();
    let mut rest = &standing.entries[..];
    let mut hard = Some(Box::new(hard));
    while hard.is_some() || !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(ENTRIES_MAX));
        let entries: Vec<Entry> = now.iter().map(entry).collect();
        let gapless = entries.iter().zip(next.0..).all(|(entry, index)| entry.index.0 == index);
        assert!(gapless, "entries follow what was applied without a gap");
        let end = Index(next.0 + entries.len() as u64);
        let write = Write {
            id: WriteId(0),
            hard: hard.take(),
            snapshot: None,
            mended: Vec::new(),
            append: next..end,
        };
        let mut batch = log.batch();
        batch.put(group, &write, &entries)?;
        if let Some(commit) = batch.commit()? {
            commit.wait()?;
        }
        (next, rest) = (end, later);
    }
    Ok(())
}

fn entry(logged: &Logged) -> Entry {
    let payload = logged.command.as_ref().map_or(Payload::Blank, |command| {
        let mut bytes = Vec::new();
        put_caller(&mut bytes, &logged.caller);
        command.encode(&mut bytes);
        Payload::Data(bytes.into())
    });
    Entry { term: Term(logged.term), index: Index(logged.index), payload }
}

#[cfg(test)]
mod tests {
    use drystone_vfs::{MemVfs, OsClock};

    use super::*;
    use crate::store::Store;

    fn put(key: &'static str, at: u64, lease: i64) -> (Revision, Record) {
        let record = Record::Put(KeyValue {
            key: key.into(),
            value: "v".into(),
            create_revision: at,
            mod_revision: at,
            version: 1,
            lease: LeaseId(lease),
        });
        (Revision::new(at, 0), record)
    }

    fn import(records: &[(Revision, Record)]) -> (Arc<MemVfs>, Result<usize, Error>) {
        let vfs = Arc::new(MemVfs::new());
        let (clock, options) = (Arc::new(OsClock::new()), Options::default());
        let mut import = Import::begin(vfs.clone(), clock, Path::new("r"), &options).unwrap();
        import.lease(LeaseId(7), 60).unwrap();
        for (revision, record) in records {
            import.record(*revision, record).unwrap();
        }
        let found = import.found(9, Some(3));
        (vfs, found)
    }

    // A crash of etcd can leave a key on a lease that is gone; the key is not to be lost with it,
    // nor the whole store.
    #[test]
    fn a_key_whose_lease_is_gone_is_kept_without_one() {
        let records = [put("a", 2, 7), put("b", 3, 8), put("c", 4, 8), put("c", 5, 7)];
        let mut records = records.to_vec();
        if let Record::Put(kv) = &mut records[3].1 {
            (kv.create_revision, kv.version) = (4, 2);
        }
        let (vfs, found) = import(&records);
        assert_eq!(found.unwrap(), 1);
        let clock = Arc::new(OsClock::new());
        let (_, engine) =
            Folder::open(vfs, clock, Path::new("r"), &Options::default(), None).unwrap();
        let store = Store::open(engine).unwrap();
        assert_eq!((store.revision(), store.status().compacted), (9, Some(3)));
        let lease = store.lease(LeaseId(7)).unwrap();
        assert_eq!(lease.keys.into_iter().collect::<Vec<_>>(), ["a", "c"]);
    }

    // What a store could not have written must not become a member's folder.
    #[test]
    fn nonsense_is_refused_and_leaves_no_member() {
        let (vfs, found) = import(&[put("a", 20, 0)]);
        assert!(matches!(found, Err(Error::BadRecord { .. })), "newer than the store");
        assert!(vfs.list(Path::new("r/raft")).is_err(), "there is no log");
    }
}
