//! What a day must come to: all that can end has ended, and nothing is left of it.

use drystone_sim::World;
use mason_core::agent::Agent;
use mason_core::control::service::ServiceProgress;
use mason_core::control::workflow::WorkflowProgress;
use mason_core::keys::{Key, Keys};
use mason_core::mirror::Mirror;
use mason_core::record::{self, JobRecord, Phase, Progress, TaskWait};
use mason_core::spec::Work;
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::{JobKey, RunId};

use crate::cluster::{Node, Part};
use crate::plan::Writes;

fn mirror(world: &World<Node>) -> Option<Mirror> {
    world.processes().find_map(|(_, node)| match &node.part {
        Part::Store(store) => {
            let mut mirror = Mirror::new(Keys::default());
            mirror.reset(store.revision(), &store.list("/mason/"));
            Some(mirror)
        }
        _ => None,
    })
}

/// Whether every service has all its replicas, ready, and is not about to change any of them.
pub(crate) fn is_whole(world: &World<Node>) -> bool {
    let Some(mirror) = mirror(world) else { return false };
    mirror.jobs().all(|(_, job)| {
        let Some(record) = job.record.as_ref() else { return false };
        let Work::Service(service) = &record.value.work else { return true };
        let Some(state) = &job.state else { return false };
        let Progress::Service(progress) = &state.value.progress else { return false };
        let progress = ServiceProgress::read(progress).expect("progress reads");
        let ready = job.tasks.values().filter(|task| match &task.value.wait {
            TaskWait::Bound { run, .. } => mirror.run(run).is_some_and(|run| {
                run.result.is_none() && run.seen.as_ref().is_some_and(|seen| seen.value.ready)
            }),
            TaskWait::Due { .. } => false,
        });
        let all = ready.count() == service.replicas as usize;
        // No update of a service of none ends before there are some.
        let settled = progress.rollout.is_none() || service.replicas == 0;
        let settled = settled && job.tasks.len() == service.replicas as usize;
        record.value.deleted || all && settled
    })
}

/// What never ends by itself is deleted.
pub(crate) fn end_endless(world: &World<Node>, writes: &mut Writes) {
    let Some(mirror) = mirror(world) else { return };
    for (key, job) in mirror.jobs() {
        let Some(entry) = &job.record else { continue };
        if !matches!(entry.value.work, Work::Service(_) | Work::Cron(_)) {
            continue;
        }
        let path = mirror.keys().path(&Key::Job(key.clone()));
        let gone = JobRecord { deleted: true, ..entry.value.clone() };
        let when = vec![Compare::Present(path.clone())];
        let put = Op::Put { key: path, value: record::encode(&gone), lease: None };
        let count = writes.len();
        writes.insert((0, count), Txn { when, then: vec![put] });
    }
}

/// Somebody looks by, and lets go on what waits for that.
pub(crate) fn resume_waiting(world: &World<Node>, writes: &mut Writes) {
    let Some(mirror) = mirror(world) else { return };
    for (key, job) in mirror.jobs() {
        let (Some(entry), Some(state)) = (&job.record, &job.state) else { continue };
        let Progress::Workflow(progress) = &state.value.progress else { continue };
        let progress = WorkflowProgress::read(progress).expect("progress reads");
        if progress.waiting().next().is_some() {
            let path = mirror.keys().path(&Key::Job(key.clone()));
            let mut told = entry.value.clone();
            told.asks.resume.push(None);
            let when = vec![Compare::Changed(path.clone(), entry.changed)];
            let put = Op::Put { key: path, value: record::encode(&told), lease: None };
            writes.insert((0, writes.len()), Txn { when, then: vec![put] });
        }
    }
}

