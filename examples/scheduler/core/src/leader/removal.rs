//! The end of a job: its runs are stopped, then all its keys go, the job's own last.
//!
//! The order matters: while the job's key is there, nobody can make another of its name, so nothing
//! of the old one can be taken for a part of the new one. What it made goes before it, too.

use super::Leader;
use super::flights::Flight;
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror};
use crate::record::{JobRecord, Reason, TaskWait};
use crate::txn::{Compare, Txn};
use crate::types::JobKey;

/// Keys that are removed by one transaction.
const REMOVED_MAX: usize = 100;

impl Leader {
    /// Brings a job nearer to its end.
    pub(super) fn remove(
        &mut self,
        mirror: &Mirror,
        key: &JobKey,
        job: &Job,
        record: &Entry<JobRecord>,
    ) {
        let memory = self.jobs.get_mut(key).expect("it is looked at");
        if !memory.is_still() {
            return;
        }
        memory.stop(Reason::Stopped, job);
        memory.starts.clear();
        if !std::mem::replace(&mut memory.is_leaving, true) {
            // Those of a service were its controller's to judge; now they are all the same.
            for run in job.tasks.values().filter_map(|it| match &it.value.wait {
                TaskWait::Bound { run, .. } => Some(run),
                TaskWait::Due { .. } => None,
            }) {
                self.heard_result(mirror, run);
            }
            // What it made is an orphan now.
            self.dirty.extend(mirror.children_of(key).cloned());
        }
        self.stop_runs(mirror, key, job);
        let memory = self.jobs.get(key).expect("it is looked at");
        let mut parts = parts(key, job, memory.due());
        parts.retain(|part| self.flights.is_free(part));
        let lock = Key::State(key.clone());
        if !self.flights.is_free(&lock) {
            return;
        }
        if !parts.is_empty() {
            parts.truncate(REMOVED_MAX);
            let mut txn = Txn::new().when(self.office.fence());
            for part in &parts {
                txn = txn.delete(self.keys.path(part));
            }
            self.send(txn, Flight { locks: parts, binds: Vec::new() });
            return;
        }
        if !job.tasks.is_empty() || !job.marks.is_empty() || !job.pasts.is_empty() {
            return;
        }
        if mirror.children_of(key).next().is_some() {
            // Looked at again when the last of them is gone.
            return;
        }
        let path = self.keys.path(&Key::Job(key.clone()));
        let mut txn = Txn::new()
            .when(self.office.fence())
            .when(Compare::Made(path.clone(), record.made))
            .delete(path)
            .delete(self.keys.path(&lock));
        let specs = job.state.as_ref().map_or_else(Vec::new, |it| it.value.progress.specs());
        for hash in specs.into_iter().filter(|hash| mirror.users_of(hash) == 1) {
            // Another job that begins with it writes it once more, and then it stays.
            let Some(template) = mirror.spec(&hash) else { continue };
            let path = self.keys.path(&Key::Spec(hash));
            txn = txn.when(Compare::Changed(path.clone(), template.changed)).delete(path);
        }
        self.send(txn, Flight::of(lock));
    }
}

/// Keys of a job that can go before it: everything but what runs.
fn parts(key: &JobKey, job: &Job, due: impl Iterator<Item = u32>) -> Vec<Key> {
    let tasks = due.map(|index| Key::Task(key.task(index)));
    let pasts = job.pasts.keys().map(|index| Key::Past(key.task(*index)));
    let marks = job.marks.keys().map(|chunk| Key::Marks(key.clone(), *chunk));
    tasks.chain(pasts).chain(marks).take(REMOVED_MAX * 2).collect()
}
