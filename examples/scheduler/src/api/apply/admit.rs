//! Admission: everything that is wrong with manifests, before anything of them is written.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use mason_core::control;
use mason_core::manifest::{self, Body, Name, Object, Options};
use mason_core::mirror::Mirror;
use mason_core::place::Shape;
use mason_core::record::{VALUE_BYTES_MAX, encode};
use mason_core::spec::{Body as TemplateBody, CronWork, Placement, Task, Work};
use mason_core::types::{JobKey, check_name};

use super::circle::Waits;
use super::{new_record, verdict};
use crate::api::Api;
use crate::api::refuse::{Refused, shown};
use crate::api::texts;
use crate::api::wire::Apply;

/// An object that was found good.
pub(in crate::api) struct Admitted {
    pub(in crate::api) namespace: String,
    pub(in crate::api) name: Name,
    pub(in crate::api) labels: BTreeMap<String, String>,
    pub(in crate::api) body: Body,
    pub(in crate::api) warnings: Vec<String>,
}

impl Admitted {
    /// By its names. A generated one is not known yet: the prefix stands for it. A namespace lies
    /// in itself.
    pub(in crate::api) fn key(&self) -> JobKey {
        let name = match &self.name {
            Name::Given(name) => name.clone(),
            Name::Generate(prefix) => format!("{prefix}*"),
        };
        match self.body {
            Body::Namespace => JobKey::new(&name, &name),
            _ => JobKey::new(&self.namespace, &name),
        }
    }
}

/// Reads manifests and finds everything that is wrong with them.
pub(in crate::api) fn admit(api: &Api, apply: &Apply) -> Result<Vec<Admitted>, Refused> {
    let Apply { text, namespace, lenient } = apply;
    if let Err(error) = check_name(namespace) {
        let problem = format!("namespace: {} is none: {}", shown(namespace), error.rule);
        return Err(Refused::problems("the body does not read", vec![problem]));
    }
    let objects = manifest::read(text, &Options { lenient: *lenient }).map_err(|problems| {
        let count = problems.list.len() + problems.more;
        let mut list: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
        if problems.more > 0 {
            list.push(format!("and {} more", problems.more));
        }
        Refused::problems(
            format!("{} with the manifest; nothing was changed", many(count, "problem")),
            list,
        )
    })?;
    if objects.is_empty() {
        return Err(Refused::bad("there is nothing in the manifest"));
    }
    let all: Vec<Admitted> = objects.into_iter().map(|it| admitted(it, namespace)).collect();
    let mut problems: Vec<String> = all.iter().flat_map(check).collect();
    for (at, one) in all.iter().enumerate() {
        let named = |other: &&Admitted| other.body.kind() == one.body.kind();
        let is_work = |it: &Admitted| matches!(it.body, Body::Work(_));
        let twin = all[..at].iter().find(|other| {
            (named(other) || is_work(one) && is_work(other))
                && matches!(one.name, Name::Given(_))
                && other.key() == one.key()
        });
        if twin.is_some() {
            problems.push(format!("{} {}: is there twice", one.body.kind(), one.key()));
        }
    }
    if !problems.is_empty() {
        let what =
            format!("{} with the manifest; nothing was changed", many(problems.len(), "problem"));
        return Err(Refused::problems(what, problems));
    }
    seals(api, &all)?;
    conflicts(api, &all)?;
    circles(api, &all)?;
    Ok(all)
}

fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn admitted(object: Object, namespace: &str) -> Admitted {
    let Object { namespace: own, name, labels, body, mut warnings } = object;
    if matches!(body, Body::Namespace) {
        let warning = "a namespace need not be made: it is there as long as something is in it";
        warnings.push(warning.to_owned());
    }
    let namespace = own.unwrap_or_else(|| namespace.to_owned());
    Admitted { namespace, name, labels, body, warnings }
}

