//! The one function that changes the store.
//!
//! Whatever drives the store (one member's journal, or a quorum's) hands committed commands to an
//! [`Applier`] in order. It reads no clock, draws no number and asks nobody: the same commands on
//! the same state give the same state and the same replies, byte for byte.
//!
//! ```text
//!   command ──► may he? ──► checks ──► index, leases, alarms, members, users   (memory, at once)
//!                                 └──► batch of records    (one engine write for many commands)
//! ```
//!
//! Commands of a group see each other: a record that is still in the batch is found there.
//! A refusal happens before the first change, so a refused command leaves only its index behind.

use std::sync::Arc;

use bytes::Bytes;

use crate::auth::{self, Caller};
use crate::command::{
    AlarmChange, AlarmKind, AuthChange, Command, Compact, Compare, DeleteRange, LeaseGrant,
    LeaseRevoke, Put, RangeRequest, Txn, TxnOp,
};
use crate::engine::{Batch, Change, Engine, Space};
use crate::error::{Error, Refusal};
use crate::index::{Direction, Index};
use crate::key_range::KeyRange;
use crate::lease::TTL_SECONDS_MAX;
use crate::limits::check_members;
use crate::range::Plan;
use crate::record::{Record, decode_put, load_put};
use crate::reply::{
    Alarm, AlarmReply, AuthReply, ClusterReply, CompactReply, DeleteRangeReply, LeaseGrantReply,
    LeaseRevokeReply, PutReply, RangeReply, Reply, TxnOpReply, TxnReply,
};
use crate::state::State;
use crate::trail::Extent;
use crate::txn::{self, Lookup, Path};
use crate::types::{KeyValue, LeaseId, Revision};

/// What became of a command: a reply, or a refusal. Both are the same on every copy of the store.
pub type Outcome = Result<Reply, Refusal>;

/// Applies a group of commands to a state, collecting what the engine has to write.
pub(crate) struct Applier<'a, E> {
    state: &'a mut State,
    engine: &'a E,
    batch: Batch,
    /// Where in `batch` the record of each revision lies, oldest first.
    written: Vec<(Revision, usize)>,
    /// How many changes the present command has made.
    subs: u32,
}

