//! The end of a job: its runs are stopped, then all its keys go, the job's own last.
//!
//! The order matters: while the job's key is there, nobody can make another of its name, so nothing
//! of the old one can be taken for a part of the new one.

use super::Leader;
use super::flights::Flight;
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror};
use crate::record::{JobRecord, Progress, Reason, TaskWait};
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, UnixMs};

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
        _now: UnixMs,
    ) {
        let memory = self.jobs.get_mut(key).expect("it is looked at");
        if !memory.is_still() {
            return;
        }
        memory.stop(Reason::Stopped, job);
        self.stop_runs(mirror, key, job);
        let runs = job.tasks.values().any(|it| matches!(it.value.wait, TaskWait::Bound { .. }));
        let mut parts = parts(key, job);
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
        if runs || !job.tasks.is_empty() || !job.marks.is_empty() || !job.pasts.is_empty() {
            return;
        }
        let path = self.keys.path(&Key::Job(key.clone()));
        let mut txn = Txn::new()
            .when(self.office.fence())
            .when(Compare::Made(path.clone(), record.made))
            .delete(path)
            .delete(self.keys.path(&lock));
        if let Some((template, changed)) = self.last_user_of(mirror, job) {
            // Another job that begins with it writes it once more, and then it stays.
            txn = txn.when(Compare::Changed(template.clone(), changed)).delete(template);
        }
        self.send(txn, Flight::of(lock));
    }

    /// The job's template, if nobody else's tasks are made of it, and when it was last written.
    fn last_user_of(&self, mirror: &Mirror, job: &Job) -> Option<(String, i64)> {
        let Progress::Job { spec, .. } = &job.state.as_ref()?.value.progress else { return None };
        let template = mirror.spec(spec)?;
        let path = self.keys.path(&Key::Spec(spec.clone()));
        (mirror.users_of(spec) == 1).then_some((path, template.changed))
    }
}

/// Keys of a job that can go before it: everything but what runs.
fn parts(key: &JobKey, job: &Job) -> Vec<Key> {
    let due = job.tasks.iter().filter(|(_, it)| matches!(it.value.wait, TaskWait::Due { .. }));
    let tasks = due.map(|(index, _)| Key::Task(key.task(*index)));
    let pasts = job.pasts.keys().map(|index| Key::Past(key.task(*index)));
    let marks = job.marks.keys().map(|chunk| Key::Marks(key.clone(), *chunk));
    tasks.chain(pasts).chain(marks).take(REMOVED_MAX * 2).collect()
}
