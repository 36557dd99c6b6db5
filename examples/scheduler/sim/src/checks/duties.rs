//! What a leader owes, once it has seen that it does: the same thing is not left undone for long
//! while the same leader is in office and is not held up.
//!
//! That everything ends in the end says little of a drain that nobody obeys, or of a deadline that
//! passes: tasks end by themselves some day.

use std::collections::BTreeMap;

use mason_core::control::workflow::{WorkflowProgress, child_name};
use mason_core::mirror::{Entry, Job, Mirror};
use mason_core::record::{JobRecord, Phase, Progress, StateRecord, TaintEffect, TaskWait, Wish};
use mason_core::spec::{self, Work};
use mason_core::types::{JobKey, NodeId, UnixMs};

/// How long something may be left undone.
const UNDONE_MAX: u64 = 10_000;
/// A leader that was not looked at for so long was held up: all begins anew.
const GAP: u64 = 3_000;
/// How often it is looked at.
const EVERY: u64 = 400;

/// What, of whom.
type Duty = (&'static str, String);

/// Who looks at one leader.
#[derive(Debug, Default)]
pub struct Duties {
    term: u64,
    last: u64,
    undone: BTreeMap<Duty, u64>,
}

impl Duties {
    /// Looks at what is undone, after the leader of this term has had its turn.
    ///
    /// # Panics
    /// If something has been for too long.
    pub fn look(&mut self, term: u64, mirror: &Mirror, (now, wall): (u64, UnixMs)) {
        if term == self.term && now < self.last + EVERY {
            return;
        }
        if term != self.term || self.last + GAP < now {
            self.undone.clear();
        }
        (self.term, self.last) = (term, now);
        let mut undone = BTreeMap::new();
        for duty in duties(mirror, wall) {
            let since = self.undone.get(&duty).copied().unwrap_or(now);
            let (what, whose) = &duty;
            assert!(now - since <= UNDONE_MAX, "{what}: {whose}, since {since}");
            undone.insert(duty, since);
        }
        self.undone = undone;
    }
}

fn duties(mirror: &Mirror, wall: UnixMs) -> Vec<Duty> {
    let mut all = Vec::new();
    for (id, node) in mirror.nodes() {
        of_node(mirror, id, node, &mut all);
    }
    for (key, job) in mirror.jobs() {
        let Some(record) = &job.record else { continue };
        of_runs(mirror, key, job, record, &mut all);
        of_job(mirror, (key, job), record, wall, &mut all);
    }
    all
}

/// Runs of a node that is silent, or shall be empty.
fn of_node(mirror: &Mirror, id: &NodeId, node: &mason_core::mirror::Node, all: &mut Vec<Duty>) {
    let record = node.record.as_ref().map(|it| &it.value);
    let throws_out = record.is_some_and(|it| {
        it.drain.is_some() || it.taints.iter().any(|it| it.effect == TaintEffect::NoExecute)
    });
    for run in &node.runs {
        let Some(it) = mirror.run(run).filter(|it| it.result.is_none()) else { continue };
        let Some((_, entry)) = &it.record else { continue };
        if node.alive.is_none() {
            all.push(("L1: a run of a silent node is not lost", format!("{run} on {id}")));
        } else if throws_out && entry.value.wish == Wish::Run {
            all.push(("L2: a run is not told that its node goes", format!("{run} on {id}")));
        }
    }
}

/// Results that are there, and runs of what has stopped.
fn of_runs(
    mirror: &Mirror,
    key: &JobKey,
    job: &Job,
    record: &Entry<JobRecord>,
    all: &mut Vec<Duty>,
) {
    let Work::Job(_) = record.value.work else { return };
    let phase = job.state.as_ref().map(|it| it.value.phase);
    let stops = record.value.deleted || matches!(phase, Some(Phase::Stopping | Phase::Suspended));
    for task in job.tasks.values() {
        let TaskWait::Bound { run, .. } = &task.value.wait else { continue };
        let Some(it) = mirror.run(run) else { continue };
        if it.result.is_some() {
            all.push(("L3: a result is not taken to account", format!("{run} of {key}")));
        } else if stops && it.record.as_ref().is_some_and(|(_, it)| it.value.wish == Wish::Run) {
            all.push(("L4: a run is not told that its job stops", format!("{run} of {key}")));
        }
    }
}

fn of_job(
    mirror: &Mirror,
    (key, job): (&JobKey, &Job),
    record: &Entry<JobRecord>,
    wall: UnixMs,
    all: &mut Vec<Duty>,
) {
    let mut owes = |what| all.push((what, key.to_string()));
    if record.value.deleted {
        if job.tasks.is_empty() && mirror.children_of(key).next().is_none() {
            owes("L5: what is deleted is still there");
        }
        return;
    }
    let Some(state) = &job.state else { return };
    let phase = state.value.phase;
    let is_final = phase.is_final();
    if let Work::Job(spec) = &record.value.work {
        let at = spec.deadline.map(|it| record.value.created_at + it);
        if at.is_some_and(|at| at <= wall) && !is_final && phase != Phase::Stopping {
            owes("L6: a job goes on after its deadline");
        }
        if spec.suspend && matches!(phase, Phase::Active | Phase::Waiting) {
            owes("L6: a job goes on though it is suspended");
        }
    }
    if is_final && is_past(&record.value.work, &state.value, wall) {
        owes("L7: what is over is not forgotten in time");
    }
    if phase == Phase::Failed && record.value.retries > retries(&state.value) {
        owes("L8: what has failed is not tried again");
    }
    if let Work::Workflow(_) = &record.value.work
        && record.value.asks.end.is_some()
        && !is_final
    {
        let exit = child_name(&key.name, "exit");
        for child in mirror.children_of(key).filter(|it| *it.name != *exit) {
            let Some(job) = mirror.job(child) else { continue };
            let is_told = |it: &JobRecord| it.deleted || it.asks.end.is_some();
            let goes_on = job.state.as_ref().is_none_or(|it| !it.value.phase.is_final());
            if goes_on && job.record.as_ref().is_some_and(|it| !is_told(&it.value)) {
                all.push(("L9: a step is not told that its workflow stops", child.to_string()));
            }
        }
    }
}

/// Whether its time has come to be forgotten.
fn is_past(work: &Work, state: &StateRecord, wall: UnixMs) -> bool {
    let spec::Ttl { succeeded, failed } = match work {
        Work::Job(job) => job.ttl,
        Work::Workflow(workflow) => workflow.ttl,
        Work::Service(_) | Work::Cron(_) => return false,
    };
    let ttl = if state.phase == Phase::Succeeded { succeeded } else { failed };
    ttl.is_some_and(|ttl| state.since + ttl <= wall)
}

/// How many wishes to try it again were obeyed.
pub(super) fn retries(state: &StateRecord) -> u32 {
    match &state.progress {
        Progress::Job { retries, .. } => *retries,
        Progress::Workflow(progress) => {
            WorkflowProgress::read(progress).expect("progress reads").retries()
        }
        Progress::Service(_) | Progress::Cron(_) => 0,
    }
}
