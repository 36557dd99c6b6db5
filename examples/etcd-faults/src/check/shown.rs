//! How far the store was known to be at each moment.
//!
//! ```text
//!   revision  9 ┤              ●────────       ● an answer or a watch shows a revision
//!             7 ┤      ●───────╯
//!             5 ┤  ●───╯  ○                    ○ shows less: changes nothing
//!               └──┴───┴──┴────┴─────► time
//! ```
//!
//! What was shown to anybody has happened. So whoever asks after that must be told no less, and
//! what a revision did had been done by the moment at which it was shown first.

use crate::history::{History, Moment};
use crate::request::Revision;

/// The steps of that line: at each moment a revision larger than all before.
#[derive(Debug)]
pub(super) struct Shown {
    steps: Vec<(Moment, Revision)>,
}

impl Shown {
    /// From all answers and all messages of watches.
    pub(super) fn new(history: &History) -> Shown {
        let answers = history.operations.iter();
        let answers = answers.filter_map(|it| Some((it.returned, it.reply()?.revision)));
        let messages = history.streams.iter().flat_map(|stream| &stream.messages);
        Shown::of(answers.chain(messages.map(|message| (message.at, message.revision))))
    }

    /// From moments and revisions in any order.
    pub(super) fn of(points: impl Iterator<Item = (Moment, Revision)>) -> Shown {
        let mut points: Vec<(Moment, Revision)> = points.collect();
        points.sort_unstable();
        let mut steps: Vec<(Moment, Revision)> = Vec::new();
        for (at, revision) in points {
            if steps.last().is_none_or(|(_, last)| *last < revision) {
                steps.push((at, revision));
            }
        }
        Shown { steps }
    }

    /// The largest revision that was shown before a moment.
    pub(super) fn before(&self, at: Moment) -> Revision {
        let count = self.steps.partition_point(|(then, _)| *then < at);
        count.checked_sub(1).map_or(1, |last| self.steps[last].1)
    }

    /// When this revision, or a later one, was shown first.
    pub(super) fn first(&self, revision: Revision) -> Option<Moment> {
        let place = self.steps.partition_point(|(_, shown)| *shown < revision);
        self.steps.get(place).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture above.
    #[test]
    fn the_line_never_falls() {
        let points = [(1, 5), (4, 9), (2, 7), (3, 5)];
        let shown = Shown::of(points.into_iter().map(|(at, revision)| (Moment(at), revision)));
        let before = |at| shown.before(Moment(at));
        assert_eq!([before(1), before(2), before(3), before(4), before(5)], [1, 5, 7, 7, 9]);
        assert_eq!(shown.first(6), Some(Moment(2)));
        assert_eq!(shown.first(7), Some(Moment(2)));
        assert_eq!(shown.first(10), None);
    }
}
