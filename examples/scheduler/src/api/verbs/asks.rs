//! What is asked of jobs and workflows while they run: to end, or to go on.

use mason_core::control::workflow::WorkflowProgress;
use mason_core::record::{Ending, JobRecord, Phase, Progress};
use mason_core::spec::Work;

use super::{Edit, Sight};
use crate::api::refuse::Refused;

/// It ends, and stays to be looked at.
pub(super) fn end(sight: &Sight<'_>, ending: Ending) -> Result<Edit, Refused> {
    let Sight { key, record, job, .. } = *sight;
    let kind = record.work.kind();
    match &record.work {
        Work::Job(_) | Work::Workflow(_) => {}
        Work::Service(_) | Work::Cron(_) => {
            let error = format!("{kind} {key} has no end of its own: suspend or delete it");
            return Err(Refused::conflict(error));
        }
    }
    let phase = job.state.as_ref().map(|it| it.value.phase);
    if phase.is_some_and(Phase::is_final) {
        return Ok(Edit::Same(format!("{kind} {key} has ended already")));
    }
    if record.asks.end == Some(ending) {
        return Ok(Edit::Same(format!("{kind} {key} is told to end already")));
    }
    let mut record = JobRecord::clone(record);
    record.asks.end = Some(ending);
    Ok(Edit::Into(Box::new(record), format!("{kind} {key} ends")))
}

/// The nodes of a workflow that wait for somebody go on; none if there are none.
pub(super) fn resume(sight: &Sight<'_>) -> Option<Edit> {
    let Sight { key, record, job, .. } = *sight;
    let Progress::Workflow(value) = &job.state.as_ref()?.value.progress else { return None };
    // What does not read is told by the leader.
    let progress = WorkflowProgress::read(value).ok()?;
    let waiting: Vec<&str> = progress.waiting().collect();
    if waiting.is_empty() {
        return None;
    }
    let message = format!("workflow {key} goes on at {}", waiting.join(", "));
    let mut record = JobRecord::clone(record);
    record.asks.resume.push(None);
    Some(Edit::Into(Box::new(record), message))
}
