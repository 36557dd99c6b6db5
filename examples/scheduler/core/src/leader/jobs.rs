//! Jobs: what becomes of one when something about it has changed.
//!
//! ```text
//!            ┌─► waiting ─► active ─┬──────────────► succeeded
//!   no state ┤      │        ▲ │    └─► stopping ─► failed
//!            │      ▼        │ ▼           ▲
//!            │   skipped   suspended ──────┘
//! ```
//!
//! A job whose tasks wait for those of another, index by index ([`gates`](super::gates)), is active
//! meanwhile; it is skipped if in the end none of them could begin.

use sha2::{Digest as _, Sha256};

use super::flights::Flight;
use super::gates::{Gate, WALLED, gate, is_gated, waits_by_index};
use super::memory::Memory;
use super::{Leader, Rank};
use crate::keys::Key;
use crate::mirror::{self, Entry, Job, Mirror};
use crate::protocol;
use crate::record::{
    self, Counts, JobRecord, MARKS_CHUNK, Mark, Phase, Progress, Reason, RunRecord, StateRecord,
    TaskWait, Wish,
};
use crate::spec::{self, Work};
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, SpecHash, UnixMs};

/// The name of a template: the hash of its bytes.
pub fn spec_hash(task: &spec::Task) -> SpecHash {
    hex_hash(&record::encode(task)).into()
}

/// SHA-256, in hex.
pub(super) fn hex_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A cron makes a workflow, and that makes jobs: longer chains of owners are not followed.
const OWNERS_MAX: usize = 8;

impl Leader {
    pub(super) fn look_at_jobs(&mut self, mirror: &Mirror, now: UnixMs) {
        let mut todo = std::mem::take(&mut self.dirty);
        while self.has_wings()
            && let Some(key) = todo.pop_first()
        {
            self.look_at_job(mirror, &key, now);
        }
        // Those that are to be looked at once more are few; the rest may be all.
        let again = std::mem::replace(&mut self.dirty, todo);
        self.dirty.extend(again);
    }

    fn look_at_job(&mut self, mirror: &Mirror, key: &JobKey, now: UnixMs) {
        let job = mirror.job(key);
        let Some((job, record)) = job.and_then(|job| Some((job, job.record.as_ref()?))) else {
            self.forget(key);
            return;
        };
        // Looked at again when it lands.
        if !self.flights.is_free(&Key::State(key.clone())) {
            return;
        }
        self.remember(key, job, record);
        if record.value.deleted || self.is_orphan(mirror, &record.value) {
            self.remove(mirror, key, job, record);
            return;
        }
        match (&record.value.work, &job.state) {
            (Work::Job(spec), None) => self.start_job(key, record, spec, now),
            (Work::Job(spec), Some(state)) => {
                let sight = Sight { key, job, record, spec, state };
                self.advance_job(mirror, &sight, now);
            }
            (Work::Service(service), _) => {
                self.look_at_service(mirror, (key, job), record, service, now);
            }
            (Work::Cron(cron), _) => self.look_at_cron(mirror, (key, job), record, cron, now),
            (Work::Workflow(workflow), _) => {
                self.look_at_workflow(mirror, (key, job), record, workflow, now);
            }
        }
    }

    /// What made it, or made that, is gone, or about to be.
    fn is_orphan(&self, mirror: &Mirror, record: &JobRecord) -> bool {
        let mut record = record;
        for _ in 0..OWNERS_MAX {
            let Some(owner) = &record.owner else { return false };
            match mirror.job(owner).and_then(|it| it.record.as_ref()) {
                Some(owner) if !owner.value.deleted => record = &owner.value,
                _ => return true,
            }
        }
        // Nobody makes such a chain but by hand: it is left alone.
        false
    }

    /// Builds what is remembered, if it is of another job of that name or of none.
    fn remember(&mut self, key: &JobKey, job: &Job, record: &Entry<JobRecord>) {
        if self.jobs.get(key).is_some_and(|memory| memory.made == record.made) {
            return;
        }
        self.forget(key);
        let (count, gated, depends) = match &record.value.work {
            Work::Job(spec) => (spec.count, is_gated(spec), &spec.depends_on[..]),
            _ => (0, false, &[][..]),
        };
        let mut memory = Memory::new(record.made, count, gated, job);
        memory.owner.clone_from(&record.value.owner);
        memory.waits_for = depends.iter().map(|it| JobKey::new(&key.namespace, &it.job)).collect();
        memory.waits_for.sort();
        memory.waits_for.dedup();
        for on in &memory.waits_for {
            self.waiting_on.entry(on.clone()).or_default().insert(key.clone());
        }
        self.jobs.insert(key.clone(), memory);
    }

