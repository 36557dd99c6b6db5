//! Templates: a container, a script, steps, a graph, or a pause.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::flow;
use super::super::kube::{Defaults, Volumes, container, labels_of, node_placement, scripted};
use super::super::rules;
use super::{accepted, node, retry, span};
use crate::spec::{Body, Leaf, Task, Template};

pub(super) fn template(map: &Map<'_>, volumes: &Volumes<'_>, outer: &Defaults) -> Template {
    accepted(map);
    let labels = labels_of(map);
    let volumes = Volumes::within(map, volumes);
    let name = map.need("name").and_then(|field| flow::node_name(&field));
    let deadline = map.get("activeDeadlineSeconds").and_then(|field| rules::some_seconds(&field));
    let defaults = Defaults::within(map, outer);
    let body = body(map, &volumes, &defaults, &labels, deadline);
    let inputs = map.get("inputs").and_then(|field| field.map(node::inputs));
    let outputs = map.get("outputs").and_then(|field| field.map(node::outputs));
    let mut placement = node_placement(map);
    placement.labels = labels;
    // A template goes on or ends with its first failure; that it ends is the only way here.
    if let Some(field) = map.get("failFast")
        && field.bool() == Some(false)
    {
        field.unsupported("is not supported yet if false");
    }
    Template {
        name: name.unwrap_or_default(),
        inputs: inputs.unwrap_or_default(),
        body,
        outputs: outputs.unwrap_or_default(),
        retry: map
            .get("retryStrategy")
            .and_then(|field| field.map(retry::retry))
            .unwrap_or_default(),
        timeout: map.get("timeout").and_then(|field| span(&field)).filter(|&span| span > 0),
        parallelism: map.get("parallelism").and_then(|field| field.u32()).unwrap_or(0),
        placement,
    }
}

fn body(
    map: &Map<'_>,
    volumes: &Volumes<'_>,
    defaults: &Defaults,
    labels: &BTreeMap<String, String>,
    deadline: Option<u64>,
) -> Body {
    let (task, script) = (map.get("container"), map.get("script"));
    let (steps, dag, wait) = (map.get("steps"), map.get("dag"), map.get("suspend"));
    map.not_yet(&["resource", "http", "plugin", "data", "containerSet"]);
    map.not_yet(&["daemon", "memoize", "sidecars", "initContainers", "synchronization", "metrics"]);
    map.not_yet(&["podSpecPatch", "hostAliases", "priorityClassName", "archiveLocation"]);
    match [&task, &script, &steps, &dag, &wait].into_iter().flatten().count() {
        1 => {}
        0 => map.field().bad("must have one of container, script, steps, dag and suspend"),
        _ => map.field().bad("must have only one of container, script, steps, dag and suspend"),
    }
    let leaf = |field: Field<'_>, scripted_too: bool| {
        let read = |map: &Map<'_>| {
            map.get("name").and_then(|field| rules::name(&field));
            let script = if scripted_too { scripted(map) } else { None };
            let mut task = container(map, volumes, defaults, labels);
            task.timeout = deadline;
            Leaf { task, script }
        };
        let empty = || Leaf { task: Task::new("", &[]), script: None };
        Body::Task(Box::new(field.map(read).unwrap_or_else(empty)))
    };
    if let Some(field) = task {
        return leaf(field, false);
    }
    if let Some(field) = script {
        return leaf(field, true);
    }
    if let (Some(_), Some(field)) = (deadline, map.get("activeDeadlineSeconds")) {
        field.bad("has a meaning for a container or script only");
    }
    if let Some(steps) = steps {
        let group = |field: Field<'_>| field.one_or_more().iter().filter_map(node::node).collect();
        return Body::Steps(steps.list().into_iter().map(group).collect());
    }
    if let Some(dag) = dag {
        let tasks = dag.map(|map| {
            if let Some(field) = map.get("failFast")
                && field.bool() == Some(false)
            {
                field.unsupported("is not supported yet if false");
            }
            map.not_yet(&["target"]);
            let tasks = map.need("tasks").map(|field| field.list()).unwrap_or_default();
            tasks.iter().filter_map(node::node).collect()
        });
        return Body::Dag(tasks.unwrap_or_default());
    }
    let duration = wait.and_then(|field| {
        let read = |map: &Map<'_>| {
            let field = map.get("duration")?;
            let duration = span(&field)?;
            if duration == 0 {
                field.bad("must be longer than nothing");
            }
            Some(duration)
        };
        field.map(read).flatten()
    });
    Body::Suspend { duration }
}
