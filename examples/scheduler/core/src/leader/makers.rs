//! What services, crons and workflows have in common: progress that is their controller's own, and,
//! of the last two, jobs that they made.
//!
//! A maker's jobs are known by `owner` in their records. They go before it does
//! ([`Leader::remove`]), so a maker never meets the jobs of an older one of its name.

use super::Leader;
use super::flights::Flight;
use super::jobs::hex_hash;
use crate::control::BadProgress;
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror};
use crate::record::{self, JobRecord, Phase, Progress, StateRecord};
use crate::spec::Work;
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, UnixMs};

impl Leader {
    /// Progress as its controller noted it; the beginning, if nothing is noted yet. None if it does
    /// not read: then it stays as it is, and people are told by `message`.
    pub(super) fn progress_of<T: Default>(
        &mut self,
        (key, job): (&JobKey, &Job),
        record: &Entry<JobRecord>,
        read: impl FnOnce(&serde_json::Value) -> Result<T, BadProgress>,
    ) -> Option<T> {
        let Some(state) = &job.state else { return Some(T::default()) };
        let value = match &state.value.progress {
            Progress::Service(value) | Progress::Cron(value) | Progress::Workflow(value) => value,
            Progress::Job { .. } => &serde_json::Value::Null,
        };
        match read(value) {
            Ok(progress) => Some(progress),
            Err(error) => {
                let message = error.to_string();
                if state.value.message != message {
                    let new = StateRecord { message, ..state.value.clone() };
                    let txn = self.state_txn(key, record.made, state.changed, &new);
                    self.send(txn, Flight::of(Key::State(key.clone())));
                }
                None
            }
        }
    }

    /// Changes the record of a job that this one made, if there is such a job.
    pub(super) fn tell_child(
        &mut self,
        mirror: &Mirror,
        owner: &JobKey,
        name: &str,
        edit: impl FnOnce(&mut JobRecord),
    ) {
        let child = JobKey::new(&owner.namespace, name);
        let lock = Key::Job(child.clone());
        let entry = mirror.job(&child).and_then(|it| it.record.as_ref());
        let Some(entry) = entry.filter(|it| it.value.owner.as_ref() == Some(owner)) else { return };
        let mut told = entry.value.clone();
        edit(&mut told);
        if told == entry.value || !self.flights.is_free(&lock) {
            return;
        }
        if !self.has_wings() {
            self.look_at(owner);
            return;
        }
        let path = self.keys.path(&lock);
        let txn = Txn::new()
            .when(self.office.fence())
            .when(Compare::Changed(path.clone(), entry.changed))
            .put(path, record::encode(&told));
        self.send(txn, Flight::of(lock));
    }

    /// A job that this one made shall go.
    pub(super) fn delete_child(&mut self, mirror: &Mirror, owner: &JobKey, name: &str) {
        self.tell_child(mirror, owner, name, |child| child.deleted = true);
    }

    /// Puts a job that this one makes into the transaction that notes it, unless it is there.
    pub(super) fn put_child(&self, txn: Txn, child: &JobKey, record: &JobRecord) -> Txn {
        let path = self.keys.path(&Key::Job(child.clone()));
        txn.when(Compare::Absent(path.clone())).put(path, record::encode(record))
    }
}

/// How far something is, in the words of its controller.
pub(super) fn next_state(
    record: &JobRecord,
    state: Option<&Entry<StateRecord>>,
    phase: Phase,
    message: &str,
    progress: Progress,
    now: UnixMs,
) -> StateRecord {
    let since = state.filter(|it| it.value.phase == phase).map(|it| it.value.since);
    StateRecord {
        uid: record.uid.clone(),
        generation: record.generation,
        phase,
        since: since.unwrap_or(now),
        message: message.to_owned(),
        conditions: Vec::new(),
        progress,
    }
}

/// A job that another makes. Its id is made of its maker's and what tells it from its siblings, so
/// two leaders make the same.
pub(super) fn child_record(
    (key, owner): (&JobKey, &JobRecord),
    which: &str,
    work: Work,
    now: UnixMs,
) -> JobRecord {
    let uid = hex_hash(format!("{}/{which}", owner.uid).as_bytes());
    JobRecord {
        labels: owner.labels.clone(),
        owner: Some(key.clone()),
        ..JobRecord::new(&uid[..32], work, now)
    }
}