    pub(super) fn forget(&mut self, key: &JobKey) {
        let Some(memory) = self.jobs.remove(key) else { return };
        if let Some((_, Some(class))) = memory.class {
            self.places.retire(class);
        }
        if let Some(rank) = &memory.rank {
            self.queue.remove(rank);
            self.stuck.remove(rank);
        }
        for on in &memory.waits_for {
            if let Some(waiting) = self.waiting_on.get_mut(on) {
                waiting.remove(key);
                if waiting.is_empty() {
                    self.waiting_on.remove(on);
                }
            }
        }
    }

    fn start_job(
        &mut self,
        key: &JobKey,
        record: &Entry<JobRecord>,
        spec: &spec::Job,
        now: UnixMs,
    ) {
        let hash = spec_hash(&spec.task);
        let state = StateRecord {
            uid: record.value.uid.clone(),
            generation: record.value.generation,
            phase: Phase::Waiting,
            since: now,
            message: String::new(),
            conditions: Vec::new(),
            progress: Progress::Job { counts: Counts::default(), spec: hash.clone(), retries: 0 },
        };
        // Written even if it is there: whoever is about to remove it sees that it has changed.
        let template = self.keys.path(&Key::Spec(hash));
        let txn = self.state_txn(key, record.made, 0, &state);
        let txn = txn.put(template, record::encode(&spec.task));
        self.send(txn, Flight::of(Key::State(key.clone())));
    }

    /// A transaction that says how far a job is.
    pub(super) fn state_txn(
        &self,
        key: &JobKey,
        job_made: i64,
        state_changed: i64,
        state: &StateRecord,
    ) -> Txn {
        let path = self.keys.path(&Key::State(key.clone()));
        Txn::new()
            .when(self.office.fence())
            .when(Compare::Made(self.keys.path(&Key::Job(key.clone())), job_made))
            .when(Compare::Changed(path.clone(), state_changed))
            .put(path, record::encode(state))
    }

    fn advance_job(&mut self, mirror: &Mirror, sight: &Sight<'_>, now: UnixMs) {
        let Sight { key, job, record, spec, state } = *sight;
        if state.value.phase.is_final() {
            self.after_the_end(mirror, sight, now);
            return;
        }
        let gate = gate(mirror, key, spec);
        if state.value.phase == Phase::Active {
            self.open_gates(mirror, sight);
        }
        let memory = self.jobs.get(key).expect("remembered above");
        let is_over = job.tasks.is_empty() && memory.is_still();
        let (phase, mut message) = next_phase(sight, gate, is_over, now);
        if phase == Phase::Active && memory.gated {
            message = waits_by_index(mirror, key, spec);
        }
        if phase != state.value.phase || message != state.value.message {
            let is_new = phase != state.value.phase;
            let new = StateRecord {
                phase,
                since: if is_new { now } else { state.value.since },
                message,
                generation: record.value.generation,
                progress: with_counts(&state.value.progress, job.counts),
                ..state.value.clone()
            };
            let txn = self.state_txn(key, record.made, state.changed, &new);
            self.send(txn, Flight::of(Key::State(key.clone())));
            return;
        }
        self.carry_on(mirror, sight, now);
    }

    /// What a job in this phase needs.
    fn carry_on(&mut self, mirror: &Mirror, sight: &Sight<'_>, now: UnixMs) {
        let Sight { key, job, spec, state, record, .. } = *sight;
        if let Some(deadline) = spec.deadline {
            self.set_alarm_after(record.value.created_at.saturating_add(deadline), now, key);
        }
        let memory = self.jobs.get_mut(key).expect("remembered above");
        match state.value.phase {
            Phase::Active => {
                memory.go_on();
                memory.bound_due(now.saturating_add(longest_pause(&spec.retry)));
                let due = memory.next_due();
                self.cancel_walled(sight);
                self.enqueue(sight);
                if let Some(due) = due {
                    self.set_alarm_after(due, now, key);
                }
            }
            Phase::Stopping | Phase::Suspended => {
                memory.stop(Reason::Stopped, job);
                self.stop_runs(mirror, key, job);
                if state.value.phase == Phase::Stopping {
                    self.cancel_due(key, job);
                }
            }
            _ => {}
        }
    }

    pub(super) fn set_alarm_after(&mut self, at: UnixMs, now: UnixMs, key: &JobKey) {
        if at > now {
            self.set_alarm(at, key);
        }
    }

    fn enqueue(&mut self, sight: &Sight<'_>) {
        let rank = Rank {
            order: -i64::from(sight.spec.priority),
            created_at: sight.record.value.created_at,
            job: sight.key.clone(),
        };
        self.queue_up(rank);
    }

