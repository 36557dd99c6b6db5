//! Services: what [`control::service`](crate::control::service) wishes, done one thing after
//! another.
//!
//! The controller's progress is written first; what it wishes for each place is done when that is
//! in the copy. Called again on the same sight it wishes the same, so a leader that dies in between
//! loses nothing.
//!
//! ```text
//!   sight ─► step ─┬─ other progress ──► state            (then look again)
//!                  └─ the same ─┬─ stop  ─► wish, or remove the place
//!                               ├─ start ─► bind, in a new place or one that is due
//!                               └─ ended ─► another attempt due, or the place is gone
//! ```

use std::collections::BTreeMap;

use super::flights::Flight;
use super::jobs::{bound_run, longest_pause, spec_hash};
use super::makers::next_state;
use super::{Leader, Rank};
use crate::control::service::{
    self, Act, ServiceProgress, ServiceStep, SlotSeen, SlotState, Start, Wanted,
};
use crate::keys::Key;
use crate::mirror::{Entry, Job, Mirror, Run};
use crate::protocol::{self, Next};
use crate::record::{
    self, JobRecord, Phase, Progress, Reason, RunPhase, RunRecord, StateRecord, TaskRecord,
    TaskWait, Wish,
};
use crate::spec::{Service, Work};
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, RunId, SpecHash, UnixMs};

/// A service, as one looks at it.
struct Sight<'a> {
    key: &'a JobKey,
    job: &'a Job,
    record: &'a Entry<JobRecord>,
    service: &'a Service,
}

impl Leader {
    pub(super) fn look_at_service(
        &mut self,
        mirror: &Mirror,
        (key, job): (&JobKey, &Job),
        record: &Entry<JobRecord>,
        service: &Service,
        now: UnixMs,
    ) {
        let sight = Sight { key, job, record, service };
        let Some(state) = &job.state else {
            let empty = ServiceStep {
                progress: ServiceProgress::default(),
                desired: Vec::new(),
                phase: Phase::Active,
                conditions: Vec::new(),
                message: String::new(),
                wake_at: None,
            };
            self.write_service(mirror, &sight, None, &empty, now);
            return;
        };
        let read = ServiceProgress::read;
        let Some(progress) = self.progress_of((key, job), record, read) else { return };
        let wanted = wanted(&record.value, service);
        let heard = &mut self.jobs.get_mut(key).expect("it is looked at").heard;
        let slots = slots(mirror, (key, job), heard, now);
        let salt = record.value.created_at;
        let step = service::step(service, &wanted, &progress, &slots, now, salt);
        let same = step.progress == progress
            && step.phase == state.value.phase
            && step.conditions == state.value.conditions
            && step.message == state.value.message
            && state.value.generation == record.value.generation;
        if !same {
            self.write_service(mirror, &sight, Some(state), &step, now);
            return;
        }
        if let Some(at) = step.wake_at {
            self.set_alarm_after(at, now, key);
        }
        self.carry_out(mirror, &sight, &step, now);
    }

    /// Notes how far it is, with the templates that it came to need and without those that it does
    /// not any more.
    fn write_service(
        &mut self,
        mirror: &Mirror,
        sight: &Sight<'_>,
        state: Option<&Entry<StateRecord>>,
        step: &ServiceStep,
        now: UnixMs,
    ) {
        let Sight { key, record, service, .. } = *sight;
        let progress = Progress::Service(step.progress.write());
        let mut new = next_state(&record.value, state, step.phase, &step.message, progress, now);
        new.conditions.clone_from(&step.conditions);
        let changed = state.map_or(0, |it| it.changed);
        let mut txn = self.state_txn(key, record.made, changed, &new);
        let old = state.map_or_else(Vec::new, |it| it.value.progress.specs());
        let needed = new.progress.specs();
        let hash = spec_hash(&service.task);
        if needed.contains(&hash) && !old.contains(&hash) {
            let template = self.keys.path(&Key::Spec(hash));
            txn = txn.put(template, record::encode(&service.task));
        }
        for gone in old.iter().filter(|hash| !needed.contains(hash)) {
            let Some(template) = mirror.spec(gone).filter(|_| mirror.users_of(gone) == 1) else {
                continue;
            };
            let path = self.keys.path(&Key::Spec(gone.clone()));
            txn = txn.when(Compare::Changed(path.clone(), template.changed)).delete(path);
        }
        self.send(txn, Flight::of(Key::State(key.clone())));
    }

