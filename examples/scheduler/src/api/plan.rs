//! Plan: what an apply would do, and where what is new would go.
//!
//! Manifests are checked as an apply checks them, then compared with what is there. Tasks are
//! placed on a copy of the cluster, one object after the other, so that the second sees what the
//! first would take; afterwards all that is undone.

mod diff;

use axum::Json;
use axum::extract::State;
use mason_core::leader::{Places, partitions};
use mason_core::manifest::{Body, Name};
use mason_core::mirror::Mirror;
use mason_core::place::{Ask, Explanation};
use mason_core::spec::{Job, Placement as Rules, Task, Work};
use mason_core::types::{JobKey, NodeId, RunId};
use std::collections::{BTreeMap, BTreeSet};

use super::apply::{Admitted, Verdict, admit, secret_values, templates, verdict};
use super::ask::Sent;
use super::refuse::Refused;
use super::wire::{AppliedObject, Apply, Difference, Outcome, Placement, Planned, PlannedObject};
use super::{Api, Shelf, texts};
use crate::secrets::Plain;
pub(super) use diff::differences;

/// Tasks of one object that are placed at most.
const TASKS_MAX: u32 = 1000;
/// Of all objects together.
const TASKS_IN_ALL_MAX: u32 = 10_000;
/// In the place of a secret's values.
const NOT_SHOWN: &str = "\"(not shown)\"";

/// Tasks that would begin.
struct Batch {
    object: usize,
    key: JobKey,
    task: Task,
    rules: Rules,
    count: u32,
}

pub(super) async fn plan(
    State(api): Shelf,
    Sent(apply): Sent<Apply>,
) -> Result<Json<Planned>, Refused> {
    let all = admit(&api, &apply)?;
    let (mut objects, mut batches) = (Vec::new(), Vec::new());
    for (at, one) in all.iter().enumerate() {
        let (outcome, changes, first) = api.shared.read(|mirror| compare(&api, mirror, at, one))?;
        batches.extend(first);
        let object = AppliedObject {
            kind: one.body.kind().to_owned(),
            key: one.key(),
            outcome,
            warnings: one.warnings.clone(),
        };
        objects.push(PlannedObject { object, changes, placements: Vec::new(), waits: None });
    }
    let looked = api.clusters.look(&api.shared, move |_, places| {
        place_all(places, &batches, &mut objects);
        objects
    });
    let objects = looked.await;
    let objects =
        objects.ok_or_else(|| Refused::unavailable("the cluster could not be looked at"))?;
    Ok(Json(Planned { objects }))
}

type Compared = (Outcome, Vec<Difference>, Vec<Batch>);

fn compare(api: &Api, mirror: &Mirror, at: usize, one: &Admitted) -> Result<Compared, Refused> {
    let key = one.key();
    match &one.body {
        Body::Work(work) => {
            let is_given = matches!(one.name, Name::Given(_));
            let verdict = match is_given {
                true => verdict(mirror, &key, &one.labels, work)?,
                false => Verdict::Create,
            };
            let old = mirror.job(&key).and_then(|it| it.record.as_ref()).map(|it| &it.value);
            match (verdict, old) {
                (Verdict::Change(new), Some(old)) => {
                    let labels = (Labels { labels: &old.labels }, Labels { labels: &new.labels });
                    let mut changes = differences(&labels.0, &labels.1);
                    changes.extend(differences(&old.work, &new.work));
                    let first = first_tasks(mirror, at, &key, Some(&old.work), work);
                    Ok((Outcome::Changed, changes, first))
                }
                (Verdict::Same, _) => Ok((Outcome::Unchanged, Vec::new(), Vec::new())),
                _ => Ok((Outcome::Created, Vec::new(), first_tasks(mirror, at, &key, None, work))),
            }
        }
        Body::Config(config) => match mirror.config(&key) {
            None => Ok((Outcome::Created, Vec::new(), Vec::new())),
            Some(old) if old.value == *config => Ok((Outcome::Unchanged, Vec::new(), Vec::new())),
            Some(old) => Ok((Outcome::Changed, differences(&old.value, config), Vec::new())),
        },
        Body::Secret { .. } => {
            let (outcome, changes) = compare_secret(api, mirror, one)?;
            Ok((outcome, changes, Vec::new()))
        }
        Body::Namespace => Ok((Outcome::Unchanged, Vec::new(), Vec::new())),
    }
}

#[derive(serde::Serialize)]
struct Labels<'a> {
    labels: &'a BTreeMap<String, String>,
}

