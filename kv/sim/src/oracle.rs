//! What a group has done, by one store that never crashes, and what it has promised.
//!
//! The oracle is told of every entry as the first member handles it, and applies it to a store of
//! its own in memory. The members' logs must agree with its log, their revisions with its
//! revisions, what clients are told with what it answers, and in the end their hashes with its.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use drystone_kv::command::RangeRequest;
use drystone_kv::mem::Mem;
use drystone_kv::reply::{RangeReply, Reply};
use drystone_kv::runtime::parts::open;
use drystone_kv::watch::{EventKind, StreamOptions, WatchMessage, WatchRequest, WatchStream};
use drystone_kv::{Command, KeyRange, LeaseId, Refusal, Store};
use drystone_raft::{Entry, Index, Payload};
use drystone_vfs::MemVfs;

use crate::plan::SECOND;

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Bytes,
    /// What it was set to, if it was not deleted.
    pub(crate) value: Option<Bytes>,
}

/// What the group has done.
pub(crate) struct Oracle {
    pub(crate) store: Arc<Store<Mem>>,
    /// All its changes.
    stream: WatchStream,
    /// All that was applied, the first at index 1, and the revision after each.
    log: Vec<(Entry, u64)>,
    replies: BTreeMap<Index, Result<Reply, Refusal>>,
    /// All changes of keys, oldest first.
    pub(crate) changes: Vec<Change>,
    /// Until when each lease lives at least, in the world's time.
    promises: BTreeMap<LeaseId, u64>,
    /// When leases ended by themselves.
    expired: BTreeMap<LeaseId, u64>,
    /// Leases that clients have asked to revoke.
    pub(crate) given_up: BTreeSet<LeaseId>,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        let engine = Mem::open(Arc::new(MemVfs::new()), Path::new("oracle"));
        let store = Store::open(engine.expect("memory does not fail")).expect("it is empty");
        let store = Arc::new(store);
        let stream = store.watch(StreamOptions::default());
        let all = WatchRequest { start: Some(1), ..WatchRequest::new(KeyRange::all()) };
        stream.control().create(all).expect("it is the only one");
        Oracle {
            store,
            stream,
            log: Vec::new(),
            replies: BTreeMap::new(),
            changes: Vec::new(),
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
        self.log.push((entry, self.store.revision()));
    }

    fn apply(&mut self, index: Index, data: &Bytes, now: u64) {
        let (_, command) = open(data).expect("clients send commands");
        let before = self.store.revision();
        let outcomes = self.store.apply([(index.0, &command)]).expect("memory does not fail");
        let outcome = outcomes.into_iter().next().expect("a command has an outcome");
        if let (Command::LeaseRevoke(revoke), Ok(_)) = (&command, &outcome)
            && !self.given_up.contains(&revoke.id)
        {
            self.expired.insert(revoke.id, now);
            let until = self.promises.get(&revoke.id).copied().unwrap_or(0);
            assert!(now >= until, "lease {} ended at {now}, and was to live to {until}", revoke.id);
        }
        self.replies.insert(index, outcome);
        if self.store.revision() > before {
            self.read_changes();
        }
    }

    fn read_changes(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(message))) = self.stream.poll_next(&mut cx) {
            let WatchMessage::Events { events, .. } = message else { continue };
            self.changes.extend(events.into_iter().map(|event| Change {
                revision: event.kv.mod_revision,
                key: event.kv.key,
                value: (event.kind == EventKind::Put).then_some(event.kv.value),
            }));
        }
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
        assert!(told.revision <= self.store.revision(), "a read of what was never written");
        let at = RangeRequest { revision: Some(told.revision), ..request.clone() };
        // What is compacted away cannot be compared any more.
        if let Ok(right) = self.store.range(&at) {
            assert_eq!(right.kvs, told.kvs, "a read at revision {}", told.revision);
            assert_eq!(right.count, told.count, "a count at revision {}", told.revision);
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