    fn carry_out(&mut self, mirror: &Mirror, sight: &Sight<'_>, step: &ServiceStep, now: UnixMs) {
        let Sight { key, job, record, service } = *sight;
        let mut starts = BTreeMap::new();
        for wish in &step.desired {
            if !self.has_wings() {
                self.dirty.insert(key.clone());
                return;
            }
            match &wish.act {
                Act::Keep => {
                    // One that is due waits for its time, then for a place.
                    let due = job.tasks.get(&wish.index).and_then(due_start);
                    starts.extend(due.map(|start| (wish.index, start)));
                }
                Act::Stop(why) => self.stop_place(mirror, sight, wish.index, *why),
                Act::Start(start) => {
                    if !self.end_place(mirror, sight, wish.index, Some(start)) {
                        starts.insert(wish.index, start.clone());
                    }
                }
            }
        }
        // Only a clock that was set makes one wait longer.
        let latest = now.saturating_add(longest_pause(&service.restart));
        let memory = self.jobs.get(key).expect("it is looked at");
        for (index, start) in &mut starts {
            let known = memory.starts.get(index).filter(|it| it.attempt == start.attempt);
            let known = known.map_or(latest, |it| it.not_before);
            start.not_before = start.not_before.min(latest).min(known);
        }
        let next = starts.values().map(|start| start.not_before).filter(|at| *at > now).min();
        if let Some(at) = next {
            self.set_alarm(at, key);
        }
        let memory = self.jobs.get_mut(key).expect("it is looked at");
        memory.starts = starts;
        if !memory.starts.is_empty() {
            let rank = Rank {
                order: -i64::from(service.priority),
                created_at: record.value.created_at,
                job: key.clone(),
            };
            self.queue_up(rank);
        }
        debug_assert!(job.marks.is_empty(), "replicas leave no marks");
    }

    /// Tells a place's run to end; removes the place if it has none.
    fn stop_place(&mut self, mirror: &Mirror, sight: &Sight<'_>, index: u32, why: Reason) {
        let Sight { key, job, .. } = *sight;
        if self.end_place(mirror, sight, index, None) {
            return;
        }
        let Some(task) = job.tasks.get(&index) else { return };
        let lock = Key::Task(key.task(index));
        if !self.flights.is_free(&lock) {
            return;
        }
        if matches!(task.value.wait, TaskWait::Due { .. }) {
            let path = self.keys.path(&lock);
            let txn = Txn::new()
                .when(self.office.fence())
                .when(Compare::Changed(path.clone(), task.changed))
                .delete(path);
            self.send(txn, Flight::of(lock));
            return;
        }
        let Some((bound, run)) = bound_run(mirror, key, job, index) else { return };
        let lock = Key::Run(bound.node.clone(), bound.run.clone());
        if run.wish == Wish::Run && self.flights.is_free(&lock) {
            let told = RunRecord { wish: Wish::Stop { grace: None, why }, ..run.clone() };
            let txn = protocol::wish(&self.keys, &self.office, &bound, &told);
            self.send(txn, Flight::of(lock));
        }
    }

    /// If a place's run is over, takes its result to account: another attempt is due, or the place
    /// is gone. Says whether it is, or is under way.
    fn end_place(
        &mut self,
        mirror: &Mirror,
        sight: &Sight<'_>,
        index: u32,
        start: Option<&Start>,
    ) -> bool {
        let Sight { key, job, .. } = *sight;
        let Some((bound, _)) = bound_run(mirror, key, job, index) else { return false };
        let result = mirror.run(&bound.run).and_then(|run| run.result.as_ref());
        let Some(result) = result else { return false };
        let locks =
            vec![Key::Task(bound.task.clone()), Key::Run(bound.node.clone(), bound.run.clone())];
        if locks.iter().any(|lock| !self.flights.is_free(lock)) {
            return true;
        }
        let task = &job.tasks[&index].value;
        let next = start.map_or(Next::Gone, |start| {
            let Start { spec, revision, attempt, counted, not_before } = start.clone();
            let mut last = super::finishing::past(&bound, task, &result.value.exit);
            last.exit.outputs.clear();
            Next::Again(TaskRecord {
                uid: task.uid.clone(),
                attempt,
                counted,
                spec,
                revision,
                wait: TaskWait::Due { not_before },
                memory: None,
                last: Some(last),
            })
        });
        let txn = protocol::done(&self.keys, &self.office, &bound, result.made, &next);
        self.send(txn, Flight { locks, binds: Vec::new() });
        true
    }
}

