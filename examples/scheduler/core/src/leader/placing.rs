//! Binds: the most important job's next slot gets a place, and so on, as many as fit into flights.
//!
//! A job that finds no place steps aside ([`Leader::stuck`](super::Leader)) so that smaller ones
//! behind it are not held up, and comes back when anything about the nodes has changed.

use std::collections::BTreeSet;

use super::flights::{Binding, Flight};
use super::lanes::{self, Lanes};
use super::places::Found;
use super::{Leader, Rank};
use crate::control::service::Start;
use crate::keys::Key;
use crate::mirror::{self, Entry, Job, Mirror};
use crate::place::{Ask, ClassId};
use crate::protocol::{self, Bind};
use crate::record::{JobRecord, Phase, Progress, RunRecord, TaskRecord, TaskWait, Wish};
use crate::spec::{self, Work};
use crate::txn::{OPS_MAX, Txn};
use crate::types::{JobKey, RunId, SpecHash, UnixMs};

/// Binds that wait to be sent together.
#[derive(Default)]
struct Batch {
    txn: Txn,
    flight: Flight,
}

impl Batch {
    /// Whether another bind fits, with all that it may compare and change.
    fn has_room(&self, binds_max: usize) -> bool {
        let Txn { when, then } = &self.txn;
        self.flight.binds.len() < binds_max
            && when.len() + 4 <= OPS_MAX
            && then.len() + 2 <= OPS_MAX
    }
}

/// What became of a job's turn.
enum Turn {
    /// It has no slot that wants a place now.
    Content,
    /// There is none for it.
    Stuck,
    /// The batch is full.
    Full,
}

impl Leader {
    pub(super) fn place(&mut self, mirror: &Mirror, now: UnixMs) {
        if std::mem::take(&mut self.room) {
            let stuck = std::mem::take(&mut self.stuck);
            self.queue.extend(stuck);
        }
        let mut batch = Batch::default();
        while self.has_wings() {
            let Some(rank) = self.queue.first().cloned() else { break };
            match self.place_job(mirror, &rank.job, &mut batch, now) {
                Turn::Content => drop(self.queue.remove(&rank)),
                Turn::Stuck => {
                    self.queue.remove(&rank);
                    self.stuck.insert(rank);
                }
                Turn::Full => self.send_batch(&mut batch),
            }
        }
        self.send_batch(&mut batch);
    }

    fn send_batch(&mut self, batch: &mut Batch) {
        let Batch { txn, flight } = std::mem::take(batch);
        if !flight.binds.is_empty() {
            self.send(txn, flight);
        }
    }

    fn place_job(&mut self, mirror: &Mirror, key: &JobKey, batch: &mut Batch, now: UnixMs) -> Turn {
        let Some(job) = mirror.job(key) else { return Turn::Content };
        let Some(record) = &job.record else { return Turn::Content };
        let Some(state) = job.state.as_ref().filter(|it| it.value.phase == Phase::Active) else {
            return Turn::Content;
        };
        if let Work::Service(service) = &record.value.work {
            return self.place_service(mirror, (key, job), record, service, batch, now);
        }
        let (Work::Job(spec), Progress::Job { spec: hash, .. }) =
            (&record.value.work, &state.value.progress)
        else {
            return Turn::Content;
        };
        if record.value.deleted || spec.suspend {
            return Turn::Content;
        }
        let mut lanes = Lanes::new(&spec.placement);
        loop {
            if !batch.has_room(self.config.binds_max) {
                return Turn::Full;
            }
            let memory = self.jobs.get(key).expect("a job in the queue is remembered");
            let running = memory.running(job);
            if running >= at_once(spec) as usize {
                return Turn::Content;
            }
            let Some(index) = lanes.next(memory, job, now) else {
                return if lanes.any_out() { Turn::Stuck } else { Turn::Content };
            };
            let task_lock = Key::Task(key.task(index));
            if !self.flights.is_free(&task_lock) {
                // When it lands, the job is looked at again.
                return Turn::Content;
            }
            let run = RunId::new(self.term, self.runs_named);
            let rest = rest(job, spec, running);
            let class = self.class_of(key, job, spec, index);
            let found = class.and_then(|it| self.places.place(&run, it, Ask { index, rest }));
            let Some(found) = found else {
                lanes.shut(job, index);
                continue;
            };
            self.runs_named += 1;
            let slot = Slot { key, job, spec, hash, index };
            let bind = bind_of(&slot, record.made, found, run.clone(), now);
            batch.txn.merge(protocol::bind(&self.keys, &self.office, &bind));
            batch.flight.locks.push(task_lock);
            batch.flight.binds.push(Binding { task: bind.task, run });
            self.jobs.get_mut(key).expect("it was there").fly(index);
        }
    }

