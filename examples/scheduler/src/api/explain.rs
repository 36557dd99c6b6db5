//! Explain: why tasks are where they are, or why they wait.
//!
//! ```text
//!   copy ──► what each task does (story) ──► tasks of one story are one group
//!                                                │ those that want a place, or have one
//!   copy ──► cluster, as placement sees it ──────┴──► what there is to say of nodes
//! ```
//! Stories are told from the copy alone, so any server can: what a task waits for is in the store.
//! Of places it is told what *would* be decided now; the leader decides with the same rules on
//! nearly the same copy.

mod clusters;
mod indexes;
mod places;
mod story;

use axum::Json;
use axum::extract::State;
use mason_core::mirror::Mirror;
use mason_core::spec::Work;
use mason_core::types::JobKey;
use serde::Deserialize;

use super::Shelf;
use super::ask::{Asked, Object};
use super::objects::unknown;
use super::refuse::Refused;
use super::wire::Explained;
use crate::server::unix_now;
pub(super) use clusters::Clusters;
use story::{Group, Teller};

/// Groups that are told of at most, those of a workflow's jobs together.
const GROUPS_MAX: usize = 64;
/// Jobs of a workflow, or of a cron, that are told of.
const CHILDREN_MAX: usize = 16;

/// Which task; all if none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    index: Option<u32>,
}

/// A group, and whose.
struct Told {
    key: JobKey,
    group: Group,
    /// Said of an object that the asked one made.
    is_child: bool,
}

pub(super) async fn explain(
    State(api): Shelf,
    Object(key): Object,
    Asked(Which { index }): Asked<Which>,
) -> Result<Json<Vec<Explained>>, Refused> {
    let now = unix_now();
    let told = api.shared.read(|mirror| stories(mirror, &key, index, now))?;
    let looked = api.clusters.look(&api.shared, |shared, cluster| {
        let mut told = told;
        places::look(shared, cluster, &mut told);
        told
    });
    let Some(told) = looked.await else {
        return Err(Refused::unavailable("the cluster could not be looked at"));
    };
    Ok(Json(told.into_iter().map(explained).collect()))
}

fn explained(told: Told) -> Explained {
    let Told { key, group, is_child } = told;
    let state = group.sentence();
    let state = if is_child { format!("{}: {state}", key.name) } else { state };
    let indexes = group.indexes.map(|it| it.to_string()).unwrap_or_default();
    Explained { indexes, state, placement: group.placement }
}

fn stories(
    mirror: &Mirror,
    key: &JobKey,
    index: Option<u32>,
    now: u64,
) -> Result<Vec<Told>, Refused> {
    let job = mirror.job(key).ok_or_else(|| unknown(key))?;
    let record = &job.record.as_ref().ok_or_else(|| unknown(key))?.value;
    let mut told: Vec<Told> = Vec::new();
    let teller = Teller { mirror, now };
    let mut add = |key: &JobKey, groups: Vec<Group>, is_child| {
        told.extend(groups.into_iter().map(|group| Told { key: key.clone(), group, is_child }));
    };
    match &record.work {
        Work::Job(_) | Work::Service(_) => {
            let groups = teller.groups(key, job, index);
            if groups.is_empty() && index.is_some() {
                let error = format!("{} {key} has no such task", record.work.kind());
                return Err(Refused::missing(error));
            }
            add(key, groups, false);
        }
        Work::Cron(_) | Work::Workflow(_) => {
            if index.is_some() {
                let error = format!("{} {key} has no tasks of its own", record.work.kind());
                return Err(Refused::missing(error));
            }
            add(key, vec![teller.of_maker(job, record)], false);
            let children = mirror.children_of(key).filter_map(|child| {
                let job = mirror.job(child)?;
                let phase = job.state.as_ref().map(|it| it.value.phase);
                (!phase.is_some_and(mason_core::record::Phase::is_final)).then_some((child, job))
            });
            for (child, job) in children.take(CHILDREN_MAX) {
                add(child, teller.groups(child, job, None), true);
            }
        }
    }
    if told.len() > GROUPS_MAX {
        let more = told.len() - GROUPS_MAX;
        told.truncate(GROUPS_MAX);
        let group = Group::plain(format!("there are {more} more groups: ask by index"));
        told.push(Told { key: key.clone(), group, is_child: false });
    }
    Ok(told)
}
