//! What a change of a key means: how it was, how it is, and so what happened.

use mason_core::control::service::ServiceProgress;
use mason_core::keys::Key;
use mason_core::mirror::{Mirror, Run};
use mason_core::record::{
    Exit, JobRecord, NodeRecord, Phase, Progress, Reason, RunPhase, StateRecord, TaskWait, Wish,
};
use mason_core::spec::Work;
use mason_core::types::{JobKey, NodeId, Revision, RunId, TaskKey};

use super::{happened, to_job, to_node, to_run};
use crate::api::wire::Event;
use crate::server::unix_now;

/// What the copy said of a key before it changed: as much as is needed to tell what happened.
#[derive(Debug)]
pub(in crate::server) enum Before {
    Nothing,
    Job(Option<Wanted>),
    State(Option<Stand>),
    Run(Option<(TaskKey, Wish)>),
    Seen(Option<(RunPhase, bool)>),
    Node(Option<NodeRecord>),
    Alive(bool),
}

/// Of a job's record, what can be told apart.
#[derive(Debug)]
pub(in crate::server) struct Wanted {
    owner: Option<JobKey>,
    deleted: bool,
    generation: u64,
    suspend: bool,
    retries: u32,
    restarts: u32,
    rollback_to: Option<u64>,
}

/// Of a job's state, what can be told apart: its phase, and of a service, how its update goes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) struct Stand {
    phase: Phase,
    update: Option<Update>,
}

/// How the update of a service goes.
#[derive(Debug, PartialEq, Eq)]
struct Update {
    /// The revision that shall run.
    target: u64,
    /// It is not over.
    moves: bool,
    /// It takes back a failed one.
    back: bool,
    /// What there is to say about it.
    note: String,
}

fn stand(state: &StateRecord) -> Stand {
    let update = match &state.progress {
        Progress::Service(value) => ServiceProgress::read(value).ok().map(|it| Update {
            target: it.target,
            moves: it.rollout.is_some(),
            back: it.rollout.as_ref().is_some_and(|rollout| rollout.back),
            note: it.note,
        }),
        _ => None,
    };
    Stand { phase: state.phase, update }
}

impl Before {
    /// To be asked before the change is taken in.
    pub(in crate::server) fn of(mirror: &Mirror, key: &Key) -> Before {
        match key {
            Key::Job(job) => {
                let record = mirror.job(job).and_then(|it| it.record.as_ref());
                Before::Job(record.map(|it| wanted(&it.value)))
            }
            Key::State(job) => {
                let state = mirror.job(job).and_then(|it| it.state.as_ref());
                Before::State(state.map(|it| stand(&it.value)))
            }
            Key::Run(_, run) => {
                let record = mirror.run(run).and_then(|it| it.record.as_ref());
                Before::Run(record.map(|(_, it)| (it.value.task.clone(), it.value.wish)))
            }
            Key::Seen(_, run) => {
                let seen = mirror.run(run).and_then(|it| it.seen.as_ref());
                Before::Seen(seen.map(|it| (it.value.phase, it.value.ready)))
            }
            Key::Node(node) => {
                let record = mirror.node(node).and_then(|it| it.record.as_ref());
                Before::Node(record.map(|it| it.value.clone()))
            }
            Key::Alive(node) => {
                Before::Alive(mirror.node(node).is_some_and(|it| it.alive.is_some()))
            }
            _ => Before::Nothing,
        }
    }
}

fn wanted(record: &JobRecord) -> Wanted {
    Wanted {
        owner: record.owner.clone(),
        deleted: record.deleted,
        generation: record.generation,
        suspend: suspends(&record.work),
        retries: record.retries,
        restarts: record.restarts,
        rollback_to: record.rollback_to,
    }
}

fn suspends(work: &Work) -> bool {
    match work {
        Work::Job(job) => job.suspend,
        Work::Service(service) => service.suspend,
        Work::Cron(cron) => cron.suspend,
        Work::Workflow(workflow) => workflow.suspend,
    }
}

