//! Who did what: every revision has one author, and what was acknowledged was done.
//!
//! | revision | its author is |
//! |---|---|
//! | acknowledged to somebody | that request; it must do just this |
//! | puts a value | the request with that value, of unknown outcome; not a refused one, not twice |
//! | deletes all keys of a lease | the end of the lease, which `lease.rs` looks at |
//! | deletes other keys | one of the lost deletions that would delete just these |
//!
//! Only in the last row is there a choice. Each lost deletion can explain one revision at most, so
//! revisions and deletions are matched (by augmenting paths: Kuhn, 1955); a revision that stays
//! alone has no author.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{History, Operation, Outcome};
use crate::request::{Event, Op, Request, Revision};
use crate::violation::{Checker, Violation};

use super::log::Log;
use super::shown::Shown;
use super::store::Store;

/// The ends of leases, and how many revisions were looked at.
#[derive(Debug)]
pub(super) struct Authors {
    count: usize,
    /// Leases, and the revisions at which their keys went.
    pub(super) ends: Vec<(i64, Revision)>,
}

impl Authors {
    /// How many revisions were looked at.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Finds the author of every revision of the log.
pub(super) fn find(history: &History, log: &Log, shown: &Shown) -> (Authors, Vec<Violation>) {
    let mut search = Search::new(history, log, shown);
    let mut store = Store::new();
    for (revision, events) in log.iter() {
        search.one(&mut store, revision, events);
        store.apply(events);
    }
    search.match_deletions();
    (Authors { count: log.count(), ends: search.ends }, search.found)
}

struct Search<'a> {
    history: &'a History,
    shown: &'a Shown,
    acknowledged: BTreeMap<Revision, &'a Operation>,
    by_value: HashMap<&'a str, usize>,
    lost_deletions: Vec<usize>,
    /// Requests of unknown outcome that have done something.
    used: BTreeSet<usize>,
    ends: Vec<(i64, Revision)>,
    /// Revisions that lost deletions must explain, with those that could.
    open: Vec<(Revision, Vec<usize>)>,
    found: Vec<Violation>,
}