    /// Puts a job into the queue, if it is not in it, or beside it.
    pub(super) fn queue_up(&mut self, rank: Rank) {
        let memory = self.jobs.get_mut(&rank.job).expect("a job in the queue is remembered");
        if memory.rank.as_ref() != Some(&rank)
            && let Some(old) = memory.rank.replace(rank.clone())
        {
            // Its priority was changed.
            self.queue.remove(&old);
            self.stuck.remove(&old);
        }
        // For what is due by now there may be a place, though there was none for what was before.
        self.stuck.remove(&rank);
        self.queue.insert(rank);
    }

    /// Tells runs that they shall end, as many as one transaction takes.
    pub(super) fn stop_runs(&mut self, mirror: &Mirror, key: &JobKey, job: &Job) {
        let memory = self.jobs.get_mut(key).expect("remembered above");
        let Some(why) = memory.stopping else { return };
        let (mut txn, mut flight) = (Txn::new(), Flight::default());
        let mut from = 0;
        while let Some(&index) = memory.to_stop.range(from..).next() {
            from = index + 1;
            let Some((bound, run)) = bound_run(mirror, key, job, index) else {
                memory.to_stop.remove(&index);
                continue;
            };
            let lock = Key::Run(bound.node.clone(), bound.run.clone());
            if run.wish != Wish::Run {
                memory.to_stop.remove(&index);
            } else if self.flights.is_free(&lock) {
                let told = RunRecord { wish: Wish::Stop { grace: None, why }, ..run.clone() };
                txn.merge(protocol::wish(&self.keys, &self.office, &bound, &told));
                flight.locks.push(lock);
                memory.to_stop.remove(&index);
            }
            if flight.locks.len() == self.config.binds_max {
                break;
            }
        }
        let more = !memory.to_stop.is_empty();
        if !flight.locks.is_empty() {
            self.send(txn, flight);
        }
        if more {
            self.dirty.insert(key.clone());
        }
    }

    /// Tasks that wait for an attempt will have none: they are over.
    fn cancel_due(&mut self, key: &JobKey, job: &Job) {
        let memory = self.jobs.get(key).expect("remembered above");
        let Some(chunk) = memory.due().next().map(|index| index / MARKS_CHUNK) else { return };
        let lock = Key::Marks(key.clone(), chunk);
        if !self.flights.is_free(&lock) {
            return;
        }
        let mut marks = job.marks.get(&chunk).map(|it| it.value.clone()).unwrap_or_default();
        let path = self.keys.path(&lock);
        let changed = mirror::changed(job.marks.get(&chunk));
        let mut txn =
            Txn::new().when(self.office.fence()).when(Compare::Changed(path.clone(), changed));
        let mut flight = Flight::of(lock);
        for index in memory.due().take_while(|index| index / MARKS_CHUNK == chunk) {
            if flight.locks.len() >= self.config.binds_max {
                break;
            }
            let lock = Key::Task(key.task(index));
            let Some(task) = job.tasks.get(&index).filter(|_| self.flights.is_free(&lock)) else {
                continue;
            };
            let path = self.keys.path(&lock);
            txn = txn.when(Compare::Changed(path.clone(), task.changed)).delete(path);
            marks.uid = Some(task.value.uid.clone());
            marks.set(index % MARKS_CHUNK, Mark::Cancelled);
            flight.locks.push(lock);
        }
        if flight.locks.len() > 1 {
            let txn = txn.put(path, record::encode(&marks));
            self.send(txn, flight);
        }
    }

    fn after_the_end(&mut self, mirror: &Mirror, sight: &Sight<'_>, now: UnixMs) {
        let Sight { key, record, spec, state, .. } = *sight;
        let Progress::Job { retries, .. } = state.value.progress else { return };
        if record.value.retries > retries {
            self.reopen(sight, now);
            return;
        }
        let ttl = match state.value.phase {
            Phase::Succeeded => spec.ttl.succeeded,
            _ => spec.ttl.failed,
        };
        if let Some(ttl) = ttl {
            match state.value.since.saturating_add(ttl) {
                at if at <= now => self.remove(mirror, key, sight.job, record),
                at => self.set_alarm(at, key),
            }
        }
    }

