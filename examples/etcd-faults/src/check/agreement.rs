//! At the end, when all is well, every member has the same: members, what is compacted, hashes,
//! keys, and the events that are left. The keys are those that all events together lead to; that
//! all tell the same events, now as before, is looked at in `chronicle.rs`.

use crate::history::{Audit, History};
use crate::violation::{Checker, Violation};

use super::log::Log;
use super::store::Store;

/// Compares what the members said with what the first one said, and that with all events.
pub(super) fn check(history: &History, log: &Log) -> (usize, Vec<Violation>) {
    let mut found = Vec::new();
    if let Some((first, others)) = history.audits.split_first() {
        found.extend(others.iter().flat_map(|other| differences(first, other)));
        found.extend(own_difference(first, log));
    }
    (history.audits.len(), found)
}

fn differences(first: &Audit, other: &Audit) -> Vec<Violation> {
    let (one, two) = (first.slot, other.slot);
    let mut found = Vec::new();
    let mut differ = |what: String| {
        let text = format!("m{one} and m{two} differ at revision {}: {what}", first.revision);
        found.push(Violation::new(Checker::Agreement, text));
    };
    if first.members != other.members {
        differ(format!("members are {:?} and {:?}", first.members, other.members));
    }
    if first.compacted != other.compacted {
        differ(format!("compacted are {} and {}", first.compacted, other.compacted));
    }
    if first.first != other.first {
        differ(format!("their events begin at {} and {}", first.first, other.first));
    }
    for (mine, theirs) in first.hashes.iter().zip(&other.hashes) {
        if mine != theirs {
            differ(format!("(revision, hash) is {mine:?} and {theirs:?}"));
        }
    }
    if let Some((mine, theirs)) = split(&first.keys, &other.keys) {
        differ(format!("among the keys {mine:?} and {theirs:?}"));
    }
    if let Some((mine, theirs)) = split(&first.events, &other.events) {
        differ(format!("among the events {mine:?} and {theirs:?}"));
    }
    found
}

/// Whether the keys of a member are those that the events lead to.
fn own_difference(audit: &Audit, log: &Log) -> Option<Violation> {
    let mut store = Store::new();
    log.iter().for_each(|(_, events)| store.apply(events));
    let told: Vec<_> = store.keys().cloned().collect();
    let (key, event) = split(&audit.keys, &told)?;
    let text = format!("m{} has {key:?} where the events lead to {event:?}", audit.slot);
    Some(Violation::new(Checker::Agreement, text))
}

/// The first place at which two lists part.
fn split<'a, T: PartialEq>(one: &'a [T], two: &'a [T]) -> Option<(Option<&'a T>, Option<&'a T>)> {
    let longer = one.len().max(two.len());
    let place = (0..longer).find(|place| one.get(*place) != two.get(*place))?;
    Some((one.get(place), two.get(place)))
}

#[cfg(test)]
mod tests {
    use super::super::log::Log;
    use super::super::sample::{Sample, put};
    use crate::history::Audit;

    /// What a member says that the test has changed.
    fn check(change: impl FnOnce(&mut Audit)) -> String {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.done(1..2, put("b", "2"));
        sample.end();
        change(&mut sample.history_mut().audits[1]);
        let (log, _) = Log::new(sample.events());
        let found = super::check(sample.history(), &log).1;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Members that agree pass.
    #[test]
    fn members_that_agree_pass() {
        assert_eq!(check(|_| {}), "");
    }

    /// Each thing that they are asked for is compared.
    #[test]
    fn every_difference_is_seen() {
        assert!(check(|audit| audit.hashes[0].1 += 1).contains("hash"));
        assert!(check(|audit| drop(audit.members.pop())).contains("members"));
        assert!(check(|audit| audit.keys[1].version = 7).contains("among the keys"));
        assert!(check(|audit| drop(audit.keys.pop())).contains("among the keys"));
        assert!(check(|audit| drop(audit.events.pop())).contains("among the events"));
        assert!(check(|audit| audit.compacted = 2).contains("compacted are"));
        assert!(check(|audit| audit.first = 2).contains("begin at"));
    }

    /// A member may also disagree with itself.
    #[test]
    fn keys_that_no_event_made_are_seen() {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.end();
        for audit in &mut sample.history_mut().audits {
            audit.keys[0].value = "2".to_owned();
        }
        let (log, _) = Log::new(sample.events());
        let found = super::check(sample.history(), &log).1;
        assert!(found[0].text.contains("the events lead to"), "{found:?}");
    }
}
