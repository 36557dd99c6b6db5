//! Whole revisions out of the messages of a watch.
//!
//! ```text
//!   message             events              held      told
//!   fragment            7 8 8               8 8       7
//!   fragment            8 8                 8 8 8 8
//!   last fragment       8 9                           8 8 8 8 8 9
//! ```
//!
//! A large message comes in fragments, and one may end within a revision. Events are in the order
//! of their revisions, so when one of a later revision is seen, all of the earlier ones are there;
//! what is held back is never more than one revision, which is one transaction.
//!
//! A watch that is resumed may show what was shown before; that is left out.

use drystone_etcd_api::mvccpb::{Event, event::EventType};
use mason_core::types::Revision;

use super::value::{Batch, Change, KeyValue};

/// Joins what comes from one watch, over its reconnects.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// The first revision that was not told.
    next: Revision,
    /// Events of the last revision seen, which may have more.
    held: Vec<Change>,
}

impl Joiner {
    /// Nothing before this revision is of interest.
    pub(crate) fn new(next: Revision) -> Joiner {
        Joiner { next, held: Vec::new() }
    }

    /// From where a watch must be resumed.
    pub(crate) fn next(&self) -> Revision {
        self.next
    }

    /// The stream broke off: what is held may be half of a revision, and comes again.
    pub(crate) fn broke_off(&mut self) {
        self.held.clear();
    }

    /// Takes the events of a message; `fragment` says that more of them follow.
    pub(crate) fn take(&mut self, events: Vec<Event>, fragment: bool) -> Option<Batch> {
        let mut changes = std::mem::take(&mut self.held);
        changes.extend(events.into_iter().filter_map(change).filter(|c| c.at() >= self.next));
        debug_assert!(changes.is_sorted_by_key(Change::at), "events come in order");
        if fragment {
            let last = changes.last()?.at();
            let whole = changes.partition_point(|change| change.at() < last);
            self.held = changes.split_off(whole);
        }
        let revision = changes.last()?.at();
        self.next = revision + 1;
        Some(Batch { revision, changes })
    }

    /// Takes the word that all up to this revision was told; whether that is news.
    pub(crate) fn progress(&mut self, revision: Revision) -> bool {
        let is_news = self.held.is_empty() && revision >= self.next;
        if is_news {
            self.next = revision + 1;
        }
        is_news
    }
}

fn change(event: Event) -> Option<Change> {
    let deleted = event.r#type() == EventType::Delete;
    let kv = KeyValue::from(event.kv?);
    Some(if deleted { Change::Delete { key: kv.key, at: kv.changed } } else { Change::Put(kv) })
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::mvccpb;

    use super::*;

    fn events(revisions: &[Revision]) -> Vec<Event> {
        let event = |&at| {
            let kv = mvccpb::KeyValue { mod_revision: at, ..mvccpb::KeyValue::default() };
            Event { kv: Some(kv), ..Event::default() }
        };
        revisions.iter().map(event).collect()
    }

    #[track_caller]
    fn told(batch: Option<&Batch>, expected: &[Revision]) {
        let at: Option<Vec<Revision>> =
            batch.map(|batch| batch.changes.iter().map(Change::at).collect());
        assert_eq!(at.unwrap_or_default(), expected);
        if let Some(batch) = batch {
            assert_eq!(Some(&batch.revision), expected.last());
        }
    }

    /// Whoever acts on half a transaction acts on something that never was.
    #[test]
    fn fragments_never_split_a_revision() {
        let mut joiner = Joiner::new(7);
        told(joiner.take(events(&[7, 8, 8]), true).as_ref(), &[7]);
        told(joiner.take(events(&[8, 8]), true).as_ref(), &[]);
        assert_eq!(joiner.next(), 8);
        told(joiner.take(events(&[8, 9]), false).as_ref(), &[8, 8, 8, 8, 8, 9]);
        assert_eq!(joiner.next(), 10);
    }

    /// A connection that breaks within a revision must bring all of it again, once.
    #[test]
    fn a_revision_that_broke_off_comes_again_whole() {
        let mut joiner = Joiner::new(7);
        told(joiner.take(events(&[7, 8]), true).as_ref(), &[7]);
        joiner.broke_off();
        assert_eq!(joiner.next(), 8);
        told(joiner.take(events(&[8, 8]), false).as_ref(), &[8, 8]);
    }

    /// A server that shows more than was asked for must not make a change happen twice.
    #[test]
    fn what_was_told_is_not_told_again() {
        let mut joiner = Joiner::new(7);
        told(joiner.take(events(&[7, 8]), false).as_ref(), &[7, 8]);
        told(joiner.take(events(&[7, 8, 9]), false).as_ref(), &[9]);
        told(joiner.take(events(&[9]), false).as_ref(), &[]);
    }

    /// A resumption from too far back costs a list; one from too far ahead costs changes.
    #[test]
    fn progress_moves_the_resumption_unless_a_revision_is_half_told() {
        let mut joiner = Joiner::new(7);
        assert!(joiner.progress(7));
        assert!(!joiner.progress(7));
        assert!(!joiner.progress(3));
        told(joiner.take(events(&[8]), true).as_ref(), &[]);
        assert!(!joiner.progress(9));
        assert_eq!(joiner.next(), 8);
    }
}
