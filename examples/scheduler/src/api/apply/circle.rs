//! Jobs that wait for each other in a circle: none of them would ever begin.
//!
//! What a job waits for is fixed when it is made, and may be made later. So a circle is closed by
//! the apply that makes its last job, and that apply is refused.

use std::collections::{BTreeMap, BTreeSet};

use mason_core::mirror::Mirror;
use mason_core::spec::{Job, Work};
use mason_core::types::JobKey;

/// What waits for what: jobs of an apply, and behind them those that are there.
pub(super) struct Waits<'a> {
    mirror: &'a Mirror,
    own: BTreeMap<JobKey, &'a Job>,
}

impl<'a> Waits<'a> {
    pub(super) fn new(mirror: &'a Mirror, own: BTreeMap<JobKey, &'a Job>) -> Waits<'a> {
        Waits { mirror, own }
    }

    fn of(&self, key: &JobKey) -> Vec<JobKey> {
        let there = || match &self.mirror.job(key)?.record.as_ref()?.value.work {
            Work::Job(job) => Some(job),
            _ => None,
        };
        let job = self.own.get(key).copied().or_else(there);
        let waits = job.into_iter().flat_map(|job| &job.depends_on);
        waits.map(|on| JobKey::new(&key.namespace, &on.job)).collect()
    }

    /// A circle that a job of the apply is in: each waits for the next, and the last for the first.
    pub(super) fn circle(&self) -> Option<Vec<JobKey>> {
        // Those from which no circle is come to.
        let mut good = BTreeSet::new();
        for start in self.own.keys() {
            // A way through the jobs, each with what it waits for and was not looked at yet.
            let mut way = vec![(start.clone(), self.of(start))];
            while let Some((at, rest)) = way.last_mut() {
                let Some(next) = rest.pop() else {
                    good.insert(at.clone());
                    way.pop();
                    continue;
                };
                if let Some(first) = way.iter().position(|(key, _)| *key == next) {
                    return Some(way.drain(first..).map(|(key, _)| key).collect());
                }
                if !good.contains(&next) {
                    let waits = self.of(&next);
                    way.push((next, waits));
                }
            }
        }
        None
    }
}
