//! What the store promises, as plainly as it can be said: a map, and a revision.

use std::collections::BTreeMap;

use crate::request::{
    Body, Compare, Event, Kv, Op, OpReply, Range, Relation, Request, Revision, Span, Subject, Txn,
};

/// The state at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    keys: BTreeMap<String, Kv>,
    revision: Revision,
}

impl Store {
    /// An empty store, which is at revision 1.
    pub(super) fn new() -> Store {
        Store { keys: BTreeMap::new(), revision: 1 }
    }

    /// Where it stands.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// All keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Kv> {
        self.keys.values()
    }

    /// The keys that hang on a lease, in order.
    pub(super) fn on_lease(&self, lease: i64) -> impl Iterator<Item = &Kv> {
        self.keys().filter(move |kv| kv.lease == lease)
    }

    /// What is at a key.
    pub(super) fn at(&self, key: &str) -> Option<&Kv> {
        self.keys.get(key)
    }

    /// Goes on to the next revision, which does this.
    pub(super) fn apply(&mut self, events: &[Event]) {
        self.revision += 1;
        for event in events {
            self.apply_one(event);
        }
    }

    fn apply_one(&mut self, event: &Event) {
        if event.deleted {
            self.keys.remove(&event.kv.key);
        } else {
            self.keys.insert(event.kv.key.clone(), event.kv.clone());
        }
    }

    /// What a request would do at the next revision, and what it would be answered. Requests about
    /// leases alone do nothing here.
    pub(super) fn run(&mut self, request: &Request) -> (Vec<Event>, Option<Body>) {
        let mut events = Vec::new();
        let body = match request {
            Request::One(op) => Some(Body::One(self.one(op, &mut events))),
            Request::Txn(txn) => Some(self.txn(txn, &mut events)),
            _ => None,
        };
        // A later part of a transaction sees what an earlier one did, so that was done for good;
        // here it is undone.
        for event in events.iter().rev() {
            match &event.prev {
                Some(prev) => drop(self.keys.insert(prev.key.clone(), prev.clone())),
                None => drop(self.keys.remove(&event.kv.key)),
            }
        }
        (events, body)
    }

    fn txn(&mut self, txn: &Txn, events: &mut Vec<Event>) -> Body {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let replies = branch.iter().map(|op| self.one(op, events)).collect();
        Body::Txn { succeeded, replies }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        let zero = Kv::default();
        let there = kv.unwrap_or(&zero);
        let order = match &compare.subject {
            Subject::Modified(n) => there.modified.cmp(n),
            Subject::Created(n) => there.created.cmp(n),
            Subject::Version(n) => there.version.cmp(n),
            // A key that is not there has no value: no comparison holds, "not equal" included.
            Subject::Value(_) if kv.is_none() => return false,
            Subject::Value(value) => there.value.as_str().cmp(value),
        };
        match compare.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Less => order.is_lt(),
            Relation::Greater => order.is_gt(),
        }
    }

    fn one(&mut self, op: &Op, events: &mut Vec<Event>) -> OpReply {
        match op {
            Op::Put { key, value, lease, prev_kv } => {
                let prev = self.put(key, value, *lease, events);
                OpReply::Put { prev: prev.filter(|_| *prev_kv) }
            }
            Op::Delete { span, prev_kv } => {
                let gone = self.delete(span, events);
                let count = i64::try_from(gone.len()).expect("a few keys");
                OpReply::Delete { count, prev: if *prev_kv { gone } else { Vec::new() } }
            }
            Op::Range(range) => self.range(range),
        }
    }

    fn put(&mut self, key: &str, value: &str, lease: i64, events: &mut Vec<Event>) -> Option<Kv> {
        let prev = self.keys.get(key).cloned();
        let (key, value, modified) = (key.to_owned(), value.to_owned(), self.revision + 1);
        let created = prev.as_ref().map_or(modified, |prev| prev.created);
        let version = prev.as_ref().map_or(0, |prev| prev.version) + 1;
        let kv = Kv { key, value, created, modified, version, lease };
        let event = Event { kv, deleted: false, prev: prev.clone() };
        self.apply_one(&event);
        events.push(event);
        prev
    }

    fn delete(&mut self, span: &Span, events: &mut Vec<Event>) -> Vec<Kv> {
        let gone: Vec<Kv> = self.keys().filter(|kv| span.holds(&kv.key)).cloned().collect();
        for prev in &gone {
            let (key, modified) = (prev.key.clone(), self.revision + 1);
            let kv = Kv { key, modified, ..Kv::default() };
            let event = Event { kv, deleted: true, prev: Some(prev.clone()) };
            self.apply_one(&event);
            events.push(event);
        }
        gone
    }

    fn range(&self, range: &Range) -> OpReply {
        let found: Vec<&Kv> = match range.span.end.as_str() {
            "" => self.keys.get(&range.span.key).into_iter().collect(),
            _ => self.keys().filter(|kv| range.span.holds(&kv.key)).collect(),
        };
        let count = i64::try_from(found.len()).expect("a few keys");
        if range.count_only {
            return OpReply::Range { kvs: Vec::new(), count, more: false };
        }
        let limit = usize::try_from(range.limit).expect("no limit of ours is negative");
        let kept = if limit == 0 { found.len() } else { limit.min(found.len()) };
        let kvs = found[..kept].iter().map(|kv| (*kv).clone()).collect();
        OpReply::Range { kvs, count, more: kept < found.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Op {
        Op::Put { key: key.to_owned(), value: value.to_owned(), lease: 0, prev_kv: true }
    }

    fn read(span: Span, limit: i64) -> Op {
        Op::Range(Range { span, revision: 0, limit, count_only: false, serializable: false })
    }

    fn does(store: &mut Store, request: &Request) -> Option<Body> {
        let (events, body) = store.run(request);
        if !events.is_empty() {
            store.apply(&events);
        }
        body
    }

    /// Versions and revisions are what the conditions of clients are made of.
    #[test]
    fn a_put_counts_versions_and_keeps_where_it_began() {
        let mut store = Store::new();
        does(&mut store, &Request::One(put("a", "1")));
        does(&mut store, &Request::One(put("a", "2")));
        let kv = store.at("a").unwrap();
        assert_eq!((kv.created, kv.modified, kv.version), (2, 3, 2));
        let delete = Op::Delete { span: Span::one("a"), prev_kv: false };
        does(&mut store, &Request::One(delete.clone()));
        assert_eq!(store.revision(), 4);
        let (events, body) = store.run(&Request::One(delete));
        assert!(events.is_empty(), "what is not there cannot be deleted");
        assert_eq!(body, Some(Body::One(OpReply::Delete { count: 0, prev: Vec::new() })));
        does(&mut store, &Request::One(put("a", "3")));
        assert_eq!(store.at("a").unwrap().version, 1);
    }

    /// A transaction sees its own writes, and to try one leaves no trace.
    #[test]
    fn a_txn_sees_what_it_did_and_running_it_does_nothing() {
        let mut store = Store::new();
        does(&mut store, &Request::One(put("a", "1")));
        let delete = Op::Delete { span: Span::one("a"), prev_kv: true };
        let ops = vec![put("b", "2"), delete, read(Span::all(), 0)];
        let txn = Txn { success: ops, ..Txn::default() };
        let before = store.clone();
        let (events, body) = store.run(&Request::Txn(txn));
        assert_eq!(store, before);
        assert_eq!(events.len(), 2);
        let Some(Body::Txn { replies, .. }) = body else { panic!("a txn answers as one") };
        let OpReply::Range { kvs, .. } = &replies[2] else { panic!("a range answers as one") };
        assert_eq!(kvs.iter().map(|kv| kv.key.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(kvs[0].modified, 3);
    }

    /// The oddest rule of all: nothing compares with the value of a key that is not there.
    #[test]
    fn no_condition_on_an_absent_value_holds() {
        let mut store = Store::new();
        for relation in [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater] {
            let subject = Subject::Value(String::new());
            let compares = vec![Compare { key: "a".to_owned(), subject, relation }];
            let (_, body) = store.run(&Request::Txn(Txn { compares, ..Txn::default() }));
            assert!(matches!(body, Some(Body::Txn { succeeded: false, .. })), "{relation:?}");
        }
    }

    /// The count is of all keys, whatever the limit.
    #[test]
    fn a_limit_cuts_keys_and_not_the_count() {
        let mut store = Store::new();
        for key in ["a", "b", "c"] {
            does(&mut store, &Request::One(put(key, key)));
        }
        let body = does(&mut store, &Request::One(read(Span::all(), 2))).unwrap();
        let Body::One(OpReply::Range { kvs, count, more }) = body else { panic!("a range") };
        assert_eq!((kvs.len(), count, more), (2, 3, true));
    }
}
