//! What the tasks of a job do: those that have no key in the store, too.

use mason_core::mirror::Job;
use mason_core::record::{JobRecord, MARKS_CHUNK, Mark, Phase, TaskWait};
use mason_core::spec::{self, DependencyMode, DependencyWhen};
use mason_core::types::JobKey;

use super::{Groups, Part, SUSPENDED, Story, Teller, ended, len};
use crate::server::chronicle::{ending, phase_word};

impl Teller<'_> {
    pub(super) fn of_job(
        &self,
        key: &JobKey,
        (job, record, spec): (&Job, &JobRecord, &spec::Job),
        only: Option<u32>,
        groups: &mut Groups,
    ) {
        let mut own = Groups::default();
        self.of_bound(job, only, &mut own);
        let held = self.held(key, (job, record, spec));
        let limited = limit(job, spec);
        // What holds all of the job back holds its due tasks back, too.
        for (story, group) in own.0 {
            let indexes = group.indexes.clone().unwrap_or_default();
            let (story, part) = match (story, &held, limited) {
                (Story::Wants(_) | Story::Later, Some(held), _) => {
                    (Story::Held(held.clone()), Part::default())
                }
                (Story::Wants(_), None, Some(most)) => (Story::Limited(most), Part::default()),
                (story, ..) => {
                    (story, Part { time: group.time, detail: group.detail, run: group.run })
                }
            };
            indexes.ranges().for_each(|range| {
                let part =
                    Part { time: part.time, detail: part.detail.clone(), run: part.run.clone() };
                groups.add(story.clone(), range, part);
            });
        }
        let gated = spec.depends_on.iter().any(|it| it.mode == DependencyMode::Index);
        let fresh = |index: u32| match (&held, limited) {
            (Some(held), _) => Story::Held(held.clone()),
            (None, _) if gated => match self.index_gate(key, spec, index) {
                Some(why) => Story::Held(why),
                None => limited.map_or(Story::Wants(None), Story::Limited),
            },
            (None, Some(most)) => Story::Limited(most),
            (None, None) => Story::Wants(None),
        };
        let mut add = |lo: u32, hi: u32, mark: Mark| {
            let story = match mark {
                Mark::None => fresh(lo),
                mark => {
                    let how = job.pasts.get(&lo).map(|it| ending(&it.value.exit).1);
                    Story::Ended(ended(mark, how))
                }
            };
            groups.add(story, (lo, hi), Part::default());
        };
        if let Some(index) = only {
            if index < spec.count && !job.tasks.contains_key(&index) {
                add(index, index, job.mark(index));
            }
            return;
        }
        for chunk in 0..spec.count.div_ceil(MARKS_CHUNK) {
            let first = chunk * MARKS_CHUNK;
            let last = (first + MARKS_CHUNK - 1).min(spec.count - 1);
            let has_tasks = job.tasks.range(first..=last).next().is_some();
            if !job.marks.contains_key(&chunk) && !has_tasks && !gated {
                add(first, last, Mark::None);
                continue;
            }
            for index in (first..=last).filter(|index| !job.tasks.contains_key(index)) {
                add(index, index, job.mark(index));
            }
        }
    }

    /// What keeps all tasks of a job that do not run.
    fn held(
        &self,
        key: &JobKey,
        (job, record, spec): (&Job, &JobRecord, &spec::Job),
    ) -> Option<String> {
        let over = |word: &str, message: &str| {
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Some(format!("does not begin: its job {word}{message}"))
        };
        let state = job.state.as_ref().map(|it| &it.value);
        if let Some(state) = state.filter(|it| it.phase.is_final()) {
            let word = match state.phase {
                Phase::Skipped => "was skipped".to_owned(),
                phase => format!("has {}", phase_word(phase)),
            };
            return over(&word, &state.message);
        }
        if let Some(held) = self.before_all(job, record) {
            return Some(held);
        }
        let state = state?;
        match state.phase {
            Phase::Suspended => Some(SUSPENDED.to_owned()),
            Phase::Stopping => over("is being stopped", &state.message),
            Phase::Waiting if spec.suspend => Some(SUSPENDED.to_owned()),
            Phase::Waiting => Some(self.dependencies(key, spec)),
            _ => None,
        }
    }

    /// What a job waits for, by name, and how each of those is.
    fn dependencies(&self, key: &JobKey, spec: &spec::Job) -> String {
        let whole = spec.depends_on.iter().filter(|it| it.mode == DependencyMode::Whole);
        let open = whole.filter_map(|it| {
            let on = JobKey::new(&key.namespace, &it.job);
            let job = self.mirror.job(&on);
            let phase = job.and_then(|job| job.state.as_ref()).map(|it| it.value.phase);
            let wanted = match it.when {
                DependencyWhen::Succeeded => "to succeed",
                DependencyWhen::Failed => "to fail",
                DependencyWhen::Finished => "to end",
            };
            match (phase, job) {
                (Some(phase), _) if phase.is_final() => None,
                (Some(phase), _) => Some(format!("{on} {wanted}, which is {}", phase_word(phase))),
                (None, Some(_)) => Some(format!("{on} {wanted}, which was just made")),
                (None, None) => Some(format!("{on} {wanted}, which is not there")),
            }
        });
        let open: Vec<String> = open.collect();
        match open.is_empty() {
            true => "is about to begin".to_owned(),
            false => format!("waits for {}", open.join("; and for ")),
        }
    }

    /// What one task waits for, if it waits for those of its index.
    fn index_gate(&self, key: &JobKey, spec: &spec::Job, index: u32) -> Option<String> {
        let by_index = spec.depends_on.iter().filter(|it| it.mode == DependencyMode::Index);
        for it in by_index {
            let on = JobKey::new(&key.namespace, &it.job);
            let mark = self.mirror.job(&on).map_or(Mark::None, |job| job.mark(index));
            match (mark, it.when) {
                (Mark::Succeeded, DependencyWhen::Succeeded | DependencyWhen::Finished)
                | (Mark::Failed, DependencyWhen::Failed | DependencyWhen::Finished)
                | (Mark::Cancelled, DependencyWhen::Finished) => {}
                (Mark::None, _) => return Some(format!("waits for the task of its index in {on}")),
                _ => {
                    let why = "never begins: the task of its index ended in another way, in";
                    return Some(format!("{why} {on}"));
                }
            }
        }
        None
    }
}

/// How many may run at once, if so many do.
fn limit(job: &Job, spec: &spec::Job) -> Option<u32> {
    let is_bound = |wait: &TaskWait| matches!(wait, TaskWait::Bound { .. });
    let running = len(job.tasks.values().filter(|it| is_bound(&it.value.wait)).count());
    (spec.parallelism > 0 && spec.parallelism <= running).then_some(spec.parallelism)
}
