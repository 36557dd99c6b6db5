//! What happened, by revision: the events that a member tells, put in order and looked through.
//!
//! etcd gives every change a revision of its own, one after another. So a revision that is missing
//! is a change that was forgotten, and a key whose version jumps was changed behind the log's back.

use crate::request::{Event, Revision, Span};
use crate::violation::{Checker, Violation};

use super::store::Store;

/// The first revision that can do anything.
pub(super) const FIRST: Revision = 2;

/// The events of all revisions, each with what stood there before.
#[derive(Debug)]
pub(super) struct Log {
    revisions: Vec<Vec<Event>>,
}

impl Log {
    /// Puts the events of one member in order. Violations are what cannot be.
    pub(super) fn new(events: &[Event]) -> (Log, Vec<Violation>) {
        let (mut log, mut found) = (Log { revisions: Vec::new() }, Vec::new());
        let mut wrong = |text: String| found.push(Violation::new(Checker::Log, text));
        let mut store = Store::new();
        for part in events.chunk_by(|a, b| a.revision() == b.revision()) {
            let revision = part[0].revision();
            if revision <= log.last() {
                wrong(format!("revision {revision} comes after revision {}", log.last()));
                continue;
            }
            while log.last() + 1 < revision {
                wrong(format!("revision {} did nothing that a member knows of", log.last() + 1));
                log.revisions.push(Vec::new());
                store.apply(&[]);
            }
            let mut filled = Vec::new();
            for event in part {
                let prev = store.at(&event.kv.key).cloned();
                let event = Event { prev, ..event.clone() };
                if let Some(text) = impossible(&event) {
                    wrong(text);
                }
                filled.push(event);
            }
            store.apply(&filled);
            log.revisions.push(filled);
        }
        (log, found)
    }

    /// The newest revision.
    pub(super) fn last(&self) -> Revision {
        FIRST - 1 + Revision::try_from(self.revisions.len()).expect("fewer than all numbers")
    }

    /// How many revisions there are.
    pub(super) fn count(&self) -> usize {
        self.revisions.len()
    }

    /// What a revision did; nothing if there is none such.
    pub(super) fn at(&self, revision: Revision) -> &[Event] {
        let place = usize::try_from(revision - FIRST).ok();
        place.and_then(|place| self.revisions.get(place)).map_or(&[], Vec::as_slice)
    }

    /// Every revision that did something, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Revision, &[Event])> {
        (FIRST..).zip(self.revisions.iter().map(Vec::as_slice))
    }

    /// The first of these revisions that did something to keys of a span.
    pub(super) fn first_on(
        &self,
        span: &Span,
        mut revisions: std::ops::RangeInclusive<Revision>,
    ) -> Option<Revision> {
        revisions.find(|at| self.at(*at).iter().any(|event| span.holds(&event.kv.key)))
    }
}

/// What is wrong with an event, given what stood there before.
fn impossible(event: &Event) -> Option<String> {
    let (prev, kv) = (event.prev.as_ref(), &event.kv);
    if event.deleted {
        return prev.is_none().then(|| format!("{event:?}, and the key was not there"));
    }
    let created = prev.map_or(kv.modified, |prev| prev.created);
    let version = prev.map_or(1, |prev| prev.version + 1);
    let right = kv.created == created && kv.version == version;
    (!right).then(|| format!("{event:?} should be of version {version}, created at {created}"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{deletion, put_event};
    use super::*;

    fn check(events: &[Event]) -> String {
        Log::new(events).1.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// A healthy log passes, and knows what stood where.
    #[test]
    fn a_log_without_holes_is_sound() {
        let events = [put_event("a", "1", 2, 2, 1), put_event("a", "2", 2, 3, 2), deletion("a", 4)];
        assert_eq!(check(&events), "");
        let (log, _) = Log::new(&events);
        assert_eq!(log.last(), 4);
        assert_eq!(log.at(4)[0].prev.as_ref().unwrap().value, "2");
        assert_eq!(log.first_on(&Span::one("b"), 2..=4), None);
    }

    /// A revision that nobody remembers was a change that somebody may have been promised.
    #[test]
    fn a_hole_is_seen() {
        let text = check(&[put_event("a", "1", 2, 2, 1), put_event("b", "2", 4, 4, 1)]);
        assert!(text.contains("revision 3 did nothing"), "{text}");
    }

    /// Time does not run backwards.
    #[test]
    fn disorder_is_seen() {
        let text = check(&[
            put_event("a", "1", 2, 2, 1),
            put_event("b", "2", 3, 3, 1),
            put_event("c", "3", 2, 2, 1),
        ]);
        assert!(text.contains("comes after"), "{text}");
    }

    /// A version that jumps is a put that was swallowed.
    #[test]
    fn a_version_that_jumps_is_seen() {
        let text = check(&[put_event("a", "1", 2, 2, 1), put_event("a", "2", 2, 3, 3)]);
        assert!(text.contains("should be of version 2"), "{text}");
        let text = check(&[deletion("a", 2)]);
        assert!(text.contains("was not there"), "{text}");
    }
}
