//! Workflows: each leaf that [`control::workflow`](crate::control::workflow) wishes for becomes a
//! job, in one transaction with the note that it was made.
//!
//! ```text
//!   sight ─► step ─┬─ stop   ─► the job's record says that it shall end; the job stays, and what
//!                  │            it told
//!                  └─ create ─► job, job, … and state, all or none      (then look again)
//!
//!   failed ── tried again ─► jobs that did not do well go ─► state: active
//!   ended  ── its time is over ─► deleted ─► its jobs go ─► it goes
//! ```
//!
//! A job is made at most once, for its key must be absent and the progress that does not know of it
//! unchanged; and never forgotten, for the same transaction notes it. It is kept until the workflow
//! goes: what it printed is what conditions and values are made of, at every look.

use super::Leader;
use super::flights::Flight;
use super::makers::{child_record, next_state};
use crate::control::workflow::{
    self, ChildJob, ChildSeen, NodeSeen, TaskSeen, Who, WorkflowProgress, WorkflowStep,
};
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror};
use crate::record::{self, Ending, JobRecord, Phase, Progress, StateRecord, TaskWait};
use crate::spec::{Work, Workflow};
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, Ms, UnixMs};

/// So many bytes of jobs are made by one transaction at most: etcd takes 1.5 MiB.
const CREATE_BYTES_MAX: usize = 1 << 20;

/// How long until it looks again whether a job that is in the way is gone.
const IN_THE_WAY: Ms = 5_000;

/// A workflow, as one looks at it.
#[derive(Clone, Copy)]
struct Sight<'a> {
    key: &'a JobKey,
    record: &'a Entry<JobRecord>,
    state: Option<&'a Entry<StateRecord>>,
    spec: &'a Workflow,
}

impl Leader {
    pub(super) fn look_at_workflow(
        &mut self,
        mirror: &Mirror,
        (key, job): (&JobKey, &Job),
        record: &Entry<JobRecord>,
        spec: &Workflow,
        now: UnixMs,
    ) {
        let read = WorkflowProgress::read;
        let Some(mut progress) = self.progress_of((key, job), record, read) else { return };
        let sight = Sight { key, record, state: job.state.as_ref(), spec };
        if let Some(state) = sight.state.filter(|it| it.value.phase.is_final()) {
            self.after_workflow(mirror, &sight, state, &progress, now);
            return;
        }
        workflow::obey(&mut progress, &record.value.asks);
        let children = children(mirror, key);
        let step = workflow::step(spec, who(key, record), &progress, &children, now);
        for name in &step.stop {
            self.tell_child(mirror, key, name, |child| child.asks.end = Some(Ending::Stop));
        }
        if let Some(at) = step.wake_at {
            self.set_alarm_after(at, now, key);
        }
        if self.has_wings() {
            self.write_workflow(mirror, &sight, step, now);
        } else {
            self.look_at(key);
        }
    }

    /// Notes how far it is, and makes its jobs.
    fn write_workflow(
        &mut self,
        mirror: &Mirror,
        sight: &Sight<'_>,
        mut step: WorkflowStep,
        now: UnixMs,
    ) {
        let Sight { key, record, state, .. } = *sight;
        let (made, in_the_way) = self.choose(mirror, sight, &mut step, now);
        if let Some(name) = in_the_way {
            step.message = format!("the job {name} is in the way: it is none of this workflow's");
            self.set_alarm(now.saturating_add(IN_THE_WAY), key);
        }
        let progress = Progress::Workflow(step.progress.write());
        let same = state.is_some_and(|state| {
            state.value.progress == progress
                && state.value.phase == step.phase
                && state.value.message == step.message
                && state.value.generation == record.value.generation
        });
        if same && made.is_empty() {
            return;
        }
        let new = next_state(&record.value, state, step.phase, &step.message, progress, now);
        let changed = state.map_or(0, |it| it.changed);
        let mut txn = self.state_txn(key, record.made, changed, &new);
        for (child, record) in &made {
            txn = self.put_child(txn, child, record);
        }
        self.send(txn, Flight::of(Key::State(key.clone())));
    }

    /// Which of the jobs that a step wishes for are made now; the others are as if it had not.
    /// Returns one that is in the way, too.
    fn choose(
        &self,
        mirror: &Mirror,
        sight: &Sight<'_>,
        step: &mut WorkflowStep,
        now: UnixMs,
    ) -> (Vec<(JobKey, JobRecord)>, Option<String>) {
        let Sight { key, record, .. } = *sight;
        let (mut made, mut in_the_way, mut bytes) = (Vec::new(), None, 0);
        for child in std::mem::take(&mut step.create) {
            let name = JobKey::new(&key.namespace, &child.name);
            let new = record_of(key, &record.value, &step.progress, &child, now);
            bytes += record::encode(&new).len();
            let is_there = mirror.job(&name).is_some_and(|it| it.record.is_some());
            if is_there || bytes > CREATE_BYTES_MAX {
                step.progress.was_not_made(&child);
                in_the_way = in_the_way.or(is_there.then_some(child.name));
            } else {
                made.push((name, new));
            }
        }
        (made, in_the_way)
    }

