//! mason's own dialect: short where it can be, and able to say all that there is.
//!
//! ```yaml
//! kind: Job                    # Service, Cron, Workflow, Config, Secret, Namespace
//! name: word-count             # or generateName: word-count-
//! image: alpine:3.18
//! command: [sh, -c, "echo $MASON_INDEX"]
//! array: 100
//! ```
//! What runs (image, command, env, mounts, …) lies at the top, or in `task`, or in `task.main`, as
//! its writer likes; twice is refused. Whatever [`crate::spec`] can hold can be written down in
//! this dialect, which is what `mason get -o yaml` prints.
//!
//! Defaults: a job is strict, packed and tried once; a service is available and spread over nodes;
//! a cron keeps three jobs that succeeded and one that failed.

pub(super) mod affinity;
pub(super) mod config;
pub(super) mod job;
mod mount;
mod placement;
mod probe;
pub(super) mod retry;
pub(super) mod task;
pub(super) mod workflow;

use super::cursor::{Field, Map, guess};
use super::problem::shown;
use super::quantity::parse_span;
use super::{Body, Header};
use crate::spec::Work;
use crate::types::Ms;

const KINDS: [&str; 7] = ["Job", "Service", "Cron", "Workflow", "Config", "Secret", "Namespace"];

/// Reads an object without `apiVersion`.
pub(super) fn object(map: &Map<'_>, kind: &str) -> Option<(Header, Body)> {
    let work = |work| Some(Body::Work(Box::new(work)));
    let header = Header::read(map);
    let body = match kind {
        "Job" => work(Work::Job(job::job(map))),
        "Service" => work(Work::Service(job::service(map))),
        "Cron" => work(Work::Cron(job::cron(map))),
        "Workflow" => work(Work::Workflow(workflow::workflow(map))),
        "Config" => Some(Body::Config(config::config(map))),
        "Secret" => Some(config::secret(map)),
        "Namespace" => Some(Body::Namespace),
        _ => {
            map.all();
            unknown(map, kind);
            None
        }
    };
    body.map(|body| (header, body))
}

fn unknown(map: &Map<'_>, kind: &str) {
    let Some(field) = map.get("kind") else { return };
    match kind {
        "Daemon" | "Queue" | "NodePool" => {
            field.bad(format!("`kind: {kind}` is not supported yet"));
        }
        "Deployment" | "Pod" | "CronJob" | "ConfigMap" | "CronWorkflow" | "List" => {
            field.bad(format!("`kind: {kind}` needs an `apiVersion` beside it"));
        }
        _ => field.bad(format!(
            "must be one of {}, not {}{}",
            KINDS.join(", "),
            shown(kind),
            guess(kind, KINDS)
        )),
    }
}

/// A span with its unit.
fn span(field: &Field<'_>) -> Option<Ms> {
    field.parse(parse_span)
}

/// A span that is not nothing.
fn some_span(field: &Field<'_>) -> Option<Ms> {
    let span = span(field)?;
    if span == 0 {
        field.bad("must be longer than nothing");
        return None;
    }
    Some(span)
}
