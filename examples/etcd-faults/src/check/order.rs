//! Real time: whoever asks is told no less than anybody was shown before he asked.
//!
//! With the total order that revisions give, this is all that linearizability still demands: a
//! write is after everything that had returned when it was called, and a read sees it. That the
//! answers are those of the revisions they carry is for `reply.rs` to say.

use crate::history::{History, Operation};
use crate::request::Request;
use crate::violation::{Checker, Violation};

use super::shown::Shown;

/// Looks at every answer that must be new.
pub(super) fn check(history: &History, shown: &Shown) -> (usize, Vec<Violation>) {
    let bound = |operation: &&Operation| {
        let agreed = matches!(
            operation.request,
            Request::Grant { .. } | Request::Revoke { .. } | Request::Compact { .. }
        );
        agreed || operation.request.is_of_keys() && !operation.request.is_serializable()
    };
    let operations: Vec<&Operation> = history.operations.iter().filter(bound).collect();
    let found = operations.iter().filter_map(|operation| late(operation, shown)).collect();
    (operations.len(), found)
}

fn late(operation: &Operation, shown: &Shown) -> Option<Violation> {
    let reply = operation.reply()?;
    let known = shown.before(operation.called);
    let least = if reply.tells_change() { known + 1 } else { known };
    (reply.revision < least).then(|| {
        let text = format!(
            "revision {known} was shown before {}, when client {} called {:?}, and yet it was \
             answered at revision {} ({:?})",
            operation.called, operation.client, operation.request, reply.revision, reply.body
        );
        Violation::new(Checker::Order, text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, get, put, stale_get};

    fn check(sample: &Sample) -> usize {
        let shown = super::Shown::new(sample.history());
        super::check(sample.history(), &shown).1.len()
    }

    /// Reads may overlap writes and see either side of them.
    #[test]
    fn a_read_under_way_may_be_before_the_write_or_after() {
        let mut sample = Sample::new();
        sample.done(0..10, put("a", "1"));
        sample.at_revision(5..15, get("a"), 1);
        sample.done(6..16, get("a"));
        assert_eq!(check(&sample), 0);
    }

    /// The classic: a read after a write that does not see it.
    #[test]
    fn a_stale_read_is_seen() {
        let mut sample = Sample::new();
        sample.done(0..10, put("a", "1"));
        sample.at_revision(11..15, get("a"), 1);
        assert_eq!(check(&sample), 1);
    }

    /// What a watch showed has happened as well.
    #[test]
    fn a_read_behind_a_watch_is_seen() {
        let mut sample = Sample::new();
        sample.done(0..30, put("a", "1"));
        sample.watch_all(10);
        sample.at_revision(11..15, get("a"), 1);
        assert_eq!(check(&sample), 1);
    }

    /// A serializable read may be old; that is what it is for.
    #[test]
    fn a_serializable_read_may_be_old() {
        let mut sample = Sample::new();
        sample.done(0..10, put("a", "1"));
        sample.at_revision(11..15, stale_get("a"), 1);
        assert_eq!(check(&sample), 0);
    }

    /// A write must come after all that was known, not beside it.
    #[test]
    fn a_write_in_the_past_is_seen() {
        let mut sample = Sample::new();
        sample.done(0..10, put("a", "1"));
        sample.at_revision(11..15, put("a", "2"), 2);
        assert_eq!(check(&sample), 1);
    }
}