    fn place_service(
        &mut self,
        mirror: &Mirror,
        (key, job): (&JobKey, &Job),
        record: &Entry<JobRecord>,
        service: &spec::Service,
        batch: &mut Batch,
        now: UnixMs,
    ) -> Turn {
        // Templates without a place, and in which partition: another revision may ask for less.
        let partitions = lanes::partitions(&service.placement);
        let mut out: BTreeSet<(SpecHash, u32)> = BTreeSet::new();
        loop {
            if !batch.has_room(self.config.binds_max) {
                return Turn::Full;
            }
            let memory = self.jobs.get(key).expect("a job in the queue is remembered");
            // What was wished for before the last bind landed may be done by now.
            let is_bound = |index: u32| {
                let task = job.tasks.get(&index);
                task.is_some_and(|it| matches!(it.value.wait, TaskWait::Bound { .. }))
            };
            let free =
                |index: u32| self.flights.is_free(&Key::Task(key.task(index))) && !is_bound(index);
            let lane = |index: u32, start: &Start| (start.spec.clone(), index % partitions);
            let is_out = |index, it| !out.is_empty() && out.contains(&lane(index, it));
            let mut starts = memory.starts.iter().filter(|(_, it)| it.not_before <= now);
            let due = starts.find(|(at, it)| free(**at) && !is_out(**at, it));
            let Some((&index, start)) = due else {
                return if out.is_empty() { Turn::Content } else { Turn::Stuck };
            };
            let start = start.clone();
            // Its template is in the copy with the state that asks for it.
            let Some(task) = mirror.spec(&start.spec).map(|it| it.value.clone()) else {
                return Turn::Content;
            };
            let class = self.places.class(key, &task, &service.placement, None);
            let run = RunId::new(self.term, self.runs_named);
            let rest = u32::try_from(memory.starts.len()).unwrap_or(u32::MAX);
            let found = class.and_then(|it| self.places.place(&run, it, Ask { index, rest }));
            let Some(found) = found else {
                out.insert((start.spec, index % partitions));
                if out.len() == lanes::OUT_MAX {
                    return Turn::Stuck;
                }
                continue;
            };
            self.runs_named += 1;
            let bind = bind_of_start(key, job, record, (service, &start, index), found, &run, now);
            batch.txn.merge(protocol::bind(&self.keys, &self.office, &bind));
            batch.flight.locks.push(Key::Task(key.task(index)));
            batch.flight.binds.push(Binding { task: bind.task, run });
            let memory = self.jobs.get_mut(key).expect("it was there");
            memory.starts.remove(&index);
            memory.fly(index);
        }
    }

    /// How a task is placed; none if nobody can.
    fn class_of(
        &mut self,
        key: &JobKey,
        job: &Job,
        spec: &spec::Job,
        index: u32,
    ) -> Option<ClassId> {
        let raised = job.tasks.get(&index).and_then(|it| it.value.memory);
        if raised.is_some() {
            return self.places.class(key, &spec.task, &spec.placement, raised);
        }
        let generation = job.record.as_ref().map_or(0, |it| it.value.generation);
        let memory = self.jobs.get_mut(key).expect("a job in the queue is remembered");
        if let Some((of, class)) = memory.class
            && of == generation
        {
            return class;
        }
        if let Some((_, Some(old))) = memory.class.take() {
            self.places.retire(old);
        }
        let class = self.places.class(key, &spec.task, &spec.placement, None);
        memory.class = Some((generation, class));
        class
    }

