//! Crons: each tick that [`control::cron`](crate::control::cron) wishes for becomes a job, in one
//! transaction with the note that the tick is dealt with.
//!
//! The child's name is made of the tick's time and its id of the cron's and that, so two leaders
//! make the same child; that it is not there yet is a comparison of the transaction.

use super::Leader;
use super::flights::Flight;
use super::makers::{child_record, next_state};
use crate::control::cron::{self, ChildSeen, CronProgress, CronStep};
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror};
use crate::record::{JobRecord, Phase, Progress};
use crate::spec::{Cron, CronWork, Work};
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
        let Some(progress) = self.progress_of((key, job), record, CronProgress::read) else {
            return;
        };
        let children = children(mirror, key);
        let step = cron::step(spec, record.value.created_at, &progress, &children, now);
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
        let new = next_state(&record.value, state, phase, &step.message, progress, now);
        let changed = state.map_or(0, |it| it.changed);
        let mut txn = self.state_txn(key, record.made, changed, &new);
        for tick in &step.create {
            let child = JobKey::new(&key.namespace, &cron::child_name(&key.name, &tick.suffix));
            // One that is there was made by hand, or is of before a clock was set: it will do.
            if mirror.job(&child).is_some_and(|it| it.record.is_some()) {
                continue;
            }
            let work = match &spec.each {
                CronWork::Job(job) => Work::Job((**job).clone()),
                CronWork::Workflow(workflow) => Work::Workflow((**workflow).clone()),
            };
            let record = child_record((key, &record.value), &tick.suffix, work, now);
            txn = self.put_child(txn, &child, &record);
        }
        self.send(txn, Flight::of(Key::State(key.clone())));
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
