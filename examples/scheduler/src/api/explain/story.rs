//! What a task does, told from the copy: tasks of which the same can be said are one group.

mod job;
mod sentence;

use std::collections::BTreeMap;

use mason_core::leader::new_places;
use mason_core::mirror::{Entry, Job, Mirror};
use mason_core::place::Explanation;
use mason_core::record::{JobRecord, Mark, Phase, Reason, RunPhase, TaskRecord, TaskWait, Wish};
use mason_core::spec::{Service, Work};
use mason_core::types::{JobKey, NodeId, RunId, UnixMs};

use super::indexes::Indexes;
use crate::server::chronicle::ending;

/// What tasks do. The order is that of the answer: what waits comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Story {
    /// It wants a place now, with so much memory if a retry has raised it.
    Wants(Option<u64>),
    /// Its next attempt is due later.
    Later,
    /// So many of its job run as may.
    Limited(u32),
    /// For another reason.
    Held(String),
    /// It has a run there.
    Bound(NodeId, Step),
    /// It has ended.
    Ended(String),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Silent,
    Bound,
    Claimed,
    Pulling,
    Created,
    Running,
    Ready,
    Stopping(Option<Reason>),
    Over,
}

/// Tasks of one story.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) story: Story,
    /// Which; none if it is the object that is spoken of.
    pub(super) indexes: Option<Indexes>,
    /// The earliest time that the story has of any of them.
    pub(super) time: Option<UnixMs>,
    /// What else the first of them has to say.
    pub(super) detail: String,
    /// The run of the first.
    pub(super) run: Option<RunId>,
    /// What there is to say of places.
    pub(super) placement: Option<Explanation>,
}

impl Group {
    /// A sentence about the object.
    pub(super) fn plain(sentence: String) -> Group {
        Group {
            story: Story::Held(sentence),
            indexes: None,
            time: None,
            detail: String::new(),
            run: None,
            placement: None,
        }
    }
}

/// Groups by story.
#[derive(Debug, Default)]
struct Groups(BTreeMap<Story, Group>);

/// One task's part in a story.
#[derive(Debug, Default)]
struct Part {
    time: Option<UnixMs>,
    detail: String,
    run: Option<RunId>,
}

impl Groups {
    fn add(&mut self, story: Story, (lo, hi): (u32, u32), part: Part) {
        let group = self.0.entry(story.clone()).or_insert_with(|| Group {
            story,
            indexes: Some(Indexes::default()),
            time: part.time,
            detail: part.detail,
            run: part.run,
            placement: None,
        });
        group.time = match (group.time, part.time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Some(indexes) = &mut group.indexes {
            indexes.put(lo, hi);
        }
    }
}

/// Who tells.
pub(super) struct Teller<'a> {
    pub(super) mirror: &'a Mirror,
    pub(super) now: UnixMs,
}

