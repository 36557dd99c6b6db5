//! What must hold of how attempts end, and of what becomes of their tasks.

use std::collections::BTreeMap;

use mason_core::record::{
    Exit, MARKS_CHUNK, Mark, MarksRecord, Phase, Reason, ResultRecord, RunRecord, StateRecord,
    TaskRecord, TaskWait,
};
use mason_core::spec::{Concurrency, Job, Work};
use mason_core::types::{JobKey, RunId, TaskKey, Uid};

/// Who looks at ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// How each run ended, by its one result.
    exits: BTreeMap<RunId, Exit>,
    /// The last run of each task, with the task as it was then.
    last: BTreeMap<TaskKey, (RunId, TaskRecord)>,
    marks: BTreeMap<(JobKey, u32), MarksRecord>,
    jobs: BTreeMap<JobKey, BTreeMap<Uid, Job>>,
}

impl Ends {
    /// Whether a run has, or had, a result.
    pub(super) fn has_ended(&self, run: &RunId) -> bool {
        self.exits.contains_key(run)
    }

    /// How many runs have.
    pub(super) fn count(&self) -> usize {
        self.exits.len()
    }

    /// A job as its user wants it.
    fn wish(&self, key: &JobKey, uid: &Uid) -> Option<&Job> {
        self.jobs.get(key)?.get(uid)
    }

    /// Whether its user wants that two copies of a task never run; none if it is no job's.
    pub(super) fn is_strict(&self, task: &TaskKey, uid: &Uid) -> Option<bool> {
        Some(self.wish(&task.job, uid)?.concurrency == Concurrency::Strict)
    }

    pub(super) fn job(&mut self, key: &JobKey, uid: &Uid, work: &Work) {
        if let Work::Job(job) = work {
            self.jobs.entry(key.clone()).or_default().insert(uid.clone(), job.clone());
        }
    }

    pub(super) fn result(&mut self, run: &RunId, result: ResultRecord) {
        let old = self.exits.insert(run.clone(), result.exit);
        assert!(old.is_none(), "I1: {run} has a second result");
    }

    pub(super) fn task(&mut self, key: &TaskKey, new: &TaskRecord) {
        let job = self.wish(&key.job, &new.uid);
        if let (TaskWait::Due { .. }, Some(job)) = (&new.wait, job)
            && let Some((run, old)) = self.last.get(key).filter(|(_, old)| old.uid == new.uid)
        {
            let exit = self.exits.get(run);
            let exit = exit.unwrap_or_else(|| panic!("I1: {key} is due, and {run} has no result"));
            assert!(!exit.is_success(), "I1: {key} is due, and {run} did well");
            assert_eq!(new.attempt, old.attempt + 1, "N2: {key} has its next attempt");
            let used = old.counted + u32::from(!is_free(exit.reason));
            assert_eq!(new.counted, used, "N2: {key} after {:?}", exit.reason);
            assert!(new.counted < job.retry.attempts, "N3: {key} is tried again too often");
        }
        if let TaskWait::Bound { run, .. } = &new.wait {
            self.last.insert(key.clone(), (run.clone(), new.clone()));
        }
    }

    /// A run was bound; `tasks` are all that have one, or are due.
    pub(super) fn bound(&self, run: &RunRecord, tasks: &BTreeMap<TaskKey, TaskRecord>) {
        let key = &run.task.job;
        let Some(job) = self.wish(key, &run.uid) else { return };
        let its = tasks.range(key.task(0)..).take_while(|(task, _)| task.job == *key);
        let bound = its.filter(|(_, it)| matches!(it.wait, TaskWait::Bound { .. })).count();
        let most = if job.parallelism == 0 { job.count } else { job.parallelism };
        assert!(bound <= most as usize, "J3: {bound} tasks of {key} at once, and {most} may");
    }

    /// A job that did well has done what it was for.
    pub(super) fn state(&self, key: &JobKey, state: &StateRecord) {
        let Some(job) = self.wish(key, &state.uid) else { return };
        if state.phase != Phase::Succeeded {
            return;
        }
        let mut counts = [0; 4];
        for index in 0..job.count {
            let marks = self.marks.get(&(key.clone(), index / MARKS_CHUNK));
            let mark = marks.map_or(Mark::None, |it| it.get(index % MARKS_CHUNK));
            counts[mark as usize] += 1;
        }
        let [none, _, failed, cancelled] = counts;
        let is_so = none + cancelled == 0 && failed <= job.failures_max;
        assert!(is_so, "J5: {key} did well, with {none} open, {failed} failed, {cancelled} not");
    }

    pub(super) fn marks(&mut self, key: JobKey, chunk: u32, new: MarksRecord) {
        let at = (key, chunk);
        let old = self.marks.get(&at).cloned().unwrap_or_default();
        let is_same = new.uid == old.uid;
        let bytes = old.bits.len().max(new.bits.len());
        for place in 0..MARKS_CHUNK.min(4 * u32::try_from(bytes).expect("small")) {
            let was = if is_same { old.get(place) } else { Mark::None };
            let is = new.get(place);
            let task = at.0.task(chunk * MARKS_CHUNK + place);
            assert!(was == Mark::None || was == is, "I1: {task} was {was:?} and is {is:?}");
            if was != is {
                self.mark(&task, new.uid.as_ref(), is);
            }
        }
        self.marks.insert(at, new);
    }

    /// A task is over: so its last run says.
    fn mark(&self, task: &TaskKey, uid: Option<&Uid>, mark: Mark) {
        let last = self.last.get(task).filter(|(_, it)| Some(&it.uid) == uid);
        let exit = last.and_then(|(run, _)| self.exits.get(run));
        let is_good = exit.is_some_and(Exit::is_success);
        assert_eq!(is_good, mark == Mark::Succeeded, "I1: {task} is {mark:?} after {exit:?}");
        if mark == Mark::Failed {
            let (Some((_, old)), Some(exit)) = (last, exit) else {
                panic!("I1: {task} has failed, and never ran");
            };
            assert!(!is_free(exit.reason), "N2: {task} has failed after {exit:?}");
            if let Some(job) = self.wish(&task.job, &old.uid) {
                let tried = old.counted + 1;
                assert!(tried >= job.retry.attempts, "N3: {task} has failed after {tried} tries");
            }
        }
    }
}

/// Whether an attempt that ended so uses up none.
fn is_free(reason: Reason) -> bool {
    reason.is_innocent() || reason == Reason::Stopped
}
