//! What a group has done, by a model that never crashes, and what it has promised.
//!
//! The oracle is told of every entry as the first member handles it, and applies it to a
//! [`Model`], which shares no code with the store. The members' logs must agree with its log, their
//! revisions with its revisions, what clients and watchers are told with what it answers, and in
//! the end all that can be read of them, key by key, with all that it knows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_kv::command::RangeRequest;
use drystone_kv::engine::Engine;
use drystone_kv::reply::{RangeReply, Reply};
use drystone_kv::runtime::parts::open;
use drystone_kv::{Command, Error, KeyRange, LeaseId, Refusal, Store};
use drystone_kv_model::{Fact, Model};
use drystone_raft::{Entry, Index, Payload};

use crate::plan::SECOND;

/// What the group has done.
pub(crate) struct Oracle {
    pub(crate) model: Model,
    /// All that was applied, the first at index 1, and the revision after each.
    log: Vec<(Entry, u64)>,
    replies: BTreeMap<Index, Result<Reply, Refusal>>,
    /// Until when each lease lives at least, in the world's time.
    promises: BTreeMap<LeaseId, u64>,
    /// When leases ended by themselves.
    expired: BTreeMap<LeaseId, u64>,
    /// Leases that clients have asked to revoke.
    pub(crate) given_up: BTreeSet<LeaseId>,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        Oracle {
            model: Model::new(),
            log: Vec::new(),
            replies: BTreeMap::new(),
            promises: BTreeMap::new(),
            expired: BTreeMap::new(),
            given_up: BTreeSet::new(),
        }
    }

    /// The last entry that any member has handled.
    pub(crate) fn last(&self) -> Index {
        Index(self.log.len() as u64)
    }

    /// The term of what stands at `index`, if anybody has handled it.
    pub(crate) fn term_at(&self, index: Index) -> Option<drystone_raft::Term> {
        let place = usize::try_from(index.0).expect("logs are short here").checked_sub(1)?;
        self.log.get(place).map(|(entry, _)| entry.term)
    }

    /// The newest revision once everything up to `index` is applied.
    pub(crate) fn revision_at(&self, index: Index) -> u64 {
        let place = usize::try_from(index.0).expect("logs are short here");
        if place == 0 { 1 } else { self.log[place - 1].1 }
    }

    /// A member handles an entry.
    pub(crate) fn note(&mut self, entry: Entry, now: u64) {
        let place = usize::try_from(entry.index.0).expect("logs are short here");
        if let Some((other, _)) = self.log.get(place - 1) {
            assert_eq!(*other, entry, "two entries are committed at one index");
            return;
        }
        assert_eq!(place, self.log.len() + 1, "a member skips what nobody has applied");
        if let Payload::Data(data) = &entry.payload {
            self.apply(entry.index, data, now);
        }
        self.log.push((entry, self.model.revision));
    }

    fn apply(&mut self, index: Index, data: &Bytes, now: u64) {
        let (_, command) = open(data).expect("clients send commands");
        let outcome = self.model.apply(&command);
        if let (Command::LeaseRevoke(revoke), Ok(_)) = (&command, &outcome)
            && !self.given_up.contains(&revoke.id)
        {
            self.expired.insert(revoke.id, now);
            let until = self.promises.get(&revoke.id).copied().unwrap_or(0);
            assert!(now >= until, "lease {} ended at {now}, and was to live to {until}", revoke.id);
        }
        self.replies.insert(index, outcome);
    }

    /// All changes of keys, oldest first.
    pub(crate) fn changes(&self) -> &[Fact] {
        &self.model.history
    }

    /// A client was told what became of a command.
    pub(crate) fn check_reply(
        &self,
        call: u64,
        asked: &Command,
        index: Index,
        told: &Result<Reply, Refusal>,
    ) {
        assert!(index <= self.last(), "command {call} was acknowledged at {index}, and is lost");
        let place = usize::try_from(index.0).expect("logs are short here");
        let Payload::Data(data) = &self.log[place - 1].0.payload else {
            panic!("command {call} was acknowledged at {index}, where none is")
        };
        let (origin, command) = open(data).expect("clients send commands");
        let same = command == *asked && origin.is_none_or(|origin| origin.serial == call);
        assert!(same, "command {call} was acknowledged at {index}, where another is");
        assert_eq!(*told, self.replies[&index], "command {call} was answered wrongly");
    }

    /// A client was told what stands in a range.
    pub(crate) fn check_read(&self, request: &RangeRequest, told: &RangeReply) {
        let newest = self.model.revision;
        assert!(told.revision <= newest, "a read of what was never written");
        let at = request.revision.unwrap_or(told.revision);
        assert!(at <= told.revision, "a read of revision {at}, of {}", told.revision);
        let right = self.model.read(&RangeRequest { revision: Some(at), ..request.clone() });
        let right = RangeReply { revision: told.revision, ..right };
        assert_eq!(*told, right, "a read at revision {at}: {request:?}");
    }

    /// A member that has applied all there is has what the model has, at every revision that can
    /// be read, and refuses what the model refuses.
    pub(crate) fn check_content<E: Engine>(&self, id: u64, store: &Store<E>) {
        let model = &self.model;
        let oldest = model.compacted.unwrap_or(1);
        for at in oldest.saturating_sub(1).max(1)..=model.revision + 1 {
            let all = RangeRequest { revision: Some(at), ..RangeRequest::new(KeyRange::all()) };
            let here = store.range(&all).map_err(|error| match error {
                Error::Refused(refusal) => refusal,
                error => panic!("member {id} cannot read revision {at}: {error}"),
            });
            assert_eq!(here, model.range(&all), "member {id} at revision {at}");
        }
        let status = store.status();
        assert_eq!(status.compacted, model.compacted, "member {id}: what is compacted");
        assert_eq!(status.keys, model.present().len() as u64, "member {id}: how many keys");
        assert_eq!(*store.cluster(), model.cluster, "member {id} knows other members");
        let mut leases = store.leases();
        leases.sort_unstable();
        let right: Vec<_> = model.leases.iter().map(|(id, ttl)| (*id, *ttl)).collect();
        assert_eq!(leases, right, "member {id} knows other leases");
        for (lease, _) in leases {
            let keys = store.lease(lease).expect("it was listed").keys;
            assert!(keys.iter().eq(&model.keys_of(lease)), "member {id}: what hangs on {lease}");
        }
    }

    /// How many leases ended by themselves.
    pub(crate) fn expired(&self) -> u64 {
        self.expired.len() as u64
    }

    /// A client that asked at `asked` was told that a lease lives for so many seconds.
    pub(crate) fn promise(&mut self, lease: LeaseId, ttl: i64, asked: u64) {
        let ttl = u64::try_from(ttl).expect("leases live") * SECOND;
        // A clock may be fast by what the plan allows.
        let until = asked + ttl * 97 / 100;
        let promise = self.promises.entry(lease).or_default();
        *promise = until.max(*promise);
        let ended = self.expired.get(&lease).copied().unwrap_or(u64::MAX);
        assert!(ended >= until, "lease {lease} ended at {ended}, and was to live to {until}");
    }
}
