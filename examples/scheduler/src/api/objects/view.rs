//! What of the copy is shown of an object.

use std::collections::BTreeMap;

use mason_core::control::workflow::{self, NodeSeen};
use mason_core::leader;
use mason_core::manifest::{self, Body, Name, show};
use mason_core::mirror::{Job, Mirror};
use mason_core::record::{Counts, JobRecord, MARKS_CHUNK, Mark, TaskWait};
use mason_core::spec::Work;
use mason_core::types::JobKey;

use crate::api::wire::{Detail, Summary, TASKS_MAX, TaskView, word_of};
use crate::server::unix_now;

/// In short; none of one that is not there any more.
fn summary(key: &JobKey, job: &Job) -> Option<Summary> {
    let record = &job.record.as_ref()?.value;
    let state = job.state.as_ref().map(|it| &it.value);
    let is_bound = |wait: &TaskWait| matches!(wait, TaskWait::Bound { .. });
    let bound = job.tasks.values().filter(|it| is_bound(&it.value.wait)).count();
    let due = job.tasks.len() - bound;
    let mut message = state.map(|it| it.message.clone()).unwrap_or_default();
    if record.deleted {
        message = "it is being deleted".to_owned();
    }
    Some(Summary {
        key: key.clone(),
        kind: record.work.kind().to_owned(),
        phase: state.map(|it| it.phase),
        message,
        wanted: wanted(&record.work),
        ready: 0,
        bound: small(bound),
        due: small(due),
        counts: job.counts,
        owner: record.owner.clone(),
        step: None,
        labels: record.labels.clone(),
        created_at: record.created_at,
    })
}

/// With what its runs and children say.
pub(super) fn summary_in(mirror: &Mirror, key: &JobKey) -> Option<Summary> {
    let job = mirror.job(key)?;
    let mut summary = summary(key, job)?;
    let is_ready = |wait: &TaskWait| match wait {
        TaskWait::Bound { run, .. } => {
            let run = mirror.run(run).filter(|run| run.result.is_none());
            run.and_then(|run| run.seen.as_ref()).is_some_and(|seen| seen.value.ready)
        }
        TaskWait::Due { .. } => false,
    };
    summary.ready = small(job.tasks.values().filter(|it| is_ready(&it.value.wait)).count());
    let record = &job.record.as_ref()?.value;
    match &record.work {
        // Slots that were never begun are no keys.
        Work::Job(spec) => {
            let Counts { succeeded, failed, cancelled } = job.counts;
            let ended = succeeded + failed + cancelled;
            let is_over = summary.phase.is_some_and(mason_core::record::Phase::is_final);
            let rest = spec.count.saturating_sub(ended).saturating_sub(summary.bound);
            summary.due = if is_over { 0 } else { rest };
        }
        Work::Service(service) if !service.suspend => {
            summary.due = summary.due.max(service.replicas.saturating_sub(summary.bound));
        }
        Work::Service(_) => {}
        Work::Cron(_) | Work::Workflow(_) => {
            for child in mirror.children_of(key).filter_map(|child| mirror.job(child)) {
                add_child(&mut summary, child);
            }
        }
    }
    Some(summary)
}

/// What a cron or workflow wants is what its children are; how many of them ended how.
fn add_child(summary: &mut Summary, child: &Job) {
    use mason_core::record::Phase;
    let Some(state) = child.state.as_ref() else {
        summary.due += 1;
        return;
    };
    match state.value.phase {
        Phase::Succeeded => summary.counts.succeeded += 1,
        Phase::Failed => summary.counts.failed += 1,
        Phase::Skipped => summary.counts.cancelled += 1,
        Phase::Active | Phase::Stopping => summary.bound += 1,
        Phase::Waiting | Phase::Suspended => summary.due += 1,
    }
}

