//! What there is to say of places, for groups that want one or have one.

use std::sync::Arc;

use mason_core::control::service::ServiceProgress;
use mason_core::leader::Places;
use mason_core::mirror::Mirror;
use mason_core::place::{Ask, Explanation};
use mason_core::record::Progress;
use mason_core::spec::{Placement, Task, Work};
use mason_core::types::JobKey;

use super::Told;
use super::indexes::Indexes;
use super::story::{Group, Step, Story};
use crate::server::Shared;

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
    let (task, placement) = shared.read(|mirror| template(mirror, key))?;
    let class = places.class(key, &task, &placement, memory)?;
    let ask = Ask { index: indexes.first(), rest: indexes.count() };
    let explanation = places.explain(class, ask);
    places.retire(class);
    Some(explanation)
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