    /// Jobs that wait for a place, the first first.
    pub fn waiting(&self) -> impl Iterator<Item = &JobKey> {
        self.queue.iter().chain(&self.stuck).map(|Rank { job, .. }| job)
    }
}

/// How many tasks of a job may have a run at once.
fn at_once(spec: &spec::Job) -> u32 {
    if spec.parallelism == 0 { spec.count } else { spec.parallelism.min(spec.count) }
}

/// How many tasks of a job, of which so many have a run, want one besides: a cluster must have room
/// for all of those that are to run at once.
pub fn rest(job: &Job, spec: &spec::Job, running: usize) -> u32 {
    let counts = job.counts;
    let ended = counts.succeeded + counts.failed + counts.cancelled;
    let running = u32::try_from(running).unwrap_or(u32::MAX);
    let left = spec.count.saturating_sub(ended);
    left.min(at_once(spec)).saturating_sub(running).max(1)
}

/// The transaction cannot tell: it asks that the task is as it was seen, whatever it was.
fn assert_unbound(task: Option<&Entry<TaskRecord>>) {
    let is_bound = task.is_some_and(|it| matches!(it.value.wait, TaskWait::Bound { .. }));
    assert!(!is_bound, "a task that has a run is given no other");
}

fn bind_of_start(
    key: &JobKey,
    job: &Job,
    record: &Entry<JobRecord>,
    (service, start, index): (&spec::Service, &Start, u32),
    found: Found,
    run: &RunId,
    now: UnixMs,
) -> Bind {
    let Found { node, partition } = found;
    let task = job.tasks.get(&index);
    assert_unbound(task);
    let uid = record.value.uid.clone();
    let bound = TaskRecord {
        uid: uid.clone(),
        attempt: start.attempt,
        counted: start.counted,
        spec: start.spec.clone(),
        revision: start.revision,
        wait: TaskWait::Bound { node: node.clone(), run: run.clone() },
        memory: None,
        last: task.and_then(|it| it.value.last.clone()),
    };
    let job_made = record.made;
    let record = RunRecord {
        task: key.task(index),
        uid,
        attempt: start.attempt,
        spec: start.spec.clone(),
        wish: Wish::Run,
        concurrency: service.concurrency,
        count: service.replicas,
        partition,
        memory: None,
        bound_at: now,
    };
    let (task, task_changed) = (key.task(index), mirror::changed(task));
    Bind { task, task_changed, job_made, node, run: run.clone(), bound, record }
}

struct Slot<'a> {
    key: &'a JobKey,
    job: &'a Job,
    spec: &'a spec::Job,
    hash: &'a SpecHash,
    index: u32,
}

fn bind_of(slot: &Slot<'_>, job_made: i64, found: Found, run: RunId, now: UnixMs) -> Bind {
    let Found { node, partition } = found;
    let Slot { key, job, spec, hash, index } = *slot;
    let task = job.tasks.get(&index);
    assert_unbound(task);
    let record = job.record.as_ref().expect("a job that is placed was asked for");
    let uid = &record.value.uid;
    let wait = TaskWait::Bound { node: node.clone(), run: run.clone() };
    let bound = match task {
        Some(task) => TaskRecord { wait, ..task.value.clone() },
        None => TaskRecord {
            uid: uid.clone(),
            attempt: 1,
            counted: 0,
            spec: hash.clone(),
            revision: 0,
            wait,
            memory: None,
            last: None,
        },
    };
    let record = RunRecord {
        task: key.task(index),
        uid: uid.clone(),
        attempt: bound.attempt,
        spec: bound.spec.clone(),
        wish: Wish::Run,
        concurrency: spec.concurrency,
        count: spec.count,
        partition,
        memory: bound.memory,
        bound_at: now,
    };
    let (task, task_changed) = (key.task(index), mirror::changed(task));
    Bind { task, task_changed, job_made, node, run, bound, record }
}
