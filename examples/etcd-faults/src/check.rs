//! Whether what clients saw could have come from the store that etcd promises to be.
//!
//! # The idea
//!
//! To find *an* order of operations that explains a history is hard in general: the search is
//! exponential, and `drystone_sim::linear` is about keeping it short. etcd makes it easy. Every
//! change has a revision, every answer carries one, and members tell all events by revision, while
//! the run goes on and at the end. So the order is told, not sought, and everything can be checked
//! against it in one walk:
//!
//! ```text
//!   events of the members ──► log: what revision 2, 3, 4 … did       all members tell the same
//!                              │
//!          ┌───────────────────┼──────────────────────┬───────────────────┐
//!          ▼                   ▼                      ▼                   ▼
//!   each revision has    a model of the store   real time: nobody    watches: a part of
//!   one author; none     says at each revision  sees less than was   the log, all of it,
//!   is lost or done      what was to be         shown to anybody     in order; leases end
//!   twice                answered               before he asked      in time
//! ```
//!
//! An operation of unknown outcome needs no guess either: the log has its value or it has not. Only
//! deletions leave no value, and several lost ones may explain one revision; these are matched.
//!
//! # Where to read
//!
//! `log.rs` and `store.rs` are what the others stand on. Each checker is a function from a history
//! to violations, beside its tests, which show that it is silent about a good history and that it
//! sees each way of breaking its promise.

mod agreement;
mod author;
mod chronicle;
mod compaction;
mod lease;
mod log;
mod member;
mod order;
mod progress;
mod reply;
mod shown;
mod store;
mod watch;

#[cfg(test)]
mod sample;

use crate::history::History;
use crate::violation::Violation;

use compaction::Compactions;
use log::Log;
use shown::Shown;

/// What the checkers have found, and how much they looked at.
#[derive(Debug, Default)]
pub struct Verdict {
    /// All broken promises.
    pub violations: Vec<Violation>,
    /// Comparisons made, by what was compared.
    pub checks: Vec<(&'static str, usize)>,
}

impl Verdict {
    fn add(&mut self, what: &'static str, (count, found): (usize, Vec<Violation>)) {
        self.checks.push((what, count));
        self.violations.extend(found);
    }
}

/// Runs every checker.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let shown = Shown::new(history);
    verdict.add("answers in order of time", order::check(history, &shown));
    verdict.add("answers of one process", member::check(history));
    // Without a log there is nothing to hold the rest against; that it is missing is a violation
    // already, for the cluster did not come back.
    if !history.audits.is_empty() {
        let (events, told) = chronicle::all(history);
        verdict.add("revisions told alike", told);
        let (log, found) = Log::new(&events);
        verdict.add("revisions", (log.count(), found));
        verdict.add("members at the end", agreement::check(history, &log));
        let compactions = Compactions::new(history, &log);
        verdict.add("compactions and the past", compactions.check(history, &shown));
        verdict.add("watches overtaken", (Compactions::overtaken(history), Vec::new()));
        let (authors, found) = author::find(history, &log, &shown);
        verdict.add("authors of revisions", (authors.count(), found));
        verdict.add("answers as the model says", reply::check(history, &log));
        verdict.add("watched events", watch::check(history, &log, &compactions));
        verdict.add("progress told by watches", progress::check(history, &log));
        verdict.add("leases", lease::check(history, &authors, &shown));
    }
    verdict
}
