//! etcd's data model, done the dumb way.
//!
//! The store under test has an index, batches, pins and a sweep. This has a list of everything that
//! ever happened, and walks all of it for every question. It shares nothing with the crate but the
//! types of requests and replies: where the crate offers a helper (`KeyRange::contains`,
//! `RevisionBounds::keep`), the rule is written out here once more.
//!
//! Ties of a sort come in no order that the store promises. The oracle pins the order that it has
//! (by key, the whole list turned round when descending), because members that answer the same read
//! in two orders would be noticed.

mod cluster;
mod limits;
mod txn;

use std::collections::{BTreeMap, BTreeSet};

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

pub(crate) use limits::allowed;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Main revision.
    pub(crate) main: u64,
    /// The key.
    pub(crate) key: Bytes,
    /// What stands there afterwards; `None` is a delete.
    pub(crate) after: Option<KeyValue>,
}

/// The model: all there is to know about a store.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    /// Every change ever made, oldest first. Compaction forgets nothing here, it only refuses.
    pub(crate) history: Vec<Fact>,
    /// The newest main revision.
    pub(crate) revision: u64,
    /// The oldest readable main revision.
    pub(crate) compacted: Option<u64>,
    /// Time to live of each lease that stands.
    pub(crate) leases: BTreeMap<LeaseId, i64>,
    /// Alarms that stand.
    pub(crate) alarms: BTreeSet<Alarm>,
    /// The members of the group.
    pub(crate) cluster: Cluster,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        Oracle {
            history: Vec::new(),
            revision: 1,
            compacted: None,
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            cluster: Cluster::default(),
        }
    }

    /// Does a command.
    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        let facts = self.history.len();
        let outcome = self.run(command);
        if outcome.is_err() {
            assert_eq!(self.history.len(), facts, "a refused command leaves no trace");
        }
        if self.history.len() > facts {
            self.revision += 1;
        }
        outcome
    }

    fn run(&mut self, command: &Command) -> Outcome {
        if let Command::Alarm(change) = command {
            return Ok(Reply::Alarm(self.alarm(change)));
        }
        if command.is_of_members() {
            return self.change_members(command);
        }
        self.refuse_if_corrupt()?;
        let full = self.alarms.iter().any(|alarm| alarm.kind == AlarmKind::NoSpace);
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
        let corrupt = self.alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt);
        if corrupt { Err(Refusal::Corrupt) } else { Ok(()) }
    }

    /// Everything that is alive after all changes of main revision `at`, by key.
    pub(crate) fn world(&self, at: u64) -> BTreeMap<Bytes, KeyValue> {
        let mut world = BTreeMap::new();
        for fact in self.history.iter().filter(|fact| fact.main <= at) {
            match &fact.after {
                Some(kv) => world.insert(fact.key.clone(), kv.clone()),
                None => world.remove(&fact.key),
            };
        }
        world
    }

    /// Everything that is alive now, the present command's changes included.
    pub(crate) fn present(&self) -> BTreeMap<Bytes, KeyValue> {
        self.world(u64::MAX)
    }

    /// What is alive in `range` at `at`, in key order.
    fn alive(&self, range: &KeyRange, at: u64) -> Vec<KeyValue> {
        self.world(at).into_values().filter(|kv| is_inside(&kv.key, range)).collect()
    }

    /// The keys that hang on a lease: those whose newest put says so.
    pub(crate) fn keys_of(&self, lease: LeaseId) -> Vec<Bytes> {
        let hangs = |kv: &KeyValue| lease.0 != 0 && kv.lease == lease;
        self.present().into_values().filter(hangs).map(|kv| kv.key).collect()
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
        let there = self.present().contains_key(&put.key);
        if there { Ok(()) } else { Err(Refusal::KeyNotFound) }
    }

    fn put(&mut self, put: &Put) -> PutReply {
        let main = self.revision + 1;
        let prev = self.present().remove(&put.key);
        let standing = prev.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone().unwrap_or(standing.value),
            create_revision: if prev.is_some() { standing.create_revision } else { main },
            mod_revision: main,
            version: standing.version + 1,
            lease: put.lease.unwrap_or(standing.lease),
        };
        self.history.push(Fact { main, key: put.key.clone(), after: Some(kv) });
        PutReply { revision: main, prev: if put.prev_kv { prev } else { None } }
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> DeleteRangeReply {
        let gone = self.alive(&delete.range, u64::MAX);
        let main = self.revision + 1;
        for kv in &gone {
            self.history.push(Fact { main, key: kv.key.clone(), after: None });
        }
        DeleteRangeReply {
            revision: self.newest(),
            deleted: gone.len() as u64,
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    /// A read outside of any command.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.refuse_if_corrupt()?;
        self.check_revision(request)?;
        Ok(self.read(request))
    }

    fn check_revision(&self, request: &RangeRequest) -> Result<(), Refusal> {
        let at = request.revision.unwrap_or(self.revision);
        if at > self.revision {
            return Err(Refusal::FutureRevision { newest: self.revision });
        }
        match self.compacted {
            Some(compacted) if at < compacted => Err(Refusal::Compacted { compacted }),
            _ => Ok(()),
        }
    }

    /// A read whose revision has been checked.
    fn read(&self, request: &RangeRequest) -> RangeReply {
        let newest = self.newest();
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
            kvs.sort_by_key(|kv| sort_key(kv, sort.by));
            if sort.order == SortOrder::Descend {
                kvs.reverse();
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
        let main = self.revision + 1;
        for key in self.keys_of(id) {
            self.history.push(Fact { main, key, after: None });
        }
        self.leases.remove(&id);
        Ok(LeaseRevokeReply { revision: self.newest() })
    }

    fn alarm(&mut self, change: &AlarmChange) -> AlarmReply {
        let alarm = Alarm { member: change.member, kind: change.kind };
        let stood = self.alarms.contains(&alarm);
        if change.raise {
            self.alarms.insert(alarm);
        } else {
            self.alarms.remove(&alarm);
        }
        let alarms = if change.raise || stood { vec![alarm] } else { Vec::new() };
        AlarmReply { revision: self.revision, alarms }
    }
}

/// Whether a key lies in a range.
pub(crate) fn is_inside(key: &[u8], range: &KeyRange) -> bool {
    let before_end = match &range.end {
        Some(end) => key < &end[..],
        None => true,
    };
    &range.start[..] <= key && before_end
}

/// What a sort looks at, ties broken by key.
fn sort_key(kv: &KeyValue, by: SortBy) -> (u64, Bytes, Bytes) {
    let (number, bytes) = match by {
        SortBy::Key => (0, Bytes::new()),
        SortBy::Version => (kv.version, Bytes::new()),
        SortBy::Create => (kv.create_revision, Bytes::new()),
        SortBy::Mod => (kv.mod_revision, Bytes::new()),
        SortBy::Value => (0, kv.value.clone()),
    };
    (number, bytes, kv.key.clone())
}
