//! Back from what mason runs to text that says it: `mason get -o yaml`.
//!
//! What is printed is mason's own dialect, whatever it came from, with all that differs from the
//! defaults and nothing else. Reading it gives the same work again, so it can be edited and
//! applied. Of a secret the keys are named, in a comment, and nothing more.

mod emit;
mod flow;
mod task;
mod work;

use super::{Body, Name, Object};
use crate::spec::Work;
use emit::{Out, map};

/// An object as YAML.
pub fn show(object: &Object) -> String {
    let kind = match &object.body {
        Body::Work(work) => match &**work {
            Work::Job(_) => "Job",
            Work::Service(_) => "Service",
            Work::Cron(_) => "Cron",
            Work::Workflow(_) => "Workflow",
        },
        Body::Config(_) => "Config",
        Body::Secret { .. } => "Secret",
        Body::Namespace => "Namespace",
    };
    let mut out = vec![("kind".to_owned(), Out::text(kind))];
    match &object.name {
        Name::Given(name) => out.push(("name".to_owned(), Out::text(name))),
        Name::Generate(prefix) => out.push(("generateName".to_owned(), Out::text(prefix))),
    }
    if let Some(namespace) = &object.namespace {
        out.push(("namespace".to_owned(), Out::text(namespace)));
    }
    if !object.labels.is_empty() {
        out.push(("labels".to_owned(), map(&object.labels)));
    }
    let mut behind = String::new();
    match &object.body {
        Body::Work(work) => match &**work {
            Work::Job(job) => work::job(job, &mut out),
            Work::Service(service) => work::service(service, &mut out),
            Work::Cron(cron) => work::cron(cron, &mut out),
            Work::Workflow(workflow) => flow::workflow(workflow, &mut out),
        },
        Body::Config(config) => {
            out.push(("data".to_owned(), map(&config.data)));
            if !config.binary.is_empty() {
                out.push(("binary".to_owned(), map(&config.binary)));
            }
        }
        Body::Secret { kind, data } => {
            out.push(("type".to_owned(), Out::text(kind)));
            for key in data.keys() {
                behind.push_str("# not shown: ");
                behind.push_str(key);
                behind.push('\n');
            }
        }
        Body::Namespace => {}
    }
    Out::Map(out).yaml() + &behind
}