impl Teller<'_> {
    /// What the tasks of a job or service do, or one of them.
    pub(super) fn groups(&self, key: &JobKey, job: &Job, only: Option<u32>) -> Vec<Group> {
        let Some(record) = job.record.as_ref().map(|it| &it.value) else { return Vec::new() };
        let mut groups = Groups::default();
        match &record.work {
            Work::Job(spec) => self.of_job(key, (job, record, spec), only, &mut groups),
            Work::Service(service) => {
                self.of_bound(job, only, &mut groups);
                let held = self.before_all(job, record);
                let held = held.or_else(|| service.suspend.then(|| SUSPENDED.to_owned()));
                for index in self.missing(key, job, service, held.is_some()) {
                    let story = held.clone().map_or(Story::Wants(None), Story::Held);
                    if only.is_none_or(|one| one == index) {
                        groups.add(story, (index, index), Part::default());
                    }
                }
                if groups.0.is_empty() && only.is_none() {
                    let none = "wants no replicas: `scale` gives it some".to_owned();
                    return vec![Group::plain(held.unwrap_or(none))];
                }
            }
            Work::Cron(_) | Work::Workflow(_) => return vec![self.of_maker(job, record)],
        }
        let sorted = groups.0.into_values().map(|mut group| {
            if let Some(indexes) = &mut group.indexes {
                indexes.sort();
            }
            group
        });
        sorted.collect()
    }

    /// Replicas without a key: those for which a place is looked for, one more than there shall be
    /// during an update among them; of one that is held back, those that will be missing.
    fn missing(&self, key: &JobKey, job: &Job, service: &Service, is_held: bool) -> Vec<u32> {
        if !is_held {
            let new = new_places(self.mirror, key, self.now).into_iter();
            return new.map(|(index, _)| index).collect();
        }
        let missing = service.replicas.saturating_sub(len(job.tasks.len()));
        let free = (0..service.replicas).filter(|index| !job.tasks.contains_key(index));
        free.take(missing as usize).collect()
    }

    /// What keeps all tasks of an object that do not run.
    fn before_all(&self, job: &Job, record: &JobRecord) -> Option<String> {
        if record.deleted {
            return Some("does not begin: it is being deleted".to_owned());
        }
        let leads = self.mirror.leader().is_some();
        match (&job.state, leads) {
            (None, true) => Some("was just made: the leader has not looked at it yet".to_owned()),
            (_, false) => Some("waits: no server leads at the moment".to_owned()),
            (Some(_), true) => None,
        }
    }

    /// Tasks with an attempt under way or due.
    fn of_bound(&self, job: &Job, only: Option<u32>, groups: &mut Groups) {
        let all = job.tasks.iter().filter(|(index, _)| only.is_none_or(|one| one == **index));
        for (&index, entry) in all {
            let (story, part) = self.of_task(entry);
            groups.add(story, (index, index), part);
        }
    }

    fn of_task(&self, entry: &Entry<TaskRecord>) -> (Story, Part) {
        let task = &entry.value;
        let last = task.last.as_ref().map(|last| ending(&last.exit).1).unwrap_or_default();
        match &task.wait {
            TaskWait::Due { not_before } if *not_before > self.now => {
                let part = Part { time: Some(*not_before), detail: last, run: None };
                (Story::Later, part)
            }
            TaskWait::Due { .. } => {
                (Story::Wants(task.memory), Part { detail: last, ..Part::default() })
            }
            TaskWait::Bound { node, run } => self.of_run(node, run),
        }
    }

    fn of_run(&self, node: &NodeId, id: &RunId) -> (Story, Part) {
        let run = self.mirror.run(id);
        let lives = self.mirror.node(node).is_some_and(|it| it.alive.is_some());
        let seen = run.and_then(|it| it.seen.as_ref()).map(|it| &it.value);
        let record = run.and_then(|it| it.record.as_ref()).map(|(_, it)| &it.value);
        let time = seen.map(|it| it.since).or_else(|| record.map(|it| it.bound_at));
        let detail = seen.map(|it| it.message.clone()).unwrap_or_default();
        let part = |detail| Part { time, detail, run: Some(id.clone()) };
        if let Some(result) = run.and_then(|it| it.result.as_ref()) {
            let (_, how) = ending(&result.value.exit);
            return (Story::Bound(node.clone(), Step::Over), part(how));
        }
        let wish = record.map(|it| it.wish);
        let step = match (wish, seen) {
            _ if !lives => Step::Silent,
            (Some(Wish::Stop { why, .. }), _) => Step::Stopping(Some(why)),
            (_, None) => Step::Bound,
            (_, Some(seen)) => match seen.phase {
                RunPhase::Claimed => Step::Claimed,
                RunPhase::Pulling => Step::Pulling,
                RunPhase::Created => Step::Created,
                RunPhase::Running if seen.ready => Step::Ready,
                RunPhase::Running => Step::Running,
                RunPhase::Stopping => Step::Stopping(None),
            },
        };
        (Story::Bound(node.clone(), step), part(detail))
    }

    /// What a cron or workflow does.
    pub(super) fn of_maker(&self, job: &Job, record: &JobRecord) -> Group {
        if let Some(held) = self.before_all(job, record) {
            return Group::plain(held);
        }
        let state = job.state.as_ref().map(|it| &it.value);
        let message = state.map(|it| it.message.as_str()).unwrap_or_default();
        let phase = state.map_or(Phase::Waiting, |it| it.phase);
        let mut sentence = match phase {
            Phase::Suspended => SUSPENDED.to_owned(),
            Phase::Waiting => "has not begun".to_owned(),
            Phase::Active => "goes on".to_owned(),
            Phase::Stopping => "is being stopped".to_owned(),
            Phase::Succeeded => "has succeeded".to_owned(),
            Phase::Failed => "has failed".to_owned(),
            Phase::Skipped => "was skipped".to_owned(),
        };
        if !message.is_empty() {
            sentence += &format!(": {message}");
        }
        Group::plain(sentence)
    }
}

const SUSPENDED: &str = "is suspended: `resume` lets it go on";

fn len(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A mark and what is known of the last attempt, as a sentence.
fn ended(mark: Mark, how: Option<String>) -> String {
    let word = match mark {
        Mark::Succeeded => return "has succeeded".to_owned(),
        Mark::Cancelled => "was cancelled",
        Mark::Failed | Mark::None => "has failed",
    };
    how.map_or_else(|| word.to_owned(), |how| format!("{word}: {how}"))
}
