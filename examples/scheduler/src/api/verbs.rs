//! Verbs on objects: each a change of what is wanted, with its own idea of what it can be asked of.
//!
//! | verb | of | does |
//! |---|---|---|
//! | `delete` | all | stops what runs, then removes it with what it made |
//! | `suspend` | all | nothing new; what runs is stopped (of a cron: goes on) |
//! | `resume` | all | takes that back, and `paused` of a service |
//! | `retry` | job, workflow | tries again what failed |
//! | `restart` | service | a new revision of the same: replaced bit by bit |
//! | `scale` | service | another number of replicas |
//! | `rollback` | service | the template of an earlier revision |
//! | `image` | service, cron | another image |

mod service;

use axum::Json;
use axum::extract::State;
use mason_core::control;
use mason_core::control::workflow::WorkflowProgress;
use mason_core::keys::Key;
use mason_core::mirror::{Entry, Job, Mirror};
use mason_core::record::{JobRecord, Phase, Progress, VALUE_BYTES_MAX, encode};
use mason_core::spec::{CronWork, Work};
use mason_core::txn::{Compare, Txn};
use mason_core::types::JobKey;

use super::Shelf;
use super::ask::{Object, Sent, Verb};
use super::change::Decision;
use super::objects::unknown;
use super::refuse::{Refused, shown};
use super::wire::{Change, Changed};
use crate::server::unix_now;

/// What a verb makes of a record.
pub(super) enum Edit {
    /// This, and what there is to say.
    Into(Box<JobRecord>, String),
    /// It is so already.
    Same(String),
}

/// An object, as a verb looks at it.
pub(super) struct Sight<'a> {
    pub(super) mirror: &'a Mirror,
    pub(super) key: &'a JobKey,
    pub(super) job: &'a Job,
    pub(super) record: &'a JobRecord,
}

pub(super) async fn verb(
    State(api): Shelf,
    Object(key): Object,
    Verb(verb): Verb,
    Sent(change): Sent<Change>,
) -> Result<Json<Changed>, Refused> {
    check_fields(&verb, &change)?;
    let decide = |mirror: &Mirror| {
        let job = mirror.job(&key).ok_or_else(|| unknown(&key))?;
        let entry = job.record.as_ref().ok_or_else(|| unknown(&key))?;
        let sight = Sight { mirror, key: &key, job, record: &entry.value };
        match edit(&sight, &verb, &change)? {
            Edit::Same(message) => Ok(Decision::Keep(message)),
            Edit::Into(record, message) => {
                Ok(Decision::Write(write(mirror, &key, entry, &record)?, message))
            }
        }
    };
    let (revision, message) = api.change(decide).await?;
    Ok(Json(Changed { revision, message }))
}

/// A field that a verb does not look at is a mistake that nobody would notice.
fn check_fields(verb: &str, change: &Change) -> Result<(), Refused> {
    let Change { replicas, revision, image } = change;
    let takes = match verb {
        "delete" | "suspend" | "resume" | "retry" | "restart" => "",
        "scale" => "replicas",
        "rollback" => "revision",
        "image" => "image",
        _ => {
            let known = "delete, suspend, resume, retry, restart, scale, rollback and image";
            let error = format!("{} is no verb of an object; there are {known}", shown(verb));
            return Err(Refused::missing(error));
        }
    };
    let given = [
        ("replicas", replicas.is_some()),
        ("revision", revision.is_some()),
        ("image", image.is_some()),
    ];
    let surplus = given.iter().filter(|(name, is_given)| *is_given && *name != takes);
    let mut problems: Vec<String> =
        surplus.map(|(name, _)| format!("{name}: has no meaning for {verb}")).collect();
    let needs = matches!(verb, "scale" | "image");
    if needs && given.iter().any(|(name, is_given)| *name == takes && !is_given) {
        problems.push(format!("{takes}: is missing"));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::problems(format!("{verb} cannot be done so"), problems)),
    }
}

fn edit(sight: &Sight<'_>, verb: &str, change: &Change) -> Result<Edit, Refused> {
    let Sight { key, record, .. } = *sight;
    let kind = record.work.kind();
    if record.deleted {
        return match verb {
            "delete" => Ok(Edit::Same(format!("{key} is being deleted already"))),
            _ => Err(Refused::conflict(format!("{kind} {key} is being deleted"))),
        };
    }
    match verb {
        "delete" => {
            let message = match sight.job.tasks.len() {
                0 => format!("{kind} {key} goes"),
                some => format!("{kind} {key} goes when its {some} tasks have stopped"),
            };
            Ok(Edit::Into(Box::new(JobRecord { deleted: true, ..record.clone() }), message))
        }
        "suspend" => suspend(sight, true),
        "resume" => suspend(sight, false),
        "retry" => retry(sight),
        "restart" => service::restart(sight),
        "scale" => service::scale(sight, change.replicas.unwrap_or_default()),
        "rollback" => service::rollback(sight, change.revision),
        _ => image(sight, change.image.as_deref().unwrap_or_default()),
    }
}

/// The record with other work: another generation.
pub(super) fn with_work(record: &JobRecord, work: Work) -> JobRecord {
    JobRecord { work, generation: record.generation + 1, ..record.clone() }
}

