//! Crons: each tick that [`control::cron`](crate::control::cron) wishes for becomes a job, in one
//! transaction with the note that the tick is dealt with.
//!
//! The child's name is made of the tick's time and its id of the cron's and that, so two leaders
//! make the same child; that it is not there yet is a comparison of the transaction.

use super::Leader;
use super::flights::Flight;
use super::jobs::hex_hash;
use crate::control::cron::{self, ChildSeen, CronProgress, CronStep};
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror};
use crate::record::{self, JobRecord, Phase, Progress, StateRecord};
use crate::spec::{Cron, CronWork, Work};
use crate::txn::Compare;
use crate::types::{JobKey, UnixMs};

impl Leader {
    pub(super) fn look_at_cron(
        &mut self,
        mirror: &Mirror,
        (key, job): (&JobKey, &Job),
        record: &Entry<JobRecord>,
        spec: &Cron,
        now: UnixMs,
    ) {
        let state = job.state.as_ref();
        let progress = match state.map(|state| &state.value.progress) {
            Some(Progress::Cron(value)) => CronProgress::read(value),
            _ => Ok(CronProgress::default()),
        };
        let step = match progress {
            Ok(progress) => {
                let children = children(mirror, key);
                cron::step(spec, record.value.created_at, &progress, &children, now)
            }
            // It stays as it is, and makes nothing: people are told by `message`.
            Err(error) => {
                let Some(state) = state else { return };
                let message = error.to_string();
                if state.value.message != message {
                    let new = StateRecord { message, ..state.value.clone() };
                    let txn = self.state_txn(key, record.made, state.changed, &new);
                    self.send(txn, Flight::of(Key::State(key.clone())));
                }
                return;
            }
        };
        for name in step.stop.iter().chain(&step.forget) {
            self.delete_child(mirror, key, name);
        }
        if let Some(at) = step.wake_at {
            self.set_alarm_after(at, now, key);
        }
        self.write_cron(mirror, key, job, record, spec, &step, now);
    }

    #[expect(clippy::too_many_arguments, reason = "a sight of a cron, and what it wishes")]
    fn write_cron(
        &mut self,
        mirror: &Mirror,
        key: &JobKey,
        job: &Job,
        record: &Entry<JobRecord>,
        spec: &Cron,
        step: &CronStep,
        now: UnixMs,
    ) {
        let state = job.state.as_ref();
        let phase = if spec.suspend { Phase::Suspended } else { Phase::Active };
        let progress = Progress::Cron(step.progress.write());
        let same = state.is_some_and(|state| {
            state.value.progress == progress
                && state.value.phase == phase
                && state.value.message == step.message
        });
        if same && step.create.is_empty() {
            return;
        }
        let since = state.filter(|it| it.value.phase == phase).map(|it| it.value.since);
        let new = StateRecord {
            uid: record.value.uid.clone(),
            generation: record.value.generation,
            phase,
            since: since.unwrap_or(now),
            message: step.message.clone(),
            conditions: Vec::new(),
            progress,
        };
        let changed = state.map_or(0, |it| it.changed);
        let mut txn = self.state_txn(key, record.made, changed, &new);
        for tick in &step.create {
            let child = JobKey::new(&key.namespace, &cron::child_name(&key.name, &tick.suffix));
            // One that is there was made by hand, or is of before a clock was set: it will do.
            if mirror.job(&child).is_some_and(|it| it.record.is_some()) {
                continue;
            }
            let path = self.keys.path(&Key::Job(child));
            let value = record::encode(&child_record(key, record, spec, &tick.suffix, now));
            txn = txn.when(Compare::Absent(path.clone())).put(path, value);
        }
        self.send(txn, Flight::of(Key::State(key.clone())));
    }

    /// A job that this one made shall go.
    pub(super) fn delete_child(&mut self, mirror: &Mirror, owner: &JobKey, name: &str) {
        let child = JobKey::new(&owner.namespace, name);
        let lock = Key::Job(child.clone());
        let entry = mirror.job(&child).and_then(|it| it.record.as_ref());
        let Some(entry) = entry.filter(|it| it.value.owner.as_ref() == Some(owner)) else { return };
        if entry.value.deleted || !self.flights.is_free(&lock) || !self.has_wings() {
            return;
        }
        let path = self.keys.path(&lock);
        let gone = JobRecord { deleted: true, ..entry.value.clone() };
        let txn = crate::txn::Txn::new()
            .when(self.office.fence())
            .when(Compare::Changed(path.clone(), entry.changed))
            .put(path, record::encode(&gone));
        self.send(txn, Flight::of(lock));
    }
}

fn children(mirror: &Mirror, owner: &JobKey) -> Vec<ChildSeen> {
    let children = mirror.children_of(owner).filter_map(|key| {
        let job = mirror.job(key)?;
        let record = job.record.as_ref()?;
        let phase = job.state.as_ref().map_or(Phase::Waiting, |state| state.value.phase);
        Some(ChildSeen { name: key.name.to_string(), phase, deleted: record.value.deleted })
    });
    children.collect()
}

fn child_record(
    key: &JobKey,
    record: &Entry<JobRecord>,
    spec: &Cron,
    suffix: &str,
    now: UnixMs,
) -> JobRecord {
    let work = match &spec.each {
        CronWork::Job(job) => Work::Job((**job).clone()),
        CronWork::Workflow(workflow) => Work::Workflow((**workflow).clone()),
    };
    JobRecord {
        uid: hex_hash(format!("{}/{suffix}", record.value.uid).as_bytes())[..32].into(),
        generation: 1,
        work,
        labels: record.value.labels.clone(),
        created_at: now,
        owner: Some(key.clone()),
        deleted: false,
        retries: 0,
        restarts: 0,
        rollback_to: None,
    }
}
