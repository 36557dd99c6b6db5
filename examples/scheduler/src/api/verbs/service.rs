//! What is asked of services alone.

use mason_core::control::service::{Revision, RevisionState, ServiceProgress};
use mason_core::record::{JobRecord, Progress};
use mason_core::spec::{Service, Work};

use super::{Edit, Sight, with_work};
use crate::api::refuse::Refused;

fn service_of<'a>(sight: &Sight<'a>, verb: &str, else_do: &str) -> Result<&'a Service, Refused> {
    match &sight.record.work {
        Work::Service(service) => Ok(service),
        other => {
            let (kind, key) = (other.kind(), sight.key);
            Err(Refused::conflict(format!("{kind} {key} is no service: {verb} {else_do}")))
        }
    }
}

pub(super) fn restart(sight: &Sight<'_>) -> Result<Edit, Refused> {
    let otherwise = "is for what shall not end; `retry` tries again what failed";
    let service = service_of(sight, "restart", otherwise)?;
    let key = sight.key;
    if service.paused {
        let why = "is paused: its replicas are replaced when it is resumed";
        return Err(Refused::conflict(format!("service {key} {why}")));
    }
    let record = JobRecord { restarts: sight.record.restarts + 1, ..sight.record.clone() };
    Ok(Edit::Into(
        Box::new(record),
        format!("the replicas of service {key} are replaced bit by bit"),
    ))
}

pub(super) fn scale(sight: &Sight<'_>, replicas: u32) -> Result<Edit, Refused> {
    let otherwise = "is for replicas; the size of a job is fixed, and `parallelism` is applied";
    let service = service_of(sight, "scale", otherwise)?;
    let key = sight.key;
    if service.replicas == replicas {
        return Ok(Edit::Same(format!("service {key} has {replicas} replicas already")));
    }
    let message = format!("service {key} goes from {} to {replicas} replicas", service.replicas);
    let work = Work::Service(Service { replicas, ..service.clone() });
    Ok(Edit::Into(Box::new(with_work(sight.record, work)), message))
}

/// Back to an earlier template. What is wanted becomes that template, so that it is shown as it is,
/// and the manifest of the newer one can be applied again.
pub(super) fn rollback(sight: &Sight<'_>, to: Option<u64>) -> Result<Edit, Refused> {
    let service = service_of(sight, "rollback", "has nothing to go back to")?;
    let Sight { key, record, mirror, .. } = *sight;
    let refuse = |why: String| Err(Refused::conflict(format!("service {key} {why}")));
    if service.paused {
        return refuse("is paused: resume it first".to_owned());
    }
    let progress = match sight.job.state.as_ref().map(|it| &it.value.progress) {
        Some(Progress::Service(value)) => ServiceProgress::read(value)
            .map_err(|error| Refused::conflict(format!("service {key}: {error}")))?,
        _ => return refuse("has no revisions yet".to_owned()),
    };
    let Some(revision) = choose(&progress, to) else {
        let known: Vec<String> = progress.revisions.iter().map(revision_text).collect();
        let known = format!("known are {}, and it aims at {}", known.join(", "), progress.target);
        return match to {
            Some(to) => refuse(format!("has no revision {to}: {known}")),
            None => refuse(format!("has no earlier revision that was whole: {known}")),
        };
    };
    let number = revision.number;
    let Some(task) = mirror.spec(&revision.spec) else {
        return refuse(format!("has lost the template of revision {number}"));
    };
    let task = (*task.value).clone();
    if service.task == task && progress.target == number {
        return Ok(Edit::Same(format!("service {key} is at revision {number} already")));
    }
    if service.task == task && record.rollback_to == Some(number) {
        let why = format!(
            "was sent to revision {number} and left it, for it did not come up: `restart` tries \
             it again"
        );
        return refuse(why);
    }
    let work = Work::Service(Service { task, ..service.clone() });
    let back = JobRecord { rollback_to: Some(number), ..with_work(record, work) };
    Ok(Edit::Into(Box::new(back), format!("service {key} goes back to revision {number}")))
}

/// The one that is asked for; or the last that was whole, other than the one that it aims at.
fn choose(progress: &ServiceProgress, to: Option<u64>) -> Option<&Revision> {
    if let Some(to) = to {
        return progress.revision(to);
    }
    let others = progress.revisions.iter().filter(|it| it.number != progress.target);
    let whole = others.filter_map(|it| match it.state {
        RevisionState::Whole(at) => Some((at, it.number, it)),
        _ => None,
    });
    whole.max_by_key(|(at, number, _)| (*at, *number)).map(|(_, _, it)| it)
}

fn revision_text(revision: &Revision) -> String {
    let state = match revision.state {
        RevisionState::Trying => "tried",
        RevisionState::Whole(_) => "whole",
        RevisionState::Failed => "failed",
    };
    format!("{} ({state})", revision.number)
}
