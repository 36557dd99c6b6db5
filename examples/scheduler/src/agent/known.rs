//! Which runs this node knows: what the sweep must not touch, and whose logs one can wait for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mason_core::types::{Revision, RunId};
use parking_lot::Mutex;

/// So long after its end, what is found of a run is no news: it was being removed.
const AFTERGLOW: Duration = Duration::from_secs(60);

/// Runs of this node: bound to it, or found on it.
#[derive(Debug, Default)]
pub(super) struct Known {
    runs: Mutex<BTreeMap<RunId, Entry>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// When its key was made, if the store has one.
    made: Option<Revision>,
    /// Since when nothing is left of it.
    gone: Option<Instant>,
}

impl Known {
    /// The store binds it to this node, by a key that was made then.
    pub(super) fn bound(&self, run: &RunId, made: Revision) {
        self.runs.lock().entry(run.clone()).or_default().made = Some(made);
    }

    /// It lies on this node.
    pub(super) fn found(&self, run: &RunId) {
        self.runs.lock().entry(run.clone()).or_default();
    }

    /// Nothing is left of it.
    pub(super) fn gone(&self, run: &RunId) {
        let mut runs = self.runs.lock();
        if let Some(entry) = runs.get_mut(run) {
            entry.gone = Some(Instant::now());
        }
        runs.retain(|_, entry| entry.gone.is_none_or(|at| at.elapsed() < AFTERGLOW));
    }

    /// Whether it is there, or will be.
    pub(super) fn has(&self, run: &RunId) -> bool {
        self.runs.lock().get(run).is_some_and(|entry| entry.gone.is_none())
    }

    /// Whether it is there, or was a moment ago.
    pub(super) fn had(&self, run: &RunId) -> bool {
        self.runs.lock().contains_key(run)
    }

    /// When its key was made: it grows from each run of a task to the next.
    pub(super) fn made(&self, run: &RunId) -> Option<Revision> {
        self.runs.lock().get(run)?.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sweep that takes a run for a stranger kills it.
    #[test]
    fn a_run_is_known_from_its_binding_until_after_its_end() {
        let (known, run) = (Known::default(), RunId::new(1, 2));
        assert!(!known.has(&run) && !known.had(&run));
        known.bound(&run, 7);
        assert!(known.has(&run) && known.had(&run));
        known.found(&run);
        assert_eq!(known.made(&run), Some(7));
        known.gone(&run);
        assert!(!known.has(&run) && known.had(&run));
    }
}