impl<'a> Search<'a> {
    fn new(history: &'a History, log: &Log, shown: &'a Shown) -> Search<'a> {
        let mut search = Search {
            history,
            shown,
            acknowledged: BTreeMap::new(),
            by_value: HashMap::new(),
            lost_deletions: Vec::new(),
            used: BTreeSet::new(),
            ends: Vec::new(),
            open: Vec::new(),
            found: Vec::new(),
        };
        for (place, operation) in history.operations.iter().enumerate() {
            for value in operation.request.values() {
                search.by_value.insert(value, place);
            }
            let deletion = matches!(operation.request, Request::One(Op::Delete { .. }));
            if deletion && operation.is_unknown() {
                search.lost_deletions.push(place);
            }
            let change = operation.reply().filter(|reply| reply.tells_change());
            let Some(revision) = change.map(|reply| reply.revision) else { continue };
            if log.at(revision).is_empty() {
                search.wrong(format!(
                    "{} was acknowledged at revision {revision}; the members know of none such, \
                     the newest being {}",
                    Brief(operation),
                    log.last()
                ));
            } else if let Some(other) = search.acknowledged.insert(revision, operation) {
                let (one, two) = (Brief(other), Brief(operation));
                search.wrong(format!("revision {revision} was told to two: {one}, and {two}"));
            }
        }
        search
    }

    fn wrong(&mut self, text: String) {
        self.found.push(Violation::new(Checker::Log, text));
    }

    /// Finds the author of a revision, which changes this state.
    fn one(&mut self, store: &mut Store, revision: Revision, events: &[Event]) {
        if let Some(operation) = self.acknowledged.get(&revision).copied() {
            let (expected, _) = store.run(&operation.request);
            if expected != events {
                self.wrong(format!(
                    "{} was acknowledged at revision {revision}, where it would do {expected:?}; \
                     done was {events:?}",
                    Brief(operation)
                ));
            }
            return;
        }
        match events.iter().find(|event| !event.deleted) {
            Some(put) => self.by_value(store, revision, &put.kv.value, events),
            None => self.of_deletion(store, revision, events),
        }
    }

    fn by_value(&mut self, store: &mut Store, revision: Revision, value: &str, events: &[Event]) {
        let Some(place) = self.by_value.get(value).copied() else {
            return self.wrong(format!("revision {revision} did {events:?}; nobody asked for it"));
        };
        let operation = &self.history.operations[place];
        let it = Brief(operation);
        match &operation.outcome {
            Outcome::Done(reply) => {
                let told = reply.revision;
                self.wrong(format!(
                    "{it} was answered at revision {told}; it is revision {revision} that did \
                     {events:?}"
                ));
            }
            Outcome::Refused(why) => {
                let what = format!("{it} was refused ({why}), and revision {revision} did it");
                self.wrong(what);
            }
            Outcome::Unknown(_) => {
                let (expected, _) = store.run(&operation.request);
                if expected != events {
                    self.wrong(format!(
                        "revision {revision} must be {it}, which would do {expected:?}; done was \
                         {events:?}"
                    ));
                }
                if !self.used.insert(place) {
                    self.wrong(format!("{it} was done twice, the second time at {revision}"));
                }
                if revision <= self.shown.before(operation.called) {
                    self.wrong(format!("{it} was done at {revision}, before it was called"));
                }
            }
        }
    }

    fn of_deletion(&mut self, store: &mut Store, revision: Revision, events: &[Event]) {
        let lease = events.iter().find_map(|event| event.prev.as_ref()).map_or(0, |kv| kv.lease);
        let keys = events.iter().map(|event| event.kv.key.as_str());
        if lease != 0 && store.on_lease(lease).map(|kv| kv.key.as_str()).eq(keys) {
            self.ends.push((lease, revision));
            return;
        }
        let mut able = Vec::new();
        for place in &self.lost_deletions {
            let operation = &self.history.operations[*place];
            let in_time = revision > self.shown.before(operation.called);
            if in_time && store.run(&operation.request).0 == events {
                able.push(*place);
            }
        }
        if able.is_empty() {
            self.wrong(format!("revision {revision} did {events:?}; nobody asked for it"));
        } else {
            self.open.push((revision, able));
        }
    }

    fn match_deletions(&mut self) {
        let open = std::mem::take(&mut self.open);
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        for (hole, (revision, _)) in open.iter().enumerate() {
            if !augment(&open, hole, &mut taken, &mut BTreeSet::new()) {
                self.wrong(format!(
                    "revision {revision} deleted keys, and each lost deletion that could have \
                     done so must have done another one"
                ));
            }
        }
    }
}

/// Finds a deletion for a hole, moving others to different ones where that helps.
fn augment(
    open: &[(Revision, Vec<usize>)],
    hole: usize,
    taken: &mut BTreeMap<usize, usize>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for deletion in &open[hole].1 {
        if !tried.insert(*deletion) {
            continue;
        }
        let holder = taken.get(deletion).copied();
        if holder.is_none_or(|holder| augment(open, holder, taken, tried)) {
            taken.insert(*deletion, hole);
            return true;
        }
    }
    false
}