/// What is wrong with one, whatever else there is.
fn check(one: &Admitted) -> Vec<String> {
    let what = format!("{} {}", one.body.kind(), one.key());
    let mut problems = Vec::new();
    match &one.body {
        Body::Work(work) => {
            let found = control::check(work);
            problems.extend(found.iter().map(|it| format!("{what}: {it}")));
            for (path, task, placement) in templates(work) {
                let shape = Shape::of(one.key(), task, placement, None);
                if let Err(error) = shape.check() {
                    problems.push(format!("{what}: {path}{error}"));
                }
            }
            let bytes = encode(&new_record(&one.labels, work)).len();
            if bytes > VALUE_BYTES_MAX {
                problems.push(format!("{what}: is {bytes} bytes; {VALUE_BYTES_MAX} may be stored"));
            }
        }
        Body::Config(config) => {
            let bytes = encode(config).len();
            if bytes > VALUE_BYTES_MAX {
                problems.push(format!("{what}: is {bytes} bytes; {VALUE_BYTES_MAX} may be stored"));
            }
        }
        Body::Secret { .. } | Body::Namespace => {}
    }
    if let (Name::Generate(_), false) = (&one.name, matches!(one.body, Body::Work(_))) {
        problems.push(format!("{what}: generateName: only work is given a name; write `name`"));
    }
    problems
}

/// What tasks are made of, each with where it may go, and where in the object that is.
pub(in crate::api) fn templates(work: &Work) -> Vec<(String, &Task, &Placement)> {
    match work {
        Work::Job(job) => vec![(String::new(), &job.task, &job.placement)],
        Work::Service(service) => vec![(String::new(), &service.task, &service.placement)],
        Work::Cron(cron) => match &cron.each {
            CronWork::Job(job) => vec![("each.".to_owned(), &job.task, &job.placement)],
            CronWork::Workflow(workflow) => of_workflow("each.", workflow),
        },
        Work::Workflow(workflow) => of_workflow("", workflow),
    }
}

fn of_workflow<'a>(
    path: &str,
    workflow: &'a mason_core::spec::Workflow,
) -> Vec<(String, &'a Task, &'a Placement)> {
    let leaves = workflow.templates.iter().enumerate().filter_map(|(at, template)| {
        let TemplateBody::Task(leaf) = &template.body else { return None };
        // Its own comes before the workflow's.
        let own = template.placement != Placement::default();
        let placement = if own { &template.placement } else { &workflow.placement };
        Some((format!("{path}templates[{at}]."), &leaf.task, placement))
    });
    leaves.collect()
}

/// Whether secrets could be sealed.
fn seals(api: &Api, all: &[Admitted]) -> Result<(), Refused> {
    for one in all {
        let Some((kind, values)) = super::secret_values(&one.body) else { continue };
        let sealed = texts::keyring(api)?.seal(&one.key(), kind, &values);
        sealed.map_err(|error| texts::refuse(&error))?;
    }
    Ok(())
}

/// Whether what is there lets them in.
fn conflicts(api: &Api, all: &[Admitted]) -> Result<(), Refused> {
    let conflict = |mirror: &Mirror, one: &Admitted| {
        let Body::Work(work) = &one.body else { return None };
        let Name::Given(_) = &one.name else { return None };
        verdict(mirror, &one.key(), &one.labels, work).err()
    };
    let found: Vec<Refused> =
        api.shared.read(|mirror| all.iter().filter_map(|one| conflict(mirror, one)).collect());
    let Some(first) = found.first() else { return Ok(()) };
    if found.len() == 1 {
        return Err(first.clone());
    }
    let problems = found.into_iter().flat_map(|it| {
        let refusal = it.refusal;
        std::iter::once(refusal.error).chain(refusal.problems)
    });
    let error = "what is there keeps some of it out; nothing was changed";
    let mut refused = Refused::problems(error, problems.collect());
    refused.status = StatusCode::CONFLICT;
    Err(refused)
}

/// Whether jobs of it would wait for themselves.
fn circles(api: &Api, all: &[Admitted]) -> Result<(), Refused> {
    let mut own = BTreeMap::new();
    for one in all {
        if let (Body::Work(work), Name::Given(_)) = (&one.body, &one.name)
            && let Work::Job(job) = &**work
            && !job.depends_on.is_empty()
        {
            own.insert(one.key(), job);
        }
    }
    let circle = api.shared.read(|mirror| Waits::new(mirror, own).circle());
    let Some(circle) = circle else { return Ok(()) };
    let names: Vec<&str> = circle.iter().chain(&circle[..1]).map(|key| &*key.name).collect();
    let (first, way) = (&circle[0], names.join(" waits for "));
    let problem = format!("job {first}: dependsOn: it would never begin: {way}");
    Err(Refused::problems("1 problem with the manifest; nothing was changed", vec![problem]))
}
