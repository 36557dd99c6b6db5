//! Argo's dialect: workflows and cron workflows.
//!
//! A template's container is read as a pod's is (see the Kubernetes dialect, its capabilities
//! included). What differs from Argo:
//!
//! - `retryStrategy` without a policy, or with `OnFailure` or `Always`, tries again after any
//!   failure of the task; attempts that ended because a node went away never count.
//! - `backoff.maxDuration` bounds each delay, not the whole of the attempts.
//! - What Argo needs for its own pods (`podGC`, service accounts) is accepted and does nothing.

mod node;
mod retry;
mod template;

use super::cursor::{Field, Map};
use super::flow::{self, Shape};
use super::kube::{Defaults, Volumes, header, history, node_placement, overlap};
use super::problem::shown;
use super::{Body, Header, rules};
use crate::spec::{Catchup, Cron, CronWork, Template, Ttl, Work, Workflow};
use crate::types::Ms;

/// Reads an object with Argo's `apiVersion`.
pub(super) fn object(map: &Map<'_>, kind: &str) -> Option<(Header, Body)> {
    if !matches!(kind, "Workflow" | "CronWorkflow") {
        map.all();
        if let Some(field) = map.get("kind") {
            let kind = shown(kind);
            field.bad(format!(
                "`kind: {}` is not supported yet, other than Workflow and CronWorkflow",
                kind.trim_matches('"')
            ));
        }
        return None;
    }
    let header = header(map);
    map.no_effect(&["status"], "it is for the cluster to say");
    let work = match kind {
        "Workflow" => {
            let workflow = map.need("spec").and_then(|field| field.map(workflow));
            Work::Workflow(workflow.unwrap_or_default())
        }
        _ => Work::Cron(
            map.need("spec")
                .and_then(|field| field.map(cron))
                .unwrap_or_else(|| cron_of(Workflow::default())),
        ),
    };
    Some((header, Body::Work(Box::new(work))))
}

/// The `spec` of a workflow.
fn workflow(map: &Map<'_>) -> Workflow {
    accepted(map);
    not_yet(map);
    let (volumes, defaults) = (Volumes::read(map), Defaults::of_pod(map));
    let fields = map.need("templates").map(|field| field.list()).unwrap_or_default();
    let templates: Vec<Template> = fields
        .iter()
        .filter_map(|field| field.map(|map| template::template(map, &volumes, &defaults)))
        .collect();
    let arguments = map.get("arguments").and_then(|field| field.map(node::arguments));
    let mut workflow = Workflow {
        entrypoint: map.need("entrypoint").and_then(|field| field.text()).unwrap_or_default(),
        arguments: arguments.unwrap_or_default(),
        on_exit: map.get("onExit").and_then(|field| field.filled()),
        parallelism: map.get("parallelism").and_then(|field| field.u32()).unwrap_or(0),
        deadline: map.get("activeDeadlineSeconds").and_then(|field| rules::some_seconds(&field)),
        placement: node_placement(map),
        ttl: map.get("ttlStrategy").and_then(|field| field.map(ttl)).unwrap_or_default(),
        suspend: map.get("suspend").and_then(|field| field.bool()).unwrap_or(false),
        templates,
    };
    flow::check(map, &fields, &mut workflow, Shape::Argo);
    workflow
}

/// What does nothing here.
fn accepted(map: &Map<'_>) {
    map.no_effect(&["podGC"], "what tasks leave behind is removed anyhow");
    map.no_effect(&["serviceAccountName", "automountServiceAccountToken"], "tasks have no account");
}

/// What is right in Argo's own, and not here: no typo.
fn not_yet(map: &Map<'_>) {
    map.not_yet(&[
        "hooks",
        "metrics",
        "synchronization",
        "workflowTemplateRef",
        "templateDefaults",
    ]);
    map.not_yet(&["volumeClaimTemplates", "volumeClaimGC", "artifactRepositoryRef", "artifactGC"]);
    map.not_yet(&["imagePullSecrets", "hostNetwork", "dnsConfig", "dnsPolicy", "hostAliases"]);
    map.not_yet(&["podSpecPatch", "podMetadata", "podDisruptionBudget", "podPriorityClassName"]);
    map.not_yet(&["archiveLogs", "executor", "retryStrategy", "shutdown", "workflowMetadata"]);
}

fn ttl(map: &Map<'_>) -> Ttl {
    let seconds = |key| map.get(key).and_then(|field: Field<'_>| rules::seconds(&field));
    let both = seconds("secondsAfterCompletion");
    Ttl {
        succeeded: seconds("secondsAfterSuccess").or(both),
        failed: seconds("secondsAfterFailure").or(both),
    }
}

fn cron_of(workflow: Workflow) -> Cron {
    Cron {
        schedule: String::new(),
        timezone: "UTC".to_owned(),
        catchup: Catchup::None,
        overlap: super::super::spec::Overlap::Allow,
        start_deadline: None,
        keep_succeeded: 3,
        keep_failed: 1,
        suspend: false,
        each: CronWork::Workflow(Box::new(workflow)),
    }
}

/// The `spec` of a cron workflow. A tick that was missed is made up for only if there is a
/// `startingDeadlineSeconds`, and within it.
fn cron(map: &Map<'_>) -> Cron {
    let (one, several) = (map.get("schedule"), map.get("schedules"));
    let schedule = match (&one, several) {
        (Some(one), None) => rules::schedule(one),
        (None, Some(several)) => {
            let fields = several.list();
            for other in fields.iter().skip(1) {
                other.unsupported("is not supported yet: a second schedule");
            }
            if fields.is_empty() {
                several.bad("must have a schedule");
            }
            fields.first().and_then(rules::schedule)
        }
        (None, None) => {
            map.bad_at("schedule", "is missing");
            None
        }
        (Some(_), Some(several)) => {
            several.bad("must not stand beside `schedule`");
            None
        }
    };
    let timezone = map.get("timezone").and_then(|field| rules::timezone(&field));
    let deadline = map.get("startingDeadlineSeconds").and_then(|field| rules::seconds(&field));
    let deadline = deadline.filter(|&deadline| deadline > 0);
    if let Some(field) = map.get("workflowMetadata") {
        field.map(|map| map.no_effect(&["labels", "annotations"], "nothing here reads them"));
    }
    let workflow = map.need("workflowSpec").and_then(|field| field.map(workflow));
    let (keep_succeeded, keep_failed) = history(map);
    Cron {
        schedule: schedule.unwrap_or_default(),
        timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
        catchup: if deadline.is_some() { Catchup::Last } else { Catchup::None },
        overlap: overlap(map),
        start_deadline: deadline,
        keep_succeeded,
        keep_failed,
        suspend: map.get("suspend").and_then(|field| field.bool()).unwrap_or(false),
        each: CronWork::Workflow(Box::new(workflow.unwrap_or_default())),
    }
}

/// A span that may be written with a unit or in seconds, in quotes or without.
fn span(field: &Field<'_>) -> Option<Ms> {
    field.parse(|text| {
        let seconds = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let with_unit = if seconds { format!("{text}s") } else { text.to_owned() };
        super::quantity::parse_span(&with_unit)
    })
}
