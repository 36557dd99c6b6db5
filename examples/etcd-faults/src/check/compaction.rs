//! What was compacted is refused, and nothing else is.
//!
//! ```text
//!                asked        answered, or its effect is shown
//!   compact 50   ──●──────────────●─────────────────────────────►
//!                  ┊ may be done  ┊ is done
//!   read at 40     ┊ either       ┊ must be refused
//!   read at 60   must be answered, all the time
//! ```
//!
//! A compaction makes no revision, so it is ordered by time alone: before it was asked for nothing
//! may be refused for its sake; once it was answered, or somebody was refused because of it, it is
//! done, and stays so. What is done holds for whoever must be told the newest, and for the one
//! process that showed it: a member may lag behind the others, but not behind itself.
//!
//! A watch is ended by a compaction if, and only if, the revision that it is to show next is gone.
//! It may be behind what the server would send, so it is held to what it has been told.

use std::collections::BTreeMap;

use crate::history::{History, Life, Moment, Operation, Outcome, Refusal, Said, Stream};
use crate::request::{Event, Request, Revision};
use crate::violation::{Checker, Violation};

use super::log::Log;
use super::shown::Shown;
use super::watch::first_revision;

/// What was compacted when, as far as clients know.
#[derive(Debug)]
pub(super) struct Compactions {
    /// When each was asked for first.
    asked: BTreeMap<Revision, Moment>,
    /// The furthest that may be done.
    possible: Shown,
    /// The furthest that is done.
    known: Shown,
    /// The furthest that is done in one process.
    by_life: BTreeMap<Life, Shown>,
}

impl Compactions {
    /// From all requests, and from all that was refused because of them.
    pub(super) fn new(history: &History, log: &Log) -> Compactions {
        let mut asked: BTreeMap<Revision, Moment> = BTreeMap::new();
        for operation in &history.operations {
            if let Request::Compact { revision, .. } = operation.request
                && !matches!(operation.outcome, Outcome::Refused(_))
                // What is not there cannot be compacted, now or when it comes.
                && revision <= log.last()
            {
                let first = asked.entry(revision).or_insert(operation.called);
                *first = operation.called.min(*first);
            }
        }
        let possible = Shown::of(asked.iter().map(|(revision, at)| (*at, *revision)));
        let answers = history.operations.iter().filter_map(shown_by_answer);
        let ends = history.streams.iter().filter_map(shown_by_end);
        // Who is refused for what cannot have been done shows nothing, but complains by himself.
        let right = |(_, at, revision): &(_, Moment, Revision)| *revision <= possible.before(*at);
        let points: Vec<_> = answers.chain(ends).filter(right).collect();
        let mut by_life: BTreeMap<Life, Vec<(Moment, Revision)>> = BTreeMap::new();
        for (life, at, revision) in &points {
            if let Some(life) = life {
                by_life.entry(*life).or_default().push((*at, *revision));
            }
        }
        let lines = by_life.into_iter();
        Compactions {
            possible,
            known: Shown::of(points.into_iter().map(|(_, at, revision)| (at, revision))),
            by_life: lines.map(|(life, points)| (life, Shown::of(points.into_iter()))).collect(),
            asked,
        }
    }

    /// How many watches were overtaken.
    pub(super) fn overtaken(history: &History) -> usize {
        history.streams.iter().filter_map(shown_by_end).count()
    }

    /// The oldest revision that is sure to be readable at a moment.
    pub(super) fn possible(&self, at: Moment) -> Revision {
        self.possible.before(at)
    }

    /// What must have been compacted for whoever asks this process at a moment.
    fn known(&self, life: Option<Life>, at: Moment, newest: bool) -> Revision {
        let own = life.and_then(|life| self.by_life.get(&life)).map_or(1, |line| line.before(at));
        if newest { own.max(self.known.before(at)) } else { own }
    }

    /// Looks at all requests that name a revision, all watches, and what members say at the end.
    pub(super) fn check(&self, history: &History, shown: &Shown) -> (usize, Vec<Violation>) {
        let (mut count, mut found) = (0, Vec::new());
        for operation in &history.operations {
            let what = match operation.request {
                Request::Compact { revision, .. } => self.compaction(operation, revision, shown),
                _ => match operation.request.read_at() {
                    Some(revision) => self.read(operation, revision, shown),
                    None => continue,
                },
            };
            count += 1;
            if let Some(what) = what {
                let Operation { client, request, called, returned, .. } = operation;
                let text = format!("client {client} asked {request:?} at {called}, and {what}");
                found.push(wrong(format!("{text}, at {returned}")));
            }
        }
        for stream in &history.streams {
            count += 1;
            if let Some(what) = self.watch(stream) {
                let Stream { client, span, start, opened, .. } = stream;
                found.push(wrong(format!(
                    "the watch of client {client} on {span:?} from revision {start}, opened at \
                     {opened}, {what}"
                )));
            }
        }
        found.extend(self.end(history));
        (count, found)
    }