/// The objects that a changed key is about: its own, and what made that.
pub(super) fn touches(mirror: &Mirror, key: &Key, before: &Before) -> Vec<JobKey> {
    let job = match (key, before) {
        (Key::Job(job) | Key::State(job) | Key::Marks(job, _), _) => job.clone(),
        (Key::Task(task) | Key::Past(task), _) => task.job.clone(),
        (Key::Run(..), Before::Run(Some((task, _)))) => task.job.clone(),
        (Key::Run(_, run) | Key::Seen(_, run) | Key::Result(run), _) => {
            match mirror.run(run).and_then(task_of) {
                Some(task) => task.job.clone(),
                None => return Vec::new(),
            }
        }
        _ => return Vec::new(),
    };
    let was = match before {
        Before::Job(Some(wanted)) => wanted.owner.clone(),
        _ => None,
    };
    let record = mirror.job(&job).and_then(|it| it.record.as_ref());
    let owner = record.and_then(|it| it.value.owner.clone()).or(was);
    [Some(job), owner].into_iter().flatten().collect()
}

fn task_of(run: &Run) -> Option<&TaskKey> {
    let bound = run.record.as_ref().map(|(_, it)| &it.value.task);
    bound.or_else(|| run.result.as_ref().map(|it| &it.value.task))
}