fn suspend(sight: &Sight<'_>, suspend: bool) -> Result<Edit, Refused> {
    let Sight { key, record, .. } = *sight;
    let kind = record.work.kind();
    let phase = sight.job.state.as_ref().map(|it| it.value.phase);
    if let Some(phase) = phase.filter(|it| it.is_final()) {
        let word = format!("{phase:?}").to_lowercase();
        return Err(Refused::conflict(format!("{kind} {key} has ended: {word}")));
    }
    let mut work = record.work.clone();
    let (is, what) = match &mut work {
        Work::Job(job) => (&mut job.suspend, "its tasks are stopped and wait"),
        Work::Service(service) => {
            // An update that stands still is resumed by the same word.
            service.paused &= suspend;
            (&mut service.suspend, "its replicas are stopped")
        }
        Work::Cron(cron) => (&mut cron.suspend, "it makes no jobs; those that it made go on"),
        Work::Workflow(workflow) => (&mut workflow.suspend, "nothing new of it starts"),
    };
    *is = suspend;
    if !suspend && waits_to_be_resumed(sight.job) {
        let mut record = with_work(record, work);
        record.asks.resume.push(None);
        let message = format!("workflow {key} goes on, where it waited for that");
        return Ok(Edit::Into(Box::new(record), message));
    }
    if work == record.work {
        let state = if suspend { "suspended" } else { "not suspended" };
        return Ok(Edit::Same(format!("{kind} {key} is {state} already")));
    }
    let message = match suspend {
        true => format!("{kind} {key} is suspended: {what}"),
        false => format!("{kind} {key} goes on"),
    };
    Ok(Edit::Into(Box::new(with_work(record, work)), message))
}

/// Whether nodes of a workflow wait for somebody to say so.
fn waits_to_be_resumed(job: &Job) -> bool {
    let Some(Progress::Workflow(value)) = job.state.as_ref().map(|it| &it.value.progress) else {
        return false;
    };
    WorkflowProgress::read(value).is_ok_and(|progress| progress.waiting().next().is_some())
}

fn retry(sight: &Sight<'_>) -> Result<Edit, Refused> {
    let Sight { key, record, job, .. } = *sight;
    let refuse = |why: &str| Err(Refused::conflict(format!("{} {key} {why}", record.work.kind())));
    let deadline = match &record.work {
        Work::Job(spec) => spec.deadline,
        Work::Workflow(spec) => spec.deadline,
        Work::Service(_) => {
            return refuse("tries for ever by itself; `restart` replaces all of it");
        }
        Work::Cron(_) => return refuse("has no tasks of its own: retry one of the jobs it made"),
    };
    let phase = job.state.as_ref().map(|it| it.value.phase);
    if !phase.is_some_and(Phase::is_final) {
        return refuse("has not ended: its retries are its own business");
    }
    let lost = job.counts.failed + job.counts.cancelled;
    let is_job = matches!(record.work, Work::Job(_));
    if phase == Some(Phase::Succeeded) && (lost == 0 || !is_job) {
        return refuse("has succeeded: there is nothing to try again");
    }
    if deadline.is_some_and(|it| record.created_at.saturating_add(it) <= unix_now()) {
        return refuse("is over its deadline and would fail at once: apply it with a later one");
    }
    let message = match is_job {
        true => format!("{lost} tasks of job {key} are tried again"),
        false => format!("workflow {key} is tried again"),
    };
    let mut again = JobRecord { retries: record.retries + 1, ..record.clone() };
    // Who asked for its end before asks for another now.
    again.asks.end = None;
    Ok(Edit::Into(Box::new(again), message))
}

/// Whether a text can name an image: as manifests have it.
fn check_image(image: &str) -> Result<(), Refused> {
    let fits = !image.is_empty()
        && image.len() <= 512
        && image.chars().all(|letter| letter.is_ascii_graphic());
    match fits {
        true => Ok(()),
        false => {
            let problem = format!("image: {} is no name of an image, as alpine:3.18", shown(image));
            Err(Refused::problems("image cannot be done so", vec![problem]))
        }
    }
}

fn image(sight: &Sight<'_>, image: &str) -> Result<Edit, Refused> {
    let Sight { key, record, .. } = *sight;
    check_image(image)?;
    let kind = record.work.kind();
    let mut work = record.work.clone();
    let task = match &mut work {
        Work::Service(service) => &mut service.task,
        Work::Cron(cron) => match &mut cron.each {
            CronWork::Job(job) => &mut job.task,
            CronWork::Workflow(_) => {
                let why = "makes workflows, which have many images: apply it with others";
                return Err(Refused::conflict(format!("cron {key} {why}")));
            }
        },
        Work::Job(_) | Work::Workflow(_) => {
            let why = "its tasks are made of the image that it was made with; delete it, or give \
                       another its own name";
            return Err(Refused::conflict(format!("{kind} {key}: {why}")));
        }
    };
    if task.image == image {
        return Ok(Edit::Same(format!("{kind} {key} has that image already")));
    }
    image.clone_into(&mut task.image);
    Ok(Edit::Into(
        Box::new(with_work(record, work)),
        format!("{kind} {key} runs {image} from now on"),
    ))
}

/// A transaction that writes a record in the place of the one that is known.
pub(super) fn write(
    mirror: &Mirror,
    key: &JobKey,
    old: &Entry<JobRecord>,
    new: &JobRecord,
) -> Result<Txn, Refused> {
    let problems = control::check(&new.work);
    if !problems.is_empty() {
        let problems = problems.iter().map(ToString::to_string).collect();
        return Err(Refused::problems(format!("{key} could not be carried out so"), problems));
    }
    let value = encode(new);
    if value.len() > VALUE_BYTES_MAX {
        return Err(Refused::bad(format!("{key} would be {} bytes: too many", value.len())));
    }
    let path = mirror.keys().path(&Key::Job(key.clone()));
    Ok(Txn::new().when(Compare::Changed(path.clone(), old.changed)).put(path, value))
}
