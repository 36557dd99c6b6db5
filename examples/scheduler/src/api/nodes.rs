//! Nodes: what they are, and what operators do with them.

mod verbs;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mason_core::mirror::{Mirror, Node};
use mason_core::spec::Resources;
use mason_core::types::NodeId;

use super::Shelf;
use super::ask::{NodeName, Sent, Verb};
use super::refuse::Refused;
use super::wire::{Changed, Health, NodeChange, NodeView};
use crate::store::Store;

/// How long the store may take to answer before it is said that it does not.
const STORE_WAIT: Duration = Duration::from_secs(2);

pub(super) async fn health(State(api): Shelf) -> Json<Health> {
    let store = is_silent(&api.store).await;
    let leads = *api.leads.borrow();
    Json(api.shared.read(|mirror| {
        let leader = mirror.leader().and_then(|lease| mirror.lead_name(lease));
        Health {
            leads,
            leader: leader.map(str::to_owned),
            revision: mirror.revision(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store,
            bad: mirror.bad().clone(),
        }
    }))
}

/// Why the store does not answer, if it does not: all else is told from the copy, which then stands
/// still.
async fn is_silent(store: &Store) -> Option<String> {
    // Any key will do; its value is not looked at.
    match tokio::time::timeout(STORE_WAIT, store.get(store.keys().prefix())).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => {
            let (endpoint, wait) = (store.endpoint(), STORE_WAIT.as_secs());
            Some(format!("no answer from the store, last asked at {endpoint}, for {wait} s"))
        }
    }
}

pub(super) async fn list(State(api): Shelf) -> Json<Vec<NodeView>> {
    let suspects = api.shared.suspects();
    Json(api.shared.read(|mirror| {
        mirror.nodes().map(|(id, node)| view(mirror, id, node, &suspects)).collect()
    }))
}

pub(super) async fn one(
    State(api): Shelf,
    NodeName(id): NodeName,
) -> Result<Json<NodeView>, Refused> {
    let suspects = api.shared.suspects();
    let found =
        api.shared.read(|mirror| mirror.node(&id).map(|node| view(mirror, &id, node, &suspects)));
    found.map(Json).ok_or_else(|| unknown(&id))
}

pub(super) async fn verb(
    State(api): Shelf,
    NodeName(id): NodeName,
    Verb(verb): Verb,
    Sent(change): Sent<NodeChange>,
) -> Result<Json<Changed>, Refused> {
    verbs::check_fields(&verb, &change)?;
    let (revision, message) =
        api.change(|mirror| verbs::decide(mirror, &id, &verb, &change)).await?;
    Ok(Json(Changed { revision, message }))
}

/// There is no such node.
pub(super) fn unknown(id: &NodeId) -> Refused {
    Refused::missing(format!("there is no node {id}"))
}

fn view(mirror: &Mirror, id: &NodeId, node: &Node, suspects: &BTreeSet<NodeId>) -> NodeView {
    let mut used = Resources::default();
    let runs = node.runs.iter().filter_map(|run| {
        let it = mirror.run(run)?;
        let record = it.record.as_ref()?.1.value.clone();
        if let Some(task) = mirror.spec(&record.spec) {
            let request = &task.value.request;
            used.cpu = used.cpu.saturating_add(request.cpu);
            let memory = record.memory.unwrap_or(request.memory);
            used.memory = used.memory.saturating_add(memory);
            used.disk = used.disk.saturating_add(request.disk);
            used.pids = used.pids.saturating_add(request.pids);
        }
        Some((run.clone(), record, it.seen.as_ref().map(|seen| seen.value.clone())))
    });
    let runs = runs.collect();
    NodeView {
        id: id.clone(),
        record: node.record.as_ref().map(|it| it.value.clone()),
        alive: node.alive.as_ref().map(|it| it.value.clone()),
        suspected: suspects.contains(id),
        used,
        runs,
    }
}
