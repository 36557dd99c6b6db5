//! All events of a run, put together from what members told while it went on and at the end.
//!
//! ```text
//!   m0 live   2 3 4 5 6 ·············· 7 8 9 10 11 12      told by watches of everything,
//!   m1 live   2 3 4 ······· 6 7 8 9 10 11 12               one for each member
//!   m0 at the end               8 9 10 11 12               what is not compacted
//!   m1 at the end               8 9 10 11 12
//!             ───────────────────────────────
//!   all       2 3 4 5 6 7 8 9 10 11 12                     each as often as it was told: the same
//! ```
//!
//! History is compacted, so no member can be asked for it at the end. Nothing is compacted before
//! some member has told it (`operator.rs`), so together they know everything; and what two of them
//! tell of one revision, then or now, must be the same.

use std::collections::BTreeMap;

use crate::history::{History, Moment, Said};
use crate::request::{Event, Revision};
use crate::violation::{Checker, Violation};

/// Events by revision, and who told them.
#[derive(Default)]
struct Chronicle {
    last: Revision,
    told: BTreeMap<Revision, (Vec<Event>, Teller)>,
    count: usize,
    found: Vec<Violation>,
}

/// Who told it, and when; at the end if there is no moment.
#[derive(Debug, Clone, Copy)]
struct Teller {
    slot: Option<usize>,
    at: Option<Moment>,
}

/// Every event up to the last revision, ordered; how often revisions were told; what was told in
/// two ways.
pub(super) fn all(history: &History) -> (Vec<Event>, (usize, Vec<Violation>)) {
    let last = history.audits.first().map_or(0, |audit| audit.revision);
    let mut chronicle = Chronicle { last, ..Chronicle::default() };
    // What is told at the end is what stays, so it is what the rest is held against.
    for audit in &history.audits {
        chronicle.tells(&audit.events, Teller { slot: Some(audit.slot), at: None });
    }
    for stream in history.streams.iter().filter(|stream| stream.chronicle) {
        let slot = stream.life.map(|life| life.slot);
        for message in &stream.messages {
            if let Said::Events(events) = &message.said {
                chronicle.tells(events, Teller { slot, at: Some(message.at) });
            }
        }
    }
    let Chronicle { told, count, found, .. } = chronicle;
    (told.into_values().flat_map(|(events, _)| events).collect(), (count, found))
}

impl Chronicle {
    fn tells(&mut self, events: &[Event], teller: Teller) {
        for part in events.chunk_by(|a, b| a.revision() == b.revision()) {
            let revision = part[0].revision();
            if revision > self.last {
                // The run has ended.
                return;
            }
            self.count += 1;
            let part: Vec<Event> = part.iter().map(Event::bare).collect();
            let (first, other) =
                self.told.entry(revision).or_insert_with(|| (part.clone(), teller));
            if *first != part {
                let text = format!(
                    "revision {revision} is told in two ways: {first:?} by {other}, {part:?} by \
                     {teller}"
                );
                self.found.push(Violation::new(Checker::Agreement, text));
            }
        }
    }
}

impl std::fmt::Display for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.slot {
            Some(slot) => write!(f, "m{slot}")?,
            None => write!(f, "a member that was restarted")?,
        }
        match self.at {
            Some(at) => write!(f, " at {at}"),
            None => write!(f, " at the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, put};
    use super::*;

    /// A run of three revisions that ends with the first two compacted, and was told live.
    fn sample() -> Sample {
        let mut sample = Sample::new();
        for (at, value) in ["1", "2", "3"].into_iter().enumerate() {
            let at = u64::try_from(at).unwrap();
            sample.done(at..at + 1, put("a", value));
        }
        sample.watch_all(9).chronicle = true;
        sample.end();
        for audit in &mut sample.history_mut().audits {
            (audit.compacted, audit.first) = (4, 4);
            audit.events.drain(..2);
        }
        sample
    }

    /// What is compacted is known from those who told it in time.
    #[test]
    fn what_was_told_live_is_known() {
        let sample = sample();
        let (events, (count, found)) = all(sample.history());
        assert_eq!(found, Vec::new());
        assert_eq!(events, sample.events());
        assert_eq!(count, 5, "one revision three times, two once");
    }

    /// Two stories of one revision cannot both be true, whoever tells them.
    #[test]
    fn two_stories_are_seen() {
        let mut live = sample();
        let Said::Events(events) = &mut live.history_mut().streams[0].messages[3].said else {
            panic!("it shows events")
        };
        events[0].kv.value.push('?');
        let found = all(live.history()).1.1;
        assert!(found[0].text.contains("told in two ways"), "{found:?}");
        let mut end = sample();
        end.history_mut().audits[1].events[0].kv.version = 7;
        assert_eq!(all(end.history()).1.1.len(), 1, "one member differs from the other");
    }

    /// Only the chronicle is believed; what else watches show is held against it.
    #[test]
    fn other_watches_are_no_source() {
        let mut sample = sample();
        sample.history_mut().streams[0].chronicle = false;
        assert_eq!(all(sample.history()).0.len(), 1);
    }
}