/// What happened.
pub(super) fn events(mirror: &Mirror, key: &Key, before: Before, at: Revision) -> Vec<Event> {
    match (key, before) {
        (Key::Job(job), Before::Job(before)) => job_events(mirror, job, before, at),
        (Key::State(job), Before::State(before)) => state_events(mirror, job, before, at),
        (Key::Run(node, run), Before::Run(before)) => {
            run_event(mirror, (node, run), before, at).into_iter().collect()
        }
        (Key::Seen(node, run), Before::Seen(before)) => {
            seen_event(mirror, (node, run), before, at).into_iter().collect()
        }
        (Key::Result(run), _) => result_event(mirror, run, at).into_iter().collect(),
        (Key::Task(task), _) => task_event(mirror, task, at).into_iter().collect(),
        (Key::Node(node), Before::Node(before)) => node_events(mirror, node, before, at),
        (Key::Alive(node), Before::Alive(before)) => {
            alive_event(mirror, node, before, at).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn job_events(mirror: &Mirror, key: &JobKey, before: Option<Wanted>, at: Revision) -> Vec<Event> {
    let told = |when, what: &str, message: String| to_job(happened(at, when, what, message), key);
    let now = mirror.job(key).and_then(|it| it.record.as_ref()).map(|it| &it.value);
    let (before, record) = match (before, now) {
        (None, None) => return Vec::new(),
        (Some(_), None) => {
            return vec![told(unix_now(), "deleted", "nothing is left of it".to_owned())];
        }
        (None, Some(record)) => {
            let by = record.owner.as_ref().map(|it| format!(" by {it}")).unwrap_or_default();
            let kind = record.work.kind();
            let message = format!("a {kind} was made{by}");
            let made = told(record.created_at, "created", message);
            // Who asks what a cron did asks for its ticks.
            let of_owner = record.owner.as_ref().map(|owner| {
                let message = format!("{kind} {} was made", key.name);
                to_job(happened(at, record.created_at, "made", message), owner)
            });
            return [Some(made), of_owner].into_iter().flatten().collect();
        }
        (Some(before), Some(record)) => (before, record),
    };
    let now = wanted(record);
    let mut events = Vec::new();
    let mut add = |what: &str, message: String| events.push(told(unix_now(), what, message));
    if now.deleted && !before.deleted {
        add("deleting", "somebody deleted it: what runs is stopped".to_owned());
    }
    if now.retries != before.retries {
        add("retried", "its failed tasks are tried again: somebody asked for it".to_owned());
    }
    if now.restarts != before.restarts {
        add("restarted", "all its tasks are started anew: somebody asked for it".to_owned());
    }
    match now.rollback_to.filter(|_| now.rollback_to != before.rollback_to) {
        Some(revision) => add("rollback", format!("it shall go back to revision {revision}")),
        None if now.suspend != before.suspend => {
            let what = if now.suspend { "suspend" } else { "resume" };
            add(what, format!("somebody asked for it, generation {}", now.generation));
        }
        None if now.generation != before.generation => {
            add("changed", format!("generation {} was asked for", now.generation));
        }
        None => {}
    }
    events
}

/// A phase, as the word of an event.
pub(crate) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Active => "active",
        Phase::Suspended => "suspended",
        Phase::Stopping => "stopping",
        Phase::Succeeded => "succeeded",
        Phase::Failed => "failed",
        Phase::Skipped => "skipped",
    }
}

fn state_events(mirror: &Mirror, key: &JobKey, before: Option<Stand>, at: Revision) -> Vec<Event> {
    let state = mirror.job(key).and_then(|it| it.state.as_ref());
    let Some(state) = state.map(|it| &it.value) else { return Vec::new() };
    let now = stand(state);
    let mut events = Vec::new();
    if before.as_ref().is_none_or(|before| before.phase != now.phase) {
        let message = state.message.clone();
        events.push(to_job(happened(at, state.since, phase_word(state.phase), message), key));
    }
    if let Some(before) = before
        && let (Some(before), Some(now)) = (before.update, now.update)
        && let Some((what, message)) = update_event(&before, &now)
    {
        events.push(to_job(happened(at, unix_now(), what, message), key));
    }
    events
}

/// What happened to the update of a service.
fn update_event(before: &Update, now: &Update) -> Option<(&'static str, String)> {
    let target = now.target;
    if now.moves && before.target != target {
        return Some(match now.back {
            true => ("rolling-back", now.note.clone()),
            false => ("updating", format!("to revision {target}")),
        });
    }
    if before.moves && !now.moves {
        let what = if before.back { "rolled-back" } else { "rolled-out" };
        return Some((what, format!("all replicas are of revision {target}")));
    }
    let is_news = now.moves && now.note != before.note && !now.note.is_empty();
    is_news.then(|| ("stuck", now.note.clone()))
}

fn run_event(
    mirror: &Mirror,
    (node, run): (&NodeId, &RunId),
    before: Option<(TaskKey, Wish)>,
    at: Revision,
) -> Option<Event> {
    let (_, entry) = mirror.run(run)?.record.as_ref()?;
    let record = &entry.value;
    let (when, what, message) = match (before, record.wish) {
        (None, _) => {
            let message = format!("attempt {} was placed on {node}", record.attempt);
            (record.bound_at, "bound", message)
        }
        (Some((_, Wish::Run)), Wish::Stop { why, .. }) => {
            (unix_now(), "stopping", format!("it was told to stop: {}", reason(why)))
        }
        _ => return None,
    };
    let event = happened(at, when, what, message);
    Some(to_run(event, (&record.task.job, record.task.index), run, node))
}

fn seen_event(
    mirror: &Mirror,
    (node, run): (&NodeId, &RunId),
    before: Option<(RunPhase, bool)>,
    at: Revision,
) -> Option<Event> {
    let it = mirror.run(run)?;
    let seen = &it.seen.as_ref()?.value;
    let task = task_of(it)?;
    let was = before.map(|(phase, _)| phase);
    let was_ready = before.is_some_and(|(_, ready)| ready);
    let what = match seen.phase {
        phase if was == Some(phase) => match (was_ready, seen.ready) {
            (false, true) => "ready",
            (true, false) => "unready",
            _ => return None,
        },
        RunPhase::Claimed => "claimed",
        RunPhase::Pulling => "pulling",
        RunPhase::Created => "starting",
        RunPhase::Running if seen.ready => "ready",
        RunPhase::Running => "running",
        RunPhase::Stopping => "ending",
    };
    let message = match (seen.message.as_str(), what) {
        ("", "claimed") => format!("the agent of {node} has it"),
        ("", "ready") if was != Some(RunPhase::Running) => "it runs, and is ready".to_owned(),
        (message, _) => message.to_owned(),
    };
    let event = happened(at, seen.since, what, message);
    Some(to_run(event, (&task.job, task.index), run, node))
}

fn result_event(mirror: &Mirror, run: &RunId, at: Revision) -> Option<Event> {
    let result = &mirror.run(run)?.result.as_ref()?.value;
    let (what, message) = ending(&result.exit);
    let event = happened(at, result.exit.finished_at, what, message);
    Some(to_run(event, (&result.task.job, result.task.index), run, &result.node))
}

/// How a run ended, as a word and a sentence.
pub(crate) fn ending(exit: &Exit) -> (&'static str, String) {
    let what = if exit.reason == Reason::Lost { "lost" } else { "exited" };
    let mut text = match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("{}: by signal {signal}", reason(exit.reason)),
        (Some(code), None) if exit.reason == Reason::Exited => format!("with code {code}"),
        (Some(code), None) => format!("{}: with code {code}", reason(exit.reason)),
        (None, None) => reason(exit.reason),
    };
    if !exit.message.is_empty() {
        text += ": ";
        text += &exit.message;
    }
    (what, text)
}

