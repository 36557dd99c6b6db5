//! What must hold of each transaction that a leader decides on, by what it knew then: its own copy
//! of the store. Looked at from the store alone, much of it is always excused: the leader may not
//! have heard.

use mason_core::keys::Key;
use mason_core::mirror::{Job, Mirror};
use mason_core::record::{
    self, JobRecord, Mark, Phase, Reason, RunRecord, StateRecord, TaskRecord, TaskWait, Wish,
};
use mason_core::spec::{self, Dependency, DependencyMode, DependencyWhen, Work};
use mason_core::txn::{Op, Txn};
use mason_core::types::{JobKey, NodeId, RunId, TaskKey, UnixMs};

use super::nodes::is_closed;

/// Looks at one.
///
/// # Panics
/// If a leader that knows this much should not do that.
pub fn look_at_order(mirror: &Mirror, txn: &Txn, wall: UnixMs) {
    for op in &txn.then {
        let Op::Put { key, value, .. } = op else { continue };
        match mirror.keys().parse(key) {
            Some(Key::Run(node, run)) => {
                let new: RunRecord = record::decode(key, value).expect("runs read");
                match mirror.run(&run).and_then(|it| it.record.as_ref()) {
                    None => look_at_bind(mirror, (&node, &run), &new),
                    Some((_, old)) if old.value.wish == Wish::Run => {
                        look_at_stop(mirror, (&node, &run), &new);
                    }
                    Some(_) => {}
                }
            }
            Some(Key::State(job)) => {
                let new: StateRecord = record::decode(key, value).expect("states read");
                look_at_phase(mirror, &job, &new);
            }
            Some(Key::Task(task)) => {
                let new: TaskRecord = record::decode(key, value).expect("tasks read");
                look_at_pause(mirror, &task, &new, wall);
            }
            _ => {}
        }
    }
}

/// A run is bound where it may go, and its job may have one.
fn look_at_bind(mirror: &Mirror, (node, run): (&NodeId, &RunId), new: &RunRecord) {
    let record = mirror.node(node).and_then(|it| it.record.as_ref());
    let is_closed = record.is_some_and(|it| is_closed(&it.value));
    assert!(!is_closed, "N1: {run} is bound to {node}, which takes none");
    let TaskKey { job: key, index } = &new.task;
    let Some(job) = mirror.job(key) else { panic!("J1: {run} is bound, and {key} is not there") };
    let Some(record) = &job.record else { panic!("J1: {run} is bound, and {key} is gone") };
    let phase = job.state.as_ref().map(|it| it.value.phase);
    let goes_on = phase == Some(Phase::Active) && !record.value.deleted;
    assert!(goes_on, "J1: {run} is bound, and {key} is {phase:?}, or goes");
    let Work::Job(spec) = &record.value.work else { return };
    assert!(!spec.suspend, "J1: {run} is bound, and {key} is suspended");
    for on in spec.depends_on.iter().filter(|it| it.mode == DependencyMode::Index) {
        let is_open = may_begin(mirror, key, on, |job| end_at(job, *index));
        assert!(is_open, "J2: {run} of {} begins before {on:?}", new.task);
    }
}

/// A run is told to stop for a reason that is there.
fn look_at_stop(mirror: &Mirror, (node, run): (&NodeId, &RunId), new: &RunRecord) {
    let Wish::Stop { why, .. } = new.wish else { return };
    let node = mirror.node(node).and_then(|it| it.record.as_ref()).map(|it| &it.value);
    let drain = node.and_then(|it| it.drain);
    let record = mirror.job(&new.task.job).and_then(|it| it.record.as_ref());
    let is_service = record.is_some_and(|it| matches!(it.value.work, Work::Service(_)));
    let is_so = match why {
        Reason::Interrupted => drain.is_some_and(|it| it.interrupted),
        Reason::Drained => node.is_some_and(is_closed) && drain.is_none_or(|it| !it.interrupted),
        Reason::Stopped => true,
        Reason::Replaced => is_service,
        _ => false,
    };
    assert!(is_so, "N4: {run} shall stop, {why:?}, and that is not so");
}

/// A job begins when all that it waits for has ended as it should.
fn look_at_phase(mirror: &Mirror, key: &JobKey, new: &StateRecord) {
    let Some(job) = mirror.job(key) else { return };
    let Some(Work::Job(spec)) = job.record.as_ref().map(|it| &it.value.work) else { return };
    let was_active = job.state.as_ref().is_some_and(|it| it.value.phase == Phase::Active);
    let counts = job.counts;
    let has_begun = counts.succeeded + counts.failed + counts.cancelled > 0;
    if new.phase != Phase::Active || was_active || has_begun || !job.tasks.is_empty() {
        return;
    }
    for on in spec.depends_on.iter().filter(|it| it.mode == DependencyMode::Whole) {
        let is_open = may_begin(mirror, key, on, |job| {
            let phase = job.state.as_ref()?.value.phase;
            phase.is_final().then_some(match phase {
                Phase::Succeeded => Mark::Succeeded,
                Phase::Failed => Mark::Failed,
                _ => Mark::Cancelled,
            })
        });
        assert!(is_open, "J2: {key} begins before {on:?}");
    }
}

/// Whether what is waited for has ended as it should; it may also be on its way out.
fn may_begin(
    mirror: &Mirror,
    key: &JobKey,
    on: &Dependency,
    end: impl FnOnce(&Job) -> Option<Mark>,
) -> bool {
    let Some(job) = mirror.job(&JobKey::new(&key.namespace, &on.job)) else { return true };
    let is_there = |it: &JobRecord| !it.deleted;
    if !job.record.as_ref().is_some_and(|it| is_there(&it.value)) {
        return true;
    }
    match on.when {
        DependencyWhen::Succeeded => end(job) == Some(Mark::Succeeded),
        DependencyWhen::Failed => end(job) == Some(Mark::Failed),
        DependencyWhen::Finished => end(job).is_some(),
    }
}

/// How a task ended, or that it never will begin.
fn end_at(job: &Job, index: u32) -> Option<Mark> {
    let is_over = job.state.as_ref().is_some_and(|it| it.value.phase.is_final());
    match job.mark(index) {
        Mark::None => is_over.then_some(Mark::Cancelled),
        mark => Some(mark),
    }
}

/// After an attempt that counts there is a pause.
fn look_at_pause(mirror: &Mirror, key: &TaskKey, new: &TaskRecord, wall: UnixMs) {
    let TaskWait::Due { not_before } = new.wait else { return };
    let record = mirror.job(&key.job).and_then(|job| job.record.as_ref());
    let Some(Work::Job(spec::Job { retry, .. })) = record.map(|it| &it.value.work) else { return };
    let old = mirror.job(&key.job).and_then(|job| job.tasks.get(&key.index));
    if old.is_some_and(|old| old.value.counted < new.counted) {
        let least = retry.backoff.initial / 2;
        assert!(not_before >= wall + least, "J4: {key} is due at once, {not_before} at {wall}");
    }
}