/// Which of its keys would come, go or change: values are compared, and not shown.
fn compare_secret(
    api: &Api,
    mirror: &Mirror,
    one: &Admitted,
) -> Result<(Outcome, Vec<Difference>), Refused> {
    let key = one.key();
    let Some(old) = mirror.secret(&key) else { return Ok((Outcome::Created, Vec::new())) };
    let Some((kind, values)) = secret_values(&one.body) else {
        return Ok((Outcome::Unchanged, Vec::new()));
    };
    let keyring = texts::keyring(api)?;
    if texts::is_same(keyring, &key, old, kind, &values) {
        return Ok((Outcome::Unchanged, Vec::new()));
    }
    // What does not unseal is another, whatever it is.
    let before = keyring.unseal(&key, &old.value).unwrap_or_default();
    let names: BTreeSet<&String> = before.keys().chain(values.keys()).collect();
    let shown = |is_there: bool| is_there.then(|| NOT_SHOWN.to_owned());
    let differs = |name: &&&String| {
        let (old, new) = (before.get(**name), values.get(**name));
        old.map(Plain::expose) != new.map(Plain::expose)
    };
    let changes = names.iter().filter(differs).map(|name| Difference {
        path: format!("data.{name}"),
        before: shown(before.contains_key(*name)),
        after: shown(values.contains_key(*name)),
    });
    let mut changes: Vec<Difference> = changes.collect();
    if old.value.kind != kind {
        let text = |kind: &str| serde_json::to_string(kind).ok();
        let path = "type".to_owned();
        changes.push(Difference { path, before: text(&old.value.kind), after: text(kind) });
    }
    Ok((Outcome::Changed, changes))
}

/// Tasks that would begin at first.
fn first_tasks(
    mirror: &Mirror,
    object: usize,
    key: &JobKey,
    old: Option<&Work>,
    new: &Work,
) -> Vec<Batch> {
    let count = match (old, new) {
        (_, Work::Job(job)) if job.suspend || waits(mirror, key, job) => 0,
        (Some(Work::Job(old)), Work::Job(_)) if !old.suspend => 0,
        (_, Work::Job(job)) if job.parallelism > 0 => job.count.min(job.parallelism),
        (_, Work::Job(job)) => job.count,
        (_, Work::Service(service)) if service.suspend => 0,
        (Some(Work::Service(old)), Work::Service(new)) if !old.suspend => {
            let is_new = old.task != new.task || old.placement != new.placement;
            let is_update = is_new && !new.paused;
            // The old ones stay until the new ones answer.
            let surge = if is_update { new.update.surge_max } else { 0 };
            let most = new.replicas.saturating_add(surge).saturating_sub(old.replicas);
            most.min(new.replicas)
        }
        (_, Work::Service(service)) => service.replicas,
        (None, Work::Cron(_) | Work::Workflow(_)) => 1,
        (Some(_), _) => 0,
    };
    let count = count.min(TASKS_MAX);
    if count == 0 {
        return Vec::new();
    }
    let batch = |(_, task, rules): (String, &Task, &Rules)| Batch {
        object,
        key: key.clone(),
        task: task.clone(),
        rules: rules.clone(),
        count,
    };
    templates(new).into_iter().map(batch).collect()
}

/// Whether a job waits for another, which may be in the same text: its tasks take no room yet.
fn waits(mirror: &Mirror, key: &JobKey, job: &Job) -> bool {
    job.depends_on.iter().any(|it| {
        let on = mirror.job(&JobKey::new(&key.namespace, &it.job));
        let state = on.and_then(|job| job.state.as_ref());
        !state.is_some_and(|it| it.value.phase.is_final())
    })
}

/// Places them, tells where, and takes all of it back.
fn place_all(places: &mut Places, batches: &[Batch], objects: &mut [PlannedObject]) {
    let (mut runs, mut classes) = (Vec::new(), Vec::new());
    let mut left = TASKS_IN_ALL_MAX;
    for Batch { object, key, task, rules, count } in batches {
        let Some(class) = places.class(key, task, rules, None) else { continue };
        classes.push(class);
        let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut waits: Option<Explanation> = None;
        let count = (*count).min(left);
        let partitions = partitions(rules);
        // One without a place does not hold back those of other partitions.
        let mut out: BTreeSet<u32> = BTreeSet::new();
        for index in 0..count {
            if out.contains(&(index % partitions)) {
                continue;
            }
            let run = RunId::from(format!("plan-{}", runs.len()));
            let ask = Ask { index, rest: count - index };
            let Some(node) = places.try_place(&run, class, ask) else {
                waits.get_or_insert_with(|| places.explain(class, ask));
                out.insert(index % partitions);
                if out.len() == partitions as usize {
                    break;
                }
                continue;
            };
            runs.push(run);
            *counts.entry(node).or_default() += 1;
        }
        left -= count;
        let told = &mut objects[*object];
        told.placements.extend(counts.into_iter().map(|(node, count)| Placement { node, count }));
        if told.waits.is_none() {
            told.waits = waits;
        }
    }
    runs.iter().for_each(|run| places.release(run));
    classes.into_iter().for_each(|class| places.retire(class));
}
