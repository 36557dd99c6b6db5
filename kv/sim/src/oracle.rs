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
use drystone_kv::lease::Lease;
use drystone_kv::reply::Reply;
use drystone_kv::runtime::parts::{Opened, open};
use drystone_kv::{Command, Error, KeyRange, LeaseId, Refusal, Store};
use drystone_kv_model::{Model, Moment};
use drystone_raft::{Entry, Index, Payload};

use crate::member::{Look, Seen};
use crate::plan::SECOND;

/// What the group has done.
pub(crate) struct Oracle {
    pub(crate) model: Model,
    /// All that was applied, the first at index 1, and where the store stood after each.
    log: Vec<(Entry, Moment)>,
    replies: BTreeMap<Index, Result<Reply, Refusal>>,
    /// Each lease that was ever granted. No client grants a name twice, but the network may double
    /// a grant and deliver it again when the lease is gone.
    leases: BTreeMap<LeaseId, Vec<LeaseLife>>,
    /// Until when each lease lives at least, in the world's time.
    promises: BTreeMap<LeaseId, u64>,
    /// When leases ended by themselves.
    expired: BTreeMap<LeaseId, u64>,
    /// Leases that clients have asked to revoke.
    pub(crate) given_up: BTreeSet<LeaseId>,
}

/// From where to where in the log a lease stood.
struct LeaseLife {
    ttl: i64,
    granted: Index,
    ended: Option<Index>,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        Oracle {
            model: Model::new(),
            log: Vec::new(),
            replies: BTreeMap::new(),
            leases: BTreeMap::new(),
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

    /// Where the store stands once everything up to `index` is applied.
    pub(crate) fn moment(&self, index: Index) -> Moment {
        assert!(index <= self.last(), "somebody was shown what nobody has applied");
        let place = usize::try_from(index.0).expect("logs are short here");
        let fresh = Moment { revision: 1, compacted: None };
        place.checked_sub(1).map_or(fresh, |place| self.log[place].1)
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
        self.log.push((entry, self.model.moment()));
    }

    fn apply(&mut self, index: Index, data: &Bytes, now: u64) {
        let command = open(data).expect("clients send commands").command;
        let outcome = self.model.apply(&command);
        match (&command, &outcome) {
            (Command::LeaseGrant(grant), Ok(_)) => {
                let life = LeaseLife { ttl: grant.ttl, granted: index, ended: None };
                self.leases.entry(grant.id).or_default().push(life);
            }
            (Command::LeaseRevoke(revoke), Ok(_)) => {
                let lives = self.leases.get_mut(&revoke.id).expect("the model knows it");
                lives.last_mut().expect("it was granted").ended = Some(index);
            }
            _ => {}
        }
        if let (Command::LeaseRevoke(revoke), Ok(_)) = (&command, &outcome)
            && !self.given_up.contains(&revoke.id)
        {
            self.expired.insert(revoke.id, now);
            let until = self.promises.get(&revoke.id).copied().unwrap_or(0);
            assert!(now >= until, "lease {} ended at {now}, and was to live to {until}", revoke.id);
        }
        self.replies.insert(index, outcome);
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
        let Opened { origin, command, .. } = open(data).expect("clients send commands");
        let same = command == *asked && origin.is_none_or(|origin| origin.serial == call);
        assert!(same, "command {call} was acknowledged at {index}, where another is");
        assert_eq!(*told, self.replies[&index], "command {call} was answered wrongly");
    }

    /// A client was told what a member found that had applied everything up to `at`.
    pub(crate) fn check_look(
        &self,
        call: u64,
        look: &Look,
        at: Index,
        told: &Result<Seen, Refusal>,
    ) {
        let then = self.moment(at);
        let right = match look {
            Look::Range(request) => self.model.range_then(request, then).map(Seen::Range),
            Look::Txn(txn) => self.model.read_txn_then(txn, then).map(Seen::Txn),
            Look::Lease(id) => Ok(Seen::Lease(self.lease(*id, at, then))),
        };
        assert_eq!(*told, right, "read {call} at {at}, {then:?}: {look:?}");
    }

    /// A lease as it stood once everything up to `at` was applied.
    fn lease(&self, id: LeaseId, at: Index, then: Moment) -> Option<Lease> {
        let stood =
            |life: &&LeaseLife| life.granted <= at && life.ended.is_none_or(|ended| at < ended);
        let life = self.leases.get(&id)?.iter().find(stood)?;
        let keys = self.model.keys_then(id, then.revision);
        Some(Lease { ttl: life.ttl, keys: keys.into_iter().collect() })
    }

    /// A client that knew everything up to `known` when it asked was told that a lease lives for
    /// so many seconds more, or that there is none.
    pub(crate) fn check_kept_alive(&self, id: LeaseId, told: Option<i64>, known: Index) {
        let lives = self.leases.get(&id);
        match (told, lives.and_then(|lives| lives.last())) {
            (None, _) => {
                let mut lives = lives.into_iter().flatten();
                let stands = lives.next().is_some_and(|life| life.ended.is_none());
                assert!(!stands, "lease {id} is said to be gone, and stands");
            }
            (Some(ttl), Some(life)) => {
                assert_eq!(ttl, life.ttl, "lease {id} was granted another time");
                let ended = life.ended.filter(|ended| *ended <= known);
                assert_eq!(ended, None, "lease {id} was known to be gone, and is kept alive");
            }
            (Some(_), None) => panic!("lease {id} is kept alive, and was never granted"),
        }
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
