//! What there is to say of places, for groups that want one or have one.

use std::sync::Arc;

use mason_core::control::service::ServiceProgress;
use mason_core::leader::{self, Places};
use mason_core::mirror::Mirror;
use mason_core::place::{Ask, Explanation};
use mason_core::record::{Progress, TaskWait};
use mason_core::spec::{Placement, Task, Work};
use mason_core::types::JobKey;

use super::Told;
use super::indexes::Indexes;
use super::story::{Group, Step, Story};
use crate::server::{Shared, unix_now};

/// Explanations in one answer at most: each looks at all nodes.
const EXPLAINED_MAX: usize = 8;

/// Adds them.
pub(super) fn look(shared: &Shared, places: &mut Places, told: &mut [Told]) {
    let mut left = EXPLAINED_MAX;
    for Told { key, group, .. } in told {
        if left == 0 {
            return;
        }
        group.placement = match group.story.clone() {
            Story::Wants(memory) => wanted(shared, places, key, group, memory),
            Story::Bound(_, step) if step != Step::Over => {
                let index = group.indexes.as_ref().map_or(0, Indexes::first);
                group.run.as_ref().and_then(|run| places.explain_run(run, index))
            }
            _ => None,
        };
        left -= usize::from(group.placement.is_some());
    }
}

fn wanted(
    shared: &Shared,
    places: &mut Places,
    key: &JobKey,
    group: &Group,
    memory: Option<u64>,
) -> Option<Explanation> {
    let indexes = group.indexes.as_ref()?;
    let look = |mirror: &Mirror| Some((template(mirror, key)?, rest(mirror, key)?));
    let ((task, placement), rest) = shared.read(look)?;
    let class = places.class(key, &task, &placement, memory)?;
    let ask = Ask { index: indexes.first(), rest };
    let explanation = places.explain(class, ask);
    places.retire(class);
    Some(explanation)
}

/// How many tasks a place is looked for besides, as the leader counts them: whoever asks about one
/// of a cluster's tasks is not told that there is room for it alone.
fn rest(mirror: &Mirror, key: &JobKey) -> Option<u32> {
    let job = mirror.job(key)?;
    let is_bound = |wait: &TaskWait| matches!(wait, TaskWait::Bound { .. });
    let running = job.tasks.values().filter(|it| is_bound(&it.value.wait)).count();
    Some(match &job.record.as_ref()?.value.work {
        Work::Job(spec) => leader::rest(job, spec, running),
        _ => {
            let due = job.tasks.len() - running;
            let new = leader::new_places(mirror, key, unix_now()).len();
            u32::try_from(due + new).unwrap_or(u32::MAX).max(1)
        }
    })
}

/// What the next tasks of an object are made of.
fn template(mirror: &Mirror, key: &JobKey) -> Option<(Arc<Task>, Placement)> {
    let job = mirror.job(key)?;
    match &job.record.as_ref()?.value.work {
        Work::Job(spec) => Some((Arc::new(spec.task.clone()), spec.placement.clone())),
        Work::Service(service) => {
            let target = job.state.as_ref().and_then(|state| {
                let Progress::Service(value) = &state.value.progress else { return None };
                let progress = ServiceProgress::read(value).ok()?;
                let revision = progress.revision(progress.target)?;
                mirror.spec(&revision.spec).map(|it| it.value.clone())
            });
            let task = target.unwrap_or_else(|| Arc::new(service.task.clone()));
            Some((task, service.placement.clone()))
        }
        Work::Cron(_) | Work::Workflow(_) => None,
    }
}
