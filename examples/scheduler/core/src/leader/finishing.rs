//! Results: each is read once, turned into a mark or another attempt, and removed in the same
//! transaction.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Leader;
use super::flights::Flight;
use super::jobs::bound_run;
use crate::control::retry::{Attempt, Verdict, verdict};
use crate::keys::Key;
use crate::mirror::{self, Job, Mirror};
use crate::protocol::{self, Next};
use crate::record::{
    Exit, MARKS_CHUNK, Mark, MarksRecord, PastRecord, Phase, Reason, ResultRecord, TaskRecord,
    TaskWait,
};
use crate::spec::Work;
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, RunId, UnixMs};

impl Leader {
    /// Takes to account what can be, a transaction for each chunk of marks.
    pub(super) fn finish(&mut self, mirror: &Mirror, now: UnixMs) {
        let mut next = self.ended.keys().next().cloned();
        while let Some((key, chunk)) = next.filter(|_| self.has_wings()) {
            let rest = (Bound::Excluded((key.clone(), chunk)), Bound::Unbounded);
            next = self.ended.range(rest).next().map(|(at, _)| at.clone());
            let lock = Key::Marks(key.clone(), chunk);
            if !self.flights.is_free(&lock) {
                continue;
            }
            let runs = self.ended.remove(&(key.clone(), chunk)).expect("it was there");
            let rest = self.finish_chunk(mirror, (&key, chunk), lock, runs, now);
            if !rest.is_empty() {
                self.ended.insert((key, chunk), rest);
            }
        }
    }

    /// As many of a chunk as one transaction takes. Returns the rest.
    fn finish_chunk(
        &mut self,
        mirror: &Mirror,
        (key, chunk): (&JobKey, u32),
        lock: Key,
        mut runs: BTreeSet<RunId>,
        now: UnixMs,
    ) -> BTreeSet<RunId> {
        let Some(job) = mirror.job(key) else { return BTreeSet::new() };
        let mut marks = job.marks.get(&chunk).map(|it| it.value.clone()).unwrap_or_default();
        let marks_changed = mirror::changed(job.marks.get(&chunk));
        let (mut all, mut flight) = (Txn::new(), Flight::of(lock));
        let mut held = BTreeSet::new();
        let mut marked = false;
        while let Some(run) = runs.pop_first() {
            let Some(result) = mirror.run(&run).and_then(|it| it.result.as_ref()) else { continue };
            let index = result.value.task.index;
            let bound = bound_run(mirror, key, job, index);
            let Some((bound, _)) = bound.filter(|(bound, _)| bound.run == run) else {
                // Its task has another run or none: no transaction of ours leaves that behind.
                self.sweep_result(&run, result.made, &mut held);
                continue;
            };
            let locks = [Key::Task(bound.task.clone()), Key::Run(bound.node.clone(), run.clone())];
            if locks.iter().any(|lock| !self.flights.is_free(lock)) {
                held.insert(run);
                continue;
            }
            let next = self.next(job, &bound, &result.value, marks_changed, &mut marks, now);
            marked |= matches!(next, Next::Ended { .. });
            all.merge(protocol::done(&self.keys, &self.office, &bound, result.made, &next));
            flight.locks.extend(locks);
            if flight.locks.len() > 2 * self.config.finishes_max {
                break;
            }
        }
        if flight.locks.len() > 1 {
            if marked {
                keep_last_marks(&mut all, &self.keys.path(&flight.locks[0]));
            }
            self.send(all, flight);
        }
        runs.append(&mut held);
        runs
    }

    fn sweep_result(&mut self, run: &RunId, made: i64, held: &mut BTreeSet<RunId>) {
        let lock = Key::Result(run.clone());
        if !self.flights.is_free(&lock) || !self.has_wings() {
            held.insert(run.clone());
            return;
        }
        let path = self.keys.path(&lock);
        let txn = Txn::new()
            .when(self.office.fence())
            .when(Compare::Made(path.clone(), made))
            .delete(path);
        self.send(txn, Flight::of(lock));
    }

    /// What a result means for its task.
    fn next(
        &self,
        job: &Job,
        bound: &protocol::Bound,
        result: &ResultRecord,
        marks_changed: i64,
        marks: &mut MarksRecord,
        now: UnixMs,
    ) -> Next {
        let task = &job.tasks[&bound.task.index].value;
        let last = past(bound, task, &result.exit);
        let again = |not_before, counted, memory| {
            Next::Again(TaskRecord {
                attempt: task.attempt.saturating_add(1),
                counted,
                wait: TaskWait::Due { not_before },
                memory,
                last: Some(without_outputs(&last)),
                ..task.clone()
            })
        };
        let mut ended = |mark: Mark| {
            marks.uid = Some(task.uid.clone());
            marks.set(bound.task.index % MARKS_CHUNK, mark);
            let kept = job.pasts.len() < self.config.pasts_max;
            let chunk = bound.task.index / MARKS_CHUNK;
            let past = kept.then(|| last.clone());
            Next::Ended { chunk, marks_changed, marks: marks.clone(), past }
        };
        let Some(record) = job.record.as_ref().filter(|it| it.value.uid == task.uid) else {
            return Next::Gone;
        };
        let Work::Job(spec) = &record.value.work else { return Next::Gone };
        if result.exit.is_success() {
            return ended(Mark::Succeeded);
        }
        let phase = job.state.as_ref().map(|state| state.value.phase);
        if record.value.deleted || phase == Some(Phase::Stopping) {
            return ended(Mark::Cancelled);
        }
        if result.exit.reason == Reason::Stopped {
            // It was suspended: its next attempt waits for the job to go on.
            return again(now, task.counted, task.memory);
        }
        let salt = u64::from(bound.task.index) ^ record.value.created_at;
        let attempt = Attempt { number: task.attempt, counted: task.counted };
        match verdict(&spec.retry, attempt, &result.exit, now, salt) {
            Verdict::Again { not_before, counted, memory_factor } => {
                let memory = memory_factor.map_or(task.memory, |factor| {
                    Some(scaled(task.memory.unwrap_or(spec.task.request.memory), factor))
                });
                again(not_before, counted, memory)
            }
            Verdict::Succeeded => ended(Mark::Succeeded),
            Verdict::Failed | Verdict::FailJob => ended(Mark::Failed),
        }
    }
}

pub(super) fn past(bound: &protocol::Bound, task: &TaskRecord, exit: &Exit) -> PastRecord {
    let (run, node) = (bound.run.clone(), bound.node.clone());
    PastRecord { run, node, attempt: task.attempt, exit: exit.clone() }
}

fn without_outputs(past: &PastRecord) -> PastRecord {
    let mut past = past.clone();
    past.exit.outputs.clear();
    past
}

fn scaled(bytes: u64, factor: f64) -> u64 {
    // Both are checked at admission; a cast that saturates is right for what is absurd.
    (bytes as f64 * factor) as u64
}

/// Of several that ended at once each notes the marks; the last has them all.
fn keep_last_marks(txn: &mut Txn, path: &str) {
    let last = txn.then.iter().rposition(|op| op.key() == path).expect("somebody noted a mark");
    let mut at = 0;
    txn.then.retain(|op| {
        let keep = op.key() != path || at == last;
        at += 1;
        keep
    });
}
