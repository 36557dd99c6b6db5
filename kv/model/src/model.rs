//! etcd's data model, done the dumb way.
//!
//! The store under test has an index, batches, pins and a sweep. This has a list of everything that
//! ever happened and, after each revision, what is alive. It shares nothing with the crate but the
//! types of requests and replies: where the crate offers a helper (`KeyRange::contains`,
//! `RevisionBounds::keep`), the rule is written out here once more.
//!
//! Ties of a sort come in no order that the store promises. The model pins the order that it has
//! (by key, the whole list turned round when descending), because members that answer the same read
//! in two orders would be noticed.

mod auth;
mod cluster;
mod limits;
mod txn;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use drystone_kv::command::{
    AlarmChange, AlarmKind, Command, Compact, DeleteRange, LeaseGrant, Put, RangeRequest,
    RevisionBounds, Sort, SortBy, SortOrder,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::members::Cluster;
use drystone_kv::reply::{
    Alarm, AlarmReply, CompactReply, DeleteRangeReply, LeaseGrantReply, LeaseRevokeReply, PutReply,
    RangeReply, Reply,
};
use drystone_kv::types::{KeyValue, LeaseId};
use drystone_kv::{Outcome, Refusal};

pub use auth::Users;
pub use limits::allowed;

/// What is alive at some moment, by key.
pub type World = BTreeMap<Bytes, KeyValue>;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Main revision.
    pub main: u64,
    /// The key.
    pub key: Bytes,
    /// What stands there afterwards; `None` is a delete.
    pub after: Option<KeyValue>,
}

/// Where a store stood: what a read of the past depends on beside the past itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The newest main revision.
    pub revision: u64,
    /// The oldest readable main revision.
    pub compacted: Option<u64>,
}

/// The model: all there is to know about a store.
#[derive(Clone, Debug)]
pub struct Model {
    /// Every change ever made, oldest first. Compaction forgets nothing here, it only refuses.
    pub history: Vec<Fact>,
    /// The newest main revision.
    pub revision: u64,
    /// The oldest readable main revision.
    pub compacted: Option<u64>,
    /// Time to live of each lease that stands.
    pub leases: BTreeMap<LeaseId, i64>,
    /// Alarms that stand.
    pub alarms: BTreeSet<Alarm>,
    /// The members of the group.
    pub cluster: Cluster,
    /// Users and roles.
    pub users: Users,
    /// What is alive, the present command's changes included.
    present: World,
    /// What was alive after each main revision, from 0.
    worlds: Vec<Arc<World>>,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

impl Model {
    /// A store that nothing has been written to.
    #[must_use]
    pub fn new() -> Model {
        Model {
            history: Vec::new(),
            revision: 1,
            compacted: None,
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            cluster: Cluster::default(),
            users: Users::default(),
            present: World::new(),
            worlds: vec![Arc::default(), Arc::default()],
        }
    }

    /// Does a command.
    ///
    /// # Errors
    /// The refusal that the store must give.
    ///
    /// # Panics
    /// If a refused command changes anything: the model itself is wrong.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        let facts = self.history.len();
        let outcome = self.run(command);
        if outcome.is_err() {
            assert_eq!(self.history.len(), facts, "a refused command leaves no trace");
        }
        if self.history.len() > facts {
            self.revision += 1;
            self.worlds.push(Arc::new(self.present.clone()));
        }
        outcome
    }

    fn run(&mut self, command: &Command) -> Outcome {
        if let Command::Alarm(change) = command {
            return Ok(Reply::Alarm(self.alarm(change)));
        }
        if let Command::Auth(change) = command {
            return self.change_users(change);
        }
        if command.is_of_members() {
            return self.change_members(command);
        }
        self.refuse_if_corrupt()?;
        let full = self.alarms.iter().any(|alarm| alarm.kind != AlarmKind::Corrupt);
        match command {
            Command::Put(_) | Command::LeaseGrant(_) if full => Err(Refusal::NoSpace),
            Command::Txn(txn) if full && txn::has_put(txn) => Err(Refusal::NoSpace),
            Command::Put(put) => self.put_alone(put).map(Reply::Put),
            Command::DeleteRange(delete) => Ok(Reply::DeleteRange(self.delete_range(delete))),
            Command::Txn(txn) => self.txn(txn).map(Reply::Txn),
            Command::Compact(compact) => self.compact(*compact).map(Reply::Compact),
            Command::LeaseGrant(grant) => self.grant(*grant).map(Reply::LeaseGrant),
            Command::LeaseRevoke(revoke) => self.revoke(revoke.id).map(Reply::LeaseRevoke),
            _ => unreachable!("answered above"),
        }
    }

