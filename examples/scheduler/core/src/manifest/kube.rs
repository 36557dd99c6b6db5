//! Kubernetes' dialect: the part of it that has a meaning here, with the defaults that its users
//! know.
//!
//! | kind | becomes |
//! |---|---|
//! | v1 `Namespace`, `ConfigMap`, `Secret` | the same |
//! | v1 `Pod` | a job of one; with `restartPolicy: Always`, a service of one |
//! | apps/v1 `Deployment` | a service |
//! | batch/v1 `Job`, `CronJob` | a job, a cron |
//! | v1 `List` | all its items |
//!
//! Where the same words mean something else here, the object says so in its warnings. What differs
//! for all of them:
//!
//! - **Two copies.** Work of Kubernetes is `available`, jobs too: its users know that a job may run
//!   twice, for the documentation says so, and that what runs goes on while the API server is away.
//!   Under `strict` a job would be killed seconds after its node lost the store. Who wants that
//!   writes a native job.
//! - **Capabilities.** Images are written for a root that may change owners and users and bind low
//!   ports; so a container keeps [`CAPABILITIES`], unless it drops them. Of what container engines
//!   give by default, raw sockets, device nodes and changes of root are left out.
//! - **Labels of nodes** have short names here: `topology.kubernetes.io/zone` is `zone`,
//!   `kubernetes.io/hostname` is `node`, and so on.
//! - **Rolling back.** A Deployment that fails to progress stays where it is, as it does there.

mod affinity;
mod container;
mod deployment;
mod env;
mod job;
mod pod;
mod probe;
mod spread;
mod volume;

use std::collections::BTreeMap;

use super::cursor::{Field, Map, guess};
use super::native::config;
use super::problem::shown;
use super::{Body, Header, rules};
use crate::spec::Work;

pub(super) use affinity::node_placement;
pub(super) use container::{Defaults, container, scripted};
pub(super) use job::{history, overlap};
pub(super) use volume::Volumes;

/// What a container may do that does not say otherwise.
const CAPABILITIES: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

const KINDS: [(&str, &str); 7] = [
    ("Namespace", "v1"),
    ("ConfigMap", "v1"),
    ("Secret", "v1"),
    ("Pod", "v1"),
    ("Deployment", "apps/v1"),
    ("Job", "batch/v1"),
    ("CronJob", "batch/v1"),
];

/// Reads an object with an `apiVersion` of Kubernetes, or of nobody we know.
pub(super) fn object(map: &Map<'_>, version: &str, kind: &str) -> Option<(Header, Body)> {
    if !KINDS.contains(&(kind, version)) {
        map.all();
        unknown(map, version, kind);
        return None;
    }
    let header = header(map);
    map.no_effect(&["status"], "it is for the cluster to say");
    let work = |work| Body::Work(Box::new(work));
    let body = match kind {
        "Namespace" => {
            map.no_effect(&["spec"], "a namespace has none here");
            Body::Namespace
        }
        "ConfigMap" => {
            map.no_effect(&["immutable"], "it can be changed");
            Body::Config(config::config_from(map, "binaryData"))
        }
        "Secret" => {
            map.no_effect(&["immutable"], "it can be changed");
            config::secret_from(map, "stringData", "data")
        }
        "Pod" => work(deployment::pod(map, &header.labels)),
        "Deployment" => work(Work::Service(deployment::deployment(map))),
        "Job" => work(Work::Job(job::job_of(map))),
        _ => work(Work::Cron(job::cron(map))),
    };
    Some((header, body))
}

fn unknown(map: &Map<'_>, version: &str, kind: &str) {
    let Some(field) = map.get("kind") else { return };
    if let Some((_, right)) = KINDS.iter().find(|(name, _)| *name == kind)
        && let Some(field) = map.get("apiVersion")
    {
        field.bad(format!("must be {right} for `kind: {kind}`, not {}", shown(version)));
        return;
    }
    let near = guess(kind, KINDS.iter().map(|(name, _)| *name));
    let kind = shown(kind);
    field.bad(format!("`kind: {}` is not supported yet{near}", kind.trim_matches('"')));
}

/// The `metadata` of an object.
pub(super) fn header(map: &Map<'_>) -> Header {
    let empty = || Header { namespace: None, name: None, labels: BTreeMap::new() };
    let Some(field) = map.need("metadata") else { return empty() };
    let read = |map: &Map<'_>| {
        let header = Header::read(map);
        annotations(map);
        map.no_effect(
            &[
                "uid",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "managedFields",
                "selfLink",
            ],
            "it is for the cluster to say",
        );
        map.not_yet(&["ownerReferences", "finalizers"]);
        header
    };
    field.map(read).unwrap_or_else(empty)
}

fn annotations(map: &Map<'_>) {
    map.no_effect(&["annotations"], "nothing here reads them");
}

/// The `metadata` of a template: its labels.
pub(super) fn labels_of(map: &Map<'_>) -> BTreeMap<String, String> {
    let read = |map: &Map<'_>| {
        annotations(map);
        map.no_effect(&["name", "namespace", "creationTimestamp"], "it is that of the whole");
        let Some(field) = map.get("labels") else { return BTreeMap::new() };
        if field.peek("job").is_some() {
            field.warn("`job` is the name of the task's job to whoever selects by it here");
        }
        rules::labels(&field)
    };
    map.get("metadata").and_then(|field| field.map(read)).unwrap_or_default()
}

/// A field that may say what holds anyhow.
fn only(map: &Map<'_>, key: &'static str, right: &[&str]) {
    if let Some(field) = map.get(key)
        && !field.scalar().is_some_and(|(word, _)| right.contains(&word))
    {
        field.unsupported(format!("is not supported yet, other than {}", right.join(" or ")));
    }
}

fn flag(map: &Map<'_>, key: &'static str) -> Option<bool> {
    map.get(key).and_then(|field: Field<'_>| field.bool())
}
