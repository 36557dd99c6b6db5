//! A watch that says "all up to revision R" has shown all up to R on that stream.
//!
//! Clients build on this: a cache that has heard it answers as of R. Said too early, it makes a
//! cache serve what is stale and call it fresh. Said late it would do no harm, but a header that
//! goes back is no better for it, and no server needs to send one.

use crate::history::{History, Said, Stream};
use crate::request::Event;
use crate::violation::{Checker, Violation};

use super::log::Log;
use super::watch::first_revision;

/// Looks at all progress that was told.
pub(super) fn check(history: &History, log: &Log) -> (usize, Vec<Violation>) {
    let (mut count, mut found) = (0, Vec::new());
    for stream in &history.streams {
        if let Some(start) = first_revision(stream) {
            count += one(stream, start, log, &mut found);
        }
    }
    (count, found)
}

fn one(stream: &Stream, start: i64, log: &Log, found: &mut Vec<Violation>) -> usize {
    let (mut next, mut count, mut header) = (start, 0, 0);
    for message in &stream.messages {
        if message.said == Said::Progress && message.revision < header {
            let text = format!(
                "the watch of client {} on {:?} from revision {start} told revision {header} and \
                 then, at {}, a progress of {}",
                stream.client, stream.span, message.at, message.revision
            );
            found.push(Violation::new(Checker::Progress, text));
            return count;
        }
        header = header.max(message.revision);
        match &message.said {
            Said::Events(events) => {
                let last = events.last().map_or(0, Event::revision);
                next = next.max(last + 1);
            }
            Said::Progress => {
                count += 1;
                if let Some(missed) = log.first_on(&stream.span, next..=message.revision) {
                    let text = format!(
                        "the watch of client {} on {:?} from revision {start} said at {} that all \
                         up to {} was sent; revision {missed} was not: {:?}",
                        stream.client,
                        stream.span,
                        message.at,
                        message.revision,
                        log.at(missed)
                    );
                    found.push(Violation::new(Checker::Progress, text));
                    return count;
                }
                next = next.max(message.revision + 1);
            }
            Said::Created | Said::Canceled { .. } => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, put};
    use super::*;
    use crate::history::{Message, Moment};
    use crate::request::Span;

    /// Says progress 3 at this place of a stream with three messages, over keys `a` and `b`.
    fn check(place: usize, span: Span) -> usize {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.done(1..2, put("b", "2"));
        let stream = sample.watch_all(9);
        for message in &mut stream.messages {
            if let Said::Events(events) = &mut message.said {
                events.retain(|event| span.holds(&event.kv.key));
            }
        }
        stream.span = span;
        let progress = Message { at: Moment(9), revision: 3, said: Said::Progress };
        stream.messages.insert(place, progress);
        let (log, _) = Log::new(sample.events());
        super::check(sample.history(), &log).1.len()
    }

    /// After the events it is true; and of keys that nobody watches it says nothing.
    #[test]
    fn progress_after_the_events_passes() {
        assert_eq!(check(3, Span::all()), 0);
        assert_eq!(check(2, Span::one("a")), 0);
        assert_eq!(check(1, Span::one("c")), 0);
    }

    /// After later events a smaller one makes the headers of the stream go back.
    #[test]
    fn late_progress_is_seen() {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.done(1..2, put("b", "2"));
        let progress = Message { at: Moment(9), revision: 2, said: Said::Progress };
        sample.watch_all(9).messages.push(progress);
        let (log, _) = Log::new(sample.events());
        assert_eq!(super::check(sample.history(), &log).1.len(), 1);
    }

    /// Before them it is not.
    #[test]
    fn early_progress_is_seen() {
        assert_eq!(check(1, Span::all()), 1);
        assert_eq!(check(2, Span::all()), 1);
        assert_eq!(check(1, Span::one("a")), 1);
    }
}