/// Whether every job is at its end or gone, and nothing is left of any run anywhere.
pub(crate) fn is_done(world: &World<Node>) -> bool {
    let Some(mirror) = mirror(world) else { return false };
    if !leftovers(world, &mirror).is_empty() {
        return false;
    }
    let over = mirror.jobs().all(|(key, job)| {
        if job.record.as_ref().is_some_and(|it| it.value.deleted) {
            return false;
        }
        let is_final = job.state.as_ref().is_some_and(|it| it.value.phase.is_final());
        (is_final || waits_in_vain(&mirror, key)) && job.tasks.is_empty()
    });
    let left = world.processes().any(|(_, node)| match &node.part {
        Part::Host(host) => host.machine().folders().next().is_some(),
        _ => false,
    });
    over && !left && mirror.nodes().all(|(_, node)| node.runs.is_empty())
}

/// Keys of something that is gone: nobody would ever remove them.
fn leftovers(world: &World<Node>, mirror: &Mirror) -> Vec<String> {
    let store = world.processes().find_map(|(_, node)| match &node.part {
        Part::Store(store) => Some(store),
        _ => None,
    });
    let all = store.map(|store| store.list("/mason/")).unwrap_or_default();
    let is_there = |job: &JobKey| mirror.job(job).is_some_and(|it| it.record.is_some());
    let has_run = |run: &RunId| mirror.run(run).is_some_and(|it| it.record.is_some());
    let is_left = |path: &str| match mirror.keys().parse(path)? {
        Key::State(job) | Key::Marks(job, _) => Some(!is_there(&job)),
        Key::Task(task) | Key::Past(task) => Some(!is_there(&task.job)),
        Key::Seen(_, run) | Key::Result(run) => Some(!has_run(&run)),
        _ => Some(false),
    };
    all.into_iter().map(|it| it.path).filter(|path| is_left(path) != Some(false)).collect()
}

/// Whether a job waits for one that is not there: somebody deleted it, and may make it again.
fn waits_in_vain(mirror: &Mirror, key: &JobKey) -> bool {
    let Some(record) = mirror.job(key).and_then(|job| job.record.as_ref()) else { return true };
    let Work::Job(job) = &record.value.work else { return false };
    job.depends_on.iter().any(|it| {
        let on = JobKey::new(&key.namespace, &it.job);
        let phase = mirror.job(&on).and_then(|on| on.state.as_ref()).map(|it| it.value.phase);
        !phase.is_some_and(Phase::is_final) && waits_in_vain(mirror, &on)
    })
}

pub(crate) fn undone(world: &World<Node>, wishes: &[JobKey]) -> String {
    let Some(mirror) = mirror(world) else { return "there is no store".to_owned() };
    let mut text = String::from("not all has ended:\n");
    let children = mirror.jobs().map(|(key, _)| key).filter(|key| !wishes.contains(key));
    for key in wishes.iter().chain(children) {
        if let Some(job) = mirror.job(key) {
            let phase = job.state.as_ref().map(|it| it.value.phase);
            let tasks: Vec<_> = job.tasks.iter().map(|(at, it)| (at, &it.value.wait)).collect();
            text += &format!("{key} {phase:?} {:?} {tasks:?}\n", job.counts);
            if !key.name.starts_with("job") {
                text += &format!("  {:?}\n", job.state.as_ref().map(|state| &state.value));
                text += &format!("  {:?}\n", job.record.as_ref().map(|it| &it.value.work));
            }
        }
    }
    for path in leftovers(world, &mirror) {
        text += &format!("left: {path}\n");
    }
    for (id, node) in mirror.nodes() {
        text += &format!("{id} alive {}\n", node.alive.is_some());
        for run in &node.runs {
            text += &format!("  {run} {:?}\n", mirror.run(run).and_then(|it| it.seen.as_ref()));
        }
    }
    for (_, node) in world.processes() {
        if let Part::Host(host) = &node.part {
            let left: Vec<_> = host.machine().folders().map(|(run, it)| (run, &it.state)).collect();
            text += &format!("on {}: {left:?}\n", host.node());
            for (run, _, seen) in host.agent().into_iter().flat_map(Agent::runs) {
                text += &format!("  agent: {run} {seen:?}\n");
            }
        }
    }
    text
}