    /// What is wrong with the outcome of a compaction.
    fn compaction(&self, it: &Operation, revision: Revision, shown: &Shown) -> Option<String> {
        let known = self.known(it.life, it.called, true);
        match &it.outcome {
            Outcome::Done(reply) if reply.revision < revision => {
                Some(format!("it was done at revision {}, before there was one", reply.revision))
            }
            // At 1 is the empty store, of which nobody could tell whether it is compacted.
            Outcome::Done(_) if 1 < known && revision <= known => {
                Some(format!("it was done, although {known} had been compacted before"))
            }
            Outcome::Refused(why) => match Refusal::of(why)? {
                Refusal::Compacted if revision > self.possible(it.returned) => {
                    Some(format!("was refused ({why}), and nobody had compacted so far"))
                }
                Refusal::Future => not_there(it, revision, shown),
                Refusal::Compacted => None,
            },
            Outcome::Done(_) | Outcome::Unknown(_) => None,
        }
    }

    /// What is wrong with the outcome of a read at a revision.
    fn read(&self, it: &Operation, revision: Revision, shown: &Shown) -> Option<String> {
        let newest = !it.request.is_serializable();
        let known = self.known(it.life, it.called, newest);
        match &it.outcome {
            Outcome::Done(reply) if reply.revision < revision => {
                Some(format!("it was answered at revision {}, before it was", reply.revision))
            }
            Outcome::Done(_) if revision < known => {
                Some(format!("it was answered, although {known} had been compacted before"))
            }
            Outcome::Refused(why) => match Refusal::of(why)? {
                Refusal::Compacted if revision >= self.possible(it.returned) => {
                    Some(format!("was refused ({why}), and nobody had compacted that"))
                }
                Refusal::Future if newest => not_there(it, revision, shown),
                // A member that is behind does not know it yet.
                Refusal::Compacted | Refusal::Future => None,
            },
            Outcome::Done(_) | Outcome::Unknown(_) => None,
        }
    }

    /// What is wrong with the end of a watch, or with it having none.
    fn watch(&self, stream: &Stream) -> Option<String> {
        let known = self.known(stream.life, stream.opened, false);
        let gone = 0 < stream.start && stream.start < known;
        let mut next = first_revision(stream).unwrap_or(stream.start);
        for message in &stream.messages {
            let shows = match &message.said {
                Said::Created => continue,
                Said::Canceled { compacted: ..=0, .. } => return None,
                Said::Canceled { compacted, .. } => {
                    return self.end_of_watch(next, *compacted, message.at);
                }
                Said::Events(events) => events.last().map_or(0, Event::revision),
                Said::Progress => message.revision,
            };
            if gone {
                return Some(format!(
                    "shows something at {}, although {known} had been compacted in that member \
                     before",
                    message.at
                ));
            }
            next = next.max(shows + 1);
        }
        None
    }

    fn end_of_watch(&self, next: Revision, compacted: Revision, at: Moment) -> Option<String> {
        if next >= compacted {
            return Some(format!(
                "was ended at {at} for the compaction of {compacted}, and yet it had come to {next}"
            ));
        }
        let asked = self.asked.get(&compacted).is_some_and(|asked| *asked < at);
        (!asked).then(|| {
            format!("was ended at {at} for a compaction of {compacted}, which nobody asked for")
        })
    }

    /// What members say at the end has to be what was asked for, and no less than was done.
    fn end(&self, history: &History) -> Vec<Violation> {
        let known = self.known.before(Moment(u64::MAX)).max(1);
        let mut found = Vec::new();
        for audit in &history.audits {
            let (slot, compacted) = (audit.slot, audit.compacted.max(1));
            if compacted < known {
                let text = format!("m{slot} ends with {compacted} compacted, and {known} was");
                found.push(wrong(text));
            }
            if compacted > 1 && !self.asked.contains_key(&compacted) {
                let text = format!("m{slot} ends with {compacted} compacted; nobody asked for it");
                found.push(wrong(text));
            }
            if audit.first != compacted {
                found.push(wrong(format!(
                    "m{slot} ends with {compacted} compacted, and watches begin at {}",
                    audit.first
                )));
            }
        }
        found
    }
}

fn wrong(text: String) -> Violation {
    Violation::new(Checker::Compaction, text)
}

/// Whether a revision is refused as one to come that somebody had been shown.
fn not_there(it: &Operation, revision: Revision, shown: &Shown) -> Option<String> {
    let newest = shown.before(it.called);
    (revision <= newest)
        .then(|| format!("was refused as one to come, although {newest} had been shown before"))
}

/// How far an answer shows that the store is compacted.
fn shown_by_answer(it: &Operation) -> Option<(Option<Life>, Moment, Revision)> {
    let refused = match &it.outcome {
        Outcome::Refused(why) => Refusal::of(why) == Some(Refusal::Compacted),
        Outcome::Done(_) => false,
        Outcome::Unknown(_) => return None,
    };
    let revision = match it.request {
        Request::Compact { revision, .. } if refused || it.reply().is_some() => revision,
        _ if refused => it.request.read_at()? + 1,
        _ => return None,
    };
    Some((it.life, it.returned, revision))
}

/// How far the end of a watch shows that the store is compacted.
fn shown_by_end(stream: &Stream) -> Option<(Option<Life>, Moment, Revision)> {
    let last = stream.messages.last()?;
    match last.said {
        Said::Canceled { compacted: compacted @ 1.., .. } => {
            Some((stream.life, last.at, compacted))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
