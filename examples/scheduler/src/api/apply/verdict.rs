//! What an apply does to an object that may be there.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use mason_core::mirror::Mirror;
use mason_core::record::JobRecord;
use mason_core::spec::{Job, Work, Workflow};
use mason_core::types::JobKey;

use crate::api::plan::differences;
use crate::api::refuse::Refused;

/// What an apply does.
pub(in crate::api) enum Verdict {
    /// It is not there.
    Create,
    /// It is, and becomes this.
    Change(Box<JobRecord>),
    /// It is, and is the same.
    Same,
}

/// What an apply does to an object of that name.
pub(in crate::api) fn verdict(
    mirror: &Mirror,
    key: &JobKey,
    labels: &BTreeMap<String, String>,
    work: &Work,
) -> Result<Verdict, Refused> {
    let Some(job) = mirror.job(key) else { return Ok(Verdict::Create) };
    let Some(entry) = &job.record else { return Ok(Verdict::Create) };
    let (old, kind) = (&entry.value, entry.value.work.kind());
    if old.deleted {
        let left = match job.tasks.len() {
            0 => String::new(),
            some => format!("; {some} of its tasks have not stopped yet"),
        };
        let error = format!("{kind} {key} is being deleted{left}: ask again when it is gone");
        return Err(Refused::conflict(error));
    }
    if let Some(owner) = &old.owner {
        let error = format!("{kind} {key} was made by {owner}: change that, or take another name");
        return Err(Refused::conflict(error));
    }
    if kind != work.kind() {
        let error = format!(
            "{key} is a {kind} and cannot become a {}: delete it first, or take another name",
            work.kind()
        );
        return Err(Refused::conflict(error));
    }
    fixed(key, &old.work, work)?;
    if old.work == *work && old.labels == *labels {
        return Ok(Verdict::Same);
    }
    Ok(Verdict::Change(Box::new(JobRecord {
        work: work.clone(),
        labels: labels.clone(),
        generation: old.generation + 1,
        rollback_to: None,
        restarts: old.restarts + u32::from(moves(&old.work, work)),
        ..old.clone()
    })))
}

/// Whether replicas would stay where they may not be any more: a service whose template is the same
/// goes to its new placement by a restart, bit by bit, as it does to a new template.
fn moves(old: &Work, new: &Work) -> bool {
    match (old, new) {
        (Work::Service(old), Work::Service(new)) => {
            old.placement != new.placement && old.task == new.task
        }
        _ => false,
    }
}

/// Refuses changes of what cannot change once it is there.
fn fixed(key: &JobKey, old: &Work, new: &Work) -> Result<(), Refused> {
    // With all that may change as it was, nothing else may be left that differs.
    let bent = match (old, new) {
        (Work::Job(old), Work::Job(new)) => Work::Job(Job {
            task: new.task.clone(),
            count: new.count,
            depends_on: new.depends_on.clone(),
            concurrency: new.concurrency,
            ..old.clone()
        }),
        (Work::Workflow(old), Work::Workflow(new)) => Work::Workflow(Workflow {
            suspend: old.suspend,
            parallelism: old.parallelism,
            deadline: old.deadline,
            ttl: old.ttl,
            ..new.clone()
        }),
        _ => return Ok(()),
    };
    if bent == *old {
        return Ok(());
    }
    let paths = differences(old, &bent)
        .into_iter()
        .map(|it| format!("{}: cannot change once the {} is there", it.path, old.kind()));
    let error = format!(
        "{} {key} is there already, and its tasks are made of another template: delete it first, \
         or give this one another name (or generateName)",
        old.kind()
    );
    let mut refused = Refused::problems(error, paths.collect());
    refused.status = StatusCode::CONFLICT;
    Err(refused)
}