    fn refuse_if_corrupt(&self) -> Result<(), Refusal> {
        let odd: Vec<u64> = self
            .alarms
            .iter()
            .filter(|alarm| alarm.kind == AlarmKind::Corrupt)
            .map(|alarm| alarm.member)
            .collect();
        let (mut voters, mut sound) = (0, 0);
        for member in self.cluster.members.iter().filter(|member| !member.is_learner) {
            voters += 1;
            sound += usize::from(!odd.contains(&member.id));
        }
        let strangers = odd.iter().any(|id| {
            !self.cluster.members.iter().any(|member| member.id == *id)
                && !self.cluster.removed.contains(id)
        });
        let stands = odd.is_empty() || (2 * sound > voters && !strangers);
        if stands { Ok(()) } else { Err(Refusal::Corrupt) }
    }

    /// Everything that is alive after all changes of main revision `at`, by key.
    #[must_use]
    pub fn world(&self, at: u64) -> &World {
        let place = usize::try_from(at).unwrap_or(usize::MAX);
        self.worlds.get(place).map_or(&self.present, |world| world)
    }

    /// Everything that is alive now, the present command's changes included.
    #[must_use]
    pub fn present(&self) -> &World {
        &self.present
    }

    /// Writes down one change of one key.
    fn note(&mut self, key: Bytes, after: Option<KeyValue>) {
        match &after {
            Some(kv) => self.present.insert(key.clone(), kv.clone()),
            None => self.present.remove(&key),
        };
        self.history.push(Fact { main: self.revision + 1, key, after });
    }

    /// What is alive in `range` at `at`, in key order.
    fn alive(&self, range: &KeyRange, at: u64) -> Vec<KeyValue> {
        self.world(at).values().filter(|kv| is_inside(&kv.key, range)).cloned().collect()
    }

    /// The keys that hang on a lease: those whose newest put says so.
    #[must_use]
    pub fn keys_of(&self, lease: LeaseId) -> Vec<Bytes> {
        self.keys_then(lease, u64::MAX)
    }

    /// The keys that hung on a lease after all changes of main revision `at`.
    #[must_use]
    pub fn keys_then(&self, lease: LeaseId, at: u64) -> Vec<Bytes> {
        let hangs = |kv: &&KeyValue| lease.0 != 0 && kv.lease == lease;
        self.world(at).values().filter(hangs).map(|kv| kv.key.clone()).collect()
    }

    /// The newest revision that the next operation of the present command sees.
    fn newest(&self) -> u64 {
        self.history.last().map_or(self.revision, |fact| fact.main.max(self.revision))
    }

    fn put_alone(&mut self, put: &Put) -> Result<PutReply, Refusal> {
        self.check_lease(put)?;
        self.check_kept(put)?;
        Ok(self.put(put))
    }

    fn check_lease(&self, put: &Put) -> Result<(), Refusal> {
        let lease = put.lease.unwrap_or_default();
        if lease.0 != 0 && !self.leases.contains_key(&lease) {
            return Err(Refusal::LeaseNotFound);
        }
        Ok(())
    }

    fn check_kept(&self, put: &Put) -> Result<(), Refusal> {
        if put.value.is_some() && put.lease.is_some() {
            return Ok(());
        }
        let there = self.present.contains_key(&put.key);
        if there { Ok(()) } else { Err(Refusal::KeyNotFound) }
    }

    fn put(&mut self, put: &Put) -> PutReply {
        let main = self.revision + 1;
        let prev = self.present.get(&put.key).cloned();
        let standing = prev.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone().unwrap_or(standing.value),
            create_revision: if prev.is_some() { standing.create_revision } else { main },
            mod_revision: main,
            version: standing.version + 1,
            lease: put.lease.unwrap_or(standing.lease),
        };
        self.note(put.key.clone(), Some(kv));
        PutReply { revision: main, prev: if put.prev_kv { prev } else { None } }
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> DeleteRangeReply {
        let gone = self.alive(&delete.range, u64::MAX);
        for kv in &gone {
            self.note(kv.key.clone(), None);
        }
        DeleteRangeReply {
            revision: self.newest(),
            deleted: gone.len() as u64,
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    /// Where it stands now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { revision: self.revision, compacted: self.compacted }
    }

    /// A read outside of any command.
    ///
    /// # Errors
    /// The refusal that the store must give.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.refuse_if_corrupt()?;
        self.range_then(request, self.moment())
    }

    /// A read as a store answers that stood where this one did at `then`. Alarms are not looked at.
    ///
    /// # Errors
    /// The refusal that the store must give.
    pub fn range_then(&self, request: &RangeRequest, then: Moment) -> Result<RangeReply, Refusal> {
        check_revision(request, then)?;
        Ok(self.read(request, then.revision))
    }