/// Replicas that shall be and have no key yet, with what they are made of: those of a service that
/// was just made or grows, and one more than it wants during an update. All that the leader looks
/// for a place for, besides tasks that are due.
pub fn new_places(mirror: &Mirror, key: &JobKey, now: UnixMs) -> Vec<(u32, SpecHash)> {
    let Some(job) = mirror.job(key) else { return Vec::new() };
    let (Some(record), Some(state)) = (&job.record, &job.state) else { return Vec::new() };
    let (Work::Service(service), Progress::Service(progress)) =
        (&record.value.work, &state.value.progress)
    else {
        return Vec::new();
    };
    let Ok(progress) = ServiceProgress::read(progress) else { return Vec::new() };
    let wanted = wanted(&record.value, service);
    let slots = slots(mirror, (key, job), &mut Heard::new(), now);
    let step = service::step(service, &wanted, &progress, &slots, now, record.value.created_at);
    let new = step.desired.into_iter().filter_map(|wish| match wish.act {
        Act::Start(start) if !job.tasks.contains_key(&wish.index) => Some((wish.index, start.spec)),
        _ => None,
    });
    new.collect()
}

fn wanted(record: &JobRecord, service: &Service) -> Wanted {
    Wanted {
        generation: record.generation,
        spec: spec_hash(&service.task),
        restarts: record.restarts,
        rollback_to: record.rollback_to,
    }
}

/// What a place that is due waits for.
fn due_start(entry: &Entry<TaskRecord>) -> Option<Start> {
    let task = &entry.value;
    let TaskWait::Due { not_before } = task.wait else { return None };
    let (spec, revision) = (task.spec.clone(), task.revision);
    Some(Start { spec, revision, attempt: task.attempt, counted: task.counted, not_before })
}

/// When the leader heard that a run is ready, and that it is over, by its own clock: an agent's may
/// be an hour off, and an hour is long for a replica that waits.
pub(super) type Heard = BTreeMap<RunId, (Option<UnixMs>, Option<UnixMs>)>;

/// All places of a service.
fn slots(
    mirror: &Mirror,
    (key, job): (&JobKey, &Job),
    heard: &mut Heard,
    now: UnixMs,
) -> Vec<SlotSeen> {
    let mut still = Heard::new();
    let slots = job.tasks.iter().map(|(&index, entry)| {
        let task = &entry.value;
        let state = match bound_run(mirror, key, job, index) {
            None => SlotState::Due,
            Some((bound, record)) => {
                let times = still.entry(bound.run.clone()).or_default();
                *times = heard.get(&bound.run).copied().unwrap_or_default();
                state_of(mirror.run(&bound.run), record, times, now)
            }
        };
        SlotSeen {
            index,
            spec: task.spec.clone(),
            revision: task.revision,
            attempt: task.attempt,
            counted: task.counted,
            state,
        }
    });
    let slots = slots.collect();
    *heard = still;
    slots
}

fn state_of(
    run: Option<&Run>,
    record: &RunRecord,
    (ready_at, over_at): &mut (Option<UnixMs>, Option<UnixMs>),
    now: UnixMs,
) -> SlotState {
    let Some(run) = run else { return SlotState::Bound };
    if let Some(result) = &run.result {
        let over = *over_at.get_or_insert(now);
        let mut exit = result.value.exit.clone();
        let lasted = exit.started_at.map(|at| exit.finished_at.saturating_sub(at));
        exit.started_at = lasted.map(|lasted| over.saturating_sub(lasted));
        exit.finished_at = over;
        return SlotState::Ended(exit);
    }
    if record.wish != Wish::Run {
        return SlotState::Stopping;
    }
    match &run.seen {
        Some(seen) if seen.value.phase == RunPhase::Running => {
            *ready_at = seen.value.ready.then(|| ready_at.unwrap_or(now).min(now));
            let started_at = seen.value.started_at.unwrap_or(seen.value.since).min(now);
            SlotState::Running { started_at, ready_since: *ready_at }
        }
        Some(seen) if seen.value.phase == RunPhase::Stopping => SlotState::Stopping,
        _ => SlotState::Bound,
    }
}

impl Progress {
    /// The templates that its tasks are, or may be, made of.
    pub fn specs(&self) -> Vec<SpecHash> {
        let mut specs = match self {
            Progress::Job { spec, .. } => vec![spec.clone()],
            Progress::Service(value) => {
                let progress = ServiceProgress::read(value).unwrap_or_default();
                progress.revisions.into_iter().map(|it| it.spec).collect()
            }
            Progress::Cron(_) | Progress::Workflow(_) => Vec::new(),
        };
        specs.sort();
        specs.dedup();
        specs
    }
}