    /// Somebody asked to try again what has failed: its marks go, chunk by chunk, then it is
    /// active.
    fn reopen(&mut self, sight: &Sight<'_>, now: UnixMs) {
        let Sight { key, job, record, state, .. } = *sight;
        let failed = job.marks.iter().find(|(_, marks)| has_failed(&marks.value));
        let Some((&chunk, marks)) = failed else {
            let Progress::Job { spec, .. } = &state.value.progress else { return };
            let new = StateRecord {
                phase: Phase::Waiting,
                since: now,
                message: String::new(),
                progress: Progress::Job {
                    counts: job.counts,
                    spec: spec.clone(),
                    retries: record.value.retries,
                },
                ..state.value.clone()
            };
            let txn = self.state_txn(key, record.made, state.changed, &new);
            self.forget(key);
            self.send(txn, Flight::of(Key::State(key.clone())));
            return;
        };
        let lock = Key::Marks(key.clone(), chunk);
        if self.flights.is_free(&lock) {
            let path = self.keys.path(&lock);
            let mut new = marks.value.clone();
            for place in 0..MARKS_CHUNK {
                if matches!(new.get(place), Mark::Failed | Mark::Cancelled) {
                    new.set(place, Mark::None);
                }
            }
            let txn = Txn::new()
                .when(self.office.fence())
                .when(Compare::Changed(path.clone(), marks.changed))
                .put(path, record::encode(&new));
            self.send(txn, Flight::of(lock));
        }
    }
}

/// A job, as one looks at it.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) key: &'a JobKey,
    pub(super) job: &'a Job,
    pub(super) record: &'a Entry<JobRecord>,
    pub(super) spec: &'a spec::Job,
    pub(super) state: &'a Entry<StateRecord>,
}

/// The phase that it should be in, and why.
fn next_phase(sight: &Sight<'_>, gate: Gate<'_>, is_over: bool, now: UnixMs) -> (Phase, String) {
    let Sight { job, record, spec, state, .. } = *sight;
    let phase = state.value.phase;
    let counts = job.counts;
    let ended = counts.succeeded + counts.failed + counts.cancelled;
    if phase == Phase::Stopping {
        let message = state.value.message.clone();
        return if is_over { (Phase::Failed, message) } else { (phase, message) };
    }
    let late = spec.deadline.is_some_and(|it| record.value.created_at.saturating_add(it) <= now);
    if counts.failed > spec.failures_max {
        let message = format!("{} of {} tasks failed", counts.failed, spec.count);
        return (Phase::Stopping, message);
    }
    if ended == spec.count && is_over {
        return match counts.cancelled {
            0 => (Phase::Succeeded, String::new()),
            some if some == spec.count => (Phase::Skipped, WALLED.to_owned()),
            some => {
                let count = spec.count;
                (Phase::Failed, format!("{some} of {count} tasks were cancelled: {WALLED}"))
            }
        };
    }
    if record.value.asks.end.is_some() {
        return (Phase::Stopping, "somebody stopped it".to_owned());
    }
    if late {
        return (Phase::Stopping, "it is over its deadline".to_owned());
    }
    if spec.suspend {
        return (Phase::Suspended, "somebody suspended it".to_owned());
    }
    // What it waited for is asked once: it may be forgotten by the time that this one is suspended,
    // or is tried again.
    let has_begun = ended > 0 || !job.tasks.is_empty();
    match (phase, gate) {
        (Phase::Active, _) => (phase, String::new()),
        _ if has_begun => (Phase::Active, String::new()),
        (_, Gate::Open) => (Phase::Active, String::new()),
        (_, Gate::Closed(why)) => (Phase::Waiting, why.to_string()),
        (_, Gate::Walled) => (Phase::Skipped, WALLED.to_owned()),
    }
}

/// The longest that the next attempt can be away.
pub(super) fn longest_pause(retry: &spec::Retry) -> u64 {
    let max = retry.backoff.max.max(retry.backoff.initial);
    max.saturating_mul(2)
}

fn with_counts(progress: &Progress, counts: Counts) -> Progress {
    match progress {
        Progress::Job { spec, retries, .. } => {
            Progress::Job { counts, spec: spec.clone(), retries: *retries }
        }
        other => other.clone(),
    }
}

fn has_failed(marks: &record::MarksRecord) -> bool {
    (0..MARKS_CHUNK).any(|place| matches!(marks.get(place), Mark::Failed | Mark::Cancelled))
}

/// The run that a task is bound to, with all revisions.
pub(super) fn bound_run<'a>(
    mirror: &'a Mirror,
    key: &JobKey,
    job: &Job,
    index: u32,
) -> Option<(protocol::Bound, &'a RunRecord)> {
    let task = job.tasks.get(&index)?;
    let TaskWait::Bound { node, run } = &task.value.wait else { return None };
    let (_, entry) = mirror.run(run)?.record.as_ref()?;
    let bound = protocol::Bound {
        task: key.task(index),
        task_changed: task.changed,
        node: node.clone(),
        run: run.clone(),
        run_made: entry.made,
    };
    Some((bound, &entry.value))
}