fn wanted(work: &Work) -> u32 {
    match work {
        Work::Job(job) => job.count,
        Work::Service(service) => service.replicas,
        Work::Cron(_) | Work::Workflow(_) => 0,
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// All that is known of it.
pub(super) fn detail(mirror: &Mirror, key: &JobKey) -> Option<Detail> {
    let job = mirror.job(key)?;
    let record = &job.record.as_ref()?.value;
    let (tasks, tasks_left_out) = tasks(mirror, job);
    let children = mirror.children_of(key).take(TASKS_MAX);
    let mut children: Vec<Summary> = children.filter_map(|it| summary_in(mirror, it)).collect();
    let summary = summary_in(mirror, key)?;
    let tree = leader::workflow_nodes(mirror, key, unix_now()).map(|nodes| {
        name_steps(&nodes, &mut children);
        workflow::show(&key.name, "", &nodes, unix_now())
    });
    Some(Detail {
        summary,
        record: record.clone(),
        manifest: text(key, record),
        state: job.state.as_ref().map(|it| it.value.clone()),
        tasks,
        tasks_left_out,
        tree,
        children,
        revision: mirror.revision(),
    })
}

/// Says which node each job of a workflow does, and puts them into the order of the nodes.
fn name_steps(nodes: &[NodeSeen], children: &mut [Summary]) {
    let all = nodes.iter().flat_map(NodeSeen::walk);
    let leaves = all.filter(|node| !node.fanned).enumerate();
    let leaves = leaves.filter_map(|(at, node)| Some((node.child.as_deref()?, (at, &node.path))));
    let places: BTreeMap<&str, (usize, &String)> = leaves.collect();
    let place = |child: &Summary| places.get(&*child.key.name).copied();
    for child in children.iter_mut() {
        child.step = place(child).map(|(_, path)| path.clone());
    }
    children.sort_by_key(|child| place(child).map_or(usize::MAX, |(at, _)| at));
}

/// As a manifest that can be edited and applied.
fn text(key: &JobKey, record: &JobRecord) -> String {
    show(&manifest::Object {
        namespace: Some(key.namespace.to_string()),
        name: Name::Given(key.name.to_string()),
        labels: record.labels.clone(),
        body: Body::Work(Box::new(record.work.clone())),
        warnings: Vec::new(),
    })
}

/// Those under way first, then those that ended.
fn tasks(mirror: &Mirror, job: &Job) -> (Vec<TaskView>, u32) {
    let mut views = Vec::new();
    let mut count = job.tasks.len();
    for (&index, entry) in job.tasks.iter().take(TASKS_MAX) {
        let task = &entry.value;
        let run = match &task.wait {
            TaskWait::Bound { run, .. } => mirror.run(run),
            TaskWait::Due { .. } => None,
        };
        views.push(TaskView {
            index,
            task: Some(task.clone()),
            run: run.and_then(|it| it.record.as_ref()).map(|(_, it)| it.value.clone()),
            seen: run.and_then(|it| it.seen.as_ref()).map(|it| it.value.clone()),
            past: task.last.clone(),
            mark: None,
        });
    }
    for (index, mark) in marked(job) {
        count += 1;
        if views.len() < TASKS_MAX {
            let past = job.pasts.get(&index).map(|it| it.value.clone());
            let (task, run, seen) = (None, None, None);
            views.push(TaskView { index, task, run, seen, past, mark: word_of(mark) });
        }
    }
    let left_out = small(count - views.len());
    (views, left_out)
}

/// Tasks that ended, by index.
fn marked(job: &Job) -> impl Iterator<Item = (u32, Mark)> {
    let chunks: &BTreeMap<_, _> = &job.marks;
    chunks.iter().flat_map(|(chunk, marks)| {
        let places = u32::try_from(marks.value.bits.len() * 4).unwrap_or(MARKS_CHUNK);
        let marks =
            (0..places).map(move |place| (chunk * MARKS_CHUNK + place, marks.value.get(place)));
        marks.filter(|(_, mark)| *mark != Mark::None)
    })
}
