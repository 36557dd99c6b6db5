//! A `PodSpec`: one container, and where it may go.

use std::collections::BTreeMap;

use super::super::cursor::Map;
use super::super::rules;
use super::container::{Defaults, container};
use super::volume::Volumes;
use super::{affinity, flag, labels_of, only, spread};
use crate::spec::{Placement, Strategy, Task};

/// When a container that ended is started again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// A pod, read.
pub(super) struct Pod {
    pub(super) task: Task,
    /// What its container is called.
    pub(super) container: String,
    pub(super) placement: Placement,
    /// None if it does not say.
    pub(super) restart: Option<Restart>,
}

/// A pod's `template`: metadata and spec.
pub(super) fn template(map: &Map<'_>, usual: &Strategy) -> Option<Pod> {
    let field = map.need("template")?;
    let read = |map: &Map<'_>| {
        let labels = labels_of(map);
        map.need("spec").and_then(|field| field.map(|map| pod(map, labels, usual)))
    };
    field.map(read).flatten()
}

/// A pod's `spec`. `usual` is how tasks lie to each other if it does not say.
pub(super) fn pod(map: &Map<'_>, labels: BTreeMap<String, String>, usual: &Strategy) -> Pod {
    let restart = map.get("restartPolicy").and_then(|field| {
        field.one_of(&[
            ("Always", Restart::Always),
            ("OnFailure", Restart::OnFailure),
            ("Never", Restart::Never),
        ])
    });
    let volumes = Volumes::read(map);
    let defaults = Defaults::of_pod(map);
    let (mut task, name) = containers(map, &volumes, &defaults, &labels);
    if let Some(field) = map.get("terminationGracePeriodSeconds") {
        task.stop.grace = rules::seconds(&field).unwrap_or(task.stop.grace);
    }
    task.timeout = map.get("activeDeadlineSeconds").and_then(|field| rules::some_seconds(&field));
    task.hostname = map.get("hostname").and_then(|field| rules::name(&field));
    task.runtime = map.get("runtimeClassName").and_then(|field| rules::name(&field));
    rest(map);
    let mut placement = affinity::placement(map);
    placement.strategy = spread::strategy(map, &labels).unwrap_or_else(|| usual.clone());
    placement.labels = labels;
    Pod { task, container: name, placement, restart }
}

fn containers(
    map: &Map<'_>,
    volumes: &Volumes<'_>,
    defaults: &Defaults,
    labels: &BTreeMap<String, String>,
) -> (Task, String) {
    let fields = map.need("containers").map(|field| field.list()).unwrap_or_default();
    for other in fields.iter().skip(1) {
        other.unsupported("is not supported yet: a task is one container");
    }
    let Some(first) = fields.first() else {
        if let Some(field) = map.get("containers") {
            field.bad("must have one container");
        }
        return (Task::new("", &[]), String::new());
    };
    let read = |map: &Map<'_>| {
        let name = map.need("name").and_then(|field| rules::name(&field));
        (container(map, volumes, defaults, labels), name.unwrap_or_default())
    };
    first.map(read).unwrap_or_else(|| (Task::new("", &[]), String::new()))
}

/// What does nothing here, and what is not there yet.
fn rest(map: &Map<'_>) {
    map.no_effect(
        &["serviceAccountName", "serviceAccount", "automountServiceAccountToken"],
        "tasks have no account",
    );
    // Whether services are found by variables: here they are not found by variables at all.
    flag(map, "enableServiceLinks");
    for key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "setHostnameAsFQDN"] {
        only(map, key, &["false"]);
    }
    only(map, "dnsPolicy", &["ClusterFirst", "Default"]);
    only(map, "schedulerName", &["default-scheduler"]);
    only(map, "preemptionPolicy", &["PreemptLowerPriority"]);
    if let Some(field) = map.get("os") {
        field.map(|map| only(map, "name", &["linux"]));
    }
    map.not_yet(&[
        "initContainers",
        "ephemeralContainers",
        "nodeName",
        "imagePullSecrets",
        "subdomain",
        "hostAliases",
        "priorityClassName",
        "priority",
        "dnsConfig",
        "readinessGates",
        "overhead",
        "schedulingGates",
        "resourceClaims",
        "resources",
        "hostUsers",
    ]);
}
