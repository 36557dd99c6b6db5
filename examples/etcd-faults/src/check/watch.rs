//! A watch shows what happened to its keys from its start on: all of it, once, in order.
//!
//! Each stream is held against the log on its own. One that goes on where another broke off starts
//! at the revision after, so that a cut loses nothing follows from both being right.
//!
//! What stood there before an event is told if it was asked for, unless a compaction may have taken
//! it. A watch that a compaction has overtaken must not skip what it took: it ends, which is for
//! `compaction.rs` to look at, as is that none ends so without cause. For another reason none ends.
//!
//! Said is also that a watch is created before it shows anything, shows all of a revision in one
//! message, never a revision before its start (not to speak of one that it was to wait for), and
//! that its headers never go back; and that it comes to the newest revision once all is well. The
//! headers of progress are looked at with the rest of it, in `progress.rs`.

use crate::history::{History, Moment, Said, Stream};
use crate::request::{Event, Revision};
use crate::violation::{Checker, Violation};

use super::compaction::Compactions;
use super::log::Log;

/// Looks at all streams.
pub(super) fn check(
    history: &History,
    log: &Log,
    compactions: &Compactions,
) -> (usize, Vec<Violation>) {
    let (mut count, mut found) = (0, Vec::new());
    for stream in &history.streams {
        let mut reader = Reader::new(stream, log, compactions);
        if let Err(what) = reader.read(&mut count) {
            let Stream { client, span, start, opened, .. } = stream;
            let text = format!(
                "the watch of client {client} on {span:?} from revision {start}, opened at \
                 {opened}: {what}"
            );
            found.push(Violation::new(Checker::Watch, text));
        }
    }
    (count, found)
}

/// The first revision that a stream must show, if it was created.
pub(super) fn first_revision(stream: &Stream) -> Option<Revision> {
    let created = stream.messages.iter().find(|it| it.said == Said::Created)?;
    // From now on is from the revision after the one that the store is at.
    Some(if stream.start > 0 { stream.start } else { created.revision + 1 })
}

/// Reads one stream beside the log.
struct Reader<'a> {
    stream: &'a Stream,
    log: &'a Log,
    compactions: &'a Compactions,
    /// All before it was shown as it should be.
    next: Revision,
    /// The last one that was shown.
    shown: Revision,
    /// The last header over events.
    header: Revision,
    /// The last progress.
    told: Revision,
    created: bool,
    canceled: bool,
}

