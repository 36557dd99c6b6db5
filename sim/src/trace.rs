//! The last things that happened, one to a line, for the person who reads a failure.
//!
//! ```text
//!      10241  n2  <- n1  Append { term: 3, .. }
//!      10250  n1  -- n3  cut: Append { term: 3, .. }
//!      10302  n3  crash
//!      10311  --  network: bridge n1 n4 | n2 | n3 n5
//! ```
//!
//! A run of millions of steps cannot afford to print each message, and need not: it can be run
//! again. So a trace is brief (who, when, what kind; a few stores a step) unless the seed is
//! replayed, and then it has the messages too. It is a ring: only the last lines are kept, 200 when
//! a seed is replayed, or as many as `TRACE=n` says.
//!
//! It also keeps a **digest** of everything that ever happened. Two runs with the same digest took
//! the same steps at the same times, and a run that differs from the one before shows at once that
//! something in it is not deterministic.

use std::env;
use std::fmt::{self, Write as _};

use crate::network::Fate;
use crate::types::NodeId;

/// How many lines are kept of a brief trace.
const BRIEF_LINES_MAX: usize = 50;

/// How many lines are kept of one that somebody will read, unless `TRACE` says another number.
const VERBOSE_LINES_MAX: usize = 200;

/// The ring of lines, and the digest.
#[derive(Debug)]
pub(crate) struct Trace {
    verbose: bool,
    lines_max: usize,
    lines: Vec<Line>,
    /// Where the next line goes: the oldest is there, once there are as many as are kept.
    next: usize,
    digest: u64,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Message(NodeId),
    Unsent(NodeId, Fate),
    Missed(NodeId),
    Event,
    Wake,
    Start,
    Crash,
    Pause,
    Resume,
    Block,
    Unblock,
    Act,
    Note,
}

#[derive(Debug)]
struct Line {
    at: u64,
    node: NodeId,
    mark: Mark,
    text: String,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Trace {
        let asked = || env::var("TRACE").ok().and_then(|text| text.parse().ok());
        let lines_max =
            if verbose { asked().unwrap_or(VERBOSE_LINES_MAX) } else { BRIEF_LINES_MAX };
        let (lines, lines_max) = (Vec::new(), lines_max.max(1));
        Trace { verbose, lines_max, lines, next: 0, digest: 0xcbf2_9ce4_8422_2325 }
    }

    /// Whether messages and notes are written down as well.
    #[inline]
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// A line without text.
    #[inline]
    pub(crate) fn mark(&mut self, at: u64, node: NodeId, mark: Mark) {
        self.line(at, node, mark);
    }

    /// A line with text, which is asked for only if somebody will read it.
    #[inline]
    pub(crate) fn tell(&mut self, at: u64, node: NodeId, mark: Mark, text: &dyn fmt::Debug) {
        let verbose = self.verbose;
        let line = self.line(at, node, mark);
        if verbose {
            write!(line.text, "{text:?}").expect("writing to a string does not fail");
        }
    }

    #[inline]
    fn line(&mut self, at: u64, node: NodeId, mark: Mark) -> &mut Line {
        let place = self.next;
        self.next = if place + 1 == self.lines_max { 0 } else { place + 1 };
        if mark != Mark::Note {
            // Turned, not shifted: the number of a node beyond 255 counts too.
            let word = at ^ u64::from(node.0) << 40 ^ mark.code().rotate_left(52);
            self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        if place == self.lines.len() {
            self.lines.push(Line { at, node, mark, text: String::new() });
        }
        let line = &mut self.lines[place];
        (line.at, line.node, line.mark) = (at, node, mark);
        line.text.clear();
        line
    }
}

impl Mark {
    fn code(self) -> u64 {
        match self {
            Mark::Message(from) => u64::from(from.0) << 4,
            Mark::Unsent(to, _) => 1 | u64::from(to.0) << 4,
            Mark::Missed(from) => 2 | u64::from(from.0) << 4,
            Mark::Event => 3,
            Mark::Wake => 4,
            Mark::Start => 5,
            Mark::Crash => 6,
            Mark::Pause => 7,
            Mark::Resume => 8,
            Mark::Act => 9,
            Mark::Note => 10,
            Mark::Block => 11,
            Mark::Unblock => 12,
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (newer, older) = self.lines.split_at(self.next.min(self.lines.len()));
        for line in older.iter().chain(newer) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = if self.node.0 == 0 { "--".to_owned() } else { self.node.to_string() };
        let text = &self.text;
        let what = match self.mark {
            Mark::Message(from) => format!("<- {from}  {text}"),
            Mark::Unsent(to, Fate::Cut) => format!("-- {to}  cut: {text}"),
            Mark::Unsent(to, _) => format!("-- {to}  lost: {text}"),
            Mark::Missed(from) => format!("<- {from}  missed"),
            Mark::Event => format!("event {text}"),
            Mark::Wake => "wake".to_owned(),
            Mark::Start => "start".to_owned(),
            Mark::Crash => "crash".to_owned(),
            Mark::Pause => "pause".to_owned(),
            Mark::Resume => "resume".to_owned(),
            Mark::Block => "block".to_owned(),
            Mark::Unblock => "unblock".to_owned(),
            Mark::Act => "called".to_owned(),
            Mark::Note => text.clone(),
        };
        let what = what.trim_end().trim_end_matches(':');
        write!(f, "{:>9}  {node:<3} {what}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The newest lines are those that explain a failure.
    #[test]
    fn the_last_lines_are_kept_in_their_order() {
        let mut trace = Trace::new(true);
        for at in 0..VERBOSE_LINES_MAX as u64 + 3 {
            trace.tell(at, NodeId(2), Mark::Message(NodeId(1)), &format_args!("vote {at}"));
        }
        let told = trace.to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), VERBOSE_LINES_MAX);
        assert_eq!(lines[0], "        3  n2  <- n1  vote 3");
        assert_eq!(lines[VERBOSE_LINES_MAX - 1], "      202  n2  <- n1  vote 202");
    }

    // A replay tells more than the run that failed, and must still be the same run.
    #[test]
    fn the_digest_depends_on_what_happened_and_not_on_what_was_told() {
        let run = |verbose, marks: &[Mark]| {
            let mut trace = Trace::new(verbose);
            for mark in marks {
                trace.tell(1, NodeId(1), *mark, &"text");
            }
            trace.digest()
        };
        let marks = [Mark::Wake, Mark::Message(NodeId(2)), Mark::Note];
        assert_eq!(run(true, &marks), run(false, &marks[..2]));
        assert_ne!(run(true, &marks), run(true, &[Mark::Wake, Mark::Message(NodeId(3))]));
        assert_ne!(run(true, &marks[..2]), run(true, &[marks[1], marks[0]]));
    }
}