impl<'a, E: Engine> Applier<'a, E> {
    pub(crate) fn new(state: &'a mut State, engine: &'a E) -> Applier<'a, E> {
        Applier { state, engine, batch: Batch::new(), written: Vec::new(), subs: 0 }
    }

    /// Applies the command at journal position `index`. An error is the engine's, never the
    /// command's, and leaves a state that must not be used again.
    pub(crate) fn apply(
        &mut self,
        index: u64,
        caller: &Caller,
        command: &Command,
    ) -> Result<Outcome, Error> {
        assert!(index > self.state.applied, "commands are applied once, in order");
        self.subs = 0;
        let (before, state) = (self.batch.len(), &mut *self.state);
        let (revision, keys) = (state.revision, state.index.live());
        let leases = state.leases.len() as u64;
        state.trail.enter(index, || Extent { revision, keys, leases });
        let permitted = auth::permit(&self.state.auth, &self.state.leases, caller, command);
        let outcome = match permitted.map_err(Error::from).and_then(|()| self.run(command)) {
            Ok(reply) => Ok(reply),
            Err(Error::Refused(refusal)) => {
                assert_eq!(self.subs, 0, "a refused command has changed nothing");
                Err(refusal)
            }
            Err(trouble) => return Err(trouble),
        };
        if self.subs > 0 {
            self.state.revision += 1;
        }
        self.state.applied = index;
        let changes = self.batch.iter().skip(before);
        self.state.trail.note(index, outcome.is_ok(), changes);
        Ok(outcome)
    }

    /// How much the engine has to write so far, in bytes.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// What the engine has to write, positions included, and where in it the new records lie.
    pub(crate) fn finish(mut self) -> (Batch, Vec<(Revision, usize)>) {
        self.state.save_positions(&mut self.batch);
        (self.batch, self.written)
    }

    fn run(&mut self, command: &Command) -> Result<Reply, Error> {
        if let Command::Alarm(change) = command {
            return Ok(Reply::Alarm(self.alarm(*change)));
        }
        if let Command::Auth(change) = command {
            // Nor do alarms stop these.
            return self.auth(change).map(Reply::Auth);
        }
        if command.is_of_members() {
            // As in etcd, no alarm stops these: changing the members may be the way out of it.
            return self.members(command).map(Reply::Cluster);
        }
        self.state.refuse_if_corrupt()?;
        if needs_space(command) && self.state.lacks_space() {
            return Err(Refusal::NoSpace.into());
        }
        match command {
            Command::Put(put) => self.put_alone(put).map(Reply::Put),
            Command::DeleteRange(delete) => self.delete_range(delete).map(Reply::DeleteRange),
            Command::Txn(txn) => self.txn(txn).map(Reply::Txn),
            Command::Compact(compact) => self.compact(*compact).map(Reply::Compact),
            Command::LeaseGrant(grant) => self.grant(*grant).map(Reply::LeaseGrant),
            Command::LeaseRevoke(revoke) => self.revoke(*revoke).map(Reply::LeaseRevoke),
            _ => unreachable!("handled above: an alarm is never refused, nor are members by one"),
        }
    }

    /// The newest main revision that the next operation sees.
    fn newest(&self) -> u64 {
        self.state.revision + u64::from(self.subs > 0)
    }

    /// Takes the next revision of the present command.
    fn next_revision(&mut self) -> Revision {
        let revision = Revision::new(self.state.revision + 1, self.subs);
        self.subs = self.subs.checked_add(1).expect("a request is far smaller than 2^32 changes");
        revision
    }

    fn put_alone(&mut self, put: &Put) -> Result<PutReply, Error> {
        txn::check_lease(put, self.state)?;
        let keeps = put.value.is_none() || put.lease.is_none();
        if keeps && self.state.index.latest(&put.key).is_none() {
            return Err(Refusal::KeyNotFound.into());
        }
        self.put(put)
    }

    /// Sets a key; everything that could be refused has been checked.
    fn put(&mut self, put: &Put) -> Result<PutReply, Error> {
        let prev = if put.prev_kv || put.value.is_none() { self.live(&put.key)? } else { None };
        let value = match (&put.value, &prev) {
            (Some(value), _) => value.clone(),
            (None, Some(prev)) => prev.value.clone(),
            (None, None) => Bytes::new(),
        };
        let lease = match put.lease {
            Some(lease) => lease,
            None => self.state.index.latest(&put.key).map_or(LeaseId::NONE, |latest| latest.lease),
        };
        let revision = self.next_revision();
        let (new, old) = self.state.index.put(&put.key, revision, lease);
        let old_lease = old.map_or(LeaseId::NONE, |old| old.lease);
        self.state.leases.move_key(&put.key, old_lease, lease);
        let record = Record::encode_put(&KeyValue {
            key: put.key.clone(),
            value,
            create_revision: new.created,
            mod_revision: revision.main,
            version: new.version,
            lease,
        });
        self.write(revision, record);
        Ok(PutReply { revision: revision.main, prev: prev.filter(|_| put.prev_kv) })
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> Result<DeleteRangeReply, Error> {
        let mut keys = Vec::new();
        let at = self.newest();
        let visit = |key: &[u8], revision| keys.push((Bytes::copy_from_slice(key), revision));
        self.state.index.range(&delete.range, at, Direction::Ascending, usize::MAX, visit);
        let mut prev_kvs = Vec::new();
        for (key, revision) in &keys {
            if delete.prev_kv {
                prev_kvs.push(self.load(*revision)?);
            }
            self.delete(key);
        }
        Ok(DeleteRangeReply { revision: self.newest(), deleted: keys.len() as u64, prev_kvs })
    }

    /// Deletes one live key.
    fn delete(&mut self, key: &Bytes) {
        let revision = self.next_revision();
        let old = self.state.index.delete(key, revision).expect("the key was found alive");
        self.state.leases.move_key(key, old.lease, LeaseId::NONE);
        self.write(revision, Record::encode_tombstone(key));
    }

    fn write(&mut self, revision: Revision, record: Bytes) {
        self.written.push((revision, self.batch.len()));
        self.batch.put(Space::Record, &revision.to_bytes(), record);
    }

    fn txn(&mut self, txn: &Txn) -> Result<TxnReply, Error> {
        let path = txn::decide(txn, self)?;
        txn::check(txn, &path, self.state)?;
        self.run_txn(txn, &mut path.iter())
    }

    fn run_txn(
        &mut self,
        txn: &Txn,
        path: &mut std::slice::Iter<'_, bool>,
    ) -> Result<TxnReply, Error> {
        let succeeded = *path.next().expect("the path has an entry for each transaction on it");
        let ops = txn::branch(txn, succeeded);
        let mut replies = Vec::with_capacity(ops.len());
        for op in ops {
            replies.push(match op {
                TxnOp::Range(request) => TxnOpReply::Range(self.range(request)?),
                TxnOp::Put(put) => TxnOpReply::Put(self.put(put)?),
                TxnOp::DeleteRange(delete) => TxnOpReply::DeleteRange(self.delete_range(delete)?),
                TxnOp::Txn(nested) => TxnOpReply::Txn(self.run_txn(nested, path)?),
            });
        }
        Ok(TxnReply { revision: self.newest(), succeeded, replies })
    }

    /// Reads inside a transaction: sees what the transaction has written so far.
    fn range(&self, request: &RangeRequest) -> Result<RangeReply, Error> {
        let plan = Plan::new(request, self.state, self.newest())?;
        let index = &self.state.index;
        let mut revisions = Vec::new();
        let visit = |_: &[u8], revision| revisions.push(revision);
        index.range(&request.range, plan.at, plan.direction, plan.fetch_max, visit);
        let kvs = revisions.into_iter().map(|revision| self.load(revision));
        let kvs = kvs.collect::<Result<Vec<_>, _>>()?;
        Ok(plan.finish(request, kvs, index.count(&request.range, plan.at)))
    }

    fn compact(&mut self, compact: Compact) -> Result<CompactReply, Error> {
        let newest = self.state.revision;
        match self.state.compacted {
            Some(compacted) if compact.revision <= compacted => {
                return Err(Refusal::Compacted { compacted }.into());
            }
            _ if compact.revision > newest => {
                return Err(Refusal::FutureRevision { newest }.into());
            }
            _ => {}
        }
        self.state.compacted = Some(compact.revision);
        State::save_compacted(compact.revision, &mut self.batch);
        Ok(CompactReply { revision: newest })
    }

    fn grant(&mut self, grant: LeaseGrant) -> Result<LeaseGrantReply, Error> {
        let LeaseGrant { id, ttl } = grant;
        if !id.is_some() {
            return Err(Refusal::LeaseNotFound.into());
        }
        if ttl > TTL_SECONDS_MAX {
            return Err(Refusal::LeaseTtlTooLarge.into());
        }
        if self.state.leases.contains(id) {
            return Err(Refusal::LeaseExists.into());
        }
        self.state.leases.grant(id, ttl);
        State::save_lease(id, ttl, &mut self.batch);
        Ok(LeaseGrantReply { revision: self.state.revision, id, ttl })
    }

    /// Deletes the lease's keys in one revision, in key order, and the lease.
    fn revoke(&mut self, revoke: LeaseRevoke) -> Result<LeaseRevokeReply, Error> {
        let lease = self.state.leases.revoke(revoke.id).ok_or(Refusal::LeaseNotFound)?;
        for key in &lease.keys {
            self.delete(key);
        }
        State::forget_lease(revoke.id, &mut self.batch);
        Ok(LeaseRevokeReply { revision: self.newest() })
    }

    fn alarm(&mut self, change: AlarmChange) -> AlarmReply {
        let AlarmChange { raise, member, kind } = change;
        let mut alarms = Vec::new();
        // The word of a disk may come when that is gone for good, and nobody would clear it.
        let is_late = kind == AlarmKind::DiskFull && self.state.cluster.is_removed(member);
        if raise && !is_late {
            let alarm = Alarm { member, kind };
            self.state.alarms.insert(alarm);
            State::save_alarm(alarm, &mut self.batch);
            alarms.push(alarm);
        } else if !raise {
            alarms.extend(self.clear_alarm(member, kind));
            if kind == AlarmKind::NoSpace {
                // Clients are shown both as one.
                alarms.extend(self.clear_alarm(member, AlarmKind::DiskFull));
            }
        }
        AlarmReply { revision: self.state.revision, alarms }
    }

    fn clear_alarm(&mut self, member: u64, kind: AlarmKind) -> Option<Alarm> {
        let alarm = Alarm { member, kind };
        let stood = self.state.alarms.remove(&alarm);
        if stood {
            State::forget_alarm(alarm, &mut self.batch);
        }
        stood.then_some(alarm)
    }

    fn members(&mut self, command: &Command) -> Result<ClusterReply, Error> {
        check_members(command)?;
        let edit = self.state.cluster.decide(command)?;
        for member in &edit.removed {
            self.clear_alarm(*member, AlarmKind::DiskFull);
        }
        self.state.edit_cluster(edit, &mut self.batch);
        let cluster = Arc::clone(&self.state.cluster);
        Ok(ClusterReply { revision: self.state.revision, cluster })
    }

    fn auth(&mut self, change: &AuthChange) -> Result<AuthReply, Error> {
        let edit = self.state.auth.decide(change)?;
        self.state.edit_auth(edit, &mut self.batch);
        let (revision, auth_revision) = (self.state.revision, self.state.auth.revision);
        Ok(AuthReply { revision, auth_revision })
    }

    /// The key-value that is alive under `key`.
    fn live(&self, key: &[u8]) -> Result<Option<KeyValue>, Error> {
        match self.state.index.latest(key) {
            Some(latest) => self.load(latest.modified).map(Some),
            None => Ok(None),
        }
    }

    /// The key-value that was put at `revision`, from the batch or the engine.
    fn load(&self, revision: Revision) -> Result<KeyValue, Error> {
        let found = self.written.binary_search_by_key(&revision, |&(revision, _)| revision);
        let Ok(found) = found else { return load_put(self.engine, revision) };
        decode_put(revision, batch_record(&self.batch, self.written[found].1))
    }
}