/// An operation, in a few words.
struct Brief<'a>(&'a Operation);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Operation { client, called, returned, request, .. } = self.0;
        write!(f, "{request:?} of client {client}, {called} to {returned}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, delete, deletion, put, put_event, put_on};
    use super::*;

    /// What the search says about a sample that has come to its end.
    fn check(sample: &Sample) -> String {
        let (log, found) = Log::new(sample.events());
        assert!(found.is_empty(), "{found:?}");
        let shown = Shown::new(sample.history());
        let found = find(sample.history(), &log, &shown).1;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Lost answers are no loss of writes: each may have been done, once, or not at all.
    #[test]
    fn lost_requests_may_be_done_or_not() {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.lost(2..3, put("a", "2"));
        sample.lost(4..5, delete("a"));
        sample.outcome(6..7, put("a", "3"), Outcome::Unknown("lost".to_owned()));
        assert_eq!(check(&sample), "");
    }

    /// The worst that a store can do.
    #[test]
    fn a_lost_write_is_seen() {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.at_revision(2..3, put("a", "2"), 1);
        let Outcome::Done(reply) = &mut sample.history_mut().operations[1].outcome else {
            panic!("it was done")
        };
        reply.revision = 3;
        assert!(check(&sample).contains("know of none such"), "{}", check(&sample));
    }

    /// Two clients cannot both have made one revision.
    #[test]
    fn two_authors_are_seen() {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.at_revision(0..1, put("b", "2"), 2);
        assert!(check(&sample).contains("told to two"), "{}", check(&sample));
    }

    /// A revision must do what its author asked for.
    #[test]
    fn another_deed_is_seen() {
        let mut sample = Sample::new();
        sample.happens(&[put_event("a", "1", 2, 2, 1)]);
        sample.at_revision(0..1, put("b", "1"), 2);
        assert!(check(&sample).contains("done was"), "{}", check(&sample));
    }

    /// A value that nobody put, and a deletion that nobody asked for.
    #[test]
    fn a_revision_without_author_is_seen() {
        let mut sample = Sample::new();
        sample.happens(&[put_event("a", "1", 2, 2, 1)]);
        assert!(check(&sample).contains("nobody asked"), "{}", check(&sample));
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.happens(&[deletion("a", 3)]);
        assert!(check(&sample).contains("nobody asked"), "{}", check(&sample));
    }

    /// A client that was refused goes another way; the write must not come after all.
    #[test]
    fn a_refused_write_that_was_done_is_seen() {
        let mut sample = Sample::new();
        sample.happens(&[put_event("a", "1", 2, 2, 1)]);
        sample.outcome(0..1, put("a", "1"), Outcome::Refused("no".to_owned()));
        assert!(check(&sample).contains("was refused"), "{}", check(&sample));
    }

    /// A request that is sent on twice must not be done twice.
    #[test]
    fn a_write_done_twice_is_seen() {
        let mut sample = Sample::new();
        sample.lost(0..1, put("a", "1"));
        sample.happens(&[put_event("a", "1", 2, 3, 2)]);
        assert!(check(&sample).contains("done twice"), "{}", check(&sample));
    }

    /// Nothing happens before somebody asks for it.
    #[test]
    fn an_effect_before_its_cause_is_seen() {
        let mut sample = Sample::new();
        sample.lost(20..21, put("a", "1"));
        sample.done(0..1, put("b", "2"));
        assert!(check(&sample).contains("before it was called"), "{}", check(&sample));
    }

    /// One lost deletion explains one revision, and a wide one must not be spent on what only a
    /// narrow one would be needed for.
    #[test]
    fn lost_deletions_are_matched() {
        let mut sample = Sample::new();
        let all = Request::One(Op::Delete { span: crate::request::Span::all(), prev_kv: false });
        sample.done(0..1, put("a", "1"));
        sample.lost(2..3, all);
        sample.done(4..5, put("a", "2"));
        sample.lost(2..3, delete("a"));
        assert_eq!(check(&sample), "");
        sample.done(6..7, put("a", "3"));
        sample.happens(&[deletion("a", 7)]);
        assert!(check(&sample).contains("must have done another"), "{}", check(&sample));
    }

    /// The end of a lease takes all its keys at once; a part of them is nobody's deed.
    #[test]
    fn a_lease_takes_all_its_keys() {
        let both = || {
            let mut sample = Sample::new();
            sample.done(0..1, put_on("a", "1", 5));
            sample.done(0..1, put_on("b", "2", 5));
            sample
        };
        let mut sample = both();
        sample.happens(&[deletion("a", 4), deletion("b", 4)]);
        assert_eq!(check(&sample), "");
        let mut sample = both();
        sample.happens(&[deletion("a", 4)]);
        assert!(check(&sample).contains("nobody asked"), "{}", check(&sample));
    }
}
