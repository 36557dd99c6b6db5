//! Every change of the store since the scene began, and what must never be among them.

use std::collections::BTreeMap;

use mason::store::{self, Feed};
use mason_core::keys::{Key, Keys};
use mason_core::mirror::{Change, Mirror};
use mason_core::record::{Mark, ResultRecord, RunPhase};
use mason_core::types::{JobKey, NodeId, RunId, TaskKey};

/// What the store shows, and has shown.
pub(crate) struct Ledger {
    /// What it shows now.
    pub(crate) mirror: Mirror,
    /// How each run ended, though its job may be gone.
    pub(crate) results: BTreeMap<RunId, ResultRecord>,
    /// Where each run was, and of which task it is.
    pub(crate) runs: BTreeMap<RunId, (NodeId, TaskKey)>,
    marks: BTreeMap<TaskKey, Mark>,
    phases: BTreeMap<RunId, RunPhase>,
    candidates: BTreeMap<String, String>,
}

impl Ledger {
    pub(crate) fn new(keys: Keys) -> Ledger {
        Ledger {
            mirror: Mirror::new(keys),
            results: BTreeMap::new(),
            runs: BTreeMap::new(),
            marks: BTreeMap::new(),
            phases: BTreeMap::new(),
            candidates: BTreeMap::new(),
        }
    }

    pub(crate) fn hear(&mut self, feed: Feed) {
        match feed {
            Feed::Reset(revision, all) => {
                assert_eq!(self.mirror.revision(), 0, "nobody compacts this store");
                let all: Vec<Change> = all.into_iter().map(put).collect();
                self.mirror.reset(revision, &all);
            }
            Feed::Batch(revision, changes) => {
                let changes: Vec<Change> = changes
                    .into_iter()
                    .map(|change| match change {
                        store::Change::Put(kv) => put(kv),
                        store::Change::Delete { key, at } => {
                            Change { path: key, value: None, made: 0, changed: at }
                        }
                    })
                    .collect();
                for change in &changes {
                    if let Some(key) = self.mirror.apply(change) {
                        self.look(&key, change);
                    }
                }
                self.mirror.advance(revision);
            }
        }
        assert!(self.mirror.bad().is_empty(), "{:?}", self.mirror.bad());
    }

    fn look(&mut self, key: &Key, change: &Change) {
        if let Key::Lead(_) = key {
            match &change.value {
                Some(name) => {
                    let name = String::from_utf8(name.clone()).unwrap();
                    self.candidates.insert(change.path.clone(), name);
                }
                None => drop(self.candidates.remove(&change.path)),
            }
        }
        if change.value.is_none() {
            return;
        }
        match key {
            Key::Run(node, run) => {
                let (_, entry) = self.mirror.run(run).unwrap().record.as_ref().unwrap();
                let at = (node.clone(), entry.value.task.clone());
                let before = self.runs.insert(run.clone(), at.clone());
                assert!(before.is_none_or(|before| before == at), "{run} moves");
            }
            Key::Seen(_, run) => {
                let seen = self.mirror.run(run).unwrap().seen.as_ref().unwrap();
                let before = self.phases.insert(run.clone(), seen.value.phase);
                assert!(before <= Some(seen.value.phase), "{run} goes back from {before:?}");
            }
            Key::Result(run) => {
                assert_eq!(change.made, change.changed, "the result of {run} is written once");
                let result = self.mirror.run(run).unwrap().result.as_ref().unwrap();
                let before = self.results.insert(run.clone(), result.value.clone());
                assert!(before.is_none(), "{run} ends twice: {before:?}, {result:?}");
            }
            Key::Marks(job, _) => {
                // Jobs here are small.
                for index in 0..100 {
                    let mark = self.mirror.job(job).unwrap().mark(index);
                    if mark != Mark::None {
                        let before = self.marks.insert(job.task(index), mark);
                        let same = before.is_none_or(|before| before == mark);
                        assert!(same, "task {index} of {job} ends twice: {before:?}, {mark:?}");
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a server of such a name stands for leader, or leads.
    pub(crate) fn stands(&self, named: impl Fn(&str) -> bool) -> bool {
        self.candidates.values().any(|name| named(name))
    }

    /// At most one result of a task is one that it was for.
    pub(crate) fn check(&self) {
        let mut done: BTreeMap<&TaskKey, &RunId> = BTreeMap::new();
        for (run, result) in self.results.iter().filter(|(_, it)| it.exit.is_success()) {
            let other = done.insert(&result.task, run);
            assert!(other.is_none(), "{} is done by {run} and {other:?}", result.task);
        }
    }

    /// Forgets the marks of a job that is gone: another may take its name.
    pub(crate) fn forget(&mut self, job: &JobKey) {
        self.marks.retain(|task, _| task.job != *job);
    }
}

fn put(kv: store::KeyValue) -> Change {
    let store::KeyValue { key, value, made, changed, .. } = kv;
    Change { path: key, value: Some(value.to_vec()), made, changed }
}