impl<E: Engine> Lookup for Applier<'_, E> {
    fn live(&self, compare: &Compare, values: bool) -> Result<Vec<KeyValue>, Error> {
        live_of(&self.state.index, &compare.range, self.newest(), values, |revision| {
            self.load(revision)
        })
    }
}

/// The live key-values of a range; a single key without its value needs no record.
pub(crate) fn live_of(
    index: &Index,
    range: &KeyRange,
    at: u64,
    values: bool,
    load: impl Fn(Revision) -> Result<KeyValue, Error>,
) -> Result<Vec<KeyValue>, Error> {
    if let (Some(key), false) = (range.as_single(), values) {
        let latest = index.latest(key);
        return Ok(latest
            .into_iter()
            .map(|latest| KeyValue {
                key: key.clone(),
                value: Bytes::new(),
                create_revision: latest.created,
                mod_revision: latest.modified.main,
                version: latest.version,
                lease: latest.lease,
            })
            .collect());
    }
    let mut revisions = Vec::new();
    index.range(range, at, Direction::Ascending, usize::MAX, |_: &[u8], revision| {
        revisions.push(revision);
    });
    revisions.into_iter().map(load).collect()
}

/// The record that a batch puts as its change number `at`.
pub(crate) fn batch_record(batch: &Batch, at: usize) -> Bytes {
    match batch.change(at) {
        Change::Put { value, .. } => value.clone(),
        Change::Delete { .. } => unreachable!("only puts of records are noted as written"),
    }
}

/// Whether a command is refused while the store is over its quota.
fn needs_space(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant(_) => true,
        Command::Txn(txn) => txn_puts(txn),
        _ => false,
    }
}

fn txn_puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(nested) => txn_puts(nested),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}

/// The outcomes of transactions that only read, decided on a state nobody is changing.
pub(crate) fn read_txn_path(txn: &Txn, lookup: &impl Lookup, state: &State) -> Result<Path, Error> {
    let path = txn::decide(txn, lookup)?;
    txn::check(txn, &path, state)?;
    Ok(path)
}
