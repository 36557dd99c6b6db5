//! Where all clients write down what they see, and the clock they go by.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::history::{Audit, History, Moment, Operation, Outcome, Stream};
use crate::request::Revision;

/// The history of the run that is under way.
#[derive(Debug)]
pub(crate) struct Recorder {
    began: Instant,
    history: Mutex<History>,
    counts: Mutex<BTreeMap<&'static str, Count>>,
    newest: AtomicI64,
    chronicled: AtomicI64,
    compacted: AtomicI64,
}

/// Operations of one kind, by what came of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Answered.
    pub done: u64,
    /// Certainly not done.
    pub refused: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Recorder {
    /// Begins the run.
    pub(crate) fn new() -> Recorder {
        Recorder {
            began: Instant::now(),
            history: Mutex::default(),
            counts: Mutex::default(),
            newest: AtomicI64::new(1),
            chronicled: AtomicI64::new(1),
            compacted: AtomicI64::new(1),
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Moment {
        let nanos = self.began.elapsed().as_nanos();
        Moment(u64::try_from(nanos).expect("no run takes centuries"))
    }

    /// An operation has an outcome.
    pub(crate) fn operation(&self, operation: Operation) {
        self.count(operation.request.kind(), |count| match &operation.outcome {
            Outcome::Done(_) => count.done += 1,
            Outcome::Refused(_) => count.refused += 1,
            Outcome::Unknown(_) => count.unknown += 1,
        });
        if let Some(reply) = operation.reply() {
            self.newest.fetch_max(reply.revision, Ordering::AcqRel);
        }
        self.history.lock().operations.push(operation);
    }

    /// Something was asked that is counted.
    pub(crate) fn count(&self, kind: &'static str, change: impl FnOnce(&mut Count)) {
        change(self.counts.lock().entry(kind).or_default());
    }

    /// All that happened from one revision up to another is in the chronicle.
    pub(crate) fn chronicle(&self, first: Revision, last: Revision) {
        // What comes after a hole does not count before the hole is filled.
        if first <= self.chronicled() + 1 {
            self.chronicled.fetch_max(last, Ordering::AcqRel);
        }
    }

    /// Up to here the chronicle has every revision, so nothing is lost if these are compacted.
    pub(crate) fn chronicled(&self) -> Revision {
        self.chronicled.load(Ordering::Acquire)
    }

    /// Somebody is about to ask for a compaction.
    pub(crate) fn compacting(&self, revision: Revision) {
        self.compacted.fetch_max(revision, Ordering::AcqRel);
    }

    /// What is older may have been compacted.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }

    /// A watch has ended.
    pub(crate) fn stream(&self, stream: Stream) {
        self.history.lock().streams.push(stream);
    }

    /// A member was asked at the end.
    pub(crate) fn audit(&self, audit: Audit) {
        self.history.lock().audits.push(audit);
    }

    /// The newest revision that anybody was told.
    pub(crate) fn newest(&self) -> Revision {
        self.newest.load(Ordering::Acquire)
    }

    /// Operations by kind.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.counts.lock().clone()
    }

    /// Everything, taken out.
    pub(crate) fn take(&self) -> History {
        std::mem::take(&mut *self.history.lock())
    }
}