impl<'a> Reader<'a> {
    fn new(stream: &'a Stream, log: &'a Log, compactions: &'a Compactions) -> Reader<'a> {
        let (next, shown, header, told) = (0, 0, 0, 0);
        let (created, canceled) = (false, false);
        Reader { stream, log, compactions, next, shown, header, told, created, canceled }
    }

    fn read(&mut self, count: &mut usize) -> Result<(), String> {
        self.next = first_revision(self.stream).unwrap_or(0);
        for message in &self.stream.messages {
            let (at, revision) = (message.at, message.revision);
            if self.canceled {
                return Err(format!("goes on after its end, with {:?}", message.said));
            }
            match &message.said {
                Said::Created if self.created => return Err("created twice".to_owned()),
                Said::Created => self.created = true,
                Said::Events(events) => {
                    if !self.created {
                        return Err(format!("events before it was created: {events:?}"));
                    }
                    *count += events.len();
                    for part in events.chunk_by(|a, b| a.revision() == b.revision()) {
                        self.revision(part, at).map_err(|what| format!("{what}, at {at}"))?;
                    }
                    if revision < self.shown {
                        return Err(format!("a header of {revision} over {events:?}"));
                    }
                }
                Said::Progress if !self.created => {
                    return Err("progress before it was created".to_owned());
                }
                Said::Canceled { reason, compacted: ..=0 } => {
                    return Err(format!("was ended at {at} for no reason of ours: {reason:?}"));
                }
                // Without a revision in its header.
                Said::Canceled { .. } => {
                    self.canceled = true;
                    continue;
                }
                Said::Progress => {
                    self.told = self.told.max(revision);
                    continue;
                }
            }
            if revision < self.header {
                return Err(format!("its header goes back from {} to {revision}", self.header));
            }
            self.header = revision;
        }
        match self.stream.overdue {
            Some(last) if !self.came_to(last) => {
                Err(format!("it has not come to revision {last}, long after all was well"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it has shown or told of a revision.
    fn came_to(&self, last: Revision) -> bool {
        self.created && self.header.max(self.told) >= last
    }

    /// All events of one revision in one message.
    fn revision(&mut self, part: &[Event], at: Moment) -> Result<(), String> {
        let revision = part[0].revision();
        if revision > self.log.last() {
            // The run has ended; what came after it is not in the log.
            return Ok(());
        }
        if revision < self.next {
            let start = first_revision(self.stream).unwrap_or(0);
            return Err(match revision {
                _ if revision < start => format!("shows {part:?} from before its start"),
                _ if revision == self.shown => format!("shows revision {revision} twice: {part:?}"),
                _ => format!("goes back from {} to {part:?}", self.shown),
            });
        }
        let span = &self.stream.span;
        if let Some(missed) = self.log.first_on(span, self.next..=revision - 1) {
            let what = self.log.at(missed);
            return Err(format!("misses revision {missed}, {what:?}, and shows {part:?}"));
        }
        let expected = self.log.at(revision).iter().filter(|event| span.holds(&event.kv.key));
        let expected: Vec<Event> = expected.map(|event| self.as_shown(event)).collect();
        // The state before the first revision that is left cannot be read.
        let may_lack = revision <= self.compactions.possible(at);
        let without = |(shown, expected): (&Event, &Event)| {
            *shown
                == Event { prev: shown.prev.clone().and(expected.prev.clone()), ..expected.clone() }
        };
        let same = part.len() == expected.len() && part.iter().zip(&expected).all(without);
        if part != expected && !(may_lack && same) {
            return Err(format!("shows {part:?} where {expected:?} happened"));
        }
        self.shown = revision;
        self.next = revision + 1;
        Ok(())
    }

    fn as_shown(&self, event: &Event) -> Event {
        if self.stream.prev_kv { event.clone() } else { event.bare() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, deletion, put, put_event};
    use super::*;
    use crate::history::Message;

    /// What is said of a stream over revisions 2 (`a`), 3 (`b`), 4 (`a` and `b`), changed.
    fn check(change: impl FnOnce(&mut Stream)) -> String {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.done(1..2, put("b", "2"));
        sample.happens(&[put_event("a", "3", 2, 4, 2), deletion("b", 4)]);
        change(sample.watch_all(9));
        let (log, found) = Log::new(sample.events());
        assert!(found.is_empty(), "{found:?}");
        let compactions = Compactions::new(sample.history(), &log);
        let found = super::check(sample.history(), &log, &compactions).1;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    fn events(message: &mut Message) -> &mut Vec<Event> {
        let Said::Events(events) = &mut message.said else { panic!("it shows events") };
        events
    }

    /// A whole stream, one that starts late, one that is cut off, one from now on.
    #[test]
    fn right_streams_pass() {
        assert_eq!(check(|_| {}), "");
        assert_eq!(check(|stream| drop(stream.messages.pop())), "");
        let late = |stream: &mut Stream| {
            stream.start = 3;
            stream.messages.remove(1);
        };
        assert_eq!(check(late), "");
        let from_now = |stream: &mut Stream| {
            stream.start = 0;
            stream.messages[0].revision = 2;
            stream.messages.remove(1);
        };
        assert_eq!(check(from_now), "");
    }

    /// Each way to break the order or to lose something.
    #[test]
    fn wrong_streams_are_seen() {
        type Change = fn(&mut Stream);
        let cases: [(&str, Change); 10] = [
            ("misses revision 3", |it| drop(it.messages.remove(2))),
            ("misses revision 3", |it| it.messages.swap(2, 3)),
            ("twice", |it| it.messages.insert(2, it.messages[1].clone())),
            ("where", |it| drop(events(&mut it.messages[3]).pop())),
            ("where", |it| events(&mut it.messages[1])[0].kv.value.push('?')),
            ("where", |it| events(&mut it.messages[3]).swap(0, 1)),
            ("before its start", |it| it.start = 3),
            ("before it was created", |it| it.messages.swap(0, 1)),
            ("created twice", |it| it.messages.push(it.messages[0].clone())),
            ("header goes back", |it| it.messages[2].revision = 9),
        ];
        for (word, change) in cases {
            let text = check(change);
            assert!(text.contains(word), "{word}: {text:?}");
        }
    }

    /// One revision comes in one message, or a client that stops between sees half of a change.
    #[test]
    fn a_torn_revision_is_seen() {
        let text = check(|stream| {
            let second = events(&mut stream.messages[3]).pop().unwrap();
            let mut rest = stream.messages[3].clone();
            rest.said = Said::Events(vec![second]);
            stream.messages.push(rest);
        });
        assert!(text.contains("where"), "{text}");
    }

    /// A watch that was asked for what stood there before must tell it.
    #[test]
    fn a_missing_prev_kv_is_seen() {
        let text = check(|stream| stream.prev_kv = true);
        assert!(text.contains("where"), "{text}");
    }

    /// A watch that has nothing more to say although there is more.
    #[test]
    fn a_stalled_watch_is_seen() {
        let text = check(|stream| {
            stream.messages.pop();
            stream.overdue = Some(4);
        });
        assert!(text.contains("has not come to"), "{text}");
        assert_eq!(check(|stream| stream.overdue = Some(4)), "");
    }
}
