//! What one process tells never goes back, whatever it is asked: its own state only moves on.
//!
//! This is what holds a serializable read, which may be old, to something. A new process of a
//! member may know less at first, so each is looked at on its own.
//!
//! Only answers count. A watch may be told of a revision a moment before reads see it: etcd tells
//! watchers first and then moves its state, and promises nothing between the two.

use std::collections::BTreeMap;

use crate::history::{History, Life, Moment, Operation};
use crate::request::Revision;
use crate::violation::{Checker, Violation};

use super::shown::Shown;

/// Looks at every answer of which it is known who gave it.
pub(super) fn check(history: &History) -> (usize, Vec<Violation>) {
    let mut points: BTreeMap<Life, Vec<(Moment, Revision)>> = BTreeMap::new();
    for operation in &history.operations {
        if let (Some(life), Some(reply)) = (operation.life, operation.reply()) {
            points.entry(life).or_default().push((operation.returned, reply.revision));
        }
    }
    let shown: BTreeMap<Life, Shown> =
        points.into_iter().map(|(life, points)| (life, Shown::of(points.into_iter()))).collect();
    let (mut count, mut found) = (0, Vec::new());
    for operation in &history.operations {
        let Some((life, revision)) = told(operation) else { continue };
        count += 1;
        let known = shown[&life].before(operation.called);
        if revision < known {
            found.push(Violation::new(
                Checker::Member,
                format!(
                    "m{} (start {}) had told revision {known} before {}, and then answered {:?} \
                     at revision {revision}",
                    life.slot,
                    life.count / 2 + 1,
                    operation.called,
                    operation.request,
                ),
            ));
        }
    }
    (count, found)
}

fn told(operation: &Operation) -> Option<(Life, Revision)> {
    Some((operation.life?, operation.reply()?.revision))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, put, stale_get};
    use crate::history::Life;

    fn check(lives: [u32; 2]) -> usize {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.done(1..2, put("a", "2"));
        sample.at_revision(3..4, stale_get("a"), 3);
        sample.at_revision(5..6, stale_get("a"), 2);
        for (operation, count) in sample.history_mut().operations[2..].iter_mut().zip(lives) {
            operation.life = Some(Life { slot: 0, count });
        }
        super::check(sample.history()).1.len()
    }

    /// A member that was started again may have lost what it was not bound to keep.
    #[test]
    fn another_process_may_know_less() {
        assert_eq!(check([1, 3]), 0);
    }

    /// One process may not.
    #[test]
    fn a_process_that_goes_back_is_seen() {
        assert_eq!(check([1, 1]), 1);
    }
}
