//! What a client asks next.
//!
//! Few keys, so that clients meet; every value once, so that a write can be recognised by what it
//! left. A client remembers what it saw last of a key and makes its conditions of that, so some
//! hold and some come too late.
//!
//! A branch of a transaction that deletes also puts. So whatever a lost transaction did can be told
//! by a value, and only lost plain deletions have to be told apart by what they delete.

use std::collections::BTreeMap;

use drystone_sim::{Rate, Rng};

use crate::request::{
    Body, Compare, Kv, Op, OpReply, Range, Relation, Reply, Request, Revision, Span, Subject, Txn,
};

/// The prefix of the keys that clients put and delete.
pub(crate) const PREFIX: &str = "k/";
const KEYS: u64 = 16;
/// A read of the past goes so far back.
const PAST_REVISIONS: u64 = 500;
/// A read of the future goes so far ahead that it must be refused.
const FUTURE_REVISIONS: i64 = 1_000_000;

/// Draws the requests of one client.
#[derive(Debug)]
pub(crate) struct Workload {
    rng: Rng,
    client: u32,
    values: u64,
    seen: BTreeMap<String, Kv>,
    newest: Revision,
}

/// A name of one of the keys.
pub(crate) fn key(rng: &mut Rng) -> String {
    format!("{PREFIX}{:02}", rng.below(KEYS))
}

impl Workload {
    /// The requests of this client in the run of this seed.
    pub(crate) fn new(seed: u64, client: u32) -> Workload {
        let rng = Rng::new(seed).fork(&format!("client {client}"));
        Workload { rng, client, values: 0, seen: BTreeMap::new(), newest: 1 }
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> Request {
        let key = key(&mut self.rng);
        match self.rng.below(100) {
            0..=24 => Request::One(self.put(&key)),
            25..=29 => Request::One(self.delete(&key)),
            30..=43 => Request::Txn(self.swap(&key)),
            44..=55 => Request::Txn(self.carry(&key)),
            56..=60 => Request::Txn(self.look(&key)),
            61..=80 => Request::One(Op::Range(self.range(&key, false))),
            81..=84 => Request::One(Op::Range(self.past(&key))),
            _ => Request::One(Op::Range(self.range(&key, true))),
        }
    }

    /// Remembers what an answer showed.
    pub(crate) fn learn(&mut self, reply: &Reply) {
        self.newest = self.newest.max(reply.revision);
        let replies = match &reply.body {
            Body::One(reply) => std::slice::from_ref(reply),
            Body::Txn { replies, .. } => replies.as_slice(),
            Body::Lease { .. } | Body::Compacted => &[],
        };
        for reply in replies {
            if let OpReply::Range { kvs, .. } = reply {
                for kv in kvs {
                    self.seen.insert(kv.key.clone(), kv.clone());
                }
            }
        }
    }

    fn value(&mut self) -> String {
        self.values += 1;
        format!("c{}.{}", self.client, self.values)
    }

    fn put(&mut self, key: &str) -> Op {
        let prev_kv = self.rng.chance(Rate::percent(50));
        Op::Put { key: key.to_owned(), value: self.value(), lease: 0, prev_kv }
    }

    fn delete(&mut self, key: &str) -> Op {
        let some = self.rng.chance(Rate::percent(20));
        let span = if some { self.some_from(key) } else { Span::one(key) };
        Op::Delete { span, prev_kv: self.rng.chance(Rate::percent(50)) }
    }

    /// Up to three keys from this one on.
    fn some_from(&self, key: &str) -> Span {
        let number: u64 = key[PREFIX.len()..].parse().expect("our keys end in a number");
        Span { key: key.to_owned(), end: format!("{PREFIX}{:02}", number + 3) }
    }

    /// Sets a key if it is still as it was seen.
    fn swap(&mut self, key: &str) -> Txn {
        let seen = self.seen.get(key).cloned().unwrap_or_default();
        let subject = match self.rng.below(6) {
            0..=2 => Subject::Modified(seen.modified),
            3 if seen.modified != 0 => Subject::Value(seen.value),
            4 => Subject::Version(seen.version),
            _ => Subject::Created(seen.created),
        };
        let relation = match self.rng.below(8) {
            0 => Relation::NotEqual,
            1 if !matches!(subject, Subject::Value(_)) => Relation::Greater,
            2 if !matches!(subject, Subject::Value(_)) => Relation::Less,
            _ => Relation::Equal,
        };
        Txn {
            compares: vec![Compare { key: key.to_owned(), subject, relation }],
            success: vec![self.put(key), read(Span::one(key))],
            failure: vec![read(Span::one(key))],
        }
    }

    /// Moves what stands at a key to another, if both are as they were seen, and looks around.
    fn carry(&mut self, key: &str) -> Txn {
        let other = self::key(&mut self.rng);
        let unchanged = |key: &str| {
            let modified = self.seen.get(key).map_or(0, |kv| kv.modified);
            let (key, subject) = (key.to_owned(), Subject::Modified(modified));
            Compare { key, subject, relation: Relation::Equal }
        };
        let compares = vec![unchanged(key), unchanged(&other)];
        let failure = vec![read(Span::one(key)), read(Span::one(&other))];
        let mut success = vec![read(Span::prefix(PREFIX)), self.put(&other)];
        if key != other {
            success.push(Op::Delete { span: Span::one(key), prev_kv: true });
        }
        success.push(read(Span::prefix(PREFIX)));
        Txn { compares, success, failure }
    }

    /// Reads twice at one revision.
    fn look(&mut self, key: &str) -> Txn {
        let exists = Compare {
            key: key.to_owned(),
            subject: Subject::Version(0),
            relation: Relation::Greater,
        };
        let success = vec![read(Span::one(key)), read(self.some_from(key))];
        Txn { compares: vec![exists], success, failure: vec![read(Span::prefix(PREFIX))] }
    }

    fn range(&mut self, key: &str, serializable: bool) -> Range {
        let span = match self.rng.below(4) {
            0 | 1 => Span::one(key),
            2 => self.some_from(key),
            _ => Span::prefix(PREFIX),
        };
        let limit = if self.rng.chance(Rate::percent(20)) { 2 } else { 0 };
        let count_only = self.rng.chance(Rate::percent(10));
        Range { span, revision: 0, limit, count_only, serializable }
    }

    /// A read at a revision: one of the past, which may be compacted, or of a future that is far.
    fn past(&mut self, key: &str) -> Range {
        let back = i64::try_from(self.rng.below(PAST_REVISIONS)).expect("a few hundred");
        let future = self.rng.chance(Rate::percent(5));
        let revision = if future { self.newest + FUTURE_REVISIONS } else { self.newest - back };
        let serializable = self.rng.chance(Rate::percent(50));
        Range { revision: revision.max(1), ..self.range(key, serializable) }
    }
}

fn read(span: Span) -> Op {
    Op::Range(Range { span, revision: 0, limit: 0, count_only: false, serializable: false })
}