    /// It is over: somebody asks to try it again, or its time has come to be forgotten.
    fn after_workflow(
        &mut self,
        mirror: &Mirror,
        sight: &Sight<'_>,
        state: &Entry<StateRecord>,
        progress: &WorkflowProgress,
        now: UnixMs,
    ) {
        let Sight { key, record, spec, .. } = *sight;
        let asked = record.value.retries;
        if asked > progress.retries() && state.value.phase == Phase::Failed {
            let children = children(mirror, key);
            let who = who(key, record);
            let (fresh, gone) = workflow::retry(spec, who, progress, &children, asked, now);
            for name in &gone {
                self.delete_child(mirror, key, name);
            }
            if gone.is_empty() && self.has_wings() {
                let progress = Progress::Workflow(fresh.write());
                let message = "it is tried again";
                let phase = Phase::Active;
                let new = next_state(&record.value, Some(state), phase, message, progress, now);
                let txn = self.state_txn(key, record.made, state.changed, &new);
                self.send(txn, Flight::of(Key::State(key.clone())));
            }
            return;
        }
        let ttl = match state.value.phase {
            Phase::Succeeded => spec.ttl.succeeded,
            _ => spec.ttl.failed,
        };
        match ttl.map(|ttl| state.value.since.saturating_add(ttl)) {
            Some(at) if at <= now => self.let_go(key, record),
            Some(at) => self.set_alarm(at, key),
            None => {}
        }
    }

    /// It is deleted, as if somebody had asked for that: its jobs go first.
    fn let_go(&mut self, key: &JobKey, record: &Entry<JobRecord>) {
        let lock = Key::Job(key.clone());
        if !self.flights.is_free(&lock) {
            return;
        }
        let path = self.keys.path(&lock);
        let gone = JobRecord { deleted: true, ..record.value.clone() };
        let txn = Txn::new()
            .when(self.office.fence())
            .when(Compare::Changed(path.clone(), record.changed))
            .put(path, record::encode(&gone));
        self.send(txn, Flight::of(lock));
    }
}

/// The nodes of a workflow as the copy shows them, for people; none if there is no such workflow,
/// or its progress does not read.
pub fn workflow_nodes(mirror: &Mirror, key: &JobKey, now: UnixMs) -> Option<Vec<NodeSeen>> {
    let job = mirror.job(key)?;
    let record = job.record.as_ref()?;
    let Work::Workflow(spec) = &record.value.work else { return None };
    let progress = match job.state.as_ref().map(|it| &it.value.progress) {
        Some(Progress::Workflow(value)) => WorkflowProgress::read(value).ok()?,
        _ => WorkflowProgress::default(),
    };
    Some(workflow::look(spec, who(key, record), &progress, &children(mirror, key), now))
}

fn who<'a>(key: &'a JobKey, record: &'a Entry<JobRecord>) -> Who<'a> {
    Who {
        namespace: &key.namespace,
        name: &key.name,
        uid: record.value.uid.as_str(),
        created_at: record.value.created_at,
    }
}

/// The job of a leaf. One that is made again when the whole is tried again is another.
fn record_of(
    key: &JobKey,
    record: &JobRecord,
    progress: &WorkflowProgress,
    child: &ChildJob,
    now: UnixMs,
) -> JobRecord {
    let which = format!("{}/{}", progress.retries(), child.name);
    child_record((key, record), &which, Work::Job(child.job.clone()), now)
}

/// All jobs of a workflow, as the copy shows them.
fn children(mirror: &Mirror, owner: &JobKey) -> Vec<ChildSeen> {
    let children = mirror.children_of(owner).filter_map(|key| {
        let job = mirror.job(key)?;
        let record = job.record.as_ref()?;
        let phase = job.state.as_ref().map_or(Phase::Waiting, |state| state.value.phase);
        let run = job.tasks.get(&0).and_then(|task| match &task.value.wait {
            TaskWait::Bound { run, .. } => mirror.run(run),
            TaskWait::Due { .. } => None,
        });
        let started_at = run.and_then(|run| run.seen.as_ref()?.value.started_at);
        let deleted = record.value.deleted;
        let tasks = vec![task(job)];
        Some(ChildSeen { name: key.name.to_string(), phase, deleted, started_at, tasks })
    });
    children.collect()
}

/// How far the one task of a leaf's job is.
fn task(job: &Job) -> TaskSeen {
    let node = |node: &crate::types::NodeId| Some(node.to_string());
    match (job.tasks.get(&0).map(|it| &it.value), job.pasts.get(&0).map(|it| &it.value)) {
        (Some(task), _) => {
            let last = task.last.as_ref();
            let here = match &task.wait {
                TaskWait::Bound { node: at, .. } => node(at),
                TaskWait::Due { .. } => last.and_then(|last| node(&last.node)),
            };
            TaskSeen { node: here, exit: last.map(|last| last.exit.clone()) }
        }
        (None, Some(past)) => TaskSeen { node: node(&past.node), exit: Some(past.exit.clone()) },
        (None, None) => TaskSeen::default(),
    }
}