/// A reason, as the store has it: `out-of-memory`.
pub(crate) fn reason(reason: Reason) -> String {
    let value = serde_json::to_value(reason);
    value.ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

fn task_event(mirror: &Mirror, key: &TaskKey, at: Revision) -> Option<Event> {
    let task = &mirror.job(&key.job)?.tasks.get(&key.index)?.value;
    let (TaskWait::Due { not_before }, Some(last)) = (&task.wait, &task.last) else { return None };
    let now = unix_now();
    let wait = not_before.saturating_sub(now);
    let when = if wait == 0 { "at once".to_owned() } else { format!("in {wait} ms") };
    let message = format!("attempt {} is due {when}", task.attempt);
    let event = happened(at, now, "retry", message);
    Some(Event { node: None, ..to_run(event, (&key.job, key.index), &last.run, &last.node) })
}

fn node_events(
    mirror: &Mirror,
    node: &NodeId,
    before: Option<NodeRecord>,
    at: Revision,
) -> Vec<Event> {
    let told = |what: &str, message: String| to_node(happened(at, unix_now(), what, message), node);
    let now = mirror.node(node).and_then(|it| it.record.as_ref()).map(|it| &it.value);
    let (before, now) = match (before, now) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![told("forgotten", "nothing is left of it".to_owned())],
        (None, Some(_)) => return vec![told("added", "it is known from now on".to_owned())],
        (Some(before), Some(now)) => (before, now),
    };
    let mut events = Vec::new();
    let mut add = |what: &str, message: &str| events.push(told(what, message.to_owned()));
    match (before.cordoned, now.cordoned) {
        (false, true) => add("cordoned", "nothing new is placed there"),
        (true, false) => add("uncordoned", "it takes tasks again"),
        _ => {}
    }
    match (before.drain, now.drain) {
        (None, Some(drain)) if drain.interrupted => {
            add("interrupted", "it will be taken away: its tasks go elsewhere");
        }
        (None, Some(_)) => add("drained", "its tasks shall go elsewhere"),
        (Some(_), None) => add("undrained", "its tasks may stay"),
        _ => {}
    }
    if before.taints != now.taints {
        let taints: Vec<String> = now.taints.iter().map(|it| it.key.clone()).collect();
        add("tainted", &format!("its taints are: {}", taints.join(", ")));
    }
    if before.labels != now.labels {
        add("labelled", "its labels are others now");
    }
    if now.confirmed_dead && !before.confirmed_dead {
        add("confirmed-dead", "somebody swears that it is off: its runs are lost");
    }
    events
}

fn alive_event(mirror: &Mirror, node: &NodeId, before: bool, at: Revision) -> Option<Event> {
    let alive = mirror.node(node).and_then(|it| it.alive.as_ref());
    let event = match (before, alive) {
        (false, Some(alive)) => {
            let message = format!("its agent answers at {}", alive.value.address);
            happened(at, alive.value.since, "joined", message)
        }
        (true, None) => happened(at, unix_now(), "silent", "its agent's lease is gone"),
        _ => return None,
    };
    Some(to_node(event, node))
}