    /// A read of what is readable, when `newest` was the newest revision.
    fn read(&self, request: &RangeRequest, newest: u64) -> RangeReply {
        let mut kvs = self.alive(&request.range, request.revision.unwrap_or(newest));
        let count = kvs.len() as u64;
        if request.count_only {
            return RangeReply { revision: newest, kvs: Vec::new(), count, more: false };
        }
        let RevisionBounds { mod_min, mod_max, create_min, create_max } = request.bounds;
        let bounds = [mod_min, mod_max, create_min, create_max];
        let cut_first =
            matches!(request.sort, Some(Sort { order: SortOrder::AscendAfterLimit, .. }))
                && bounds.iter().all(Option::is_none);
        if cut_first && request.limit > 0 {
            // One more than asked for: etcd fetches it to learn whether there is more, and sorts it
            // together with the others.
            kvs.truncate(request.limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            mod_min.unwrap_or(0) <= kv.mod_revision
                && kv.mod_revision <= mod_max.unwrap_or(u64::MAX)
                && create_min.unwrap_or(0) <= kv.create_revision
                && kv.create_revision <= create_max.unwrap_or(u64::MAX)
        });
        if let Some(sort) = request.sort {
            match sort.order {
                SortOrder::Descend => kvs.sort_by_key(|kv| Reverse(sort_key(kv, sort.by))),
                _ => kvs.sort_by_key(|kv| sort_key(kv, sort.by)),
            }
        }
        let more = request.limit > 0 && kvs.len() > request.limit;
        if more {
            kvs.truncate(request.limit);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeReply { revision: newest, kvs, count, more }
    }

    fn compact(&mut self, compact: Compact) -> Result<CompactReply, Refusal> {
        if let Some(compacted) = self.compacted
            && compact.revision <= compacted
        {
            return Err(Refusal::Compacted { compacted });
        }
        if compact.revision > self.revision {
            return Err(Refusal::FutureRevision { newest: self.revision });
        }
        self.compacted = Some(compact.revision);
        Ok(CompactReply { revision: self.revision })
    }

    fn grant(&mut self, grant: LeaseGrant) -> Result<LeaseGrantReply, Refusal> {
        let LeaseGrant { id, ttl } = grant;
        if id.0 == 0 {
            return Err(Refusal::LeaseNotFound);
        }
        if ttl > 9_000_000_000 {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        self.leases.insert(id, ttl);
        Ok(LeaseGrantReply { revision: self.revision, id, ttl })
    }

    fn revoke(&mut self, id: LeaseId) -> Result<LeaseRevokeReply, Refusal> {
        if !self.leases.contains_key(&id) {
            return Err(Refusal::LeaseNotFound);
        }
        for key in self.keys_of(id) {
            self.note(key, None);
        }
        self.leases.remove(&id);
        Ok(LeaseRevokeReply { revision: self.newest() })
    }

    fn alarm(&mut self, change: &AlarmChange) -> AlarmReply {
        let alarm = Alarm { member: change.member, kind: change.kind };
        let of_a_disk = Alarm { kind: AlarmKind::DiskFull, ..alarm };
        if change.raise {
            let gone = self.cluster.removed.contains(&change.member);
            let alarms = if alarm == of_a_disk && gone { vec![] } else { vec![alarm] };
            self.alarms.extend(&alarms);
            return AlarmReply { revision: self.revision, alarms };
        }
        let both = [alarm, of_a_disk];
        let cleared = if alarm.kind == AlarmKind::NoSpace { &both[..] } else { &both[..1] };
        let alarms = cleared.iter().copied().filter(|alarm| self.alarms.remove(alarm)).collect();
        AlarmReply { revision: self.revision, alarms }
    }
}

fn check_revision(request: &RangeRequest, then: Moment) -> Result<(), Refusal> {
    let at = request.revision.unwrap_or(then.revision);
    if at > then.revision {
        return Err(Refusal::FutureRevision { newest: then.revision });
    }
    match then.compacted {
        Some(compacted) if at < compacted => Err(Refusal::Compacted { compacted }),
        _ => Ok(()),
    }
}

/// Whether a key lies in a range.
#[must_use]
pub fn is_inside(key: &[u8], range: &KeyRange) -> bool {
    let before_end = match &range.end {
        Some(end) => key < &end[..],
        None => true,
    };
    &range.start[..] <= key && before_end
}

/// What a sort looks at, ties broken by key.
fn sort_key(kv: &KeyValue, by: SortBy) -> (u64, Bytes) {
    match by {
        SortBy::Key => (0, kv.key.clone()),
        SortBy::Version => (kv.version, Bytes::new()),
        SortBy::Create => (kv.create_revision, Bytes::new()),
        SortBy::Mod => (kv.mod_revision, Bytes::new()),
        SortBy::Value => (0, kv.value.clone()),
    }
}
